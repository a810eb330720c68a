/// Reads `key=value key="quoted value" key` from left to right.
///
/// What is no pair is skipped up to the next blank and remembered as the fault, whose place counts from 1.
/// Source: github.com/go-logfmt/logfmt as Loki 3.6 has it, observed by its messages.
struct LogfmtScanner {
    enum Fault {
        case unexpected(UInt8)
        case invalidKey, unterminatedQuote, invalidQuote

        var text: String {
            switch self {
            case .unexpected(let byte): "unexpected \(LogfmtScanner.quoted(byte))"
            case .invalidKey: "invalid key"
            case .unterminatedQuote: "unterminated quoted value"
            case .invalidQuote: "invalid quoted value"
            }
        }
    }

    private let text: UnsafeBufferPointer<UInt8>
    private var at = 0
    private(set) var key = 0..<0
    private(set) var value = 0..<0
    /// Whether `value` has escapes; then it was found to be well-formed.
    private(set) var isEscaped = false
    /// The last fault and where it is.
    private(set) var fault: (kind: Fault, place: Int)?

    init(_ text: UnsafeBufferPointer<UInt8>) { self.text = text }

    var isAtEnd: Bool { at >= text.count }

    /// `logfmt syntax error at pos 8 : unexpected '='`; nil without a fault.
    var faultText: String? {
        fault.map { "logfmt syntax error at pos \($0.place) : \($0.kind.text)" }
    }

    /// Reads the next pair; false at the end and where there is none.
    mutating func next() -> Bool {
        key = 0..<0
        value = 0..<0
        isEscaped = false
        while at < text.count, text[at] <= 0x20 { at += 1 }
        guard at < text.count else { return false }
        let start = at
        var hasWide = false
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "=") {
                guard at > start else { return skip(.unexpected(byte)) }
                key = start..<at
                if hasWide, hasMark(UnsafeBufferPointer(rebasing: text[key])) {
                    return skip(.invalidKey)
                }
                at += 1
                return readValue()
            }
            if byte == UInt8(ascii: "\"") { return skip(.unexpected(byte)) }
            if byte <= 0x20 { break }
            if byte >= 0x80 { hasWide = true }
            at += 1
        }
        key = start..<at
        if hasWide, hasMark(UnsafeBufferPointer(rebasing: text[key])) {
            fault = (.invalidKey, at + 1)
            return false
        }
        return true
    }

    private mutating func readValue() -> Bool {
        guard at < text.count, text[at] > 0x20 else { return true }
        if text[at] == UInt8(ascii: "\"") { return readQuoted() }
        let start = at
        while at < text.count, text[at] > 0x20 {
            let byte = text[at]
            if byte == UInt8(ascii: "=") || byte == UInt8(ascii: "\"") {
                return skip(.unexpected(byte))
            }
            at += 1
        }
        value = start..<at
        return true
    }

    private mutating func readQuoted() -> Bool {
        let start = at + 1
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                at = index + 1
                value = start..<index
                if isEscaped, !Self.isWellFormed(text, value) {
                    fault = (.invalidQuote, at + 1)
                    return false
                }
                return true
            case UInt8(ascii: "\\"):
                isEscaped = true
                index += 2
            default: index += 1
            }
        }
        at = text.count
        fault = (.unterminatedQuote, at + 1)
        return false
    }

    private mutating func skip(_ kind: Fault) -> Bool {
        fault = (kind, at + 1)
        while at < text.count, text[at] > 0x20 { at += 1 }
        return false
    }

    private static func isWellFormed(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>
    ) -> Bool {
        var ignored: [UInt8] = []
        return appendUnescaped(text, range, to: &ignored)
    }

    /// Appends a quoted value's text; false where an escape is none. A lone surrogate becomes U+FFFD.
    @discardableResult
    static func appendUnescaped(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, to result: inout [UInt8]
    ) -> Bool {
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = text[at]
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                at += 1
                continue
            }
            guard at + 1 < range.upperBound else { return false }
            let escaped = text[at + 1]
            at += 2
            switch escaped {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "'"):
                result.append(escaped)
            case UInt8(ascii: "b"): result.append(8)
            case UInt8(ascii: "f"): result.append(12)
            case UInt8(ascii: "n"): result.append(10)
            case UInt8(ascii: "r"): result.append(13)
            case UInt8(ascii: "t"): result.append(9)
            case UInt8(ascii: "u"):
                guard let first = fourDigits(text, at..<range.upperBound) else { return false }
                at += 4
                var code = first
                if (0xd800..<0xdc00).contains(first), at + 6 <= range.upperBound,
                    text[at] == UInt8(ascii: "\\"), text[at + 1] == UInt8(ascii: "u"),
                    let second = fourDigits(text, (at + 2)..<range.upperBound),
                    (0xdc00..<0xe000).contains(second)
                {
                    code = 0x10000 + (first - 0xd800) << 10 + (second - 0xdc00)
                    at += 6
                }
                let scalar = Unicode.Scalar(code) ?? "\u{fffd}"
                result.append(contentsOf: String(Character(scalar)).utf8)
            default: return false
            }
        }
        return true
    }

    private static func fourDigits(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>
    ) -> UInt32? {
        guard range.count >= 4 else { return nil }
        var value: UInt32 = 0
        for byte in text[range].prefix(4) {
            switch byte {
            case 48...57: value = value << 4 | UInt32(byte - 48)
            case 65...70, 97...102: value = value << 4 | UInt32((byte | 0x20) - 87)
            default: return nil
            }
        }
        return value
    }

    /// A byte as Go's `%q` shows it.
    private static func quoted(_ byte: UInt8) -> String {
        byte == UInt8(ascii: "\"") ? #"'"'"# : "'\(Character(Unicode.Scalar(byte)))'"
    }
}
