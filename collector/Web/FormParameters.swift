/// The parameters of a query string or of an `application/x-www-form-urlencoded` body, in their order.
///
/// Source: WHATWG URL, "application/x-www-form-urlencoded parsing", but malformed escapes and bytes that are not
/// UTF-8 are refused, as Go's `url.ParseQuery` refuses the former.
package struct FormParameters: Hashable, Sendable {
    /// Most parameters in one request.
    package static let countMax = 1000

    private var pairs: [Pair] = []

    private struct Pair: Hashable {
        var name: String
        var value: String
    }

    package init() {}

    /// Parses `bytes`. Throws `WebRefusal` (400).
    package init(_ bytes: some Sequence<UInt8>) throws(WebRefusal) {
        for part in Array(bytes).split(separator: UInt8(ascii: "&")) {
            guard pairs.count < Self.countMax else {
                throw WebRefusal(400, "more than \(Self.countMax) parameters")
            }
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            pairs.append(
                Pair(
                    name: try PercentCoding.decode(part[..<equals], plusIsSpace: true),
                    value: try PercentCoding.decode(
                        part[equals...].dropFirst(), plusIsSpace: true)))
        }
    }

    /// These and then `other`'s.
    package func merging(_ other: FormParameters) throws(WebRefusal) -> FormParameters {
        var merged = self
        merged.pairs += other.pairs
        guard merged.pairs.count <= Self.countMax else {
            throw WebRefusal(400, "more than \(Self.countMax) parameters")
        }
        return merged
    }

    /// The first value of `name`; the empty string where there is none.
    package subscript(name: String) -> String {
        pairs.first { $0.name == name }?.value ?? ""
    }

    /// Every value of `name`.
    package func all(_ name: String) -> [String] {
        pairs.filter { $0.name == name }.map(\.value)
    }
}

/// Percent-encoding. Source: RFC 3986, section 2.1.
package enum PercentCoding {
    /// The text that `bytes` stand for. Throws `WebRefusal` (400) on a broken escape and on bytes that are not UTF-8.
    package static func decode(
        _ bytes: ArraySlice<UInt8>, plusIsSpace: Bool
    ) throws(WebRefusal) -> String {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var rest = bytes
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+") where plusIsSpace: decoded.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(hexValue),
                    let low = rest.popFirst().flatMap(hexValue)
                else { throw WebRefusal(400, "invalid URL escape in the request's parameters") }
                decoded.append(high << 4 | low)
            default: decoded.append(byte)
            }
        }
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw WebRefusal(400, "the request's parameters are not UTF-8")
        }
        return text
    }

    /// `text` with everything but unreserved characters escaped.
    package static func encode(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            let isUnreserved =
                (byte | 0x20 >= 97 && byte | 0x20 <= 122) || (48...57).contains(byte)
                || [0x2d, 0x2e, 0x5f, 0x7e].contains(byte)
            if isUnreserved {
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                encoded += "%" + (byte < 16 ? "0" : "")
                encoded += String(byte, radix: 16, uppercase: true)
            }
        }
        return encoded
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}
