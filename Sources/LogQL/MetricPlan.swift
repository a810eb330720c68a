import LinearRegex
package import LogQLSyntax
package import Model

/// Which entries a metric query needs.
package struct MetricSelection: Hashable, Sendable {
    /// Matchers over stream labels; all must hold.
    package var matchers: [LabelMatcher]
    /// Byte strings that every line contains that could matter; to skip by, or to ignore.
    package var needles: [[UInt8]]
    /// Fields that every entry that could matter has beside its line, or that its stream has as labels.
    package var metadata: [Label] = []
    /// Inclusive.
    package var from: TimestampNS
    /// Exclusive.
    package var to: TimestampNS
    /// Whether numbers of lines by stream, time and level do instead of the lines: `MetricRun.spans` tells when.
    package var isCountable: Bool
    /// Of a countable selection: what its samples are grouped by. Counts are right where all streams have these labels,
    /// or no entry has a field of that name beside its line.
    package var groupingLabels: Set<String> = []
}

/// A metric query made ready to run: what to read, and how to put it together. Pure; reading is the caller's.
///
/// ```
/// let plan = try MetricPlan(expression, at: .instant(now))
/// let run = MetricRun(plan)
/// for (index, selection) in plan.selections.enumerated() {
///     // pages of `selection`, oldest first:
///     try run.accept(page.entries, page.streamIndexes, page.streams, selection: index)
/// }
/// let answer = try run.result()
/// ```
///
/// Two windows over the same streams and time are one selection; a range aggregation that occurs twice is evaluated once.
package struct MetricPlan: Sendable {
    /// In no special order. Empty where the query reads nothing.
    package let selections: [MetricSelection]

    let expression: MetricExpression
    let times: MetricTimes
    let limits: MetricLimits
    let counting: MetricCounting?
    let stepCount: Int
    /// Each once.
    let legs: [PlannedLeg]

    /// A range aggregation and the operations above it up to where it meets another vector.
    struct PlannedLeg: Sendable {
        let expression: MetricExpression
        let range: RangeAggregation
        let extraction: SampleExtraction
        let grid: WindowGrid
        /// Index in `selections`.
        var selection: Int
    }

    /// Compiles a query. `counting` is nil where the store counts nothing.
    ///
    /// Throws `syntax` for a stage that can't be built, `rangeTooLong`, `tooManyPoints`, `badTimes`, `literalOperand`,
    /// `instantOnly`.
    package init(
        _ expression: MetricExpression, at times: MetricTimes, limits: MetricLimits = .init(),
        counting: MetricCounting? = nil
    ) throws(MetricError) {
        self.expression = expression
        self.times = times
        self.limits = limits
        self.counting = counting
        if let max = limits.rangeNanosecondsMax {
            for range in expression.ranges.reversed() where range.rangeNanoseconds > max {
                throw .rangeTooLong(range.rangeNanoseconds, max: max)
            }
        }
        if times.isRange { try Self.refuseInstantOnly(expression) }
        stepCount = try Self.stepCount(times, limits)
        var legs: [PlannedLeg] = []
        var known: Set<MetricExpression> = []
        for leg in try Self.legs(of: expression) where known.insert(leg.expression).inserted {
            legs.append(try Self.planned(leg, times, stepCount))
        }
        selections = Self.selections(of: &legs, counting)
        self.legs = legs
    }

    private static func stepCount(
        _ times: MetricTimes, _ limits: MetricLimits
    ) throws(MetricError) -> Int {
        guard case .range(let start, let end, let step) = times else { return 1 }
        let (length, isOverflow) = end.rawValue.subtractingReportingOverflow(start.rawValue)
        guard step > 0, length >= 0, !isOverflow else { throw .badTimes }
        guard length / step <= limits.pointsMax else { throw .tooManyPoints(limits.pointsMax) }
        return Int(length / step) + 1
    }

    private static func planned(
        _ leg: FoundLeg, _ times: MetricTimes, _ stepCount: Int
    ) throws(MetricError) -> PlannedLeg {
        let range = leg.range
        let (start, step) =
            switch times {
            case .instant(let time): (time, Int64(1))
            case .range(let start, _, let step): (start, step)
            }
        guard
            let grid = WindowGrid(
                start: start.rawValue, step: step, stepCount: stepCount,
                range: range.rangeNanoseconds, offset: range.offsetNanoseconds)
        else { throw .badTimes }
        return PlannedLeg(
            expression: leg.expression, range: range,
            extraction: try SampleExtraction(range, sumGrouping: leg.sumGrouping), grid: grid,
            selection: 0)
    }

    // MARK: - Legs

    private struct FoundLeg {
        var expression: MetricExpression
        var range: RangeAggregation
        var sumGrouping: Grouping?
    }

    /// The legs of an expression from left to right. Trees are no deeper than `LogQLParser.depthMax`.
    private static func legs(
        of expression: MetricExpression
    ) throws(MetricError) -> [FoundLeg] {
        if let (range, grouping) = expression.chainedRange {
            return [FoundLeg(expression: expression, range: range, sumGrouping: grouping)]
        }
        switch expression {
        case .literal, .vector, .range: return []
        case .aggregation(let aggregation):
            return try legs(ofOperand: aggregation.operand)
        case .labelReplace(let replacement):
            return try legs(ofOperand: replacement.operand)
        case .binary(let operation):
            if operation.left.literalValue != nil, operation.right.literalValue != nil {
                return []
            }
            return try legs(of: operation.left) + legs(of: operation.right)
        }
    }

    private static func legs(
        ofOperand operand: MetricExpression
    ) throws(MetricError) -> [FoundLeg] {
        guard operand.literalValue == nil else { throw .literalOperand }
        return try legs(of: operand)
    }

    private static func refuseInstantOnly(_ expression: MetricExpression) throws(MetricError) {
        switch expression {
        case .literal, .vector, .range: break
        case .aggregation(let aggregation):
            guard aggregation.operation != .approxTopK else { throw .instantOnly }
            try refuseInstantOnly(aggregation.operand)
        case .labelReplace(let replacement): try refuseInstantOnly(replacement.operand)
        case .binary(let operation):
            try refuseInstantOnly(operation.left)
            try refuseInstantOnly(operation.right)
        }
    }

    // MARK: - Selections

    /// Puts legs together that read the same, and tells them their selection.
    private static func selections(
        of legs: inout [PlannedLeg], _ counting: MetricCounting?
    ) -> [MetricSelection] {
        var selections: [MetricSelection] = []
        for index in legs.indices {
            let own = selection(of: legs[index], counting)
            var place: Int?
            for candidate in selections.indices where place == nil {
                guard let both = union(selections[candidate], own) else { continue }
                selections[candidate] = both
                place = candidate
            }
            if place == nil { selections.append(own) }
            legs[index].selection = place ?? selections.count - 1
        }
        return selections
    }

    private static func selection(
        of leg: PlannedLeg, _ counting: MetricCounting?
    ) -> MetricSelection {
        let pipeline = leg.extraction.pipeline
        var selection = MetricSelection(
            matchers: leg.range.selector.matchers, needles: pipeline.needles,
            metadata: pipeline.metadataEqualities, from: TimestampNS(leg.grid.after + 1),
            to: TimestampNS(leg.grid.through + 1),
            isCountable: leg.extraction.ignoresLines
                && counting?.knows(leg.extraction.grouping) == true)
        if selection.isCountable, case .by(let names) = leg.extraction.grouping {
            selection.groupingLabels = Set(names)
        }
        return selection
    }

    /// One selection for both where reading it costs no more than reading them apart: the same streams, times that
    /// touch, and needles and fields of which the weaker ones do for both.
    private static func union(_ a: MetricSelection, _ b: MetricSelection) -> MetricSelection? {
        guard Set(a.matchers) == Set(b.matchers), a.isCountable == b.isCountable else {
            return nil
        }
        guard a.from <= b.to, b.from <= a.to else { return nil }
        var both = a
        both.from = min(a.from, b.from)
        both.to = max(a.to, b.to)
        both.groupingLabels.formUnion(b.groupingLabels)
        for (strong, weak) in [(b, a), (a, b)]
        where imply(strong.needles, weak.needles)
            && Set(weak.metadata).isSubset(of: strong.metadata)
        {
            both.needles = weak.needles
            both.metadata = weak.metadata
            return both
        }
        return nil
    }

    /// Whether a line with all of `strong` has all of `weak`.
    private static func imply(_ strong: [[UInt8]], _ weak: [[UInt8]]) -> Bool {
        weak.allSatisfy { needle in
            let needle = Needle(needle)
            return strong.contains { needle.firstIndex(in: $0) != nil }
        }
    }
}

extension MetricTimes {
    var isRange: Bool { if case .range = self { true } else { false } }
}

extension MetricExpression {
    /// The number of an expression without vectors.
    var literalValue: Double? {
        switch self {
        case .literal(let value): value
        case .vector, .range, .aggregation, .labelReplace: nil
        case .binary(let operation):
            if operation.operation.isSetOperation {
                nil
            } else if let left = operation.left.literalValue,
                let right = operation.right.literalValue
            {
                operation.operation.fold(left, right)
            } else {
                nil
            }
        }
    }

    /// The range aggregation below, where nothing but operations on its vectors alone is above it, and the grouping of a
    /// `sum` right above it that samples can be put together by as they are read.
    var chainedRange: (range: RangeAggregation, sumGrouping: Grouping?)? {
        switch self {
        case .literal, .vector: return nil
        case .range(let range): return (range, nil)
        case .labelReplace(let replacement): return replacement.operand.chainedRange
        case .aggregation(let aggregation):
            guard case .range(let range) = aggregation.operand else {
                return aggregation.operand.chainedRange
            }
            let isMerging = aggregation.operation == .sum && range.operation.sumsUp
            return (range, isMerging ? aggregation.grouping ?? Grouping(labels: []) : nil)
        case .binary(let operation):
            guard !operation.operation.isSetOperation else { return nil }
            if operation.left.literalValue != nil { return operation.right.chainedRange }
            if operation.right.literalValue != nil { return operation.left.chainedRange }
            return nil
        }
    }

    /// Whether there is `sort` or `sort_desc` anywhere: the order of the answer is the query's.
    /// Source: Loki 3.6 `Sortable`.
    var isSorting: Bool {
        switch self {
        case .literal, .vector, .range: false
        case .labelReplace(let replacement): replacement.operand.isSorting
        case .aggregation(let aggregation):
            aggregation.operation.ranksAll || aggregation.operand.isSorting
        case .binary(let operation): operation.left.isSorting || operation.right.isSorting
        }
    }
}

extension RangeAggregation.Operation {
    /// Whether the sum over series is the same as that of their samples. Source: Loki 3.6 `canInjectVectorGrouping`.
    var sumsUp: Bool {
        switch self {
        case .bytesOverTime, .bytesRate, .sumOverTime, .rate, .countOverTime: true
        case .rateCounter, .avgOverTime, .minOverTime, .maxOverTime, .stddevOverTime,
            .stdvarOverTime, .quantileOverTime, .firstOverTime, .lastOverTime, .absentOverTime:
            false
        }
    }
}
