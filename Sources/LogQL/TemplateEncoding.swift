import GoTemplate
import JSONReading

/// Encodings that templates read and write.
enum TemplateEncoding {
    /// Deepest JSON that `fromJson` reads.
    private static let jsonDepthMax = 64

    // MARK: - URLs

    /// A `+` is a space. Source: Go `url.QueryUnescape`.
    static func urlDecoded(_ text: String) throws(GoTemplateError) -> String {
        let bytes = Array(text.utf8)
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var at = 0
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "+"): decoded.append(32)
            case UInt8(ascii: "%"):
                guard at + 2 < bytes.count, let high = hexadecimal(bytes[at + 1]),
                    let low = hexadecimal(bytes[at + 2])
                else {
                    let escape = String(
                        decoding: bytes[at..<min(at + 3, bytes.count)], as: UTF8.self)
                    throw .function("invalid URL escape \(GoText.quoted(escape))")
                }
                decoded.append(high << 4 | low)
                at += 2
            default: decoded.append(bytes[at])
            }
            at += 1
        }
        return EntryTemplate.text(decoded)
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }

    // MARK: - Base 64

    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func base64(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var encoded: [UInt8] = []
        encoded.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for index in 0..<3 {
                bits = bits << 8 | UInt32(index < group.count ? group[start + index] : 0)
            }
            for index in 0..<4 {
                let isFilled = index <= group.count
                encoded.append(
                    isFilled
                        ? alphabet[Int(bits >> UInt32(18 - 6 * index) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Missing padding is added; what is wrong is said in place of a result.
    /// Source: Loki `b64dec`; Go `base64.StdEncoding`, which skips line ends.
    static func base64Decoded(_ text: String) -> String {
        var bytes = Array(text.utf8)
        let rest = bytes.count % 4
        if rest > 1 { bytes += [UInt8](repeating: UInt8(ascii: "="), count: 4 - rest) }
        var decoded: [UInt8] = []
        var group: [UInt8] = []
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if byte == 10 || byte == 13 {
                at += 1
                continue
            }
            if let value = value(byte) {
                group.append(value)
                if group.count == 4 {
                    append(group, to: &decoded)
                    group = []
                }
                at += 1
                continue
            }
            guard byte == UInt8(ascii: "="), group.count >= 2 else { return corrupt(at) }
            let ends = bytes[at...].enumerated().filter { $0.element != 10 && $0.element != 13 }
            guard ends.count >= 4 - group.count else { return corrupt(bytes.count) }
            for (offset, byte) in ends.prefix(4 - group.count) where byte != UInt8(ascii: "=") {
                return corrupt(at + offset)
            }
            if ends.count > 4 - group.count { return corrupt(at + ends[4 - group.count].offset) }
            append(group, to: &decoded)
            return EntryTemplate.text(decoded)
        }
        // Go names the place where the group began.
        guard group.isEmpty else { return corrupt(bytes.count - group.count) }
        return EntryTemplate.text(decoded)
    }

    private static func corrupt(_ at: Int) -> String {
        "illegal base64 data at input byte \(at)"
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 65...90: byte - 65
        case 97...122: byte - 71
        case 48...57: byte + 4
        case 43: 62
        case 47: 63
        default: nil
        }
    }

    /// Two to four digits of 6 bits; one byte less.
    private static func append(_ group: [UInt8], to bytes: inout [UInt8]) {
        var bits: UInt32 = 0
        for index in 0..<4 { bits = bits << 6 | UInt32(index < group.count ? group[index] : 0) }
        for index in 0..<(group.count - 1) {
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(16 - 8 * index)))
        }
    }

    // MARK: - JSON

    /// The value of a JSON text, nil where it is none. Numbers are floats. Source: Go `json.Unmarshal`.
    static func json(_ text: String) -> TemplateValue {
        var reader = JSONReader(Array(text.utf8), depthMax: jsonDepthMax)
        do throws(JSONError) {
            let value = try json(&reader)
            try reader.end()
            return value
        } catch { return .null }
    }

    /// As deep as the reader allows, `jsonDepthMax`.
    private static func json(_ reader: inout JSONReader) throws(JSONError) -> TemplateValue {
        switch try reader.kind() {
        case .null:
            try reader.null()
            return .null
        case .boolean: return .bool(try reader.boolean())
        case .string: return .string(try reader.string())
        case .number:
            let digits = try reader.number()
            let number = Double(String(decoding: digits, as: UTF8.self))
            // Go refuses numbers out of range.
            guard let number, number.isFinite else { throw .malformed(offset: reader.place) }
            return .float(number)
        case .array:
            try reader.enter()
            var isFirst = true
            var items: [TemplateValue] = []
            while try reader.nextElement(isFirst: &isFirst) { items.append(try json(&reader)) }
            return .list(items)
        case .object:
            try reader.enter()
            var isFirst = true
            var entries: [String: TemplateValue] = [:]
            while let name = try reader.nextName(isFirst: &isFirst) {
                entries[name] = try json(&reader)
            }
            return .map(entries)
        }
    }
}
