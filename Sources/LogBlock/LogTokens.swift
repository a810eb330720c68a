/// The ids in a line: what people look for that stands in few lines.
///
/// - A *word* is a run of letters and digits with nothing of the kind beside it, 8 to 32 long and with a digit in it; digits
///   alone count where they are no part of a number with a point.
/// - A *trace* is a word of 32 hexadecimal digits, letters among them.
/// - A *UUID* is 8-4-4-4-12 letters and digits, whatever stands before and behind it.
/// - An *address* is four numbers with points between them and neither a digit nor a point beside them.
///
/// A run of more than 32 that has 32 hexadecimal digits in a row is no id; that there is one is told.
package struct LogTokens {
    /// All of them.
    package private(set) var hashes: Set<UInt64> = []
    /// Traces and UUIDs, and what `insertTrace` was called with.
    package private(set) var traces: Set<UInt64> = []
    package private(set) var hasLongRun = false

    static let wordMin = 8
    static let wordMax = 32
    static let traceLength = 32

    package init() {}

    /// A field beside a line.
    package mutating func insert(_ value: String) { hashes.insert(LogHash.hash(value.utf8)) }

    /// A field beside a line that names a trace or a request.
    package mutating func insertTrace(_ value: String) {
        let hash = LogHash.hash(value.utf8)
        hashes.insert(hash)
        traces.insert(hash)
    }

    /// All ids of a line, or of many with a byte between them that is part of none.
    package mutating func insert(line: UnsafeBufferPointer<UInt8>) {
        var scanner = TokenScanner(line)
        while let run = scanner.next() {
            switch run {
            case .word(let range, let isTrace):
                let hash = LogHash.hash(line[range])
                hashes.insert(hash)
                if isTrace { traces.insert(hash) }
            case .uuid(let range):
                let hash = LogHash.hash(line[range])
                hashes.insert(hash)
                traces.insert(hash)
            case .address(let range): hashes.insert(LogHash.hash(line[range]))
            case .longRun: hasLongRun = true
            }
        }
    }
}

/// Finds ids in bytes, from left to right.
struct TokenScanner {
    enum Token {
        case word(Range<Int>, isTrace: Bool)
        case uuid(Range<Int>)
        case address(Range<Int>)
        case longRun
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private var at = 0
    private var waiting: [Token] = []

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func next() -> Token? {
        if let token = waiting.popLast() { return token }
        while at < bytes.count {
            guard Self.classes[Int(bytes[at])] != 0 else {
                at += 1
                continue
            }
            let start = at
            var digits = 0
            var all: UInt8 = 0
            while at < bytes.count, case let kind = Self.classes[Int(bytes[at])], kind != 0 {
                all |= kind
                if kind == Self.digit { digits += 1 }
                at += 1
            }
            look(start..<at, digitCount: digits, kinds: all)
            if let token = waiting.popLast() { return token }
        }
        return nil
    }

    private mutating func look(_ run: Range<Int>, digitCount: Int, kinds: UInt8) {
        let count = run.count
        // Each UUID has one such run of eight or more with a dash behind it, each address one of one to three digits.
        if count >= 8, run.upperBound < bytes.count, bytes[run.upperBound] == UInt8(ascii: "-") {
            lookForUUID(run.upperBound)
        }
        if count <= 3, digitCount == count { lookForAddress(run) }
        if count > LogTokens.wordMax {
            if hasLongHex(run) { waiting.append(.longRun) }
            return
        }
        guard count >= LogTokens.wordMin, digitCount > 0 else { return }
        if digitCount == count, isPartOfNumber(run) { return }
        // Of digits alone it may be part of a number: what stands beside a needle's end is not known.
        let isTrace =
            count == LogTokens.traceLength && kinds == Self.digit | Self.hexLetter
        waiting.append(.word(run, isTrace: isTrace))
    }

    private mutating func lookForUUID(_ dash: Int) {
        guard dash >= 8, dash + 28 <= bytes.count else { return }
        for offset in [5, 10, 15] where bytes[dash + offset] != UInt8(ascii: "-") { return }
        for range in [
            (dash + 1)..<(dash + 5), (dash + 6)..<(dash + 10), (dash + 11)..<(dash + 15),
            (dash + 16)..<(dash + 28),
        ] {
            for index in range where Self.classes[Int(bytes[index])] == 0 { return }
        }
        waiting.append(.uuid((dash - 8)..<(dash + 28)))
    }

    /// Where the first of the four numbers is `first`.
    private mutating func lookForAddress(_ first: Range<Int>) {
        let point = UInt8(ascii: ".")
        if first.lowerBound > 0, bytes[first.lowerBound - 1] == point { return }
        var end = first.upperBound
        for _ in 0..<3 {
            guard end < bytes.count, bytes[end] == point else { return }
            let start = end + 1
            end = start
            while end < bytes.count, Self.classes[Int(bytes[end])] != 0 {
                guard Self.classes[Int(bytes[end])] == Self.digit, end - start < 3 else { return }
                end += 1
            }
            guard end > start else { return }
        }
        if end < bytes.count, bytes[end] == point { return }
        waiting.append(.address(first.lowerBound..<end))
    }

    private func isPartOfNumber(_ run: Range<Int>) -> Bool {
        let point = UInt8(ascii: ".")
        return run.lowerBound > 0 && bytes[run.lowerBound - 1] == point
            || run.upperBound < bytes.count && bytes[run.upperBound] == point
    }

    private func hasLongHex(_ run: Range<Int>) -> Bool {
        var length = 0
        for index in run {
            let kind = Self.classes[Int(bytes[index])]
            length = kind == Self.digit || kind == Self.hexLetter ? length + 1 : 0
            if length >= LogTokens.traceLength { return true }
        }
        return false
    }

    private static let digit: UInt8 = 1
    private static let hexLetter: UInt8 = 2
    private static let letter: UInt8 = 4
    /// 0: neither letter nor digit.
    private static let classes: [UInt8] = (0..<256).map { code -> UInt8 in
        switch UInt8(code) {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
            hexLetter
        case UInt8(ascii: "g")...UInt8(ascii: "z"), UInt8(ascii: "G")...UInt8(ascii: "Z"): letter
        default: 0
        }
    }
}
