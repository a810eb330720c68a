/// Reads protocol buffers from front to back; never past its end. Source: protobuf.dev, "Encoding".
struct ProtobufCursor {
    /// A field's number with its wire type: `number << 3 | type`.
    struct Key: Equatable {
        var rawValue: UInt64

        static func varint(_ field: UInt64) -> Key { Key(rawValue: field << 3) }
        static func fixed64(_ field: UInt64) -> Key { Key(rawValue: field << 3 | 1) }
        static func bytes(_ field: UInt64) -> Key { Key(rawValue: field << 3 | 2) }
    }

    private let bytes: UnsafeRawBufferPointer
    private(set) var at: Int
    let end: Int
    /// Which message this is, for errors.
    let message: WireMessage

    /// Reads `range` of `bytes`, which must outlive this.
    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ message: WireMessage) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "outside the body")
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
        self.message = message
    }

    var range: Range<Int> { at..<end }

    /// The next field's key; nil at the end of the message.
    @inline(__always)
    mutating func key() throws(RemoteWriteError) -> UInt64? {
        at < end ? try varint() : nil
    }

    @inline(__always)
    mutating func varint() throws(RemoteWriteError) -> UInt64 {
        guard at < end else { throw .truncated(message, at: end) }
        let first = bytes[at]
        guard first >= 0x80 else {
            at += 1
            return UInt64(first)
        }
        return try longVarint()
    }

    private mutating func longVarint() throws(RemoteWriteError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end {
            let next = bytes[at]
            at += 1
            guard shift < 63 || next <= 1 else { throw .oversizedNumber(message, at: at) }
            value |= UInt64(next & 0x7f) << shift
            if next < 0x80 { return value }
            shift += 7
        }
        throw .truncated(message, at: end)
    }

    /// A varint in zigzag form.
    mutating func zigzag() throws(RemoteWriteError) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    @inline(__always)
    mutating func integer() throws(RemoteWriteError) -> Int64 {
        Int64(bitPattern: try varint())
    }

    @inline(__always)
    mutating func double() throws(RemoteWriteError) -> Double {
        guard end - at >= 8 else { throw .truncated(message, at: end) }
        defer { at += 8 }
        let pattern = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        return Double(bitPattern: UInt64(littleEndian: pattern))
    }

    /// The place of a length-delimited field's content, which is stepped over.
    @inline(__always)
    mutating func content() throws(RemoteWriteError) -> Range<Int> {
        let length = try varint()
        guard length <= UInt64(end - at) else { throw .truncated(message, at: end) }
        let start = at
        at += Int(length)
        return start..<at
    }

    /// A length-delimited field as a message of its own.
    mutating func nested(_ message: WireMessage) throws(RemoteWriteError) -> ProtobufCursor {
        ProtobufCursor(bytes, try content(), message)
    }

    /// Steps over a field that we don't know; `known` are the numbers that have a type of their own here.
    mutating func skip(_ key: UInt64, known: ClosedRange<UInt64>) throws(RemoteWriteError) {
        let field = key >> 3
        let type = UInt8(key & 7)
        guard field > 0, !known.contains(field) else {
            throw .badField(message, field: field, wireType: type, at: at)
        }
        switch type {
        case 0: _ = try varint()
        case 1:
            guard end - at >= 8 else { throw .truncated(message, at: end) }
            at += 8
        case 2: _ = try content()
        case 5:
            guard end - at >= 4 else { throw .truncated(message, at: end) }
            at += 4
        default: throw .badField(message, field: field, wireType: type, at: at)
        }
    }

    /// The bytes of a range of the same body.
    func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[range])
    }
}
