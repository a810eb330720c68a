/// Why bytes are no chunk of this codec.
package struct ChunkError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was found, and at which byte where that helps.
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Appends numbers to a chunk.
struct ChunkWriter {
    private(set) var bytes: [UInt8] = []

    var count: Int { bytes.count }

    mutating func append(_ byte: UInt8) { bytes.append(byte) }

    mutating func append(_ other: [UInt8]) { bytes += other }

    /// The 64 bits of `value`, little-endian.
    mutating func append(bits value: Double) { append(value.bitPattern, bytes: 8) }

    /// The low `count` bytes of `value`, little-endian.
    mutating func append(_ value: UInt64, bytes count: Int) {
        for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }

    /// LEB128.
    mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func append(varint value: Int) { append(varint: UInt64(value)) }

    /// Small magnitudes of either sign in few bytes.
    mutating func append(signed value: Int64) {
        append(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    }
}

/// Reads a chunk from front to back; never past its end.
struct ChunkCursor {
    private let bytes: UnsafeRawBufferPointer
    private(set) var at: Int
    let end: Int

    /// Reads `range` of `bytes`, which must outlive this.
    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
    }

    var left: Int { end - at }

    mutating func byte() throws(ChunkError) -> UInt8 {
        guard at < end else { throw truncated }
        defer { at += 1 }
        return bytes[at]
    }

    mutating func bits() throws(ChunkError) -> Double {
        guard left >= 8 else { throw truncated }
        defer { at += 8 }
        let pattern = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        return Double(bitPattern: UInt64(littleEndian: pattern))
    }

    mutating func varint() throws(ChunkError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else {
                throw ChunkError("a number of more than 64 bits before byte \(at)")
            }
            value |= UInt64(next & 0x7f) << shift
            if next < 0x80 { return value }
            shift += 7
        }
    }

    /// A number that counts things, at most `max`.
    mutating func count(_ what: String, max: Int) throws(ChunkError) -> Int {
        let value = try varint()
        guard value <= UInt64(max) else {
            throw ChunkError("\(value) \(what) before byte \(at), at most \(max) can be")
        }
        return Int(value)
    }

    mutating func signed() throws(ChunkError) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// The next `count` bytes, and behind them whatever else the chunk holds: wide loads may reach past what is taken.
    mutating func take(_ count: Int) throws(ChunkError) -> UnsafeRawBufferPointer {
        guard count <= left else { throw truncated }
        defer { at += count }
        return UnsafeRawBufferPointer(rebasing: bytes[at...])
    }

    /// An integer column of `count`.
    mutating func integers(_ count: Int) throws(ChunkError) -> [Int64] {
        var failure: ChunkError?
        var local = self
        let values = [Int64](unsafeUninitializedCapacity: count) { buffer, initialized in
            buffer.initialize(repeating: 0)
            initialized = count
            do throws(ChunkError) {
                try IntegerColumn.read(
                    &local, into: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            } catch { failure = error }
        }
        if let failure { throw failure }
        self = local
        return values
    }

    /// A value column of `count`.
    mutating func values(_ count: Int) throws(ChunkError) -> [Double] {
        var failure: ChunkError?
        var local = self
        let values = [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
            buffer.initialize(repeating: 0)
            initialized = count
            do throws(ChunkError) {
                try ValueColumn.read(
                    &local, into: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            } catch { failure = error }
        }
        if let failure { throw failure }
        self = local
        return values
    }

    private var truncated: ChunkError {
        ChunkError("the chunk ends within a column, at byte \(end)")
    }
}
