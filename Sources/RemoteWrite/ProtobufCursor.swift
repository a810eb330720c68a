/// What a reader of messages throws where the bytes are none. A case of an error enum is such a function.
package protocol ProtobufFailure: Error {
    /// Which message it was, for the error's text.
    associatedtype Message: Sendable

    /// A message ends within a field.
    static func truncated(_ message: Message, at: Int) -> Self
    /// A number of more than 64 bits.
    static func oversizedNumber(_ message: Message, at: Int) -> Self
    /// A field that the reader knows has another wire type, or its number or wire type does not exist.
    static func badField(_ message: Message, field: UInt64, wireType: UInt8, at: Int) -> Self
}

/// Reads protocol buffers from front to back; never past its end. Source: protobuf.dev, "Encoding".
///
/// A field's key is its number with its wire type: `number << 3 | type`. Places are bytes from the body's start.
package struct ProtobufCursor<Failure: ProtobufFailure> {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    package var at: Int
    package let end: Int
    /// Which message this is, for errors.
    package let message: Failure.Message

    /// Reads `range` of `bytes`, which must outlive this. Traps on a range outside of them.
    @inlinable
    package init(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ message: Failure.Message
    ) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "outside the body")
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
        self.message = message
    }

    /// What is not read yet.
    @inlinable package var range: Range<Int> { at..<end }

    /// The next field's key; nil at the end of the message.
    @inlinable @inline(__always)
    package mutating func key() throws(Failure) -> UInt64? {
        at < end ? try varint() : nil
    }

    /// A base 128 number. Throws `truncated` and `oversizedNumber`.
    @inlinable @inline(__always)
    package mutating func varint() throws(Failure) -> UInt64 {
        guard at < end else { throw .truncated(message, at: end) }
        let first = bytes[at]
        guard first >= 0x80 else {
            at += 1
            return UInt64(first)
        }
        return try longVarint()
    }

    @inlinable
    mutating func longVarint() throws(Failure) -> UInt64 {
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
    @inlinable
    package mutating func zigzag() throws(Failure) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// A varint's two's complement.
    @inlinable @inline(__always)
    package mutating func integer() throws(Failure) -> Int64 {
        Int64(bitPattern: try varint())
    }

    /// Eight bytes, little-endian.
    @inlinable @inline(__always)
    package mutating func fixed64() throws(Failure) -> UInt64 {
        guard end - at >= 8 else { throw .truncated(message, at: end) }
        defer { at += 8 }
        return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
    }

    /// Four bytes, little-endian.
    @inlinable
    package mutating func fixed32() throws(Failure) -> UInt32 {
        guard end - at >= 4 else { throw .truncated(message, at: end) }
        defer { at += 4 }
        return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    }

    /// A double, any bit pattern.
    @inlinable @inline(__always)
    package mutating func double() throws(Failure) -> Double {
        Double(bitPattern: try fixed64())
    }

    /// The place of a length-delimited field's content, which is stepped over.
    @inlinable @inline(__always)
    package mutating func content() throws(Failure) -> Range<Int> {
        let length = try varint()
        guard length <= UInt64(end - at) else { throw .truncated(message, at: end) }
        let start = at
        at += Int(length)
        return start..<at
    }

    /// A length-delimited field as a message of its own.
    @inlinable
    package mutating func nested(_ message: Failure.Message) throws(Failure) -> ProtobufCursor {
        ProtobufCursor(bytes, try content(), message)
    }

    /// A message at a place that `content` gave.
    @inlinable
    package func message(_ message: Failure.Message, at place: Range<Int>) -> ProtobufCursor {
        ProtobufCursor(bytes, place, message)
    }

    /// Steps over a field that the reader doesn't know; `known` are the numbers that have a type of their own here.
    /// Throws `badField` for one of those.
    @inlinable
    package mutating func skip(_ key: UInt64, known: ClosedRange<UInt64>) throws(Failure) {
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
    @inlinable
    package func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[range])
    }
}
