import FoundationEssentials
import JSONReading
import RemoteWrite

/// Turns a request in JSON into the same request in the wire format, so that one reader serves both.
///
/// Unknown names are stepped over, `null` is an absent field, of a repeated name the last counts where the field is not
/// a list. 64-bit integers are numbers or texts, other numbers too; enums are numbers alone.
/// Source: OTLP 1.9 "JSON Protobuf Encoding"; protobuf.dev "ProtoJSON Format".
struct JSONTranscoder {
    /// Bytes that the length before a message takes, whatever it is: it is written before the message is known.
    private static let lengthBytes = 5

    /// Arrays and objects inside each other: a map in an attribute's value takes four, before the first there are 15 at most, and
    /// `MetricsExport.Limits.valueDepthMax` of them have room.
    private static let depthMax = 96

    private var json: JSONReader
    private let bytesMax: Int
    private var bytes: [UInt8] = []

    /// `text`, which is a `request`, in the wire format, at most `bytesMax` long.
    static func protobuf(
        _ text: [UInt8], _ request: OTLPMessage, bytesMax: Int
    ) throws(OTLPError) -> [UInt8] {
        precondition(bytesMax < 1 << 35, "longer than a length can say")
        var transcoder = JSONTranscoder(
            json: JSONReader(text, depthMax: depthMax), bytesMax: bytesMax)
        try transcoder.write(request)
        do throws(JSONError) { try transcoder.json.end() } catch { throw .json(error) }
        return transcoder.bytes
    }

    private init(json: JSONReader, bytesMax: Int) {
        self.json = json
        self.bytesMax = bytesMax
    }

    /// Writes the fields of the object that comes next.
    private mutating func write(_ message: OTLPMessage) throws(OTLPError) {
        guard try kind() == .object else { throw badValue(message, "an object") }
        try enter()
        var isFirst = true
        while let name = try nextName(&isFirst) {
            guard let field = message.field(name), try kind() != .null else {
                do throws(JSONError) { try json.skip() } catch { throw .json(error) }
                continue
            }
            guard field.isRepeated else {
                try write(field, name, of: message)
                continue
            }
            guard try kind() == .array else { throw badValue(message, name) }
            try enter()
            var isFirstElement = true
            while try nextElement(&isFirstElement) { try write(field, name, of: message) }
        }
    }

    /// Writes one value of `field`.
    private mutating func write(
        _ field: MessageField, _ name: String, of message: OTLPMessage
    ) throws(OTLPError) {
        guard bytes.count <= bytesMax else { throw .tooLong(max: bytesMax) }
        switch field.kind {
        case .message(let inner):
            ProtobufText.append(varint: field.number << 3 | 2, to: &bytes)
            let start = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: Self.lengthBytes))
            try write(inner)
            setLength(at: start)
        case .text:
            ProtobufText.append(
                field.number, content: try text(message, name).utf8, to: &bytes)
        case .hexadecimal:
            guard let id = Self.hexadecimal(try text(message, name)) else {
                throw badValue(message, name)
            }
            ProtobufText.append(field.number, content: id, to: &bytes)
        case .base64:
            guard let content = Self.base64(try text(message, name)) else {
                throw badValue(message, name)
            }
            ProtobufText.append(field.number, content: content, to: &bytes)
        case .boolean:
            guard try kind() == .boolean else { throw badValue(message, name) }
            append(varint: try boolean() ? 1 : 0, field)
        case .double:
            guard let value = Self.double(try numberText(message, name)) else {
                throw badValue(message, name)
            }
            append(fixed64: value.bitPattern, field)
        case .fixed32:
            guard
                let value = UInt32(
                    exactly: try integer(message, name, isSigned: false))
            else { throw badValue(message, name) }
            append(fixed: UInt64(value), bytes: 4, field)
        case .fixed64(let isSigned):
            append(fixed64: try integer(message, name, isSigned: isSigned), field)
        case .varint(let isSigned):
            append(varint: try integer(message, name, isSigned: isSigned), field)
        case .zigzag:
            let value = Int64(bitPattern: try integer(message, name, isSigned: true))
            append(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)), field)
        }
    }

    private mutating func append(varint value: UInt64, _ field: MessageField) {
        ProtobufText.append(varint: field.number << 3, to: &bytes)
        ProtobufText.append(varint: value, to: &bytes)
    }

    private mutating func append(fixed64 value: UInt64, _ field: MessageField) {
        append(fixed: value, bytes: 8, field)
    }

    private mutating func append(fixed value: UInt64, bytes count: Int, _ field: MessageField) {
        ProtobufText.append(varint: field.number << 3 | (count == 8 ? 1 : 5), to: &bytes)
        for byte in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) }
    }

    /// Puts the length of what follows it into the place kept for it; it has more bytes than it needs.
    private mutating func setLength(at start: Int) {
        var rest = bytes.count - start - Self.lengthBytes
        for index in 0..<Self.lengthBytes {
            let isLast = index == Self.lengthBytes - 1
            bytes[start + index] = UInt8(rest & 0x7f) | (isLast ? 0 : 0x80)
            rest >>= 7
        }
    }

    // MARK: Values

    private func badValue(_ message: OTLPMessage, _ name: String) -> OTLPError {
        .badValue(message, field: name, at: json.place)
    }

    private mutating func kind() throws(OTLPError) -> JSONReader.Kind {
        do throws(JSONError) { return try json.kind() } catch { throw .json(error) }
    }

    private mutating func enter() throws(OTLPError) {
        do throws(JSONError) { try json.enter() } catch { throw .json(error) }
    }

    private mutating func nextName(_ isFirst: inout Bool) throws(OTLPError) -> String? {
        do throws(JSONError) { return try json.nextName(isFirst: &isFirst) } catch {
            throw .json(error)
        }
    }

    private mutating func nextElement(_ isFirst: inout Bool) throws(OTLPError) -> Bool {
        do throws(JSONError) { return try json.nextElement(isFirst: &isFirst) } catch {
            throw .json(error)
        }
    }

    private mutating func boolean() throws(OTLPError) -> Bool {
        do throws(JSONError) { return try json.boolean() } catch { throw .json(error) }
    }

    private mutating func text(
        _ message: OTLPMessage, _ name: String
    ) throws(OTLPError) -> String {
        guard try kind() == .string else { throw badValue(message, name) }
        do throws(JSONError) { return try json.string() } catch { throw .json(error) }
    }

    /// A number as written, or what a text has in its place.
    private mutating func numberText(
        _ message: OTLPMessage, _ name: String
    ) throws(OTLPError) -> String {
        switch try kind() {
        case .string: return try text(message, name)
        case .number:
            do throws(JSONError) {
                return String(decoding: try json.number(), as: UTF8.self)
            } catch { throw .json(error) }
        case .object, .array, .boolean, .null: throw badValue(message, name)
        }
    }

    /// The bits of an integer; `1.0` and `1e3` are integers too.
    private mutating func integer(
        _ message: OTLPMessage, _ name: String, isSigned: Bool
    ) throws(OTLPError) -> UInt64 {
        let text = try numberText(message, name)
        let value =
            isSigned
            ? (Int64(text) ?? Self.double(text).flatMap { Int64(exactly: $0) })
                .map { UInt64(bitPattern: $0) }
            : UInt64(text) ?? Self.double(text).flatMap { UInt64(exactly: $0) }
        guard let value = value ?? message.enumeration(name, text) else {
            throw badValue(message, name)
        }
        return value
    }

    /// A number in JSON's form, or one of the three that JSON can't say.
    private static func double(_ text: String) -> Double? {
        switch text {
        case "NaN": return .nan
        case "Infinity": return .infinity
        case "-Infinity": return -.infinity
        default:
            // Swift would take `inf`, `nan` and hexadecimal digits too.
            let isPlain = text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || "+-.eE".utf8.contains(byte)
            }
            guard isPlain, let value = Double(text), value.isFinite else { return nil }
            return value
        }
    }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        let digits = text.utf8.map { byte -> UInt8? in
            switch byte {
            case 48...57: byte - 48
            case 65...70: byte - 55
            case 97...102: byte - 87
            default: nil
            }
        }
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for pair in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[pair], let low = digits[pair + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// With or without padding, in either alphabet.
    private static func base64(_ text: String) -> [UInt8]? {
        var standard = text.utf8.filter { $0 != UInt8(ascii: "=") }.map { byte in
            switch byte {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: byte
            }
        }
        while !standard.count.isMultiple(of: 4) { standard.append(UInt8(ascii: "=")) }
        return Data(base64Encoded: Data(standard)).map { Array($0) }
    }
}
