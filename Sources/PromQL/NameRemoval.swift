import Model

/// Names that go at once, which is what Prometheus does without `promql-delayed-name-removal`.
///
/// What a function or an operator makes of a series is no longer that metric: it has lost its name, type and unit before
/// anything around it looks. Series that differed in these alone are then two of one label set.
/// Source: Prometheus 3.14 `rangeEval`, and `eval` of calls and of the unary minus.
extension Evaluator {
    /// `value`, as `plan` yields it, without the names that it drops; as it is where the query delays that.
    ///
    /// Throws `duplicateLabelset` for two rows of one label set: those of a range function even where they have no step in
    /// common, while others are joined then.
    func withoutDroppedNames(_ value: Value, of plan: Plan) throws(QueryError) -> Value {
        guard case .vector(let rows) = value else { return value }
        return .vector(try withoutDroppedNames(rows, of: plan))
    }

    func withoutDroppedNames(_ rows: [Row], of plan: Plan) throws(QueryError) -> [Row] {
        guard dropsNamesAtOnce, rows.contains(where: \.dropsName) else { return rows }
        let mayCollide = plan.mayYieldTwins || differInMetadata(rows.lazy.map(\.labels))
        var result = rows
        for index in result.indices where result[index].dropsName {
            result[index].labels = result[index].labels.droppingMetadata()
            result[index].dropsName = false
        }
        guard mayCollide else { return result }
        guard plan.yieldsWholeSeries else { return try joined(result) }
        var seen: Set<Labels> = []
        for row in result {
            guard seen.insert(row.labels).inserted else { throw .duplicateLabelset }
        }
        return result
    }

    var dropsNamesAtOnce: Bool { !parameters.delaysNameRemoval }
}

/// Whether sets that are all different may become equal once they have lost their names, types and units.
func differInMetadata(_ sets: some Sequence<Labels>) -> Bool {
    var iterator = sets.makeIterator()
    guard let first = iterator.next() else { return false }
    let metadata = first.filter { Labels.isMetadata($0.name) }
    while let labels = iterator.next() {
        // Compared in place: the sets are many, and most are of one metric.
        var place = 0
        for label in labels where Labels.isMetadata(label.name) {
            guard place < metadata.count, metadata[place] == label else { return true }
            place += 1
        }
        if place < metadata.count { return true }
    }
    return false
}

extension Plan {
    /// Whether two rows of one label set are an error even where they have no step in common.
    fileprivate var yieldsWholeSeries: Bool {
        switch self {
        case .rangeCall: true
        case .number, .string, .time, .selector, .sampleTimes, .startTimes, .invariant,
            .negation, .binary, .aggregation, .call, .info:
            false
        }
    }

    /// Whether two rows may have one label set while all names are there: classic and native histograms, at different
    /// steps.
    fileprivate var mayYieldTwins: Bool {
        switch self {
        case .call(let call):
            switch call.function {
            case .histogramQuantile, .histogramQuantiles, .histogramFraction: true
            default: false
            }
        case .number, .string, .time, .selector, .sampleTimes, .startTimes, .invariant,
            .negation, .binary, .aggregation, .info, .rangeCall:
            false
        }
    }
}
