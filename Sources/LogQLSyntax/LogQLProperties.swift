package import Model

// What can be told of a query without running it.

extension LogSelector {
    /// The stages in the order and the groups in which Loki builds them: a run of line filters, moved in front of
    /// stages that don't change the line, is one group, every other stage is one. A complaint about a stage names its
    /// group's text (`LogQLSyntaxError.stage`). O(n). Source: Loki 3.6, its stage errors.
    package var buildGroups: [[PipelineStage]] {
        var groups: [[PipelineStage]] = []
        var filters: [PipelineStage] = []
        var others: [[PipelineStage]] = []
        func flush() {
            if !filters.isEmpty { groups.append(filters) }
            groups += others
            filters = []
            others = []
        }
        for stage in stages {
            switch stage {
            case .lineFilter: filters.append(stage)
            case .labelFilter:
                flush()
                groups.append([stage])
            case .lineFormat, .unpack:
                others.append([stage])
                flush()
            case .json, .logfmt, .regexp, .pattern, .decolorize, .labelFormat, .drop, .keep:
                others.append([stage])
            }
        }
        flush()
        return groups
    }

    /// Whether a stage may drop lines: a label filter, or a line filter with something to look for.
    package var hasFilter: Bool {
        stages.contains { stage in
            switch stage {
            case .labelFilter: true
            case .lineFilter(let filter): !filter.isEmpty
            case .json, .logfmt, .regexp, .pattern, .unpack, .decolorize, .lineFormat,
                .labelFormat, .drop, .keep:
                false
            }
        }
    }

    /// Whether no stage changes or drops a line or a label.
    package var isNoop: Bool {
        stages.allSatisfy { stage in
            if case .lineFilter(let filter) = stage { filter.matchesAll } else { false }
        }
    }
}

extension LineFilter {
    /// `|= ""` and `|~ ""`, whatever `or` adds.
    fileprivate var isEmpty: Bool {
        switch operation {
        case .contains, .matchesRegex: patterns[0].bytes.isEmpty
        case .notContains, .notMatchesRegex, .matchesPattern, .notMatchesPattern: false
        }
    }

    /// Whether every line satisfies it.
    fileprivate var matchesAll: Bool {
        switch operation {
        case .contains: patterns.contains { !$0.isIP && $0.bytes.isEmpty }
        case .matchesRegex:
            patterns.contains { !$0.isIP && ($0.bytes.isEmpty || $0.bytes == Array(".*".utf8)) }
        case .notContains, .notMatchesRegex, .matchesPattern, .notMatchesPattern: false
        }
    }
}

/// The streams and the window that a part of a query reads.
package struct MatcherGroup: Hashable, Sendable {
    package var matchers: [LabelMatcher]
    /// Of the range, 0 for a log query.
    package var rangeNanoseconds: Int64
    /// Backwards where positive.
    package var offsetNanoseconds: Int64

    package init(
        matchers: [LabelMatcher], rangeNanoseconds: Int64 = 0, offsetNanoseconds: Int64 = 0
    ) {
        self.matchers = matchers
        self.rangeNanoseconds = rangeNanoseconds
        self.offsetNanoseconds = offsetNanoseconds
    }
}

extension LogQLExpression {
    /// What the query reads, a group for each of its selectors that has matchers, from left to right. O(n).
    package var matcherGroups: [MatcherGroup] {
        let groups =
            switch self {
            case .log(let selector): [MatcherGroup(matchers: selector.matchers)]
            case .metric(let expression):
                expression.ranges.map {
                    MatcherGroup(
                        matchers: $0.selector.matchers, rangeNanoseconds: $0.rangeNanoseconds,
                        offsetNanoseconds: $0.offsetNanoseconds)
                }
            }
        return groups.filter { !$0.matchers.isEmpty }
    }
}

extension MetricExpression {
    /// The range aggregations in it from left to right. O(n).
    package var ranges: [RangeAggregation] {
        var found: [RangeAggregation] = []
        var pending = [self]
        while let expression = pending.popLast() {
            switch expression {
            case .literal, .vector: break
            case .range(let range): found.append(range)
            case .aggregation(let aggregation): pending.append(aggregation.operand)
            case .binary(let operation): pending += [operation.right, operation.left]
            case .labelReplace(let replacement): pending.append(replacement.operand)
            }
        }
        return found
    }
}
