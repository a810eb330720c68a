/// Doubles, bit for bit, in the shorter of three ways.
///
///     0 constant   the 64 bits
///     1 decimal    exponent (0 … 15)   exceptions: count varint, then distance varint and 64 bits each
///                  an integer column of value × 10^exponent
///     2 raw        an integer column of the upper 16 bits, then the lower 48 of each
///
/// What exporters say is decimal: counts, centiseconds, bytes. A double is an exception of the decimal way where no
/// integer below 2^53, divided by the power of ten, gives its very bits: the staleness marker and other NaNs, infinities,
/// -0, sums of many. Division by an exact power of ten is correctly rounded, so it is the same in every IEEE 754
/// arithmetic, PostgreSQL's included.
enum ValueColumn {
    enum Encoding: UInt8 {
        case constant, decimal, raw
    }

    static let exponentMax = 15
    /// 10^0 … 10^15, all exact.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ]
    /// Above this an integer times a power of ten is not exact any more.
    private static let decimalMax = 9_007_199_254_740_992.0
    /// Integers by themselves are exact up to far more; so much is left for differences.
    private static let integerMax = 2_305_843_009_213_693_952.0

    // MARK: Writing

    static func write(_ values: [Double], to writer: inout ChunkWriter) {
        guard let first = values.first else { return }
        guard values.contains(where: { $0.bitPattern != first.bitPattern }) else {
            writer.append(Encoding.constant.rawValue)
            writer.append(bits: first)
            return
        }
        guard let decimals = Decimals(values) else { return writeRaw(values, to: &writer) }
        writer.append(Encoding.decimal.rawValue)
        writer.append(UInt8(decimals.exponent))
        writer.append(varint: decimals.exceptions.count)
        var before = 0
        for index in decimals.exceptions {
            writer.append(varint: index - before)
            writer.append(bits: values[index])
            before = index
        }
        IntegerColumn.write(decimals.integers, to: &writer)
    }

    private static func writeRaw(_ values: [Double], to writer: inout ChunkWriter) {
        writer.append(Encoding.raw.rawValue)
        IntegerColumn.write(values.map { Int64($0.bitPattern >> 48) }, to: &writer)
        for value in values { writer.append(value.bitPattern, bytes: 6) }
    }

    /// Values as integers over one power of ten.
    private struct Decimals {
        var exponent = 0
        /// At an exception: the integer before it.
        var integers: [Int64] = []
        var exceptions: [Int] = []

        /// Nil where more than an eighth are exceptions.
        init?(_ values: [Double]) {
            let exceptionsMax = values.count / 8 + 1
            var misses = 0
            for value in values where !Decimals.isExact(value, exponent) {
                let larger = (exponent + 1)..<(exponentMax + 1)
                if let found = larger.first(where: { Decimals.isExact(value, $0) }) {
                    exponent = found
                } else {
                    misses += 1
                    if misses > exceptionsMax { return nil }
                }
            }
            integers.reserveCapacity(values.count)
            var last: Int64?
            for (index, value) in values.enumerated() {
                if let integer = Decimals.integer(value, exponent) {
                    if last == nil {
                        for before in integers.indices { integers[before] = integer }
                    }
                    last = integer
                    integers.append(integer)
                } else {
                    exceptions.append(index)
                    if exceptions.count > exceptionsMax { return nil }
                    integers.append(last ?? 0)
                }
            }
            if last == nil { return nil }
        }

        private static func isExact(_ value: Double, _ exponent: Int) -> Bool {
            integer(value, exponent) != nil
        }

        private static func integer(_ value: Double, _ exponent: Int) -> Int64? {
            let scaled = (value * powers[exponent]).rounded()
            let bound = exponent == 0 ? integerMax : decimalMax
            guard scaled.magnitude < bound else { return nil }
            let integer = Int64(scaled)
            let back = Double(integer) / powers[exponent]
            return back.bitPattern == value.bitPattern ? integer : nil
        }
    }

    // MARK: Reading

    /// Reads as many values as `values` has room for.
    static func read(
        _ cursor: inout ChunkCursor, into values: UnsafeMutableBufferPointer<Double>
    ) throws(ChunkError) {
        guard !values.isEmpty else { return }
        let byte = try cursor.byte()
        switch Encoding(rawValue: byte) {
        case .constant: values.update(repeating: try cursor.bits())
        case .decimal: try readDecimal(&cursor, into: values)
        case .raw: try readRaw(&cursor, into: values)
        case nil: throw ChunkError("a value column of kind \(byte) before byte \(cursor.at)")
        }
    }

    private static func readDecimal(
        _ cursor: inout ChunkCursor, into values: UnsafeMutableBufferPointer<Double>
    ) throws(ChunkError) {
        let exponent = Int(try cursor.byte())
        guard exponent <= exponentMax else {
            throw ChunkError("a decimal column of exponent \(exponent) before byte \(cursor.at)")
        }
        let exceptionCount = try cursor.count("exceptions", max: values.count)
        var exceptions = cursor
        var index = 0
        for _ in 0..<exceptionCount {
            index += try cursor.count("places", max: values.count - 1 - index)
            _ = try cursor.bits()
        }
        try withIntegers(&cursor, values) { integer in
            Double(integer)
        }
        if exponent > 0 {
            let power = powers[exponent]
            for index in values.indices { values[index] /= power }
        }
        index = 0
        for _ in 0..<exceptionCount {
            index += Int(try exceptions.varint())
            values[index] = try exceptions.bits()
        }
    }

    private static func readRaw(
        _ cursor: inout ChunkCursor, into values: UnsafeMutableBufferPointer<Double>
    ) throws(ChunkError) {
        try withIntegers(&cursor, values) { upper in
            Double(bitPattern: UInt64(truncatingIfNeeded: upper) << 48)
        }
        let lower = try cursor.take(6 * values.count)
        for index in values.indices {
            var bits = values[index].bitPattern
            for byte in 0..<6 { bits |= UInt64(lower[6 * index + byte]) << UInt64(8 * byte) }
            values[index] = Double(bitPattern: bits)
        }
    }

    /// Reads an integer column in the room of `values` and turns each integer into the double in its place.
    private static func withIntegers(
        _ cursor: inout ChunkCursor, _ values: UnsafeMutableBufferPointer<Double>,
        _ body: (Int64) -> Double
    ) throws(ChunkError) {
        let raw = UnsafeMutableRawBufferPointer(values)
        let integers = raw.bindMemory(to: Int64.self)
        var failure: ChunkError?
        do throws(ChunkError) {
            try IntegerColumn.read(&cursor, into: integers)
        } catch { failure = error }
        // The same eight bytes of each place, first as an integer and then as a double.
        for index in 0..<integers.count {
            let value = failure == nil ? body(integers[index]) : 0
            raw.storeBytes(of: value, toByteOffset: 8 * index, as: Double.self)
        }
        _ = raw.bindMemory(to: Double.self)
        if let failure { throw failure }
    }
}
