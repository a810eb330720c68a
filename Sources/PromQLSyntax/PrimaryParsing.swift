import LinearRegex
import Model

extension ExpressionParser {
    /// One operand before its modifiers: a literal, a selector, a call, an aggregation or parentheses.
    mutating func parsePrimary() throws(PromQLParseError) -> Operand {
        switch token.kind {
        case .number, .duration: return Operand(expression: .number(try parseNumber()), depth: 1)
        case .string:
            let string = try advance()
            let isValid = String(validating: string.bytes, as: UTF8.self) != nil
            let literal = StringLiteral(
                String(decoding: string.bytes, as: UTF8.self),
                invalidBytes: isValid ? nil : string.bytes, range: string.range)
            return Operand(expression: .string(literal), depth: 1)
        case .leftParenthesis: return try parseParentheses()
        case .leftBrace, .metricIdentifier:
            return Operand(expression: .vectorSelector(try parseVectorSelector()), depth: 1)
        case .identifier: return try parseName(try advance())
        case .keyword(let keyword) where keyword.mayNameMetric:
            let name = try advance()
            if let operation = keyword.aggregation,
                [.leftParenthesis, .keyword(.by), .keyword(.without)].contains(token.kind)
            {
                return try parseAggregation(operation, start: name.range.start)
            }
            guard keyword.isFunction else { return try selector(named: name) }
            return try parseName(name)
        default: throw unexpected()
        }
    }

    private mutating func parseParentheses() throws(PromQLParseError) -> Operand {
        let start = try advance().range.start
        let operand = try parseExpression()
        try expect(.rightParenthesis)
        let range = SourceRange(start, lastClosing)
        let parenthesized = ParenthesizedExpression(operand.expression, range: range)
        return try node(.parenthesized(parenthesized), over: operand.depth, at: range)
    }

    /// A call where a parenthesis follows, else a selector.
    private mutating func parseName(_ name: Token) throws(PromQLParseError) -> Operand {
        guard token.kind == .leftParenthesis else { return try selector(named: name) }
        let function = text(name)
        let (arguments, depth) = try parseArguments()
        guard let signature = PromQLFunction.all[function] else {
            throw failure("unknown function with name \(quoted(function))", name.range)
        }
        guard !signature.isExperimental || options.allowsExperimentalFunctions else {
            throw failure(
                "function \(quoted(function)) is experimental: "
                    + PromQLFeature.experimentalFunctions.remedy, name.range)
        }
        let range = SourceRange(name.range.start, lastClosing)
        return try node(
            .call(FunctionCall(function, arguments, range: range)), over: depth, at: range)
    }

    private mutating func parseArguments() throws(PromQLParseError) -> ([Expression], depth: Int) {
        try expect(.leftParenthesis)
        var arguments: [Expression] = []
        var depth = 0
        if try accept(.rightParenthesis) { return (arguments, depth) }
        while true {
            let operand = try parseExpression()
            arguments.append(operand.expression)
            depth = max(depth, operand.depth)
            let comma = token.range
            guard try accept(.comma) else { break }
            guard token.kind != .rightParenthesis else {
                throw failure("trailing commas not allowed in function call args", comma)
            }
        }
        try expect(.rightParenthesis)
        return (arguments, depth)
    }

    // MARK: - Aggregations

    private mutating func parseAggregation(
        _ operation: AggregationOperator, start: Int
    ) throws(PromQLParseError) -> Operand {
        var grouping = try parseGrouping()
        guard token.kind == .leftParenthesis else { throw unexpected(in: "aggregation") }
        var (arguments, depth) = try parseArguments()
        var end = lastClosing
        if grouping == nil {
            grouping = try parseGrouping()
            end = grouping == nil ? end : lastClosing
        }
        let range = SourceRange(start, end)
        guard !arguments.isEmpty else {
            throw failure("no arguments for aggregate expression provided", range)
        }
        guard !operation.isExperimental || options.allowsExperimentalFunctions else {
            throw failure(
                "\(operation.rawValue)() is experimental: "
                    + PromQLFeature.experimentalFunctions.remedy, range)
        }
        let expected = operation.parameterType == nil ? 1 : 2
        guard arguments.count == expected else {
            throw failure(
                "wrong number of arguments for aggregate expression provided, "
                    + "expected \(expected), got \(arguments.count)", range)
        }
        let aggregation = Aggregation(
            operation, arguments.removeLast(), parameter: arguments.first,
            grouping: grouping?.labels ?? [], isWithout: grouping?.isWithout ?? false,
            range: range)
        return try node(.aggregate(aggregation), over: depth, at: range)
    }

    private mutating func parseGrouping() throws(PromQLParseError) -> (
        labels: [String], isWithout: Bool
    )? {
        guard token.kind == .keyword(.by) || token.kind == .keyword(.without) else { return nil }
        let isWithout = try advance().kind == .keyword(.without)
        return (try parseGroupingLabels(), isWithout)
    }

    // MARK: - Selectors

    private mutating func selector(named name: Token) throws(PromQLParseError) -> Operand {
        let selector = try parseVectorSelector(named: name)
        return Operand(expression: .vectorSelector(selector), depth: 1)
    }

    /// `name`, `name{…}` or `{…}` at the current token.
    mutating func parseVectorSelector() throws(PromQLParseError) -> VectorSelector {
        switch token.kind {
        case .leftBrace: return try parseVectorSelector(named: nil)
        case .identifier, .metricIdentifier: return try parseVectorSelector(named: try advance())
        case .keyword(let keyword) where keyword.mayNameMetric:
            return try parseVectorSelector(named: try advance())
        default: throw unexpected()
        }
    }

    private mutating func parseVectorSelector(
        named nameToken: Token?
    ) throws(PromQLParseError) -> VectorSelector {
        var range = nameToken?.range ?? token.range
        var matchers: [LabelMatcher] = []
        if token.kind == .leftBrace {
            matchers = try parseMatchers()
            range.end = lastClosing
        }
        let name = nameToken.map { text($0) } ?? ""
        if nameToken != nil { matchers.append(LabelMatcher(Labels.metricNameLabel, .equal, name)) }
        return VectorSelector(name: name, matchers: matchers, range: range)
    }

    private mutating func parseMatchers() throws(PromQLParseError) -> [LabelMatcher] {
        try advance()
        var matchers: [LabelMatcher] = []
        if try accept(.rightBrace) { return matchers }
        while true {
            matchers.append(try parseMatcher())
            if try accept(.comma) {
                if try accept(.rightBrace) { return matchers }
                continue
            }
            guard token.kind == .rightBrace else {
                throw unexpected(in: "label matching", expected: "\",\" or \"}\"")
            }
            try advance()
            return matchers
        }
    }

    private mutating func parseMatcher() throws(PromQLParseError) -> LabelMatcher {
        let context = "label matching"
        let label = token
        guard label.kind == .identifier || label.kind == .string else {
            throw unexpected(in: context, expected: "identifier or \"}\"")
        }
        try advance()
        let name = label.kind == .string ? try validText(label) : text(label)
        guard let operation = matchOperation else {
            guard label.kind == .string else {
                throw unexpected(in: context, expected: "label matching operator")
            }
            return LabelMatcher(Labels.metricNameLabel, .equal, name)
        }
        try advance()
        let value = token
        guard value.kind == .string else { throw unexpected(in: context, expected: "string") }
        try advance()
        let matcher = LabelMatcher(name, operation, try validText(value))
        if operation == .matchesRegex || operation == .notMatchesRegex {
            let range = SourceRange(label.range.start, value.range.end)
            do throws(LinearRegexError) {
                _ = try LinearRegex(matcher.value, anchored: true)
            } catch {
                throw failure("error parsing regexp: \(error)", range)
            }
        }
        return matcher
    }

    private var matchOperation: LabelMatcher.Operation? {
        switch token.kind {
        case .assign: .equal
        case .operation(.notEqual): .notEqual
        case .matchesRegex: .matchesRegex
        case .notMatchesRegex: .notMatchesRegex
        default: nil
        }
    }

    /// A string's text; label names and values must be UTF-8.
    func validText(_ string: Token) throws(PromQLParseError) -> String {
        guard let text = String(validating: string.bytes, as: UTF8.self) else {
            throw failure("invalid UTF-8 in string \(quoted(bytes: string.bytes))", string.range)
        }
        return text
    }
}

extension ExpressionParser {
    /// A metric with its labels and where it ends: `name`, `name{a="b"}`, `{"name", a="b"}` or nothing (`{}`).
    mutating func parseMetric() throws(PromQLParseError) -> (Labels, end: Int) {
        var labels: [Label] = []
        var end = 0
        switch token.kind {
        case .identifier, .metricIdentifier:
            end = token.range.end
            labels.append(Label(Labels.metricNameLabel, text(try advance())))
        case .keyword(let keyword) where keyword.mayNameMetric:
            end = token.range.end
            labels.append(Label(Labels.metricNameLabel, text(try advance())))
        case .leftBrace: break
        default: throw unexpected()
        }
        guard token.kind == .leftBrace else { return (Labels(labels), end) }
        try advance()
        let named = labels
        labels = []
        while token.kind != .rightBrace {
            labels.append(try parseLabel())
            if token.kind == .comma {
                try advance()
            } else if token.kind != .rightBrace {
                throw unexpected(in: "label set", expected: "\",\" or \"}\"")
            }
        }
        end = token.range.end
        try advance()
        return (Labels(labels + named), end)
    }

    private mutating func parseLabel() throws(PromQLParseError) -> Label {
        let context = "label set"
        let label = token
        guard label.kind == .identifier || label.kind == .string else {
            throw unexpected(in: context, expected: "identifier or \"}\"")
        }
        try advance()
        let name = label.kind == .string ? try validText(label) : text(label)
        guard try accept(.assign) else {
            guard label.kind == .string else { throw unexpected(in: context, expected: "\"=\"") }
            return Label(Labels.metricNameLabel, name)
        }
        guard token.kind == .string else { throw unexpected(in: context, expected: "string") }
        return Label(name, try validText(try advance()))
    }
}
