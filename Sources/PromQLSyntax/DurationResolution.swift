import Glibc

/// Why a duration has no value for a query: what is wrong and where. Source: Prometheus 3.14 `promql/durations.go`.
package struct DurationResolutionError: Error, Hashable, Sendable, CustomStringConvertible {
    package var message: String
    /// The bytes of the selector or subquery that the duration belongs to.
    package var range: SourceRange

    package var description: String { "\(range.start):\(range.end): \(message)" }
}

extension Expression {
    /// The same tree with every duration a `.constant`.
    ///
    /// - Parameters:
    ///   - stepMS: what `step()` is worth in milliseconds; 0 for an instant query.
    ///   - rangeMS: what `range()` is worth, end minus start in milliseconds; 0 for an instant query.
    package func resolvingDurations(
        stepMS: Int64, rangeMS: Int64
    ) throws(DurationResolutionError) -> Expression {
        let scope = DurationScope(
            stepSeconds: Double(stepMS) / 1000, rangeSeconds: Double(rangeMS) / 1000)
        return try mapNodes { (node) throws(DurationResolutionError) -> Expression in
            try node.resolvingOwnDurations(scope)
        }
    }

    private func resolvingOwnDurations(
        _ scope: DurationScope
    ) throws(DurationResolutionError) -> Expression {
        switch self {
        case .vectorSelector(var node):
            node.offset = try scope.resolve(node.offset, mayBeNegative: true, at: node.range)
            return .vectorSelector(node)
        case .matrixSelector(var node):
            node.selector.offset = try scope.resolve(
                node.selector.offset, mayBeNegative: true, at: node.range)
            node.duration = try scope.resolve(node.duration, mayBeNegative: false, at: node.range)
            return .matrixSelector(node)
        case .subquery(var node):
            node.offset = try scope.resolve(node.offset, mayBeNegative: true, at: node.range)
            if let step = node.step {
                node.step = try scope.resolve(step, mayBeNegative: false, at: node.range)
            }
            node.duration = try scope.resolve(node.duration, mayBeNegative: false, at: node.range)
            return .subquery(node)
        case .number, .string, .unary, .binary, .call, .aggregate, .parenthesized: return self
        }
    }
}

/// What `step()` and `range()` are worth.
private struct DurationScope {
    var stepSeconds: Double
    var rangeSeconds: Double

    func resolve(
        _ duration: DurationExpression, mayBeNegative: Bool, at range: SourceRange
    ) throws(DurationResolutionError) -> DurationExpression {
        if case .constant = duration { return duration }
        let seconds = try value(of: duration, at: range)
        guard seconds.isFinite else {
            throw DurationResolutionError(message: "duration is NaN or infinite", range: range)
        }
        guard mayBeNegative || seconds > 0 else {
            throw DurationResolutionError(
                message: "duration must be greater than 0", range: range)
        }
        guard abs(seconds) <= 9_223_372_036.854775807 else {
            throw DurationResolutionError(message: "duration is out of range", range: range)
        }
        return .constant(milliseconds: Int64(seconds * 1000))
    }

    /// Seconds. Recursion is bounded by the parser's `nestingDepthMax`.
    private func value(
        of duration: DurationExpression, at range: SourceRange
    ) throws(DurationResolutionError) -> Double {
        switch duration {
        case .constant(let milliseconds): return Double(milliseconds) / 1000
        case .number(let seconds, _): return seconds
        case .step: return stepSeconds
        case .range: return rangeSeconds
        case .negate(let inner): return -(try value(of: inner, at: range))
        case .parenthesized(let inner): return try value(of: inner, at: range)
        case .minimum(let lhs, let rhs):
            return Double.minimum(try value(of: lhs, at: range), try value(of: rhs, at: range))
        case .maximum(let lhs, let rhs):
            return Double.maximum(try value(of: lhs, at: range), try value(of: rhs, at: range))
        case .binary(let operation, let lhs, let rhs):
            let left = try value(of: lhs, at: range)
            let right = try value(of: rhs, at: range)
            return try apply(operation, left, right, at: range)
        }
    }

    private func apply(
        _ operation: BinaryOperator, _ left: Double, _ right: Double, at range: SourceRange
    ) throws(DurationResolutionError) -> Double {
        switch operation {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .divide:
            guard right != 0 else {
                throw DurationResolutionError(message: "division by zero", range: range)
            }
            return left / right
        case .modulo:
            guard right != 0 else {
                throw DurationResolutionError(message: "modulo by zero", range: range)
            }
            return left.truncatingRemainder(dividingBy: right)
        case .power: return pow(left, right)
        case .or, .and, .unless, .atan2, .equal, .notEqual, .less, .lessOrEqual, .greater,
            .greaterOrEqual, .trimUpper, .trimLower:
            throw DurationResolutionError(
                message: "unexpected duration expression operator \(quoted(operation.rawValue))",
                range: range)
        }
    }
}
