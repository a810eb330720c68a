/// The exact coding of the values of one scrape. Drawn in `docs/formats/fleet.md`, section Values.
///
/// Each value is a little-endian base-128 varint whose low bits say what it is:
/// `…0` an integer (zigzag above the bit), `…01` a decimal (four bits of fraction digits, zigzag mantissa above them),
/// `3` the eight bytes of the bit pattern that follow, little-endian. An integer or decimal is chosen only where it gives
/// back the same bits, so NaN payloads, -0, infinities and staleness markers come through as they are.
package enum ValuesCodec {
    /// Most digits after the point that the decimal form tries.
    static let fractionDigitsMax = 9
    /// Mantissas stay below 2^53 in magnitude, where every integer is a `Double`.
    static let mantissaMax: Double = 9_007_199_254_740_992

    /// 10^0 ... 10^15, each exact.
    static let powersOfTen: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ]

    /// The coded values, one to nine bytes each. O(n).
    package static func encode(_ values: [Double]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count * 4)
        for value in values { append(value, to: &bytes) }
        return bytes
    }

    /// Appends one coded value.
    package static func append(_ value: Double, to bytes: inout [UInt8]) {
        if abs(value) < mantissaMax {
            let whole = Int64(value)
            if Double(whole).bitPattern == value.bitPattern {
                appendVarint(zigzag(whole) &<< 1, to: &bytes)
                return
            }
            for digits in 1...fractionDigitsMax {
                let scaled = (value * powersOfTen[digits]).rounded(.toNearestOrEven)
                guard abs(scaled) < mantissaMax else { break }
                let mantissa = Int64(scaled)
                // From the integer, as the decoder does it: a scaled -0 is another value than 0.
                let back = Double(mantissa) / powersOfTen[digits]
                guard back.bitPattern == value.bitPattern else { continue }
                let head = zigzag(mantissa) &<< 6 | UInt64(digits) &<< 2 | 1
                appendVarint(head, to: &bytes)
                return
            }
        }
        bytes.append(3)
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern &>> shift))
        }
    }

    /// Exactly `count` values; throws where the bytes hold fewer or more, or are no such coding. Never traps.
    package static func decode(_ bytes: [UInt8], count: Int) throws(WireError) -> [Double] {
        guard count >= 0, count <= bytes.count else {
            throw .badValues(offset: bytes.count, detail: "\(count) values can't fit")
        }
        var values: [Double] = []
        values.reserveCapacity(count)
        var at = 0
        for _ in 0..<count {
            let start = at
            guard let head = readVarint(bytes, at: &at) else {
                throw .badValues(offset: start, detail: "broken varint")
            }
            if head & 1 == 0 {
                values.append(Double(unzigzag(head &>> 1)))
            } else if head & 3 == 1 {
                let digits = Int((head &>> 2) & 15)
                values.append(Double(unzigzag(head &>> 6)) / powersOfTen[digits])
            } else {
                guard head == 3, bytes.count - at >= 8 else {
                    throw .badValues(offset: start, detail: "unknown tag or cut bit pattern")
                }
                var bits: UInt64 = 0
                for index in 0..<8 { bits |= UInt64(bytes[at + index]) &<< UInt64(index * 8) }
                values.append(Double(bitPattern: bits))
                at += 8
            }
        }
        guard at == bytes.count else {
            throw .badValues(offset: at, detail: "\(bytes.count - at) bytes after the last value")
        }
        return values
    }

    private static func zigzag(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: (value &<< 1) ^ (value &>> 63))
    }

    private static func unzigzag(_ value: UInt64) -> Int64 {
        Int64(bitPattern: value &>> 1) ^ -Int64(bitPattern: value & 1)
    }

    private static func appendVarint(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest &>>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    private static func readVarint(_ bytes: [UInt8], at offset: inout Int) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < bytes.count, shift < 64 {
            let byte = bytes[offset]
            offset += 1
            guard shift < 63 || byte <= 1 else { return nil }
            value |= UInt64(byte & 0x7f) &<< shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
