/// A piece of a template's text: literal text, or the tokens between `{{` and `}}`.
enum TemplateItem: Sendable {
    case text(String)
    case action([TemplateToken], line: Int)
}

/// A token of an action.
struct TemplateToken: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        case word(String)
        case field(String)
        case variable(String)
        case dot
        case string(String)
        case int(Int)
        case float(Double)
        case declare, assign, pipe, open, close, comma
        /// A printable character that means nothing.
        case other
        /// What could not be read: our words and Go's. Nothing comes after it.
        case fault(String, go: String)
    }

    var kind: Kind
    var line: Int
    /// Offset of its first byte in the template.
    var start: Int
    /// As written.
    var text: String
    /// Whether white space comes before it: `.A.B` is one operand, `.A .B` are two.
    var isSpaced: Bool
}

/// Cuts a template into text and actions, trim markers applied, comments dropped. O(n).
struct TemplateLexer {
    private let bytes: [UInt8]
    private var at = 0
    private var line = 1
    private var openCount = 0
    private var isBroken = false

    /// A token that can't be read; ours and Go's words.
    private struct Unreadable: Error {
        var message: String
        var go: String
    }

    init(_ text: String) { bytes = Array(text.utf8) }

    /// What can't be read is the last token of the last action, so that errors before it come first, as in Go.
    mutating func items() -> [TemplateItem] {
        var items: [TemplateItem] = []
        var trimsNext = false
        while at < bytes.count {
            let start = at
            while at < bytes.count, !starts("{{") { step() }
            var text = bytes[start..<at]
            if trimsNext { text = text.drop(while: Self.isSpace) }
            trimsNext = false
            let isAction = at < bytes.count
            if isAction {
                at += 2
                if starts("-"), at + 1 < bytes.count, Self.isSpace(bytes[at + 1]) {
                    at += 1
                    while let last = text.last, Self.isSpace(last) { text.removeLast() }
                }
            }
            if !text.isEmpty { items.append(.text(String(decoding: text, as: UTF8.self))) }
            guard isAction else { break }
            let actionLine = line
            let tokens = action(trimsNext: &trimsNext)
            if let tokens { items.append(.action(tokens, line: actionLine)) }
            if isBroken { break }
        }
        return items
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 32 || (9...10).contains(byte) || byte == 13
    }

    private static func isWordPart(_ byte: UInt8) -> Bool {
        byte == 95 || byte >= 128 || (48...57).contains(byte) || (65...90).contains(byte)
            || (97...122).contains(byte)
    }

    private func starts(_ text: StaticString) -> Bool {
        guard at + text.utf8CodeUnitCount <= bytes.count else { return false }
        for index in 0..<text.utf8CodeUnitCount where bytes[at + index] != text.utf8Start[index] {
            return false
        }
        return true
    }

    private mutating func step() {
        if bytes[at] == 10 { line += 1 }
        at += 1
    }

    private mutating func skipSpace() {
        while at < bytes.count, Self.isSpace(bytes[at]) { step() }
    }

    /// The tokens up to `}}`; nil for a comment.
    private mutating func action(trimsNext: inout Bool) -> [TemplateToken]? {
        var spaced = at < bytes.count && Self.isSpace(bytes[at])
        let start = at
        skipSpace()
        var tokens: [TemplateToken] = []
        openCount = 0
        do throws(Unreadable) {
            if starts("/*") {
                try skipComment(trimsNext: &trimsNext)
                return nil
            }
            while true {
                if starts("}}") || (spaced && starts("-}}")) {
                    guard openCount == 0 else {
                        throw Unreadable(message: "`)` is missing", go: "unclosed left paren")
                    }
                    trimsNext = starts("-")
                    at += trimsNext ? 3 : 2
                    return tokens
                }
                guard at < bytes.count else {
                    throw Unreadable(
                        message: "unclosed action: `}}` is missing", go: "unclosed action")
                }
                let (tokenLine, tokenStart) = (line, at)
                let kind = try token()
                tokens.append(
                    TemplateToken(
                        kind: kind, line: tokenLine, start: tokenStart,
                        text: String(decoding: bytes[tokenStart..<at], as: UTF8.self),
                        isSpaced: spaced))
                spaced = at < bytes.count && Self.isSpace(bytes[at])
                skipSpace()
            }
        } catch {
            isBroken = true
            tokens.append(
                TemplateToken(
                    kind: .fault(error.message, go: error.go), line: line, start: start, text: "",
                    isSpaced: true))
            return tokens
        }
    }

    private mutating func skipComment(trimsNext: inout Bool) throws(Unreadable) {
        while at < bytes.count, !starts("*/") { step() }
        guard at < bytes.count else {
            throw Unreadable(message: "unclosed comment", go: "unclosed comment")
        }
        at += 2
        let spaced = at < bytes.count && Self.isSpace(bytes[at])
        skipSpace()
        if starts("}}") {
            at += 2
        } else if spaced, starts("-}}") {
            at += 3
            trimsNext = true
        } else {
            throw Unreadable(
                message: "a comment must end the action: `*/}}`",
                go: "comment ends before closing delimiter")
        }
    }

    private mutating func token() throws(Unreadable) -> TemplateToken.Kind {
        let byte = bytes[at]
        switch byte {
        case UInt8(ascii: "("):
            openCount += 1
            return single(.open)
        case UInt8(ascii: ")"):
            openCount -= 1
            guard openCount >= 0 else {
                throw Unreadable(message: "unexpected `)`", go: "unexpected right paren")
            }
            return single(.close)
        case UInt8(ascii: "|"): return single(.pipe)
        case UInt8(ascii: ","): return single(.comma)
        case UInt8(ascii: "="): return single(.assign)
        case UInt8(ascii: ":"):
            guard starts(":=") else {
                throw Unreadable(message: "expected `:=`", go: "expected :=")
            }
            at += 2
            return .declare
        case UInt8(ascii: "\""): return .string(try quoted())
        case UInt8(ascii: "`"): return .string(try raw())
        case UInt8(ascii: "'"): return .int(try character())
        case UInt8(ascii: "$"):
            at += 1
            return .variable("$" + (try endedWord()))
        case UInt8(ascii: "."):
            if at + 1 < bytes.count, (48...57).contains(bytes[at + 1]) { return try number() }
            at += 1
            let name = try endedWord()
            return name.isEmpty ? .dot : .field(name)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"):
            return try number()
        default:
            let name = word()
            guard !name.isEmpty else {
                let scalar = Unicode.Scalar(byte)
                if (33...126).contains(byte) { return single(.other) }
                let code = String(byte, radix: 16, uppercase: true)
                throw Unreadable(
                    message: "unexpected `\(Character(scalar))` in an action",
                    go: "unrecognized character in action: U+00" + (byte < 16 ? "0" : "") + code)
            }
            try checkEnd()
            return .word(name)
        }
    }

    /// A name behind a dot or a dollar, which nothing but what ends a name may follow; `.` and `$` alone may be followed by
    /// anything.
    private mutating func endedWord() throws(Unreadable) -> String {
        let name = word()
        if !name.isEmpty { try checkEnd() }
        return name
    }

    /// Throws where something sticks to the name that was just read, as in `.request-id`. Source: Go's `text/template`.
    private func checkEnd() throws(Unreadable) {
        guard at < bytes.count, !" \t\r\n.,|:()}".utf8.contains(bytes[at]) else { return }
        let rest = String(decoding: bytes[at...].prefix(4), as: UTF8.self)
        guard let scalar = rest.unicodeScalars.first else { return }
        let digits = String(scalar.value, radix: 16, uppercase: true)
        let code = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        throw Unreadable(
            message: "unexpected `\(scalar)` right after a name",
            go: "bad character U+\(code) '\(scalar)'")
    }

    private mutating func single(_ kind: TemplateToken.Kind) -> TemplateToken.Kind {
        at += 1
        return kind
    }

    private mutating func word() -> String {
        let start = at
        while at < bytes.count, Self.isWordPart(bytes[at]) { at += 1 }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func number() throws(Unreadable) -> TemplateToken.Kind {
        let start = at
        if bytes[at] == 43 || bytes[at] == 45 { at += 1 }
        while at < bytes.count {
            let isExponentSign =
                (bytes[at] == 43 || bytes[at] == 45) && (bytes[at - 1] | 32) == 101
            guard Self.isWordPart(bytes[at]) || bytes[at] == 46 || isExponentSign else { break }
            at += 1
        }
        let text = String(decoding: bytes[start..<at].filter { $0 != 95 }, as: UTF8.self)
        let digits = text.drop { $0 == "+" || $0 == "-" }.lowercased()
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
            guard let value = Int(digits.dropFirst(2), radix: radix) else { break }
            return .int(text.hasPrefix("-") ? -value : value)
        }
        if let value = Int(text) { return .int(value) }
        guard let first = digits.first, first.isNumber || first == ".", let value = Double(text),
            value.isFinite
        else {
            let written = String(decoding: bytes[start..<at], as: UTF8.self)
            throw Unreadable(
                message: "bad number `\(text)`",
                go: "bad number syntax: \(GoFormat.quoted(written))")
        }
        return .float(value)
    }

    private mutating func raw() throws(Unreadable) -> String {
        at += 1
        let start = at
        while at < bytes.count, bytes[at] != UInt8(ascii: "`") { step() }
        guard at < bytes.count else {
            throw Unreadable(
                message: "unterminated raw string", go: "unterminated raw quoted string")
        }
        at += 1
        return String(decoding: bytes[start..<(at - 1)].filter { $0 != 13 }, as: UTF8.self)
    }

    private mutating func quoted() throws(Unreadable) -> String {
        at += 1
        var text: [UInt8] = []
        while at < bytes.count, bytes[at] != UInt8(ascii: "\""), bytes[at] != 10 {
            text += try unit()
        }
        guard at < bytes.count, bytes[at] != 10 else {
            throw Unreadable(
                message: "unterminated string", go: "unterminated quoted string")
        }
        at += 1
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func character() throws(Unreadable) -> Int {
        at += 1
        var text: [UInt8] = []
        while at < bytes.count, bytes[at] != UInt8(ascii: "'"), bytes[at] != 10 {
            text += try unit()
        }
        let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
        guard at < bytes.count, bytes[at] != 10, scalars.count == 1, let scalar = scalars.first
        else {
            throw Unreadable(
                message: "malformed character constant", go: "unterminated character constant")
        }
        at += 1
        return Int(scalar.value)
    }

    /// One byte, or an escape of Go's string literals.
    private mutating func unit() throws(Unreadable) -> [UInt8] {
        let byte = bytes[at]
        at += 1
        guard byte == UInt8(ascii: "\\") else { return [byte] }
        guard at < bytes.count else {
            throw Unreadable(
                message: "unterminated string", go: "unterminated quoted string")
        }
        let escape = bytes[at]
        at += 1
        switch escape {
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "a"): return [7]
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "v"): return [11]
        case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): return [escape]
        case UInt8(ascii: "x"): return [UInt8(truncatingIfNeeded: try code(2, radix: 16))]
        case UInt8(ascii: "u"): return try scalar(code(4, radix: 16))
        case UInt8(ascii: "U"): return try scalar(code(8, radix: 16))
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            at -= 1
            return [UInt8(truncatingIfNeeded: try code(3, radix: 8))]
        default: throw Unreadable(message: "unknown escape in a string", go: "invalid syntax")
        }
    }

    private mutating func code(_ count: Int, radix: Int) throws(Unreadable) -> UInt32 {
        guard at + count <= bytes.count,
            let value = UInt32(
                String(decoding: bytes[at..<(at + count)], as: UTF8.self), radix: radix)
        else { throw Unreadable(message: "bad escape in a string", go: "invalid syntax") }
        at += count
        return value
    }

    private func scalar(_ code: UInt32) throws(Unreadable) -> [UInt8] {
        guard let scalar = Unicode.Scalar(code) else {
            throw Unreadable(message: "bad escape in a string", go: "invalid syntax")
        }
        return Array(String(Character(scalar)).utf8)
    }
}
