/// Why a text is no JSON that a reader accepts. Offsets count bytes from 0.
package enum JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed(offset: Int)
    /// More than `max` arrays and objects inside each other.
    case tooDeep(offset: Int, max: Int)
    /// The text as a whole is not what was asked for: an array where an object was expected, say.
    case unexpectedShape

    package var description: String {
        switch self {
        case .malformed(let offset): "no JSON at byte \(offset)"
        case .tooDeep(let offset, let max):
            "more than \(max) levels of JSON at byte \(offset)"
        case .unexpectedShape: "JSON of an unexpected shape"
        }
    }
}

/// Reads JSON from front to back without building a tree: memory is the text and the strings that are asked for.
///
/// Strict where it matters for a filter: one value, no comments, no trailing commas, no raw control characters. Invalid
/// UTF-8 and lone surrogates become U+FFFD. Source: RFC 8259.
package struct JSONReader {
    /// Arrays and objects that may stand inside each other where nobody says another number; the deepest message of Docker's
    /// that we know has 13.
    package static let depthMax = 64

    /// What a value is.
    package enum Kind: Hashable, Sendable { case object, array, string, number, boolean, null }

    private let bytes: ArraySlice<UInt8>
    private var offset: Int
    private var depth = 0
    private let depthMax: Int

    /// Reads `bytes` from their start.
    package init(_ bytes: [UInt8], depthMax: Int = JSONReader.depthMax) {
        self.bytes = bytes[...]
        self.depthMax = depthMax
        offset = 0
    }

    /// Bytes that were read.
    package var place: Int { offset }

    /// The kind of the value that comes next.
    package mutating func kind() throws(JSONError) -> Kind {
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), .some(48...57): return .number
        case .some, nil: throw .malformed(offset: offset)
        }
    }

    /// Steps into the object or array that comes next.
    package mutating func enter() throws(JSONError) {
        guard depth < depthMax else { throw .tooDeep(offset: offset, max: depthMax) }
        depth += 1
        offset += 1
    }

    /// The name of the object's next member, with its value next; nil behind the last, outside the object again.
    package mutating func nextName(isFirst: inout Bool) throws(JSONError) -> String? {
        guard try nextItem(isFirst: &isFirst, closing: UInt8(ascii: "}")) else { return nil }
        guard try kind() == .string else { throw .malformed(offset: offset) }
        let name = try string()
        skipSpace()
        guard peek == UInt8(ascii: ":") else { throw .malformed(offset: offset) }
        offset += 1
        return name
    }

    /// Whether the array has another element, which then is next; after false the reader is outside the array.
    package mutating func nextElement(isFirst: inout Bool) throws(JSONError) -> Bool {
        try nextItem(isFirst: &isFirst, closing: UInt8(ascii: "]"))
    }

    private mutating func nextItem(
        isFirst: inout Bool, closing: UInt8
    ) throws(JSONError) -> Bool {
        skipSpace()
        if peek == closing {
            offset += 1
            depth -= 1
            return false
        }
        if !isFirst {
            guard peek == UInt8(ascii: ",") else { throw .malformed(offset: offset) }
            offset += 1
            skipSpace()
        }
        isFirst = false
        return true
    }

    /// The string that comes next, its escapes resolved.
    package mutating func string() throws(JSONError) -> String {
        let plain = skipPlain()
        guard peek == UInt8(ascii: "\"") else {
            return String(decoding: try escaped(after: plain), as: UTF8.self)
        }
        offset += 1
        return String(decoding: plain, as: UTF8.self)
    }

    /// The bytes of the string that comes next, its escapes resolved; what is no UTF-8 is as it was.
    package mutating func stringBytes() throws(JSONError) -> [UInt8] {
        let plain = skipPlain()
        guard peek == UInt8(ascii: "\"") else { return try escaped(after: plain) }
        offset += 1
        return Array(plain)
    }

    /// Steps into a string, up to what ends it or its first escape.
    private mutating func skipPlain() -> ArraySlice<UInt8> {
        offset += 1
        let start = offset
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 32 {
            offset += 1
        }
        return bytes[start..<offset]
    }

    private mutating func escaped(after plain: ArraySlice<UInt8>) throws(JSONError) -> [UInt8] {
        var units = Array(plain)
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return units
            case UInt8(ascii: "\\"):
                offset += 1
                try appendEscape(to: &units)
            case 0..<32: throw .malformed(offset: offset)
            default:
                units.append(byte)
                offset += 1
            }
        }
        throw .malformed(offset: offset)
    }

    /// Steps over the string that comes next; makes nothing of it.
    private mutating func skipString() throws(JSONError) {
        offset += 1
        var ignored: [UInt8] = []
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return
            case UInt8(ascii: "\\"):
                offset += 1
                try appendEscape(to: &ignored)
            case 0..<32: throw .malformed(offset: offset)
            default: offset += 1
            }
        }
        throw .malformed(offset: offset)
    }

    private mutating func appendEscape(to units: inout [UInt8]) throws(JSONError) {
        guard let byte = peek else { throw .malformed(offset: offset) }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
        case UInt8(ascii: "b"): units.append(8)
        case UInt8(ascii: "f"): units.append(12)
        case UInt8(ascii: "n"): units.append(10)
        case UInt8(ascii: "r"): units.append(13)
        case UInt8(ascii: "t"): units.append(9)
        case UInt8(ascii: "u"):
            var code = UInt32(try hexadecimal())
            if 0xD800..<0xDC00 ~= code, peek == UInt8(ascii: "\\"),
                bytes.dropFirst(offset + 1).first == UInt8(ascii: "u")
            {
                let before = offset
                offset += 2
                let low = UInt32(try hexadecimal())
                if 0xDC00..<0xE000 ~= low {
                    code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    offset = before
                }
            }
            units += String(Character(Unicode.Scalar(code) ?? "\u{FFFD}")).utf8
        default: throw .malformed(offset: offset - 1)
        }
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw .malformed(offset: offset)
            }
            value = value << 4 | UInt16(digit)
            offset += 1
        }
        return value
    }

    /// The number that comes next, as written. Source: RFC 8259 section 6.
    package mutating func number() throws(JSONError) -> ArraySlice<UInt8> {
        let start = offset
        if peek == UInt8(ascii: "-") { offset += 1 }
        let isZero = peek == UInt8(ascii: "0")
        let count = skipDigits()
        guard count == 1 || (count > 1 && !isZero) else { throw .malformed(offset: offset) }
        if peek == UInt8(ascii: ".") {
            offset += 1
            guard skipDigits() > 0 else { throw .malformed(offset: offset) }
        }
        if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
            offset += 1
            if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { offset += 1 }
            guard skipDigits() > 0 else { throw .malformed(offset: offset) }
        }
        return bytes[start..<offset]
    }

    /// `true` or `false`, which comes next.
    package mutating func boolean() throws(JSONError) -> Bool {
        let value = peek == UInt8(ascii: "t")
        try word(value ? "true" : "false")
        return value
    }

    /// `null`, which comes next.
    package mutating func null() throws(JSONError) { try word("null") }

    /// Steps over the value that comes next, whatever it is.
    package mutating func skip() throws(JSONError) {
        switch try kind() {
        case .string: try skipString()
        case .number: _ = try number()
        case .boolean: _ = try boolean()
        case .null: try null()
        case .object:
            try enter()
            var isFirst = true
            while try nextName(isFirst: &isFirst) != nil { try skip() }
        case .array:
            try enter()
            var isFirst = true
            while try nextElement(isFirst: &isFirst) { try skip() }
        }
    }

    /// Throws unless nothing but space follows.
    package mutating func end() throws(JSONError) {
        skipSpace()
        guard peek == nil else { throw .malformed(offset: offset) }
    }

    private var peek: UInt8? { offset < bytes.endIndex ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte = peek, byte == 32 || byte == 10 || byte == 13 || byte == 9 { offset += 1 }
    }

    private mutating func skipDigits() -> Int {
        let start = offset
        while let byte = peek, isDigit(byte) { offset += 1 }
        return offset - start
    }

    private func isDigit(_ byte: UInt8) -> Bool { 48...57 ~= byte }

    // Not a StaticString: inlined into its callers that stops Swift 6.3's optimizer.
    private mutating func word(_ text: String) throws(JSONError) {
        for byte in text.utf8 {
            guard peek == byte else { throw .malformed(offset: offset) }
            offset += 1
        }
    }
}

/// JSON as text.
package enum JSONText {
    /// Appends `text` as a JSON string.
    package static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<32:
                bytes += "\\u00".utf8
                bytes += [hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static let hexDigits = Array("0123456789abcdef".utf8)
}
