import LinearRegex

// Metric queries.

extension LogQLParser {
    /// Precedence climbing; `^` binds to the right.
    mutating func expression(atLeast lowest: Int) throws(LogQLSyntaxError) -> LogQLNode {
        try enter()
        defer { leave() }
        var left = try operand()
        while case .word(let word) = kind, let operation = word.operation,
            operation.precedence >= lowest
        {
            step()
            let (returnsBool, matching) = try modifier()
            let next = operation.precedence + (operation == .power ? 0 : 1)
            let right = try expression(atLeast: next)
            left = try binary(
                BinaryOperation.Shape(operation, returnsBool: returnsBool, matching: matching),
                left, right)
        }
        return left
    }

    private mutating func operand() throws(LogQLSyntaxError) -> LogQLNode {
        switch kind {
        case .word(.openBrace): return try logQuery()
        case .word(.openParenthesis):
            step()
            let inner = try expression(atLeast: 0)
            guard skip(.closeParenthesis) else { throw unexpected() }
            return inner
        case .word(.subtract), .word(.add), .number:
            switch try literal() {
            case .success(let value): return LogQLNode(expression: .metric(.literal(value)))
            case .failure(let error):
                return LogQLNode(expression: .metric(.literal(0)), error: error)
            }
        case .word(.labelReplace): return try labelReplace()
        case .vector: return try vector()
        case .rangeOperation(let operation): return try rangeAggregation(operation)
        case .vectorOperation(let operation): return try vectorAggregation(operation)
        default: throw unexpected()
        }
    }

    /// A metric query as an operand.
    private mutating func metric() throws(LogQLSyntaxError) -> (MetricExpression, LogQLNode) {
        let node = try expression(atLeast: 0)
        guard case .metric(let expression) = node.expression else { throw unexpected() }
        return (expression, node)
    }

    /// `5`, `+5`, `-5`; a failure where Go can't read the number.
    mutating func literal() throws(LogQLSyntaxError) -> Result<Double, LogQLSyntaxError> {
        let isNegative = at(.subtract)
        if isNegative || at(.add) { step() }
        guard case .number(let text) = kind else { throw unexpected("NUMBER") }
        step()
        guard let value = parseFloat(text) else {
            return .failure(
                .invalid("unable to parse literal as a float: \(Self.floatComplaint(text))"))
        }
        return .success(isNegative ? -value : value)
    }

    /// Go's error for a number that it can't read.
    private static func floatComplaint(_ text: String) -> String {
        let isTooLarge = Double(text).map(\.isInfinite) ?? false
        let reason = isTooLarge ? "value out of range" : "invalid syntax"
        return "strconv.ParseFloat: parsing \"\(text)\": \(reason)"
    }

    private mutating func vector() throws(LogQLSyntaxError) -> LogQLNode {
        step()
        try expect(.openParenthesis)
        guard case .number(let text) = kind else { throw unexpected("NUMBER") }
        step()
        try expect(.closeParenthesis)
        guard let value = parseFloat(text) else {
            return LogQLNode(
                expression: .metric(.vector(0)),
                error: .invalid(
                    "unable to parse vectorExpr as a float: \(Self.floatComplaint(text))"))
        }
        return LogQLNode(expression: .metric(.vector(value)))
    }

    private mutating func labelReplace() throws(LogQLSyntaxError) -> LogQLNode {
        step()
        try expect(.openParenthesis)
        let (operand, node) = try metric()
        var texts: [String] = []
        for _ in 0..<4 {
            guard skip(.comma) else { throw texts.isEmpty ? unexpected() : unexpected(",") }
            texts.append(try text())
        }
        try expect(.closeParenthesis)
        do { _ = try LinearRegex("^(?:\(texts[3]))$", anchored: false) } catch {
            let reason = regexErrorText(error)
            return LogQLNode(
                expression: .metric(operand),
                error: .invalid("invalid regex in label_replace: \(reason)"), height: node.height)
        }
        let replacement = LabelReplacement(
            operand, destination: texts[0], replacement: texts[1], source: texts[2],
            regex: texts[3])
        return try parent(.labelReplace(replacement), of: [node])
    }

    private func parent(
        _ expression: MetricExpression, of children: [LogQLNode], error: LogQLSyntaxError? = nil
    ) throws(LogQLSyntaxError) -> LogQLNode {
        let height = (children.map(\.height).max() ?? 0) + 1
        try checkHeight(height)
        return LogQLNode(
            expression: .metric(expression),
            error: error ?? children.lazy.compactMap(\.error).first, height: height)
    }

    // MARK: - Range aggregations

    private mutating func rangeAggregation(
        _ operation: RangeAggregation.Operation
    ) throws(LogQLSyntaxError) -> LogQLNode {
        step()
        try expect(.openParenthesis)
        var parameter: String?
        switch kind {
        case .number(let text):
            parameter = text
            step()
            try expect(.comma)
        case .word(.openBrace), .word(.openParenthesis): break
        default: throw unexpected("NUMBER", "{", "(")
        }
        var range = try logRange()
        try expect(.closeParenthesis)
        range.aggregation.operation = operation
        range.aggregation.grouping = try grouping()
        range.aggregation.parameter = parameter.flatMap(parseFloat)
        let error = Self.complaint(of: range.aggregation, parameter: parameter)
        return LogQLNode(
            expression: .metric(.range(range.aggregation)),
            error: error ?? (range.selects ? nil : .needsMatcher))
    }

    private struct LogRange {
        /// Its operation, parameter and grouping are set later.
        var aggregation: RangeAggregation
        var selects: Bool
    }

    /// The selector with its range, which stands before or after the pipeline.
    private mutating func logRange() throws(LogQLSyntaxError) -> LogRange {
        try enter()
        defer { leave() }
        guard skip(.openParenthesis) else { return try plainRange(isInBrackets: false) }
        if at(.openParenthesis) {
            let inner = try logRange()
            try expect(.closeParenthesis)
            return inner
        }
        return try plainRange(isInBrackets: true)
    }

    private mutating func plainRange(isInBrackets: Bool) throws(LogQLSyntaxError) -> LogRange {
        guard at(.openBrace) else { throw unexpected("{", "(") }
        let (matchers, selects) = try matchers()
        var range = LogRange(
            aggregation: RangeAggregation(
                .rate, LogSelector(matchers: matchers), rangeNanoseconds: 0),
            selects: selects)
        if case .range(let nanoseconds) = kind {
            step()
            range.aggregation.rangeNanoseconds = nanoseconds
            try offset(&range)
            range.aggregation.selector.stages = try pipeline(mayUnwrap: true)
            range.aggregation.unwrap = try unwrap()
        } else {
            range.aggregation.selector.stages = try pipeline(mayUnwrap: true)
            range.aggregation.unwrap = try unwrap()
            if isInBrackets, skip(.closeParenthesis) {
                guard case .range(let nanoseconds) = kind else { throw unexpected("RANGE") }
                step()
                range.aggregation.rangeNanoseconds = nanoseconds
                try offset(&range)
                if at(.pipe), range.aggregation.selector.stages.isEmpty,
                    range.aggregation.unwrap == nil
                {
                    if following != .word(.unwrap) {
                        step()
                        throw unexpected("unwrap")
                    }
                    range.aggregation.unwrap = try unwrap()
                }
                return range
            }
            guard case .range(let nanoseconds) = kind else {
                if range.aggregation.unwrap == nil { throw unexpected() }
                throw isInBrackets ? unexpected("RANGE", ")", "|") : unexpected("RANGE", "|")
            }
            step()
            range.aggregation.rangeNanoseconds = nanoseconds
            try offset(&range)
        }
        if isInBrackets { try expect(.closeParenthesis) }
        return range
    }

    private mutating func offset(_ range: inout LogRange) throws(LogQLSyntaxError) {
        guard skip(.offset) else { return }
        guard case .duration(let nanoseconds) = kind else { throw unexpected("DURATION") }
        step()
        range.aggregation.offsetNanoseconds = nanoseconds
    }

    /// `| unwrap …` with the label filters after it; nil where none follows.
    private mutating func unwrap() throws(LogQLSyntaxError) -> Unwrap? {
        guard at(.pipe), following == .word(.unwrap) else { return nil }
        step()
        step()
        var unwrap: Unwrap
        switch kind {
        case .identifier(let label):
            unwrap = Unwrap(label)
            step()
        case .conversion(let conversion):
            step()
            try expect(.openParenthesis)
            guard case .identifier(let label) = kind else { throw unexpected("IDENTIFIER") }
            step()
            try expect(.closeParenthesis)
            unwrap = Unwrap(label, conversion: conversion)
        default:
            throw unexpected("IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV")
        }
        while skip(.pipe) { unwrap.filters.append(try labelFilter()) }
        return unwrap
    }

    /// What Loki has against the aggregation itself.
    private static func complaint(
        of range: RangeAggregation, parameter: String?
    ) -> LogQLSyntaxError? {
        let operation = range.operation
        let name = operation.rawValue
        if let parameter {
            guard operation == .quantileOverTime else {
                return .invalid("parameter \(parameter) not supported for operation \(name)")
            }
            if range.parameter == nil {
                return .invalid(
                    "invalid parameter for operation \(name): \(floatComplaint(parameter))")
            }
        } else if operation == .quantileOverTime {
            return .invalid("parameter required for operation \(name)")
        }
        if range.grouping != nil, !operation.allowsGrouping {
            return .invalid("grouping not allowed for \(name) aggregation")
        }
        if range.unwrap == nil, !operation.countsLines {
            return .invalid("invalid aggregation \(name) without unwrap")
        }
        if range.unwrap != nil, !operation.takesValues {
            return .invalid("invalid aggregation \(name) with unwrap")
        }
        return nil
    }

    // MARK: - Vector aggregations

    private mutating func vectorAggregation(
        _ operation: VectorAggregation.Operation
    ) throws(LogQLSyntaxError) -> LogQLNode {
        step()
        var grouping = try grouping()
        try expect(.openParenthesis)
        var parameter: String?
        if case .number(let text) = kind, following == .word(.comma) {
            parameter = text
            step()
            step()
        }
        let (operand, node) = try metric()
        guard skip(.closeParenthesis) else { throw unexpected() }
        if grouping == nil { grouping = try self.grouping() }
        var error = Self.complaint(of: operation, parameter: parameter, grouping: grouping)
        if error == nil, operation == .sort || operation == .sortDescending,
            grouping.map(\.labels.isEmpty) == false
        {
            error = .invalid("sort and sort_desc doesn't allow grouping by ")
        }
        // `by ()` is what no grouping means.
        if grouping == Grouping(labels: []) { grouping = nil }
        return try parent(
            .aggregation(
                VectorAggregation(
                    operation, operand, parameter: parameter.flatMap { Int($0) },
                    grouping: grouping)),
            of: [node], error: error)
    }

    private static func complaint(
        of operation: VectorAggregation.Operation, parameter: String?, grouping: Grouping?
    ) -> LogQLSyntaxError? {
        let name = operation.rawValue
        guard operation.takesParameter else {
            return parameter.map { .invalid("unsupported parameter for operation \(name)(\($0),") }
        }
        guard let parameter else {
            return .invalid("parameter required for operation \(name)")
        }
        guard let count = Int(parameter) else {
            return .invalid("invalid parameter \(name)(\(parameter),")
        }
        guard count > 0 else {
            return .invalid("invalid parameter (must be greater than 0) \(name)(\(parameter)")
        }
        if operation == .approxTopK, grouping != nil {
            return .invalid("grouping not allowed for \(name) aggregation")
        }
        return nil
    }

    /// `by (…)` or `without (…)`, nil where neither follows.
    private mutating func grouping() throws(LogQLSyntaxError) -> Grouping? {
        let isWithout = at(.without)
        guard isWithout || at(.by) else { return nil }
        step()
        return Grouping(isWithout: isWithout, labels: try labelList())
    }

    /// `(a, b)` or `()`.
    private mutating func labelList() throws(LogQLSyntaxError) -> [String] {
        try expect(.openParenthesis)
        var labels: [String] = []
        if skip(.closeParenthesis) { return labels }
        while true {
            guard case .identifier(let label) = kind else {
                throw labels.isEmpty ? unexpected("IDENTIFIER", ")") : unexpected("IDENTIFIER")
            }
            labels.append(label)
            step()
            if skip(.closeParenthesis) { return labels }
            guard skip(.comma) else { throw unexpected(",", ")") }
        }
    }

    // MARK: - Binary operations

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    private mutating func modifier() throws(LogQLSyntaxError) -> (
        returnsBool: Bool, BinaryOperation.Matching?
    ) {
        let returnsBool = skip(.bool)
        let isOn = at(.on)
        guard isOn || at(.ignoring) else { return (returnsBool, nil) }
        step()
        var matching = BinaryOperation.Matching(isOn: isOn, labels: try labelList())
        if at(.groupLeft) || at(.groupRight) {
            matching.cardinality = at(.groupLeft) ? .manyToOne : .oneToMany
            step()
            if at(.openParenthesis) { matching.include = try labelList() }
        }
        // `ignoring ()` is what no modifier means.
        return (returnsBool, matching == BinaryOperation.Matching() ? nil : matching)
    }

    private func binary(
        _ shape: BinaryOperation.Shape, _ left: LogQLNode, _ right: LogQLNode
    ) throws(LogQLSyntaxError) -> LogQLNode {
        let name = shape.operation.rawValue
        func failed(_ error: LogQLSyntaxError) -> LogQLNode {
            LogQLNode(
                expression: .metric(.vector(0)), error: error,
                height: max(left.height, right.height))
        }
        guard case .metric(let leftOperand) = left.expression else {
            return failed(Self.wrongType(left, "left", name))
        }
        guard case .metric(let rightOperand) = right.expression else {
            return failed(Self.wrongType(right, "right", name))
        }
        if case .literal(let value) = leftOperand, shape.operation.isSetOperation {
            return failed(left.error ?? Self.literalLeg(value, "left", name))
        }
        if case .literal(let value) = rightOperand, shape.operation.isSetOperation {
            return failed(right.error ?? Self.literalLeg(value, "right", name))
        }
        if case .literal(let leftValue) = leftOperand, case .literal(let rightValue) = rightOperand
        {
            if let error = left.error ?? right.error { return failed(error) }
            return LogQLNode(
                expression: .metric(.literal(shape.operation.fold(leftValue, rightValue))))
        }
        let operation = BinaryOperation(
            shape.operation, leftOperand, rightOperand, returnsBool: shape.returnsBool,
            matching: shape.matching)
        return try parent(.binary(operation), of: [left, right])
    }

    private static func wrongType(
        _ node: LogQLNode, _ leg: String, _ name: String
    ) -> LogQLSyntaxError {
        var type = "MatchersExpr"
        if case .log(let selector) = node.expression, !selector.stages.isEmpty {
            type = "PipelineExpr"
        }
        return .invalid(
            "unexpected type for \(leg) leg of binary operation (\(name)): *syntax.\(type)")
    }

    private static func literalLeg(
        _ value: Double, _ leg: String, _ name: String
    ) -> LogQLSyntaxError {
        .invalid(
            "unexpected literal for \(leg) leg of logical/set binary operation (\(name)): "
                + GoNumber.sixDecimals(value))
    }
}

extension BinaryOperation {
    /// What stands between the operands.
    fileprivate struct Shape {
        var operation: Operation
        var returnsBool: Bool
        var matching: Matching?

        init(_ operation: Operation, returnsBool: Bool, matching: Matching?) {
            self.operation = operation
            self.returnsBool = returnsBool
            self.matching = matching
        }
    }
}
