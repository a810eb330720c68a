import Model

extension ExpressionParser {
    /// `operand` with the ranges, subqueries, offsets and anchors that follow it.
    mutating func parsePostfix(of operand: Operand) throws(PromQLParseError) -> Operand {
        var operand = operand
        while true {
            switch token.kind {
            case .leftBracket: operand = try parseRange(of: operand)
            case .keyword(.offset):
                try advance()
                let offset = try parseOffset()
                operand.expression = try setting(offset: offset, on: operand.expression)
            case .at:
                try advance()
                operand.expression = try settingAnchor(on: operand.expression)
            case .keyword(.anchored): operand.expression = try setting(.anchored, on: operand)
            case .keyword(.smoothed): operand.expression = try setting(.smoothed, on: operand)
            default: return operand
            }
        }
    }

    // MARK: - Ranges and subqueries

    private mutating func parseRange(of operand: Operand) throws(PromQLParseError) -> Operand {
        let bracket = try advance().range.start
        guard startsDuration else {
            throw unexpected(
                in: "subquery or range selector",
                expected: "number, duration, step(), or range()")
        }
        let duration = try parsePositiveDuration()
        if try accept(.colon) { return try parseSubquery(of: operand, duration: duration) }
        guard token.kind == .rightBracket else {
            throw unexpected(in: "subquery or range", expected: "\":\" or \"]\"")
        }
        try advance()
        let brackets = SourceRange(bracket, lastClosing)
        guard case .vectorSelector(let selector) = operand.expression else {
            throw failure("ranges only allowed for vector selectors", brackets)
        }
        guard selector.offset == .zero else {
            throw failure("no offset modifiers allowed before range", brackets)
        }
        guard selector.anchor == nil else {
            throw failure("no @ modifiers allowed before range", brackets)
        }
        let matrix = MatrixSelector(
            selector: selector, duration: duration,
            range: SourceRange(selector.range.start, lastClosing))
        return try node(.matrixSelector(matrix), over: operand.depth, at: matrix.range)
    }

    private mutating func parseSubquery(
        of operand: Operand, duration: DurationExpression
    ) throws(PromQLParseError) -> Operand {
        var step: DurationExpression?
        if token.kind != .rightBracket {
            guard startsDuration else {
                throw unexpected(
                    in: "subquery selector",
                    expected: "number, duration, step(), range(), or \"]\"")
            }
            step = try parsePositiveDuration()
        }
        try expect(.rightBracket, in: "subquery selector", expected: "\"]\"")
        let subquery = Subquery(
            expression: operand.expression, duration: duration, step: step,
            range: SourceRange(operand.expression.range.start, lastClosing))
        return try node(.subquery(subquery), over: operand.depth, at: subquery.range)
    }

    // MARK: - Modifiers

    private func setting(
        offset: DurationExpression, on expression: Expression
    ) throws(PromQLParseError) -> Expression {
        let twice = "offset may not be set multiple times"
        switch expression {
        case .vectorSelector(var selector):
            guard selector.offset == .zero else { throw failure(twice, expression.range) }
            selector.offset = offset
            selector.range.end = lastClosing
            return .vectorSelector(selector)
        case .matrixSelector(var matrix):
            guard matrix.selector.offset == .zero else { throw failure(twice, expression.range) }
            matrix.selector.offset = offset
            matrix.range.end = lastClosing
            return .matrixSelector(matrix)
        case .subquery(var subquery):
            guard subquery.offset == .zero else { throw failure(twice, expression.range) }
            subquery.offset = offset
            subquery.range.end = lastClosing
            return .subquery(subquery)
        case .number, .string, .unary, .binary, .call, .aggregate, .parenthesized:
            throw failure(
                "offset modifier must be preceded by an instant vector selector or range vector "
                    + "selector or a subquery", expression.range)
        }
    }

    private mutating func settingAnchor(
        on expression: Expression
    ) throws(PromQLParseError) -> Expression {
        let anchor = try parseAnchor(of: expression)
        let twice = "@ <timestamp> may not be set multiple times"
        switch expression {
        case .vectorSelector(var selector):
            guard selector.anchor == nil else { throw failure(twice, expression.range) }
            selector.anchor = anchor
            selector.range.end = lastClosing
            return .vectorSelector(selector)
        case .matrixSelector(var matrix):
            guard matrix.selector.anchor == nil else { throw failure(twice, expression.range) }
            matrix.selector.anchor = anchor
            matrix.range.end = lastClosing
            return .matrixSelector(matrix)
        case .subquery(var subquery):
            guard subquery.anchor == nil else { throw failure(twice, expression.range) }
            subquery.anchor = anchor
            subquery.range.end = lastClosing
            return .subquery(subquery)
        case .number, .string, .unary, .binary, .call, .aggregate, .parenthesized:
            throw failure(
                "@ modifier must be preceded by an instant vector selector or range vector "
                    + "selector or a subquery", expression.range)
        }
    }

    private mutating func parseAnchor(
        of expression: Expression
    ) throws(PromQLParseError) -> TimeAnchor {
        switch token.kind {
        case .keyword(.start), .keyword(.end):
            let anchor: TimeAnchor = token.kind == .keyword(.start) ? .start : .end
            try advance()
            try expect(.leftParenthesis)
            try expect(.rightParenthesis)
            return anchor
        default:
            let seconds = try parseSignedNumber(in: "@", expected: "timestamp")
            let milliseconds = (seconds * 1000).rounded(.toNearestOrAwayFromZero)
            guard seconds.isFinite, let exact = Int64(exactly: milliseconds) else {
                throw failure(
                    "timestamp out of bounds for @ modifier: \(decimalText(seconds))",
                    expression.range)
            }
            return .timestamp(TimestampMS(exact))
        }
    }

    private mutating func setting(
        _ edges: RangeEdges, on operand: Operand
    ) throws(PromQLParseError) -> Expression {
        let expression = operand.expression
        guard options.allowsExtendedRangeSelectors else {
            throw failure(
                "\(edges.rawValue) modifier is experimental: "
                    + PromQLFeature.extendedRangeSelectors.remedy, expression.range)
        }
        try advance()
        let together = "anchored and smoothed modifiers cannot be used together"
        switch expression {
        case .vectorSelector(var selector):
            guard [.plain, edges].contains(selector.edges) else {
                throw failure(together, expression.range)
            }
            selector.edges = edges
            return .vectorSelector(selector)
        case .matrixSelector(var matrix):
            guard [.plain, edges].contains(matrix.selector.edges) else {
                throw failure(together, expression.range)
            }
            matrix.selector.edges = edges
            return .matrixSelector(matrix)
        case .subquery:
            throw failure(
                "\(edges.rawValue) modifier is not supported for subqueries", expression.range)
        case .number, .string, .unary, .binary, .call, .aggregate, .parenthesized:
            throw failure("\(edges.rawValue) modifier not implemented", expression.range)
        }
    }
}
