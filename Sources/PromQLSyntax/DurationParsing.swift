import Model

/// The longest duration: Prometheus counts them in 64-bit nanoseconds.
private let durationSecondsMax = 9_223_372_036.854775807

/// A part of a duration and where it was read, for errors.
private struct DurationPart {
    var value: DurationExpression
    var range: SourceRange

    /// The seconds of a plain number, signs folded in; nil for arithmetic.
    var number: Double? {
        if case .number(let seconds, _) = value { seconds } else { nil }
    }

    /// A plain number as whole milliseconds, arithmetic as it is.
    var resolved: DurationExpression {
        guard let number else { return value }
        return .constant(milliseconds: Int64((number * 1000).rounded(.toNearestOrAwayFromZero)))
    }
}

/// The milliseconds of `1h30m`; nil where the text is no duration or exceeds 64-bit nanoseconds.
func durationMilliseconds(_ text: String) -> Int64? {
    guard let duration = PrometheusDuration(text),
        Double(duration.milliseconds) / 1000 <= durationSecondsMax
    else { return nil }
    return duration.milliseconds
}

extension ExpressionParser {
    /// Whether the token may begin a duration.
    var startsDuration: Bool {
        switch token.kind {
        case .number, .duration, .leftParenthesis, .operation(.add), .operation(.subtract): true
        case .keyword(let keyword):
            [.step, .range, .minOf, .maxOf].contains(keyword)
        default: false
        }
    }

    /// The duration of a range or a step. Throws where it is a number of 0 or less.
    mutating func parsePositiveDuration() throws(PromQLParseError) -> DurationExpression {
        let part = try parseDuration(binding: .or)
        if let number = part.number, !(number > 0) {
            throw failure("duration must be greater than 0", part.range)
        }
        return part.resolved
    }

    /// The duration of an offset: one value with its sign, or arithmetic in parentheses. What follows belongs to the
    /// expression around it: `a offset 5m - 8` is `(a offset 5m) - 8`.
    mutating func parseOffset() throws(PromQLParseError) -> DurationExpression {
        guard startsDuration else {
            throw unexpected(in: "offset", expected: "number, duration, step(), or range()")
        }
        switch token.kind {
        case .leftParenthesis: return try parseDuration(binding: .or).resolved
        case .operation(let operation):
            let sign = try advance().range
            switch token.kind {
            case .operation(.add), .operation(.subtract):
                let inner = try parseDuration(binding: .power)
                return try applying(operation, at: sign, to: inner).resolved
            case _ where startsDuration:
                return try applying(operation, at: sign, to: try parseDurationPrimary()).resolved
            default: throw unexpected()
            }
        default: return try parseDurationPrimary().resolved
        }
    }

    /// Arithmetic whose operators bind at least as strongly as `weakest`.
    private mutating func parseDuration(
        binding weakest: Precedence
    ) throws(PromQLParseError) -> DurationPart {
        try enter()
        var lhs: DurationPart
        if case .operation(let operation) = token.kind,
            operation == .add || operation == .subtract
        {
            let sign = try advance().range
            lhs = try applying(operation, at: sign, to: try parseDuration(binding: .power))
        } else {
            lhs = try parseDurationPrimary()
        }
        var chain = 0
        while case .operation(let operation) = token.kind,
            operation.precedence >= .sum, operation.precedence >= weakest
        {
            let sign = try advance().range
            chain += 1
            guard chain <= options.nestingDepthMax else {
                throw failure(
                    "duration has more than \(options.nestingDepthMax) operators in a row", sign)
            }
            try requireDurationArithmetic(lhs.range)
            let next =
                Precedence(
                    rawValue: operation.precedence.rawValue
                        + (operation.isRightAssociative ? 0 : 1)) ?? .power
            let rhs = try parseDuration(binding: next)
            if rhs.number == 0, operation == .divide { throw failure("division by zero", sign) }
            if rhs.number == 0, operation == .modulo { throw failure("modulo by zero", sign) }
            lhs = DurationPart(
                value: .binary(operation, lhs.value, rhs.value),
                range: SourceRange(lhs.range.start, rhs.range.end))
        }
        leave()
        return lhs
    }

    private mutating func parseDurationPrimary() throws(PromQLParseError) -> DurationPart {
        let first = token
        switch first.kind {
        case .number, .duration:
            let literal = try parseNumber()
            guard abs(literal.value) <= durationSecondsMax else {
                throw failure("duration out of range", first.range)
            }
            return DurationPart(
                value: .number(seconds: literal.value, isDuration: literal.isDuration),
                range: first.range)
        case .leftParenthesis:
            try advance()
            let inner = try parseDuration(binding: .or)
            try expect(.rightParenthesis)
            return try arithmetic(.parenthesized(inner.value), from: first)
        case .keyword(.step), .keyword(.range):
            try advance()
            let expected = "number, duration, step(), or range()"
            try expect(
                .leftParenthesis, in: "subquery or range selector", expected: expected)
            try expect(.rightParenthesis)
            return try arithmetic(first.kind == .keyword(.step) ? .step : .range, from: first)
        case .keyword(.minOf), .keyword(.maxOf):
            try advance()
            try expect(.leftParenthesis)
            let lhs = try parseDuration(binding: .or).value
            try expect(.comma)
            let rhs = try parseDuration(binding: .or).value
            try expect(.rightParenthesis)
            return try arithmetic(
                first.kind == .keyword(.minOf) ? .minimum(lhs, rhs) : .maximum(lhs, rhs),
                from: first)
        default: throw unexpected()
        }
    }

    private func arithmetic(
        _ value: DurationExpression, from first: Token
    ) throws(PromQLParseError) -> DurationPart {
        let range = SourceRange(first.range.start, lastClosing)
        try requireDurationArithmetic(range)
        return DurationPart(value: value, range: range)
    }

    private func requireDurationArithmetic(_ range: SourceRange) throws(PromQLParseError) {
        guard options.allowsDurationExpressions else {
            throw failure("experimental duration expression is not enabled", range)
        }
    }

    private func applying(
        _ sign: BinaryOperator, at position: SourceRange, to part: DurationPart
    ) throws(PromQLParseError) -> DurationPart {
        let range = SourceRange(position.start, part.range.end)
        switch (sign, part.value) {
        case (.subtract, .number(let seconds, let isDuration)):
            return DurationPart(
                value: .number(seconds: -seconds, isDuration: isDuration), range: range)
        case (.subtract, _): return DurationPart(value: .negate(part.value), range: range)
        case (.add, _): return DurationPart(value: part.value, range: range)
        default: throw unexpected()
        }
    }
}
