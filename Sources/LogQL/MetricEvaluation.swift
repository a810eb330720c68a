import Glibc
package import LogQLSyntax

/// What a metric query without streams evaluates to.
package enum LogQLNumber: Hashable, Sendable {
    case scalar(Double)
    /// One sample with no labels.
    case vector(Double)

    /// Evaluates by IEEE 754; `%` and `^` are C's `fmod` and `pow`, as in Go.
    package init(_ expression: MetricExpression) {
        switch expression {
        case .literal(let value): self = .scalar(value)
        case .vector(let value): self = .vector(value)
        case .binary(let operation, let left, let right):
            let left = LogQLNumber(left)
            let right = LogQLNumber(right)
            let value = Self.apply(operation, left.value, right.value)
            switch (left, right) {
            case (.scalar, .scalar): self = .scalar(value)
            case (.vector, _), (_, .vector): self = .vector(value)
            }
        }
    }

    package var value: Double {
        switch self {
        case .scalar(let value), .vector(let value): value
        }
    }

    private static func apply(
        _ operation: MetricExpression.Operation, _ left: Double, _ right: Double
    ) -> Double {
        switch operation {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: left / right
        case .remainder: fmod(left, right)
        case .power: pow(left, right)
        }
    }
}
