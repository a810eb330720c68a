package import Model

/// Time for code that may not read it: the wall clock for timestamps, a monotonic clock for intervals.
package protocol WorldClock: Sendable {
    /// The wall clock; may jump.
    var now: TimestampNS { get }
    /// Nanoseconds since an arbitrary start; never goes back.
    var monotonicNanoseconds: Int64 { get }
    /// Returns after `nanoseconds` of the monotonic clock. Throws `CancellationError` when cancelled.
    func sleep(nanoseconds: Int64) async throws
}

/// A source of random bits; the live one is the kernel's.
package protocol RandomSource: Sendable {
    /// 64 uniformly distributed bits.
    func next() -> UInt64
    /// `count` random bytes.
    func bytes(count: Int) -> [UInt8]
}
