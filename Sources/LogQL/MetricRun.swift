package import GoTemplate
import LogQLSyntax
package import Model

/// One evaluation of a `MetricPlan`. Not for several threads at once.
package final class MetricRun {
    /// Lines looked at.
    package private(set) var scannedLineCount = 0
    /// Bytes of the lines looked at.
    package private(set) var scannedByteCount = 0
    /// Lines of the counts taken up instead.
    package private(set) var countedLineCount = 0

    /// Whether series were left out of the answer, as `MetricLimits.isCutAtSeriesMax` has it.
    package var isCut: Bool { output.isCut }

    private let plan: MetricPlan
    private let locations: GoLocations
    private let memory: MemoryMeter
    private let output: MetricOutput
    private var legs: [MetricLeg] = []
    /// By selection: the legs that it feeds, and the streams seen.
    private var feeds: [Feed]
    /// What is evaluated when all legs are there; nil where the only leg writes the answer itself.
    private var root: MetricNode?
    private var storedLegs: [MetricExpression: StoredNode] = [:]

    private struct Feed {
        var legs: [Int] = []
        var numberOfStream: [Labels: Int] = [:]
    }

    /// `locations` are the time zones of templates. Throws where the memory allowed is not even enough to begin.
    package init(
        _ plan: MetricPlan, locations: GoLocations = .utcAlone
    ) throws(MetricError) {
        self.plan = plan
        self.locations = locations
        memory = MemoryMeter(max: plan.limits.byteCountMax)
        output = MetricOutput(
            plan.times, plan.limits, isSorted: plan.expression.isSorting, memory)
        feeds = [Feed](repeating: Feed(), count: plan.selections.count)
        let isDirect = plan.expression.chainedRange != nil
        for planned in plan.legs { try add(planned, isDirect: isDirect) }
        if !isDirect, plan.expression.literalValue == nil {
            root = try node(of: plan.expression)
        }
    }

    private func add(_ planned: MetricPlan.PlannedLeg, isDirect: Bool) throws(MetricError) {
        let reader = SampleReader(planned.extraction)
        switch plan.times {
        case .instant(let time), .range(_, let time, _): reader.run.labels.now = time
        }
        reader.run.labels.toDateInZone = locations.toDateInZone
        let source = RangeNode(reader.run)
        let top = try chain(planned.expression, over: source)
        let stored = isDirect ? nil : StoredNode(top, memory)
        storedLegs[planned.expression] = stored
        feeds[planned.selection].legs.append(legs.count)
        legs.append(
            MetricLeg(
                windows: RangeWindows(planned.range, grid: planned.grid), reader: reader,
                memory: memory, source: source, top: top, stored: stored,
                output: isDirect ? output : nil))
    }

    // MARK: - Data

    /// Takes up entries of a selection: `entries[i]` is of `streams[streamIndexes[i]]`. Oldest first, within a page and
    /// from page to page. Entries out of the selection's time are passed over.
    ///
    /// Throws `pipeline`, `tooManySeries`, `tooMuchMemory`, `outOfOrder`, and what operations between vectors throw.
    package func accept(
        _ entries: [LogEntry], _ streamIndexes: [Int], _ streams: [Labels], selection: Int
    ) throws(MetricError) {
        precondition(entries.count == streamIndexes.count, "columns of different length")
        scannedLineCount += entries.count
        for entry in entries { scannedByteCount += entry.line.count }
        let numbers = try streamNumbers(streamIndexes, streams, selection)
        for leg in feeds[selection].legs { try legs[leg].accept(entries, numbers) }
    }

    /// Takes up counts of a countable selection instead of the entries of a span that `spans` says may be counted;
    /// `counts[i]` is of `streams[streamIndexes[i]]`. In the order of time, also relative to entries. Throws as `accept`.
    package func accept(
        _ counts: [LineCount], _ streamIndexes: [Int], _ streams: [Labels], selection: Int
    ) throws(MetricError) {
        precondition(counts.count == streamIndexes.count, "columns of different length")
        guard plan.counting != nil, plan.selections[selection].isCountable else {
            preconditionFailure("counts of a selection that needs lines")
        }
        for count in counts { countedLineCount += count.lineCount }
        let numbers = try streamNumbers(streamIndexes, streams, selection)
        for leg in feeds[selection].legs {
            try legs[leg].accept(counts, numbers)
        }
    }

    /// How to read a selection, in the order of time: all of it from entries unless it is countable. O(buckets).
    package func spans(of selection: Int) -> [MetricSpan] {
        let wanted = plan.selections[selection]
        let grids = plan.legs.filter { $0.selection == selection }.map(\.grid)
        guard wanted.isCountable, let counting = plan.counting else {
            return [
                MetricSpan(
                    after: wanted.from.advanced(byNanoseconds: -1),
                    through: wanted.to.advanced(byNanoseconds: -1), isCounted: false)
            ]
        }
        return SpanCutter.cut(
            from: wanted.from.rawValue, to: wanted.to.rawValue, counting
        ) { after, through in
            grids.allSatisfy { $0.isWithinPane(after: after, through: through) }
        }
    }

    /// The answer, once everything was accepted. To be asked once.
    package func result() throws(MetricError) -> MetricResult {
        for leg in legs { try leg.finish() }
        if let value = plan.expression.literalValue { return literal(value) }
        if let root {
            for index in 0..<plan.stepCount {
                try root.evaluate(index)
                try output.add(root, at: index)
            }
        }
        return output.result
    }

    private func literal(_ value: Double) -> MetricResult {
        switch plan.times {
        case .instant(let time): return .scalar(value, time.milliseconds)
        case .range(let start, _, let step):
            let timestamps = (0..<plan.stepCount).map {
                start.advanced(byNanoseconds: step * Int64($0)).milliseconds.rawValue
            }
            let values = [Double](repeating: value, count: plan.stepCount)
            return .matrix([SeriesColumns(labels: .empty, timestamps: timestamps, values: values)])
        }
    }

    private func streamNumbers(
        _ indexes: [Int], _ streams: [Labels], _ selection: Int
    ) throws(MetricError) -> [Int] {
        var numberOfIndex = [Int](repeating: -1, count: streams.count)
        var numbers: [Int] = []
        numbers.reserveCapacity(indexes.count)
        for index in indexes {
            if numberOfIndex[index] < 0 {
                numberOfIndex[index] = try streamNumber(streams[index], selection)
            }
            numbers.append(numberOfIndex[index])
        }
        return numbers
    }

    private func streamNumber(_ labels: Labels, _ selection: Int) throws(MetricError) -> Int {
        if let known = feeds[selection].numberOfStream[labels] { return known }
        let number = feeds[selection].numberOfStream.count
        feeds[selection].numberOfStream[labels] = number
        try memory.charge(labels.byteCount * (1 + feeds[selection].legs.count))
        for leg in feeds[selection].legs { legs[leg].add(stream: labels) }
        return number
    }

    // MARK: - Nodes

    /// The operations of a leg, over its range aggregation.
    private func chain(
        _ expression: MetricExpression, over source: RangeNode
    ) throws(MetricError) -> MetricNode {
        switch expression {
        case .literal, .vector: throw .literalOperand
        case .range(let range):
            guard range.operation == .absentOverTime else { return source }
            return AbsentNode(source, range.selector.matchers)
        case .aggregation(let aggregation):
            return node(aggregation, over: try chain(aggregation.operand, over: source))
        case .labelReplace(let replacement):
            return try LabelReplaceNode(
                try chain(replacement.operand, over: source), replacement, memory)
        case .binary(let operation):
            let isNumberLeft = operation.left.literalValue != nil
            let operand = isNumberLeft ? operation.right : operation.left
            return try Self.node(operation, isNumberLeft, try chain(operand, over: source))
        }
    }

    /// What is above the legs.
    private func node(of expression: MetricExpression) throws(MetricError) -> MetricNode {
        if let stored = storedLegs[expression] { return stored }
        switch expression {
        case .literal: throw .literalOperand
        case .vector(let value): return VectorNode(value)
        case .range: preconditionFailure("a leg that was not planned")
        case .aggregation(let aggregation):
            return node(aggregation, over: try node(of: aggregation.operand))
        case .labelReplace(let replacement):
            return try LabelReplaceNode(
                try node(of: replacement.operand), replacement, memory)
        case .binary(let operation):
            if operation.operation.isSetOperation
                || operation.left.literalValue == nil && operation.right.literalValue == nil
            {
                return BinaryOperationNode(
                    try node(of: operation.left), try node(of: operation.right), operation, memory)
            }
            let isNumberLeft = operation.left.literalValue != nil
            let operand = isNumberLeft ? operation.right : operation.left
            return try Self.node(operation, isNumberLeft, try node(of: operand))
        }
    }

    private func node(
        _ aggregation: VectorAggregation, over child: MetricNode
    ) -> MetricNode {
        aggregation.operation.picks
            ? RankingNode(child, aggregation, memory)
            : AggregationNode(child, aggregation, memory)
    }

    private static func node(
        _ operation: BinaryOperation, _ isNumberLeft: Bool, _ child: MetricNode
    ) throws(MetricError) -> MetricNode {
        let literal = isNumberLeft ? operation.left : operation.right
        guard let number = literal.literalValue else { throw .literalOperand }
        return ScalarOperationNode(
            child, operation.operation, number: number, isNumberLeft: isNumberLeft,
            returnsBool: operation.returnsBool)
    }
}
