/// The coding of start timestamps of one scrape. Drawn in `docs/formats/fleet.md`, section Start timestamps.
///
/// 0 where it isn't known, else 1 + the zigzag difference to the one before that is known; the first to the scrape's own
/// time. The samples of a histogram began together, so that most are 1: a byte each.
enum StartsCodec {
    /// The next number for `start`, 1 to `WireLimits.startTimestampMax`, or 0; `last` is the one before.
    static func encode(_ start: Int64, last: inout Int64) -> UInt64 {
        guard start != 0 else { return 0 }
        let difference = start &- last
        last = start
        return UInt64(bitPattern: (difference &<< 1) ^ (difference &>> 63)) &+ 1
    }

    /// The start timestamp of `number`; 0 where it isn't known, or is out of range. Never traps.
    static func decode(_ number: UInt64, last: inout Int64) -> Int64 {
        guard number != 0 else { return 0 }
        let zigzag = number - 1
        last = last &+ (Int64(bitPattern: zigzag &>> 1) ^ -Int64(bitPattern: zigzag & 1))
        return (1...WireLimits.startTimestampMax).contains(last) ? last : 0
    }

    /// Bytes of a number as a varint.
    static func bytes(_ number: UInt64) -> Int {
        max(1, (UInt64.bitWidth - number.leadingZeroBitCount + 6) / 7)
    }
}
