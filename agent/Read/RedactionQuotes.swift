/// Values in quotes, and what stands before them.
extension RedactionScan {
    /// Where the quoted value begins that `Some(…` or the `b` of `b'…'` stands before; `start` where neither does.
    func behindWrapper(_ start: Int) -> Int {
        let end = min(line.count, start + RedactionText.keyBytesMax)
        var index = start
        var isPrefix = true
        while index < end {
            switch line[index] {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"):
                let isCall = index > start && line[index - 1] == UInt8(ascii: "(")
                return isCall || isPrefix && index - start <= 2 ? index : start
            case UInt8(ascii: "("), UInt8(ascii: ":"): isPrefix = false
            case let byte where RedactionText.isKeyByte(byte):
                if !"bBuUrR".utf8.contains(byte) { isPrefix = false }
            default: return start
            }
            index += 1
        }
        return start
    }

    /// `$$value$$`, `$tag$value$tag$`: the value, and where it goes on; nil for other dollars, such as those of parameters.
    /// Where the tag does not come again the value ends as that of `quoted`.
    /// Source: PostgreSQL "Dollar-Quoted String Constants".
    mutating func dollarQuoted(from dollar: Int) -> (Range<Int>, Int)? {
        var start = dollar + 1
        while start < line.count, start - dollar <= RedactionText.keyBytesMax,
            RedactionText.isAlphanumeric(line[start]) || line[start] == UInt8(ascii: "_")
        { start += 1 }
        guard start < line.count, line[start] == UInt8(ascii: "$") else { return nil }
        start += 1
        let tag = line[dollar..<start]
        quotes.read(line, to: dollar)
        var run = 0
        for end in start..<line.count {
            switch line[end] {
            case UInt8(ascii: "$") where line[end...].starts(with: tag):
                return (start..<end, end + tag.count)
            case UInt8(ascii: "\"") where quotes.isOpen(run):
                return (start..<(end - run), end - run)
            case UInt8(ascii: "\\"): run += 1
            default: run = 0
            }
        }
        return (start..<line.count, line.count)
    }

    /// What stands in quotes at `start`, the backslashes before its quote first, and where it goes on; nil where no quote
    /// does, and where it closes the text that the key stands in. One that is likely to open a text and looks as if it
    /// closed one counts where no text is open.
    mutating func quotedValue(at start: Int, isOpening: Bool) -> (Range<Int>, Int)? {
        var quote = start
        while quote < line.count, line[quote] == UInt8(ascii: "\\"),
            quote - start < RedactionText.backslashesMax
        { quote += 1 }
        guard quote < line.count,
            line[quote] == UInt8(ascii: "\"") || line[quote] == UInt8(ascii: "'"),
            opensText(quote) || isOpening && !closesText(start, quote)
        else { return nil }
        return quoted(from: quote, backslashes: quote - start)
    }

    /// What stands behind the quote at `quote`, up to the same quote with at most as many backslashes before it, and where
    /// it goes on. Else up to the end of the line; what a single quote begins ends with the text in double quotes that it
    /// is in, whether it is closed or not.
    mutating func quoted(from quote: Int, backslashes: Int) -> (Range<Int>, Int) {
        let mark = line[quote]
        if mark != UInt8(ascii: "\"") { quotes.read(line, to: quote) }
        var index = quote + 1
        var run = 0
        while index < line.count {
            let byte = line[index]
            if byte == UInt8(ascii: "\\") {
                run += 1
            } else if byte == mark {
                let isEnd = backslashes == 0 ? run.isMultiple(of: 2) : run <= backslashes
                if isEnd, run < backslashes {
                    // It closes the text that this one is in.
                    return ((quote + 1)..<(index - run), index - run)
                }
                if isEnd { return ((quote + 1)..<(index - backslashes), index + 1) }
                run = 0
            } else if byte == UInt8(ascii: "\""), quotes.isOpen(run) {
                return ((quote + 1)..<(index - run), index - run)
            } else {
                run = 0
            }
            index += 1
        }
        return ((quote + 1)..<line.count, line.count)
    }

    /// Whether the quote at `quote`, whose backslashes begin at `start`, closes a text that is open.
    private mutating func closesText(_ start: Int, _ quote: Int) -> Bool {
        guard line[quote] == UInt8(ascii: "\"") else { return false }
        quotes.read(line, to: start)
        return quotes.isOpen(quote - start)
    }

    /// Whether the quote at `quote` opens a text: behind one that closes a text of JSON such a byte or nothing stands.
    func opensText(_ quote: Int) -> Bool {
        guard line[quote] == UInt8(ascii: "\"") else { return true }
        return quote + 1 < line.count && line[quote + 1] > 32
            && !",:]}".utf8.contains(line[quote + 1])
    }
}

/// Which levels of quotes are open at a place in a line: those of JSON, and of texts of JSON in it.
struct QuoteLevels {
    private var end = 0
    /// By level, as bits.
    private var open: UInt64 = 0

    /// Goes on to `newEnd`; calls are in ascending order, so that each byte is read once in all.
    mutating func read(_ line: [UInt8], to newEnd: Int) {
        var backslashes = 0
        while end < newEnd {
            switch line[end] {
            case UInt8(ascii: "\\"): backslashes += 1
            case UInt8(ascii: "\""):
                // What was open inside is closed with it.
                let bit: UInt64 = 1 << Self.level(backslashes)
                open = (open ^ bit) & (bit | (bit - 1))
                backslashes = 0
            case 10:
                open = 0
                backslashes = 0
            default: backslashes = 0
            }
            end += 1
        }
    }

    /// Whether a quote with so many backslashes before it closes one that is open.
    func isOpen(_ backslashes: Int) -> Bool { open >> Self.level(backslashes) & 1 == 1 }

    /// 0 of a text; of one in it, whose quotes have 1 backslash, 1; of one in that, with 3, 2.
    private static func level(_ backslashes: Int) -> Int { (~backslashes).trailingZeroBitCount }
}

/// Whether bare values of JSON, such as numbers, stand at places in a line that are asked for in ascending order.
struct JSONPlaces {
    private var quotes = QuoteLevels()

    /// Whether `range` is a whole value that no quotes are around: of a member, behind a key's quote and a colon, or of a
    /// list of a line that is an object.
    mutating func isValue(_ line: [UInt8], _ range: Range<Int>) -> Bool {
        var before = range.lowerBound - 1
        while before >= 0, line[before] == 32 { before -= 1 }
        var behind = range.upperBound
        while behind < line.count, line[behind] == 32 { behind += 1 }
        guard before > 1, behind < line.count else { return false }
        switch line[before] {
        case UInt8(ascii: ":"):
            before -= 1
            while before > 0, line[before] == 32 { before -= 1 }
            return before > 0 && line[before] == UInt8(ascii: "\"")
                && line[before - 1] != UInt8(ascii: "\\")
                && (line[behind] == UInt8(ascii: ",") || line[behind] == UInt8(ascii: "}"))
        case UInt8(ascii: "["), UInt8(ascii: ","):
            guard line[behind] == UInt8(ascii: ",") || line[behind] == UInt8(ascii: "]"),
                line[LineText.start(line, to: before)] == UInt8(ascii: "{")
            else { return false }
            quotes.read(line, to: range.lowerBound)
            return !quotes.isOpen(0)
        default: return false
        }
    }

    /// `range`, or the whole bare value that it is a part of.
    mutating func whole(_ line: [UInt8], _ range: Range<Int>) -> (Range<Int>, isValue: Bool) {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start > 0, range.lowerBound - start < Self.numberBytesMax, isPart(line[start - 1]) {
            start -= 1
        }
        while end < line.count, end - range.upperBound < Self.numberBytesMax, isPart(line[end]) {
            end += 1
        }
        return isValue(line, start..<end) ? (start..<end, true) : (range, false)
    }

    /// How far a number goes beyond what is taken out of it. Bytes.
    private static let numberBytesMax = 64

    private func isPart(_ byte: UInt8) -> Bool {
        RedactionText.isKeyByte(byte) || byte == UInt8(ascii: "+")
    }
}
