import Model
import PromQLSyntax

/// The tree of a query as `parse_query` shows it; members in the order of their names.
///
/// Source: Prometheus 3.14 `web/api/v1/translate_ast.go`.
enum ExpressionJSON {
    /// The deepest tree that is written; bounds the recursion.
    static let depthMax = 256

    /// Whether the tree, the arithmetic in its durations apart, is no deeper than `depthMax`.
    static func isShallow(_ expression: Expression) -> Bool {
        var level = [expression]
        var depth = 0
        while !level.isEmpty {
            depth += 1
            guard depth <= depthMax else { return false }
            level = level.flatMap(\.children)
        }
        return true
    }

    /// Writes a tree that is shallow.
    static func write(_ expression: Expression, to json: inout JSONWriter) {
        json.object { json in
            switch expression {
            case .number(let node):
                json.member("type", "numberLiteral")
                json.member("val", decimalText(node.value))
            case .string(let node):
                json.member("type", "stringLiteral")
                json.member("val", node.value)
            case .vectorSelector(let node): selector(node, nil, to: &json)
            case .matrixSelector(let node): selector(node.selector, node.duration, to: &json)
            case .subquery(let node): subquery(node, to: &json)
            case .unary(let node):
                json.member("expr") { write(node.operand, to: &$0) }
                json.member("op", node.isNegation ? "-" : "+")
                json.member("type", "unaryExpr")
            case .binary(let node): binary(node, to: &json)
            case .call(let node): call(node, to: &json)
            case .aggregate(let node): aggregation(node, to: &json)
            case .parenthesized(let node):
                json.member("expr") { write(node.expression, to: &$0) }
                json.member("type", "parenExpr")
            }
        }
    }

    private static func selector(
        _ node: VectorSelector, _ range: DurationExpression?, to json: inout JSONWriter
    ) {
        json.member("anchored") { $0.boolean(node.edges == .anchored) }
        json.member("matchers") { json in
            json.array { json in
                for matcher in node.matchers {
                    json.object { json in
                        json.member("name", matcher.name)
                        json.member("type", matcher.operation.rawValue)
                        json.member("value", matcher.value)
                    }
                }
            }
        }
        json.member("name", node.name)
        duration("offset", node.offset, to: &json)
        if let range { duration("range", range, to: &json) }
        json.member("smoothed") { $0.boolean(node.edges == .smoothed) }
        anchor(node.anchor, to: &json)
        json.member("type", range == nil ? "vectorSelector" : "matrixSelector")
    }

    private static func subquery(_ node: Subquery, to json: inout JSONWriter) {
        json.member("expr") { write(node.expression, to: &$0) }
        duration("offset", node.offset, to: &json)
        duration("range", node.duration, to: &json)
        json.member("startOrEnd") { startOrEnd(node.anchor, to: &$0) }
        duration("step", node.step ?? .zero, to: &json)
        json.member("timestamp") { timestamp(node.anchor, to: &$0) }
        json.member("type", "subquery")
    }

    private static func binary(_ node: BinaryExpression, to json: inout JSONWriter) {
        json.member("bool") { $0.boolean(node.returnsBool) }
        json.member("lhs") { write(node.lhs, to: &$0) }
        json.member("matching") { json in
            guard let matching = node.matching else { return json.null() }
            json.object { json in
                json.member("card", matching.cardinality.rawValue)
                json.member("fillValues") { json in
                    json.object { json in
                        for (key, value) in [
                            ("lhs", matching.fillLeft), ("rhs", matching.fillRight),
                        ] {
                            json.member(key) { json in
                                if let value { json.number(value) } else { json.null() }
                            }
                        }
                    }
                }
                json.member("include") { PrometheusEnvelope.strings(matching.included, to: &$0) }
                json.member("labels") { PrometheusEnvelope.strings(matching.labels, to: &$0) }
                json.member("on") { $0.boolean(matching.isOn) }
            }
        }
        json.member("op", node.operation.rawValue)
        json.member("rhs") { write(node.rhs, to: &$0) }
        json.member("type", "binaryExpr")
    }

    private static func call(_ node: FunctionCall, to json: inout JSONWriter) {
        json.member("args") { json in
            json.array { json in for one in node.arguments { write(one, to: &json) } }
        }
        json.member("func") { json in
            guard let function = PromQLFunction.all[node.name] else { return json.null() }
            json.object { json in
                json.member("argTypes") {
                    PrometheusEnvelope.strings(
                        function.argumentTypes.map(\.rawValue), to: &$0)
                }
                json.member("name", function.name)
                json.member("returnType", function.returnType.rawValue)
                json.member("variadic") { json in
                    json.number(
                        Int64(function.argumentsMax.map { $0 - function.argumentsMin } ?? -1))
                }
            }
        }
        json.member("type", "call")
    }

    private static func aggregation(_ node: Aggregation, to json: inout JSONWriter) {
        json.member("expr") { write(node.expression, to: &$0) }
        json.member("grouping") { PrometheusEnvelope.strings(node.grouping, to: &$0) }
        json.member("op", node.operation.rawValue)
        json.member("param") { json in
            if let parameter = node.parameter {
                write(parameter, to: &json)
            } else {
                json.null()
            }
        }
        json.member("type", "aggregation")
        json.member("without") { $0.boolean(node.isWithout) }
    }

    // MARK: Times

    private static func anchor(_ anchor: TimeAnchor?, to json: inout JSONWriter) {
        json.member("startOrEnd") { startOrEnd(anchor, to: &$0) }
        json.member("timestamp") { timestamp(anchor, to: &$0) }
    }

    private static func startOrEnd(_ anchor: TimeAnchor?, to json: inout JSONWriter) {
        switch anchor {
        case .start: json.string("start")
        case .end: json.string("end")
        case nil, .timestamp: json.null()
        }
    }

    private static func timestamp(_ anchor: TimeAnchor?, to json: inout JSONWriter) {
        guard case .timestamp(let time) = anchor else { return json.null() }
        json.number(time.rawValue)
    }

    /// `key` in milliseconds, 0 where it is arithmetic, and the arithmetic as `keyExpr`.
    private static func duration(
        _ key: String, _ value: DurationExpression, to json: inout JSONWriter
    ) {
        json.member(key) { $0.number(value.constantMilliseconds ?? 0) }
        json.member("\(key)Expr") { json in
            if value.constantMilliseconds == nil {
                arithmetic(value, isWrapped: false, to: &json)
            } else {
                json.null()
            }
        }
    }

    private static func arithmetic(
        _ value: DurationExpression, isWrapped: Bool, to json: inout JSONWriter
    ) {
        func operation(
            _ name: String, _ lhs: DurationExpression?, _ rhs: DurationExpression?
        ) {
            json.object { json in
                for (key, side) in [("lhs", lhs), ("rhs", rhs)] {
                    if key == "rhs" { json.member("op", name) }
                    json.member(key) { json in
                        if let side {
                            arithmetic(side, isWrapped: false, to: &json)
                        } else {
                            json.null()
                        }
                    }
                }
                json.member("type", "durationExpr")
                json.member("wrapped") { $0.boolean(isWrapped) }
            }
        }
        switch value {
        case .constant(let milliseconds):
            number(Double(milliseconds) / 1000, isDuration: true, to: &json)
        case .number(let seconds, let isDuration):
            number(seconds, isDuration: isDuration, to: &json)
        case .step: operation("step", nil, nil)
        case .range: operation("range", nil, nil)
        case .negate(let operand): operation("-", nil, operand)
        case .binary(let symbol, let lhs, let rhs): operation(symbol.rawValue, lhs, rhs)
        case .minimum(let lhs, let rhs): operation("min_of", lhs, rhs)
        case .maximum(let lhs, let rhs): operation("max_of", lhs, rhs)
        case .parenthesized(let inner): arithmetic(inner, isWrapped: true, to: &json)
        }
    }

    private static func number(
        _ seconds: Double, isDuration: Bool, to json: inout JSONWriter
    ) {
        json.object { json in
            json.member("duration") { $0.boolean(isDuration) }
            json.member("type", "numberLiteral")
            json.member("val", decimalText(seconds))
        }
    }
}

extension JSONWriter {
    /// A member with a text.
    mutating func member(_ name: String, _ text: String) {
        key(name)
        string(text)
    }

    /// A member with what `body` writes.
    mutating func member(_ name: String, _ body: (inout JSONWriter) -> Void) {
        key(name)
        body(&self)
    }
}
