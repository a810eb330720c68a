/// The `quantile` of `sorted` by linear interpolation between the two nearest ranks.
///
/// `sorted` ascends with NaN first. NaN for no values or a NaN quantile, -Inf below 0 and +Inf above 1.
/// Source: Prometheus 3.14 `promql.quantile`.
@inlinable
package func quantile(_ quantile: Double, sorted values: [Double]) -> Double {
    if values.isEmpty || quantile.isNaN { return .nan }
    if quantile < 0 { return -.infinity }
    if quantile > 1 { return .infinity }
    let last = Double(values.count - 1)
    let rank = quantile * last
    let lower = rank.rounded(.down)
    let upper = min(last, lower + 1)
    let weight = rank - lower
    return values[Int(lower)] * (1 - weight) + values[Int(upper)] * weight
}

/// Whether `a` sorts before `b` where NaN is the smallest value.
@inlinable
package func nanFirst(_ a: Double, _ b: Double) -> Bool {
    a.isNaN ? !b.isNaN : a < b
}
