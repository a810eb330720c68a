import LinearRegex
import Model

/// Refuses trees whose parts do not fit, and settles what only types can tell: which operators match vectors.
///
/// Errors come in the order in which Prometheus reports them: parts before the whole, left before right.
/// Source: Prometheus 3.14 `parser.checkAST`. No recursion: chains of operators are as deep as they are long.
struct TypeChecker {
    let source: [UInt8]

    /// A checked node and its type.
    private typealias Checked = (expression: Expression, type: ValueType)

    /// The checked tree.
    func check(_ expression: Expression) throws(PromQLParseError) -> Expression {
        var pending: [(node: Expression, hasOpened: Bool)] = [(expression, false)]
        var done: [Checked] = []
        while let (next, hasOpened) = pending.popLast() {
            let node = hasOpened ? next : try opened(next)
            let children = node.children
            if !hasOpened, !children.isEmpty {
                pending.append((node, true))
                for child in children.reversed() { pending.append((child, false)) }
                continue
            }
            let parts = Array(done.suffix(children.count))
            done.removeLast(children.count)
            var rest = parts[...]
            let rebuilt = node.mapChildren { _ in rest.removeFirst().expression }
            done.append(try check(rebuilt, parts.map(\.type)))
        }
        return done[0].expression
    }

    /// What is checked of a node before its parts.
    private func opened(_ expression: Expression) throws(PromQLParseError) -> Expression {
        guard case .call(var node) = expression else { return expression }
        guard let function = PromQLFunction.all[node.name] else {
            throw failure("unknown function with name \(quoted(node.name))", node.range)
        }
        try checkArgumentCount(of: node, function)
        if node.name == "info", node.arguments.count > 1 {
            node.arguments[1] = try checkInfoSelector(node)
        }
        return .call(node)
    }

    /// A node whose parts are checked and have `types`.
    private func check(
        _ expression: Expression, _ types: [ValueType]
    ) throws(PromQLParseError) -> Checked {
        switch expression {
        case .number: return (expression, .scalar)
        case .string: return (expression, .string)
        case .vectorSelector(let selector):
            try check(selector)
            return (expression, .vector)
        case .matrixSelector(let matrix):
            try check(matrix.selector)
            return (expression, .matrix)
        case .subquery(let node):
            guard types[0] == .vector else {
                throw failure(
                    "subquery is only allowed on instant vector, got \(types[0].rawValue) instead",
                    node.range)
            }
            return (expression, .matrix)
        case .unary(let node):
            guard types[0] == .scalar || types[0] == .vector else {
                throw failure(
                    "unary expression only allowed on expressions of type scalar or instant "
                        + "vector, got \(quoted(types[0].documentedName))", node.range)
            }
            return (expression, types[0])
        case .parenthesized: return (expression, types[0])
        case .binary(let node): return try check(node, left: types[0], right: types[1])
        case .call(let node): return (expression, try check(node, types))
        case .aggregate(let node):
            try check(node, types)
            return (expression, .vector)
        }
    }

    // MARK: - Kinds of node

    private func check(
        _ node: Aggregation, _ types: [ValueType]
    ) throws(PromQLParseError) {
        try expect(.vector, types[types.count - 1], node.expression, "aggregation expression")
        if let expected = node.operation.parameterType, let parameter = node.parameter {
            try expect(expected, types[0], parameter, "aggregation parameter")
        }
    }

    private func expect(
        _ expected: ValueType, _ type: ValueType, _ expression: Expression, _ context: String
    ) throws(PromQLParseError) {
        guard type != expected else { return }
        throw failure(
            "expected type \(expected.documentedName) in \(context), got \(type.documentedName)",
            expression.range)
    }

    private func check(
        _ node: FunctionCall, _ types: [ValueType]
    ) throws(PromQLParseError) -> ValueType {
        guard let function = PromQLFunction.all[node.name] else { return .vector }
        for (index, type) in types.enumerated() {
            guard let expected = function.type(ofArgument: index) else { continue }
            try expect(
                expected, type, node.arguments[index], "call to function \(quoted(node.name))")
        }
        return function.returnType
    }

    private func checkArgumentCount(
        of node: FunctionCall, _ function: PromQLFunction
    ) throws(PromQLParseError) {
        let count = node.arguments.count
        let most = function.argumentsMax ?? Int.max
        guard count < function.argumentsMin || count > most else { return }
        let bound =
            function.argumentsMin == most
            ? "\(most)"
            : count < function.argumentsMin
                ? "at least \(function.argumentsMin)" : "at most \(most)"
        throw failure(
            "expected \(bound) argument(s) in call to \(quoted(node.name)), got \(count)",
            node.range)
    }

    /// The second argument of `info` is a bare set of label matchers, which may match everything.
    private func checkInfoSelector(_ node: FunctionCall) throws(PromQLParseError) -> Expression {
        let argument = node.arguments[1]
        guard argument.valueType == .vector else {
            throw failure(
                "expected type instant vector in call to function \"info\", got "
                    + argument.valueType.documentedName, node.range)
        }
        guard case .vectorSelector(var selector) = argument else {
            throw failure("expected label selectors only", argument.range)
        }
        guard selector.name.isEmpty else {
            throw failure(
                "expected label selectors only, got vector selector instead", argument.range)
        }
        selector.mayMatchEverything = true
        return .vectorSelector(selector)
    }

    private func check(_ selector: VectorSelector) throws(PromQLParseError) {
        if !selector.name.isEmpty {
            for matcher in selector.matchers.dropLast()
            where matcher.name == Labels.metricNameLabel {
                throw failure(
                    "metric name must not be set twice: \(quoted(selector.name)) or "
                        + quoted(matcher.value), selector.range)
            }
            return
        }
        guard !selector.mayMatchEverything else { return }
        guard selector.matchers.contains(where: { !$0.matchesEmpty }) else {
            throw failure(
                "vector selector must contain at least one non-empty matcher", selector.range)
        }
    }

    func failure(_ message: String, _ range: SourceRange) -> PromQLParseError {
        PromQLParseError(message, at: range, in: source)
    }
}

extension LabelMatcher {
    /// Whether a series without the label satisfies the matcher. Compiles a regular expression.
    fileprivate var matchesEmpty: Bool {
        switch operation {
        case .equal: value.isEmpty
        case .notEqual: !value.isEmpty
        case .matchesRegex: (try? LinearRegex(value, anchored: true))?.matches("") ?? false
        case .notMatchesRegex: !((try? LinearRegex(value, anchored: true))?.matches("") ?? true)
        }
    }
}

// MARK: - Binary operators

extension TypeChecker {
    private func check(
        _ binary: BinaryExpression, left: ValueType, right: ValueType
    ) throws(PromQLParseError) -> Checked {
        var node = binary
        if node.returnsBool, !node.operation.isComparison {
            throw failure(
                "bool modifier can only be used on comparison operators", operatorRange(node))
        }
        if node.operation.isComparison, !node.returnsBool, left == .scalar, right == .scalar {
            throw failure(
                "comparisons between scalars must use BOOL modifier", operatorRange(node))
        }
        if let matching = node.matching, matching.isOn,
            let label = matching.labels.first(where: { matching.included.contains($0) })
        {
            throw failure(
                "label \(quoted(label)) must not occur in ON and GROUP clause at once",
                operatorRange(node))
        }
        for (type, side) in [(left, node.lhs), (right, node.rhs)]
        where type != .scalar && type != .vector {
            throw failure(
                "binary expression must contain only scalar and instant vector types", side.range)
        }
        node.matching = try checkedMatching(
            node, betweenVectors: left == .vector && right == .vector)
        if node.operation.isSet, left == .scalar || right == .scalar {
            throw failure(
                "set operator \(quoted(node.operation.rawValue)) not allowed in binary scalar "
                    + "expression", node.range)
        }
        return (.binary(node), left == .scalar && right == .scalar ? .scalar : .vector)
    }

    private func checkedMatching(
        _ node: BinaryExpression, betweenVectors: Bool
    ) throws(PromQLParseError) -> VectorMatching? {
        guard var matching = node.matching else { return nil }
        let fills = matching.fillLeft != nil || matching.fillRight != nil
        guard betweenVectors else {
            if !matching.labels.isEmpty {
                throw failure("vector matching only allowed between instant vectors", node.range)
            }
            if fills {
                throw failure(
                    "filling in missing series only allowed between instant vectors", node.range)
            }
            return nil
        }
        guard node.operation.isSet else { return matching }
        guard matching.cardinality == .oneToOne || matching.cardinality == .manyToMany else {
            throw failure(
                "no grouping allowed for \(quoted(node.operation.rawValue)) operation", node.range)
        }
        if fills {
            throw failure(
                "filling in missing series not allowed for set operators", node.range)
        }
        matching.cardinality = .manyToMany
        return matching
    }

    /// The operator with its modifiers: what is between the sides, without the spaces around it.
    private func operatorRange(_ node: BinaryExpression) -> SourceRange {
        var range = SourceRange(node.lhs.range.end, node.rhs.range.start)
        while range.start < range.end, isSpace(source[range.start]) { range.start += 1 }
        while range.end > range.start, isSpace(source[range.end - 1]) { range.end -= 1 }
        return range
    }
}
