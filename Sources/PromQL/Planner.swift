import Model
import PromQLSyntax

/// Turns an expression into a plan and collects what it needs of storage.
struct Planner {
    let parameters: QueryParameters
    private(set) var requests: [SelectorRequest] = []
    /// Whether what has been planned looks, at each step, at nothing later than the step, and at none of the query's ends.
    private(set) var isSeparable = true
    private var indices: [SelectorRequest: Int] = [:]
    /// What the parts around the one being planned look at in its histograms.
    private var need = HistogramNeed()

    init(_ parameters: QueryParameters) { self.parameters = parameters }

    /// The plan of `expression` (with constant durations) over `grid`.
    mutating func plan(
        _ expression: Expression, _ grid: StepGrid, depth: Int = 0
    ) throws(QueryError) -> Plan {
        guard depth <= parameters.limits.depthMax else {
            throw .depthExceeded(max: parameters.limits.depthMax)
        }
        if grid.count > 1, mayRepeat(expression), isInvariant(expression) {
            return .invariant(try planParts(expression, grid.first, depth))
        }
        return try planParts(expression, grid, depth)
    }

    /// The range of a range selector or subquery.
    mutating func planRange(
        _ expression: Expression, _ grid: StepGrid, depth: Int
    ) throws(QueryError) -> RangePlan? {
        switch stripped(expression) {
        case .matrixSelector(let matrix):
            let duration = milliseconds(matrix.duration)
            let selector = select(
                matrix.selector, grid, reach: duration, position: matrix.range.start)
            return RangePlan(source: .selector, selector: selector, duration: duration)
        case .subquery(let subquery):
            return try planSubquery(subquery, grid, depth)
        case .number, .string, .vectorSelector, .unary, .binary, .call, .aggregate,
            .parenthesized:
            return nil
        }
    }

    private mutating func planParts(
        _ expression: Expression, _ grid: StepGrid, _ depth: Int
    ) throws(QueryError) -> Plan {
        switch expression {
        case .number(let literal): return .number(literal.value)
        case .string(let literal): return .string(literal.value)
        case .parenthesized(let inner):
            return try plan(inner.expression, grid, depth: depth + 1)
        case .unary(let unary):
            let operand = try plan(unary.operand, grid, depth: depth + 1)
            return unary.isNegation ? .negation(operand) : operand
        case .vectorSelector(let selector):
            return .selector(
                select(
                    selector, grid, reach: parameters.lookbackDeltaMS,
                    position: selector.range.start))
        case .binary(let binary):
            let outer = need
            defer { need = outer }
            if binary.operation.isTrim { need.isOfBuckets = true }
            return .binary(
                BinaryPlan(
                    operation: binary.operation,
                    lhs: try plan(binary.lhs, grid, depth: depth + 1),
                    rhs: try plan(binary.rhs, grid, depth: depth + 1),
                    returnsBool: binary.returnsBool, matching: binary.matching,
                    position: binary.range.start))
        case .aggregate(let aggregate):
            var parameter: Plan?
            if let expression = aggregate.parameter {
                if case .string(let literal) = stripped(expression),
                    let bytes = literal.invalidBytes
                {
                    throw .invalidLabelName("label name \(quoted(bytes: bytes))")
                }
                parameter = try plan(expression, grid, depth: depth + 1)
            }
            return .aggregation(
                AggregationPlan(
                    operation: aggregate.operation,
                    operand: try plan(aggregate.expression, grid, depth: depth + 1),
                    operandPosition: stripped(aggregate.expression).range.start,
                    parameter: parameter,
                    parameterPosition: (aggregate.parameter.map(stripped)?.range.start) ?? 0,
                    position: aggregate.range.start,
                    grouping: Set(aggregate.grouping), isWithout: aggregate.isWithout))
        case .call(let call):
            let outer = need
            defer { need = outer }
            need.add(call.name)
            return try planCall(call, grid, depth)
        case .matrixSelector, .subquery:
            throw .invalidParameter(name: "query", reason: "unexpected range vector")
        }
    }

    private mutating func planCall(
        _ call: FunctionCall, _ grid: StepGrid, _ depth: Int
    ) throws(QueryError) -> Plan {
        switch call.name {
        case "start", "end", "range", "step": isSeparable = false
        default: break
        }
        switch call.name {
        case "time": return .time
        case "start": return .number(parameters.start.seconds)
        case "end": return .number(parameters.end.seconds)
        case "range": return .number(Double(rangeMS) / 1000)
        case "step": return .number(Double(rangeMS == 0 ? 0 : parameters.stepMS) / 1000)
        case "timestamp", "start_timestamp":
            if let argument = call.arguments.first,
                case .vectorSelector(let selector) = stripped(argument)
            {
                let plan = select(
                    selector, grid, reach: parameters.lookbackDeltaMS,
                    position: selector.range.start)
                return call.name == "timestamp" ? .sampleTimes(plan) : .startTimes(plan)
            }
        case "info": return try planInfo(call, grid, depth)
        default: break
        }
        if let function = RangeFunction(rawValue: call.name) {
            return try planRangeCall(function, call, grid, depth)
        }
        guard let function = InstantFunction(rawValue: call.name) else {
            throw .unsupported("function \(call.name)()")
        }
        var arguments: [Plan] = []
        for argument in call.arguments {
            arguments.append(try plan(argument, grid, depth: depth + 1))
        }
        return .call(
            CallPlan(
                function: function, arguments: arguments,
                positions: call.arguments.map { stripped($0).range.start },
                position: call.range.start,
                absentLabels: function == .absent ? absentLabels(call.arguments[0]) : .empty))
    }

    /// The info series are read over the time range of the first selector in the operand.
    /// Source: Prometheus 3.14 `infoSelectHints`.
    private mutating func planInfo(
        _ call: FunctionCall, _ grid: StepGrid, _ depth: Int
    ) throws(QueryError) -> Plan {
        var written: [LabelMatcher] = []
        if call.arguments.count > 1, case .vectorSelector(let selector) = call.arguments[1] {
            written = selector.matchers
        }
        let dataMatchers = written.filter { $0.name != Labels.metricNameLabel }
        let nameMatchers = InfoPlan.nameMatchers(
            written.filter { $0.name == Labels.metricNameLabel })
        let operand = try plan(call.arguments[0], grid, depth: depth + 1)
        var source = VectorSelector(name: "", matchers: nameMatchers + dataMatchers)
        if let first = call.arguments[0].selectors.first {
            source.offset = first.offset
            source.anchor = first.anchor
        }
        let selector = select(
            source, grid, reach: parameters.lookbackDeltaMS, position: call.range.start)
        return .info(
            InfoPlan(
                operand: operand, selector: selector, dataMatchers: dataMatchers,
                nameMatchers: nameMatchers))
    }

    private mutating func planRangeCall(
        _ function: RangeFunction, _ call: FunctionCall, _ grid: StepGrid, _ depth: Int
    ) throws(QueryError) -> Plan {
        var range: RangePlan?
        var absent = Labels.empty
        var scalars: [Plan] = []
        for argument in call.arguments {
            if range == nil, let found = try planRange(argument, grid, depth: depth + 1) {
                range = found
                absent = absentLabels(argument)
            } else {
                scalars.append(try plan(argument, grid, depth: depth + 1))
            }
        }
        guard let range else {
            throw .invalidParameter(name: "query", reason: "\(call.name)() needs a range vector")
        }
        if range.selector.edges == .anchored, !function.allowsAnchored {
            throw .invalidRangeEdges(
                keyword: "anchored", allowed: RangeFunction.anchoredNames, function: call.name)
        }
        if range.selector.edges == .smoothed, !function.allowsSmoothed {
            throw .invalidRangeEdges(
                keyword: "smoothed", allowed: RangeFunction.smoothedNames, function: call.name)
        }
        // Two series that become one are an error wherever in the range they are.
        if !parameters.delaysNameRemoval, !function.keepsName, function != .absent,
            !call.arguments.allSatisfy(selectsByName)
        {
            isSeparable = false
        }
        return .rangeCall(
            RangeCallPlan(
                function: function, range: range, scalars: scalars,
                position: call.arguments.first.map { stripped($0).range.start } ?? 0,
                absentLabels: absent))
    }

    /// The subquery's own grid: multiples of its step after the earliest window's start.
    /// Source: Prometheus 3.14 `subqueryTimeRange`.
    private mutating func planSubquery(
        _ subquery: Subquery, _ grid: StepGrid, _ depth: Int
    ) throws(QueryError) -> RangePlan {
        let duration = milliseconds(subquery.duration)
        let offset = milliseconds(subquery.offset)
        let anchor = time(of: subquery.anchor)
        let step = subquery.step.map(milliseconds) ?? parameters.subqueryStepMS
        guard step > 0 else {
            throw .invalidParameter(name: "query", reason: "zero or negative subquery step")
        }
        let earliest = (anchor ?? grid.start) - offset - duration
        var start = step * (earliest / step)
        if start <= earliest { start += step }
        let inner = StepGrid(start: start, end: (anchor ?? grid.last) - offset, step: step)
        if anchor != nil || offset < 0 { isSeparable = false }
        guard inner.count <= parameters.limits.samplesMax else {
            throw .samplesExceeded(max: parameters.limits.samplesMax)
        }
        let outer = need
        defer { need = outer }
        need.isOfBuckets = true
        let plan = try plan(subquery.expression, inner, depth: depth + 1)
        let selector = SelectorPlan(
            request: 0, offset: offset, anchor: anchor, edges: .plain,
            position: subquery.range.start)
        return RangePlan(source: .subquery(plan, inner), selector: selector, duration: duration)
    }

    /// Registers what `selector` needs over `grid`, where it reads `reach` milliseconds back.
    private mutating func select(
        _ selector: VectorSelector, _ grid: StepGrid, reach: Int64, position: Int
    ) -> SelectorPlan {
        let offset = milliseconds(selector.offset)
        let anchor = time(of: selector.anchor)
        if anchor != nil || offset < 0 || selector.edges == .smoothed { isSeparable = false }
        let lookback = parameters.lookbackDeltaMS
        let before = selector.edges == .plain ? 0 : lookback
        let after = selector.edges == .smoothed ? lookback : 0
        let earliest = TimestampMS(anchor ?? grid.start).advanced(byMilliseconds: -offset)
        let latest = TimestampMS(anchor ?? grid.last).advanced(byMilliseconds: -offset)
        let request = SelectorRequest(
            matchers: selector.matchers,
            after: earliest.advanced(byMilliseconds: -reach).advanced(byMilliseconds: -before),
            through: latest.advanced(byMilliseconds: after))
        let index = indices[request] ?? requests.count
        if index == requests.count {
            indices[request] = index
            requests.append(request)
        }
        return SelectorPlan(
            request: index, offset: offset, anchor: anchor, edges: selector.edges,
            position: position, needsOnlyTotals: need.isOfTotals && !need.isOfBuckets)
    }

    private var rangeMS: Int64 { parameters.end.rawValue - parameters.start.rawValue }

    private func milliseconds(_ duration: DurationExpression) -> Int64 {
        bounded(duration.constantMilliseconds ?? 0)
    }

    private func time(of anchor: TimeAnchor?) -> Int64? {
        switch anchor {
        case nil: nil
        case .timestamp(let time): bounded(time.rawValue)
        case .start: parameters.start.rawValue
        case .end: parameters.end.rawValue
        }
    }
}

/// What is looked at in histograms. Source: Prometheus 3.14 `detectHistogramStatsDecoding`.
private struct HistogramNeed {
    /// Their count or sum.
    var isOfTotals = false
    /// Their buckets.
    var isOfBuckets = false

    mutating func add(_ function: String) {
        switch function {
        case "histogram_count", "histogram_sum", "histogram_avg": isOfTotals = true
        case "histogram_quantile", "histogram_quantiles", "histogram_fraction": isOfBuckets = true
        default: break
        }
    }
}

/// The greatest time and duration that the engine computes with, 36 million years: sums of a few of them don't overflow.
let timeMax: Int64 = 1 << 60

private func bounded(_ milliseconds: Int64) -> Int64 {
    min(timeMax, max(-timeMax, milliseconds))
}

/// `expression` without enclosing parentheses.
func stripped(_ expression: Expression) -> Expression {
    var inner = expression
    while case .parenthesized(let parenthesized) = inner { inner = parenthesized.expression }
    return inner
}

/// Whether `expression` yields something that is worth repeating: no literal and no range vector.
private func mayRepeat(_ expression: Expression) -> Bool {
    switch stripped(expression) {
    case .number, .string, .matrixSelector, .subquery: false
    case .vectorSelector, .unary, .binary, .call, .aggregate, .parenthesized: true
    }
}

/// Whether `expression` has the same value at every evaluation time.
/// Source: Prometheus 3.14 `preprocessExprHelper`.
private func isInvariant(_ expression: Expression) -> Bool {
    switch expression {
    case .number, .string: return true
    case .vectorSelector(let selector): return selector.anchor != nil
    case .matrixSelector(let matrix): return matrix.selector.anchor != nil
    case .subquery(let subquery): return subquery.anchor != nil
    case .parenthesized(let inner): return isInvariant(inner.expression)
    case .unary(let unary): return isInvariant(unary.operand)
    case .binary(let binary): return isInvariant(binary.lhs) && isInvariant(binary.rhs)
    case .aggregate(let aggregate):
        return isInvariant(aggregate.expression) && aggregate.parameter.map(isInvariant) ?? true
    case .call(let call):
        if call.name == "timestamp", let argument = call.arguments.first,
            case .vectorSelector(let selector) = stripped(argument)
        {
            return selector.anchor != nil
        }
        return !timeDependentFunctions.contains(call.name)
            && call.arguments.allSatisfy(isInvariant)
    }
}

/// The labels of `absent(expression)`: those that its equality matchers name once.
/// Source: Prometheus 3.14 `createLabelsForAbsentFunction`.
/// Whether every selector in `expression` is of one metric.
private func selectsByName(_ expression: Expression) -> Bool {
    var selects = true
    expression.forEachNode { node in
        guard case .vectorSelector(let selector) = node else { return }
        let isNamed = selector.matchers.contains {
            $0.name == Labels.metricNameLabel && $0.operation == .equal
        }
        if !isNamed { selects = false }
    }
    return selects
}

private func absentLabels(_ expression: Expression) -> Labels {
    let matchers: [LabelMatcher]
    switch stripped(expression) {
    case .vectorSelector(let selector): matchers = selector.matchers
    case .matrixSelector(let matrix): matchers = matrix.selector.matchers
    case .number, .string, .subquery, .unary, .binary, .call, .aggregate, .parenthesized:
        return .empty
    }
    var values: [String: String] = [:]
    var seen: Set<String> = []
    for matcher in matchers where matcher.name != Labels.metricNameLabel {
        if matcher.operation == .equal, seen.insert(matcher.name).inserted {
            values[matcher.name] = matcher.value
        } else {
            values[matcher.name] = nil
        }
    }
    return Labels(values)
}
