/// Full-jitter back-off: after the n-th failure in a row a wait drawn evenly from 0 to min(cap, 0.5 s · 2^(n-1)).
///
/// The first retry comes within half a second. Pure; random bits are an argument.
package struct Backoff: Hashable, Sendable {
    /// Failures in a row, at most 40.
    package private(set) var failures = 0
    private let capNanoseconds: Int64
    /// Longest wait after the first failure.
    package static let firstNanoseconds: Int64 = 500_000_000

    /// No wait is longer than `capNanoseconds`.
    package init(capNanoseconds: Int64) { self.capNanoseconds = capNanoseconds }

    /// The wait after another failure, nanoseconds.
    package mutating func failed(random: UInt64) -> Int64 {
        failures = min(failures + 1, 40)
        let ceiling = min(capNanoseconds, Self.firstNanoseconds << min(failures - 1, 20))
        return Int64(random % UInt64(ceiling + 1))
    }

    /// A connection did its work.
    package mutating func succeeded() { failures = 0 }

    /// A wait for what repeating won't mend soon: half a minute to a whole one, nanoseconds.
    package static func long(random: UInt64) -> Int64 {
        30_000_000_000 + Int64(random % 30_000_000_001)
    }
}
