/// A span of time in a range, step or offset: a constant, or arithmetic over constants, `step()` and `range()`.
///
/// The engine never sees arithmetic: `Expression.resolvingDurations(stepMS:rangeMS:)` replaces every one of these
/// by `.constant`. Source: Prometheus 3.14 `promql/durations.go`.
package indirect enum DurationExpression: Hashable, Sendable {
    /// A plain duration or number of seconds: `5m`, `300`.
    case constant(milliseconds: Int64)
    /// A number inside arithmetic, in seconds; `isDuration` says how it was written.
    case number(seconds: Double, isDuration: Bool)
    /// `step()`: the step of the query, 0 for an instant query.
    case step
    /// `range()`: end minus start of the query, 0 for an instant query.
    case range
    case negate(DurationExpression)
    /// One of `+ - * / % ^`.
    case binary(BinaryOperator, DurationExpression, DurationExpression)
    /// `min_of(a, b)`
    case minimum(DurationExpression, DurationExpression)
    /// `max_of(a, b)`
    case maximum(DurationExpression, DurationExpression)
    case parenthesized(DurationExpression)

    package static let zero = DurationExpression.constant(milliseconds: 0)

    /// Milliseconds where the value needs no resolving, nil otherwise.
    package var constantMilliseconds: Int64? {
        if case .constant(let milliseconds) = self { milliseconds } else { nil }
    }
}
