// The parts of JSON in a line, found without reading what nobody asks for.
//
// Lines are judged as Loki judges them, which is less strict than RFC 8259: what follows the object is not looked at,
// strings may hold raw control characters, numbers are not read, and arrays only have to end. What is wrong is told in
// the words that its users know. Source: Loki 3.6, whose reader is a fork of buger/jsonparser, observed by its
// messages.

typealias JSONSpan = UnsafeBufferPointer<UInt8>

enum JSONFault: Error {
    case malformed, object, array, string, value, escape, tooDeep
    /// A value beneath it is not as the query wants it; not a fault of the line.
    case stop

    var text: String {
        switch self {
        case .malformed: "Malformed JSON error"
        case .object: "Value looks like object, but can't find closing '}' symbol"
        case .array: "Value is array, but can't find closing ']' symbol"
        case .string: "Value is string, but can't find closing '\"' symbol"
        case .value: "Unknown value type"
        case .escape: "Encountered an invalid escape sequence in a string"
        case .tooDeep: "more than \(JSONBytes.depthMax) levels of JSON"
        case .stop: ""
        }
    }
}

enum JSONBytes {
    static let depthMax = 128

    enum Kind { case string, number, boolean, null, object, array, unknown }

    struct Value {
        var kind: Kind
        /// Without the quotes of a string.
        var range: Range<Int>
        /// The index after the value.
        var end: Int
        /// Whether a string has escapes.
        var isEscaped = false
    }

    /// The first index at or after `at` that holds no blank; nil where there is none.
    static func nextToken(_ text: JSONSpan, _ at: Int) -> Int? {
        var at = at
        while at < text.count {
            switch text[at] {
            case 0x20, 0x0a, 0x0d, 0x09: at += 1
            default: return at
            }
        }
        return nil
    }

    /// The index after the quote that ends the string whose first byte is at `start`, and whether it has escapes.
    static func endOfString(_ text: JSONSpan, _ start: Int) -> (end: Int, isEscaped: Bool)? {
        var at = start
        var isEscaped = false
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\""): return (at + 1, isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                at += 2
            default: at += 1
            }
        }
        return nil
    }

    /// The index after the bracket that closes the one at `start`; brackets of the other kind are not looked at.
    static func endOfBlock(_ text: JSONSpan, _ start: Int) -> Int? {
        let open = text[start]
        let close = open + 2
        var level = 0
        var at = start
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "\"") {
                guard let (end, _) = endOfString(text, at + 1) else { return nil }
                at = end
                continue
            }
            if byte == open {
                level += 1
            } else if byte == close {
                level -= 1
                if level == 0 { return at + 1 }
            }
            at += 1
        }
        return nil
    }

    /// The value that begins at or after `at`. A word that is no JSON is refused, or `unknown` where that `isLenient`.
    static func value(
        _ text: JSONSpan, _ at: Int, isLenient: Bool = false
    ) throws(JSONFault) -> Value {
        guard let start = nextToken(text, at) else { throw .malformed }
        switch text[start] {
        case UInt8(ascii: "\""):
            guard let (end, isEscaped) = endOfString(text, start + 1) else { throw .string }
            return Value(
                kind: .string, range: (start + 1)..<(end - 1), end: end, isEscaped: isEscaped)
        case UInt8(ascii: "["):
            guard let end = endOfBlock(text, start) else { throw .array }
            return Value(kind: .array, range: start..<end, end: end)
        case UInt8(ascii: "{"):
            guard let end = endOfBlock(text, start) else { throw .object }
            return Value(kind: .object, range: start..<end, end: end)
        default:
            let end = endOfToken(text, start)
            let kind = wordKind(text, start..<end)
            guard kind != .unknown || isLenient else { throw .value }
            return Value(kind: kind, range: start..<end, end: end)
        }
    }

    private static func endOfToken(_ text: JSONSpan, _ start: Int) -> Int {
        var at = start
        while at < text.count {
            switch text[at] {
            case 0x20, 0x0a, 0x0d, 0x09, UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"):
                return at
            default: at += 1
            }
        }
        return at
    }

    private static func wordKind(_ text: JSONSpan, _ range: Range<Int>) -> Kind {
        guard !range.isEmpty else { return .unknown }
        switch text[range.lowerBound] {
        case 48...57, UInt8(ascii: "-"): return .number
        case UInt8(ascii: "t") where text[range].elementsEqual("true".utf8): return .boolean
        case UInt8(ascii: "f") where text[range].elementsEqual("false".utf8): return .boolean
        case UInt8(ascii: "n") where text[range].elementsEqual("null".utf8): return .null
        default: return .unknown
        }
    }

    /// A member of an object.
    struct Member {
        /// As written, without its quotes.
        var name: Range<Int>
        var isNameEscaped: Bool
        var value: Value
    }

    /// Steps through the members of the object whose brace is at or after `start`.
    struct Members {
        private let text: JSONSpan
        private var at: Int
        private var isFirst = true
        private var isDone = false
        private let isLenient: Bool
        /// The name that was read last, also where its value can't be.
        private(set) var lastName = 0..<0

        init(_ text: JSONSpan, at start: Int, isLenient: Bool = false) throws(JSONFault) {
            self.text = text
            self.isLenient = isLenient
            guard let brace = JSONBytes.nextToken(text, start), text[brace] == UInt8(ascii: "{")
            else { throw .object }
            at = brace + 1
        }

        mutating func next() throws(JSONFault) -> Member? {
            guard !isDone else { return nil }
            guard try advance() else { return nil }
            guard text[at] == UInt8(ascii: "\"") else { throw .object }
            guard let (end, isEscaped) = JSONBytes.endOfString(text, at + 1) else {
                throw .malformed
            }
            let name = (at + 1)..<(end - 1)
            lastName = name
            guard let colon = JSONBytes.nextToken(text, end), text[colon] == UInt8(ascii: ":")
            else { throw .malformed }
            let value = try JSONBytes.value(text, colon + 1, isLenient: isLenient)
            at = value.end
            return Member(name: name, isNameEscaped: isEscaped, value: value)
        }

        /// Goes to the next name; false at the closing brace.
        private mutating func advance() throws(JSONFault) -> Bool {
            if isFirst {
                isFirst = false
                guard let token = JSONBytes.nextToken(text, at) else { throw .malformed }
                at = token
                isDone = text[at] == UInt8(ascii: "}")
                return !isDone
            }
            guard let token = JSONBytes.nextToken(text, at) else { throw .array }
            switch text[token] {
            case UInt8(ascii: "}"):
                isDone = true
                return false
            case UInt8(ascii: ","): break
            default: throw .object
            }
            guard let name = JSONBytes.nextToken(text, token + 1) else { throw .array }
            at = name
            // A comma before the brace passes, as it does in Loki.
            isDone = text[at] == UInt8(ascii: "}")
            return !isDone
        }
    }

    /// Appends a string's text; false where an escape is none. Lone surrogates are none.
    static func appendUnescaped(_ text: JSONSpan, _ range: Range<Int>, to result: inout [UInt8])
        -> Bool
    {
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = text[at]
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                at += 1
                continue
            }
            guard at + 1 < range.upperBound else { return false }
            switch text[at + 1] {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
                result.append(text[at + 1])
            case UInt8(ascii: "b"): result.append(8)
            case UInt8(ascii: "f"): result.append(12)
            case UInt8(ascii: "n"): result.append(10)
            case UInt8(ascii: "r"): result.append(13)
            case UInt8(ascii: "t"): result.append(9)
            case UInt8(ascii: "u"):
                guard let (scalar, length) = unicodeEscape(text, at..<range.upperBound) else {
                    return false
                }
                result.append(contentsOf: String(Character(scalar)).utf8)
                at += length
                continue
            default: return false
            }
            at += 2
        }
        return true
    }

    /// `\u00e9`, or a pair of surrogates, at the start of `range`.
    private static func unicodeEscape(
        _ text: JSONSpan, _ range: Range<Int>
    ) -> (Unicode.Scalar, Int)? {
        guard let first = fourDigits(text, range) else { return nil }
        guard (0xd800..<0xe000).contains(first) else {
            return Unicode.Scalar(first).map { ($0, 6) }
        }
        guard first < 0xdc00, range.count >= 12,
            let second = fourDigits(text, (range.lowerBound + 6)..<range.upperBound),
            (0xdc00..<0xe000).contains(second)
        else { return nil }
        let code = 0x10000 + (first - 0xd800) << 10 + (second - 0xdc00)
        return Unicode.Scalar(code).map { ($0, 12) }
    }

    private static func fourDigits(_ text: JSONSpan, _ range: Range<Int>) -> UInt32? {
        let start = range.lowerBound
        guard range.count >= 6, text[start] == UInt8(ascii: "\\"),
            text[start + 1] == UInt8(ascii: "u")
        else { return nil }
        var value: UInt32 = 0
        for byte in text[(start + 2)..<(start + 6)] {
            switch byte {
            case 48...57: value = value << 4 | UInt32(byte - 48)
            case 65...70, 97...102: value = value << 4 | UInt32((byte | 0x20) - 87)
            default: return nil
            }
        }
        return value
    }
}
