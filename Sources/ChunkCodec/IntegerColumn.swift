/// Integers in few bits: what is left after their common step, their slope and the least of each block are taken away.
///
///     order (0, 1, 2)   step varint   then `order` signed varints: the first value, the first difference
///     for each 64 of what is left:   width (0 … 64)   least, signed varint   (value - least) × width bits, LSB first
///
/// The column's values are `base + step × x`; order 1 stores differences of x, order 2 differences of those. Each block
/// begins at a byte. Arithmetic wraps at 64 bits, so every Int64 comes back.
enum IntegerColumn {
    static let blockCount = 64

    // MARK: Writing

    static func write(_ values: [Int64], to writer: inout ChunkWriter) {
        guard let base = values.first else { return }
        let step = commonStep(values, base)
        var rest = values.map { step == 1 ? $0 &- base : ($0 &- base) / step }
        var best = (order: 0, bytes: cost(rest), rest: rest, heads: [Int64]())
        var heads: [Int64] = []
        for order in 1...2 where values.count > order {
            heads.append(rest[0])
            rest = zip(rest.dropFirst(), rest).map { $0 &- $1 }
            let bytes = cost(rest) + heads.reduce(0) { $0 + signedLength($1) }
            if bytes < best.bytes { best = (order, bytes, rest, heads) }
        }
        writer.append(UInt8(best.order))
        writer.append(varint: UInt64(bitPattern: step))
        writer.append(signed: base)
        // The first of x is always 0: of the heads only the slope says something.
        for head in best.heads.dropFirst() { writer.append(signed: head) }
        for start in stride(from: 0, to: best.rest.count, by: blockCount) {
            writeBlock(best.rest[start..<min(start + blockCount, best.rest.count)], to: &writer)
        }
    }

    /// The greatest number that divides every distance from `base`; 1 where a distance does not fit 63 bits.
    private static func commonStep(_ values: [Int64], _ base: Int64) -> Int64 {
        var step: UInt64 = 0
        for value in values {
            let (distance, overflow) = value.subtractingReportingOverflow(base)
            if overflow || distance == .min { return 1 }
            step = greatestCommonDivisor(step, distance.magnitude)
            if step == 1 { return 1 }
        }
        return max(1, Int64(step))
    }

    private static func greatestCommonDivisor(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }

    private static func cost(_ values: [Int64]) -> Int {
        var bytes = 0
        for start in stride(from: 0, to: values.count, by: blockCount) {
            let block = values[start..<min(start + blockCount, values.count)]
            let (least, width) = frame(block)
            bytes += 1 + signedLength(least) + (block.count * width + 7) / 8
        }
        return bytes
    }

    private static func frame(_ block: ArraySlice<Int64>) -> (least: Int64, width: Int) {
        var least = Int64.max
        var most = Int64.min
        for value in block {
            least = min(least, value)
            most = max(most, value)
        }
        return (least, 64 - (most &- least).leadingZeroBitCount)
    }

    private static func signedLength(_ value: Int64) -> Int {
        let bits = 64 - ((value << 1) ^ (value >> 63)).leadingZeroBitCount
        return max(1, (bits + 6) / 7)
    }

    private static func writeBlock(_ block: ArraySlice<Int64>, to writer: inout ChunkWriter) {
        let (least, width) = frame(block)
        writer.append(UInt8(width))
        writer.append(signed: least)
        guard width > 0 else { return }
        var pending: UInt64 = 0
        var pendingBits = 0
        for value in block {
            let bits = UInt64(bitPattern: value &- least)
            pending |= bits << UInt64(pendingBits)
            let room = 64 - pendingBits
            if width < room {
                pendingBits += width
                continue
            }
            writer.append(pending, bytes: 8)
            pending = room == 64 ? 0 : bits >> UInt64(room)
            pendingBits = width - room
        }
        writer.append(pending, bytes: (pendingBits + 7) / 8)
    }

    // MARK: Reading

    /// Reads as many integers as `values` has room for.
    static func read(
        _ cursor: inout ChunkCursor, into values: UnsafeMutableBufferPointer<Int64>
    ) throws(ChunkError) {
        guard !values.isEmpty else { return }
        let order = Int(try cursor.byte())
        guard order <= 2, order == 0 || order < values.count else {
            throw ChunkError("an integer column of order \(order) before byte \(cursor.at)")
        }
        let step = Int64(bitPattern: try cursor.varint())
        let base = try cursor.signed()
        var slope = order == 2 ? try cursor.signed() : 0
        var start = order
        while start < values.count {
            let end = min(start + blockCount, values.count)
            try readBlock(&cursor, into: UnsafeMutableBufferPointer(rebasing: values[start..<end]))
            start = end
        }
        switch order {
        case 0:
            for index in values.indices { values[index] = base &+ step &* values[index] }
        case 1:
            var value = base
            values[0] = base
            for index in 1..<values.count {
                value &+= step &* values[index]
                values[index] = value
            }
        default:
            values[0] = base
            var value = base &+ step &* slope
            values[1] = value
            for index in 2..<values.count {
                slope &+= values[index]
                value &+= step &* slope
                values[index] = value
            }
        }
    }

    private static func readBlock(
        _ cursor: inout ChunkCursor, into values: UnsafeMutableBufferPointer<Int64>
    ) throws(ChunkError) {
        let width = Int(try cursor.byte())
        guard width <= 64 else {
            throw ChunkError("a block of \(width) bits a value before byte \(cursor.at)")
        }
        let least = try cursor.signed()
        let packed = try cursor.take((values.count * width + 7) / 8)
        guard width > 0 else {
            values.update(repeating: least)
            return
        }
        let mask = width == 64 ? UInt64.max : (1 << UInt64(width)) &- 1
        // Eight bytes at once as long as they lie in the block; a value of more than 57 bits may need a ninth.
        var index = 0
        if width <= 57 {
            let whole = packed.count < 8 ? 0 : min(values.count, (packed.count - 8) * 8 / width + 1)
            while index < whole {
                let bit = index &* width
                let word = packed.loadUnaligned(fromByteOffset: bit >> 3, as: UInt64.self)
                let value = (UInt64(littleEndian: word) &>> UInt64(bit & 7)) & mask
                values[index] = least &+ Int64(bitPattern: value)
                index &+= 1
            }
        }
        while index < values.count {
            values[index] = least &+ Int64(bitPattern: slowly(packed, index * width, width))
            index += 1
        }
    }

    /// `width` bits from bit `start` on, byte by byte.
    private static func slowly(
        _ packed: UnsafeRawBufferPointer, _ start: Int, _ width: Int
    ) -> UInt64 {
        var value: UInt64 = 0
        var got = 0
        while got < width {
            let bit = start + got
            let taken = min(8 - bit % 8, width - got)
            let part = (UInt64(packed[bit / 8]) >> UInt64(bit % 8)) & ((1 << UInt64(taken)) - 1)
            value |= part << UInt64(got)
            got += taken
        }
        return value
    }
}
