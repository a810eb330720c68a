/// A point in time in milliseconds since the Unix epoch; the resolution of samples and rule evaluation.
package struct TimestampMS: RawRepresentable, Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z; negative before it.
    package var rawValue: Int64

    package init(rawValue: Int64) { self.rawValue = rawValue }
    package init(_ milliseconds: Int64) { rawValue = milliseconds }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// This time plus `milliseconds`, saturating at the bounds of `Int64`.
    package func advanced(byMilliseconds milliseconds: Int64) -> Self {
        Self(saturatingSum(rawValue, milliseconds))
    }

    /// Seconds since the epoch, exact for |rawValue| < 2^53.
    package var seconds: Double { Double(rawValue) / 1000 }

    /// The same instant in nanoseconds, saturating.
    package var nanoseconds: TimestampNS { TimestampNS(saturatingProduct(rawValue, 1_000_000)) }
}

/// A point in time in nanoseconds since the Unix epoch; the resolution of log entries.
package struct TimestampNS: RawRepresentable, Hashable, Comparable, Sendable {
    /// Nanoseconds since 1970-01-01T00:00:00Z; negative before it.
    package var rawValue: Int64

    package init(rawValue: Int64) { self.rawValue = rawValue }
    package init(_ nanoseconds: Int64) { rawValue = nanoseconds }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The same instant in milliseconds, rounded down.
    package var milliseconds: TimestampMS {
        let (quotient, remainder) = rawValue.quotientAndRemainder(dividingBy: 1_000_000)
        return TimestampMS(remainder < 0 ? quotient - 1 : quotient)
    }

    /// This time plus `nanoseconds`, saturating at the bounds of `Int64`.
    package func advanced(byNanoseconds nanoseconds: Int64) -> Self {
        Self(saturatingSum(rawValue, nanoseconds))
    }
}

private func saturatingSum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    guard overflow else { return sum }
    return b < 0 ? .min : .max
}

private func saturatingProduct(_ a: Int64, _ b: Int64) -> Int64 {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    guard overflow else { return product }
    return (a < 0) == (b < 0) ? .max : .min
}
