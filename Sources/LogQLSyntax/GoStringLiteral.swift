/// The inside of Go's interpreted string literals. Source: The Go specification, "String literals".
enum GoStringLiteral {
    /// The bytes that `content` (without its quotes) stands for; nil where an escape is not one.
    static func decode(_ content: ArraySlice<UInt8>) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(content.count)
        var rest = content
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                decoded.append(byte)
                continue
            }
            guard let escape = rest.popFirst() else { return nil }
            switch escape {
            case UInt8(ascii: "x"):
                guard let value = number(&rest, digits: 2, radix: 16) else { return nil }
                decoded.append(UInt8(truncatingIfNeeded: value))
            case UInt8(ascii: "u"), UInt8(ascii: "U"):
                let digits = escape == UInt8(ascii: "u") ? 4 : 8
                guard let value = number(&rest, digits: digits, radix: 16),
                    let scalar = Unicode.Scalar(value)
                else { return nil }
                decoded += Array(String(scalar).utf8)
            case UInt8(ascii: "0")...UInt8(ascii: "7"):
                rest = content[(rest.startIndex - 1)...]
                guard let value = number(&rest, digits: 3, radix: 8), value <= 255 else {
                    return nil
                }
                decoded.append(UInt8(value))
            default:
                guard let value = simple[escape] else { return nil }
                decoded.append(value)
            }
        }
        return decoded
    }

    /// `bytes` as a literal with its quotes. Source: Go `strconv.Quote`.
    static func encode(_ bytes: [UInt8]) -> String {
        var text = "\""
        var rest = bytes[...]
        while let byte = rest.first {
            if let letter = simple.first(where: { $0.value == byte && $0.key != 0x27 })?.key {
                text += "\\" + String(Unicode.Scalar(letter))
                rest.removeFirst()
            } else if byte < 0x20 || byte == 0x7f {
                text += escaped(byte)
                rest.removeFirst()
            } else if let character = firstScalar(rest) {
                text.unicodeScalars.append(character)
                rest.removeFirst(character.utf8.count)
            } else {
                text += escaped(byte)
                rest.removeFirst()
            }
        }
        return text + "\""
    }

    private static let simple: [UInt8: UInt8] = [
        UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
        UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11,
        UInt8(ascii: "\\"): 0x5c, UInt8(ascii: "\""): 0x22,
    ]

    private static func escaped(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return "\\x" + (digits.utf8.count == 1 ? "0" : "") + digits
    }

    private static func number(
        _ rest: inout ArraySlice<UInt8>, digits: Int, radix: Int
    ) -> UInt32? {
        let text = rest.prefix(digits)
        guard text.count == digits, text.allSatisfy({ $0 != 0x2b && $0 != 0x2d }),
            let value = UInt32(String(decoding: text, as: UTF8.self), radix: radix)
        else { return nil }
        rest.removeFirst(digits)
        return value
    }

    /// The scalar that `bytes` begins with; nil where they are not UTF-8.
    private static func firstScalar(_ bytes: ArraySlice<UInt8>) -> Unicode.Scalar? {
        var iterator = bytes.makeIterator()
        var decoder = UTF8()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
        return scalar
    }
}
