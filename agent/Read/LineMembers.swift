/// A member of the JSON object, or a pair of the logfmt, that a line is. Ranges are bytes of the line.
struct LineMember {
    enum Kind {
        /// Between quotes, JSON's escapes and logfmt's alike in it. `value` is what stands between them.
        case text
        /// A JSON number or literal, or logfmt's text without quotes.
        case bare
        case object
        case array
    }

    var key: Range<Int>
    var value: Range<Int>
    var kind: Kind
}

/// Walks the members of one JSON object, without recursion and in one pass; values are not made into anything.
/// Source: RFC 8259. A line that breaks off, or nests deeper than `FieldExtractor.depthMax`, ends the walk.
struct ObjectMembers {
    private let line: [UInt8]
    private let end: Int
    private var index: Int
    private var isFirst = true

    /// The object that begins with the brace at `start`; nothing behind `end` is looked at.
    init(_ line: [UInt8], from start: Int, to end: Int) {
        self.line = line
        self.end = min(end, line.count)
        index = start + 1
    }

    /// The next member; nil at the end of the object, and where it is none.
    mutating func next() -> LineMember? {
        skipSpace()
        if !isFirst {
            guard index < end, line[index] == UInt8(ascii: ",") else { return nil }
            index += 1
            skipSpace()
        }
        isFirst = false
        guard index < end, line[index] == UInt8(ascii: "\"") else { return nil }
        let keyStart = index + 1
        guard skipString() else { return nil }
        let key = keyStart..<(index - 1)
        skipSpace()
        guard index < end, line[index] == UInt8(ascii: ":") else { return nil }
        index += 1
        skipSpace()
        guard let (value, kind) = takeValue() else { return nil }
        return LineMember(key: key, value: value, kind: kind)
    }

    /// The first element of the array whose brackets are in `value`, where it is a text.
    static func firstText(_ line: [UInt8], ofArray value: Range<Int>) -> Range<Int>? {
        var walk = ObjectMembers(line, from: value.lowerBound, to: value.upperBound)
        walk.skipSpace()
        guard walk.index < walk.end, let (element, kind) = walk.takeValue(), kind == .text
        else { return nil }
        return element
    }

    /// The elements of the array whose brackets are in `value`, at most `max`, as members without keys.
    static func elements(
        _ line: [UInt8], ofArray value: Range<Int>, max: Int
    ) -> [LineMember] {
        var walk = ObjectMembers(line, from: value.lowerBound, to: value.upperBound)
        var found: [LineMember] = []
        walk.skipSpace()
        while found.count < max, let (element, kind) = walk.takeValue() {
            found.append(
                LineMember(key: element.lowerBound..<element.lowerBound, value: element, kind: kind)
            )
            walk.skipSpace()
            guard walk.index < walk.end, line[walk.index] == UInt8(ascii: ",") else { break }
            walk.index += 1
            walk.skipSpace()
        }
        return found
    }

    private mutating func skipSpace() {
        while index < end {
            switch line[index] {
            case 32, 9, 10, 13: index += 1
            default: return
            }
        }
    }

    /// Moves past the string that begins here; false where it does not end.
    private mutating func skipString() -> Bool {
        index += 1
        while index < end {
            let byte = line[index]
            if byte == UInt8(ascii: "\"") {
                index += 1
                return true
            }
            index += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        return false
    }

    /// Moves past any value; nil where it breaks off.
    private mutating func takeValue() -> (Range<Int>, LineMember.Kind)? {
        guard index < end else { return nil }
        let start = index
        switch line[index] {
        case UInt8(ascii: "\""):
            guard skipString() else { return nil }
            return ((start + 1)..<(index - 1), .text)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard skipNested() else { return nil }
            return (start..<index, line[start] == UInt8(ascii: "{") ? .object : .array)
        default:
            while index < end {
                switch line[index] {
                case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 32, 9, 10, 13:
                    return index > start ? (start..<index, .bare) : nil
                default: index += 1
                }
            }
            return nil
        }
    }

    /// Moves past the object or array that begins here.
    private mutating func skipNested() -> Bool {
        var depth = 0
        while index < end {
            switch line[index] {
            case UInt8(ascii: "\""):
                guard skipString() else { return false }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= FieldExtractor.depthMax else { return false }
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                index += 1
                if depth == 0 { return true }
            default: index += 1
            }
        }
        return false
    }
}

/// Walks the pairs of a logfmt line: `key=value key="quoted value"`, with blanks and control characters between. The line
/// counts as one when its first word is such a pair; later words that are none are passed over.
struct PairMembers {
    private let line: [UInt8]
    private let end: Int
    private var index: Int
    private var isFirst = true

    init(_ line: [UInt8], from start: Int, to end: Int) {
        self.line = line
        self.end = min(end, line.count)
        index = start
    }

    mutating func next() -> LineMember? {
        while true {
            while index < end, line[index] <= 32 { index += 1 }
            let keyStart = index
            while index < end, RedactionText.isKeyByte(line[index]) { index += 1 }
            guard index < end else { return nil }
            guard line[index] == UInt8(ascii: "="), index > keyStart else {
                guard !isFirst else { return nil }
                while index < end, line[index] > 32 { index += 1 }
                continue
            }
            isFirst = false
            let key = keyStart..<index
            index += 1
            guard index < end, line[index] == UInt8(ascii: "\"") else {
                let start = index
                while index < end, line[index] > 32 { index += 1 }
                return LineMember(key: key, value: start..<index, kind: .bare)
            }
            index += 1
            let start = index
            while index < end, line[index] != UInt8(ascii: "\"") {
                index += line[index] == UInt8(ascii: "\\") ? 2 : 1
            }
            index = min(index, end)
            let value = start..<index
            index = min(index + 1, end)
            return LineMember(key: key, value: value, kind: .text)
        }
    }
}

/// The text of values.
enum LineText {
    /// Where a line begins, behind blanks; `end` where nothing else stands before that.
    static func start(_ line: [UInt8], to end: Int) -> Int {
        var start = 0
        while start < end, line[start] == 32 || line[start] == 9 { start += 1 }
        return start
    }

    /// The text of a member of a line; nil for objects, arrays and for texts too long to be lifted.
    static func text(_ line: [UInt8], _ member: LineMember) -> String? {
        switch member.kind {
        case .text: string(line, member.value)
        case .bare:
            member.value.count > FieldExtractor.valueBytesMax
                ? nil : ProcText.string(line[member.value])
        case .object, .array: nil
        }
    }

    /// What stands between quotes, unescaped; nil where it is too long.
    static func string(_ line: [UInt8], _ range: Range<Int>) -> String? {
        guard range.count <= 6 * FieldExtractor.valueBytesMax else { return nil }
        guard line[range].contains(UInt8(ascii: "\\")) else { return ProcText.string(line[range]) }
        return unescaped(line[range])
    }

    static func equals(_ line: [UInt8], _ range: Range<Int>, _ literal: StaticString) -> Bool {
        ProcText.equals(line[range], literal)
    }

    static func hasPrefix(_ line: [UInt8], _ range: Range<Int>, _ literal: StaticString) -> Bool {
        ProcText.hasPrefix(line[range], literal)
    }

    /// Source: RFC 8259, 7. An escape that JSON has not is the byte behind its backslash.
    private static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        var units: [UInt16] = []
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        func flushUnits() {
            guard !units.isEmpty else { return }
            bytes += String(decoding: units, as: UTF16.self).utf8
            units = []
        }
        var index = text.startIndex
        while index < text.endIndex {
            let byte = text[index]
            guard byte == UInt8(ascii: "\\"), index + 1 < text.endIndex else {
                flushUnits()
                bytes.append(byte)
                index += 1
                continue
            }
            let escaped = text[index + 1]
            if escaped == UInt8(ascii: "u"), index + 6 <= text.endIndex,
                let unit = UInt16(ProcText.string(text[(index + 2)..<(index + 6)]), radix: 16)
            {
                units.append(unit)
                index += 6
                continue
            }
            flushUnits()
            switch escaped {
            case UInt8(ascii: "n"): bytes.append(10)
            case UInt8(ascii: "t"): bytes.append(9)
            case UInt8(ascii: "r"): bytes.append(13)
            case UInt8(ascii: "b"): bytes.append(8)
            case UInt8(ascii: "f"): bytes.append(12)
            default: bytes.append(escaped)
            }
            index += 2
        }
        flushUnits()
        return String(decoding: bytes, as: UTF8.self)
    }
}
