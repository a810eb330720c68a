/// Why a query has no result.
///
/// `description` is the message of Prometheus' API where Prometheus has the same error.
package enum QueryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A parameter of the query (its times, step or an operator's scalar) has an impossible value.
    case invalidParameter(name: String, reason: String)
    /// The expression can't be evaluated as a range query: it is a string or a range vector.
    case invalidRangeQueryType(String)
    /// A range query has more steps than `QueryLimits.stepsMax`.
    case stepsExceeded(max: Int)
    /// A query would hold more samples than `QueryLimits.samplesMax`.
    case samplesExceeded(max: Int)
    /// A selector or operator would yield more series than `QueryLimits.seriesMax`.
    case seriesExceeded(max: Int)
    /// An answer would have more points than `QueryLimits.pointsMax`.
    case pointsExceeded(max: Int)
    /// The expression is nested deeper than `QueryLimits.depthMax`.
    case depthExceeded(max: Int)
    /// Two series of one result have the same labels.
    case duplicateLabelset
    /// Two series of the "one" side fall in the same match group.
    case duplicateSeries(group: String, side: String, first: String, second: String)
    /// Several series of the left side match one of the right without `group_left` or `group_right`.
    case implicitManyToOne
    /// The labels of a many-to-one result aren't unique.
    case ambiguousGrouping
    /// A label value that a function would make longer than `max` bytes.
    case labelValueExceeded(max: Int)
    /// A label name that an operator or function was given isn't one; the text says which, and what it is.
    case invalidLabelName(String)
    /// A regular expression doesn't compile.
    case invalidRegex(String, reason: String)
    /// The scalar of topk, bottomk, limitk or limit_ratio is out of range; the text says how.
    case invalidAggregationParameter(String)
    /// `anchored` or `smoothed` with a function that doesn't know it.
    case invalidRangeEdges(keyword: String, allowed: [String], function: String)
    /// `anchored` or `smoothed` with a range of histograms that is asked for itself.
    case edgesWithHistograms(keyword: String)
    /// Two info series of one series disagree on a label.
    case conflictingInfoLabel(String)
    /// Two info series of the same metric have the same identifying labels and time (milliseconds).
    case duplicateInfo(String, String, Int64)
    /// An info series has histograms.
    case histogramInfo(String)
    /// A function or operator that this engine doesn't evaluate.
    case unsupported(String)
    /// `PreparedQuery.evaluate` was not given the room for what it would hold.
    case crowded
    /// Whoever asked went away.
    case canceled
    /// The query took longer than it may.
    case timedOut

    /// The error type of Prometheus' API: `bad_data`, `execution`, `unavailable`, `canceled` or `timeout`.
    package var errorType: String {
        switch self {
        case .invalidParameter, .invalidRangeQueryType, .stepsExceeded: "bad_data"
        case .samplesExceeded, .seriesExceeded, .pointsExceeded, .depthExceeded,
            .duplicateLabelset, .duplicateSeries,
            .implicitManyToOne, .ambiguousGrouping, .labelValueExceeded, .invalidLabelName,
            .invalidRegex,
            .invalidAggregationParameter, .invalidRangeEdges, .edgesWithHistograms,
            .conflictingInfoLabel, .duplicateInfo, .histogramInfo, .unsupported:
            "execution"
        case .crowded: "unavailable"
        case .canceled: "canceled"
        case .timedOut: "timeout"
        }
    }

    package var description: String {
        switch self {
        case .invalidParameter(let name, let reason): "invalid parameter \"\(name)\": \(reason)"
        case .invalidRangeQueryType(let type):
            "invalid expression type \"\(type)\" for range query, must be Scalar or instant Vector"
        case .stepsExceeded(let max):
            "exceeded maximum resolution of \(grouped(max)) points per timeseries. "
                + "Try decreasing the query resolution (?step=XX)"
        case .samplesExceeded(let max):
            "query processing would load too many samples into memory in query execution "
                + "(limit \(max): limits.query_samples_total, for rules limits.query_samples); "
                + "narrow the selectors or the time range"
        case .seriesExceeded(let max):
            "query processing would select too many series "
                + "(limit \(max): limits.query_series); narrow the selectors"
        case .pointsExceeded(let max):
            "the answer would have more than \(grouped(max)) points (limits.query_points); "
                + "take a greater step, a shorter range or fewer series"
        case .depthExceeded(let max): "the expression is nested deeper than \(max) levels"
        case .duplicateLabelset: "vector cannot contain metrics with the same labelset"
        case .duplicateSeries(let group, let side, let first, let second):
            "found duplicate series for the match group \(group) on the \(side) hand-side of the "
                + "operation: [\(first), \(second)];many-to-many matching not allowed: "
                + "matching labels must be unique on one side"
        case .implicitManyToOne:
            "multiple matches for labels: many-to-one matching must be explicit "
                + "(group_left/group_right)"
        case .ambiguousGrouping:
            "multiple matches for labels: grouping labels must ensure unique matches"
        case .labelValueExceeded(let max): "label value longer than \(max) bytes"
        case .invalidLabelName(let name): "invalid \(name)"
        case .invalidRegex(let pattern, let reason):
            "invalid regular expression in label_replace(): \(pattern): \(reason)"
        case .invalidAggregationParameter(let text): text
        case .invalidRangeEdges(let keyword, let allowed, let function):
            "\(keyword) modifier can only be used with: "
                + allowed.joined(separator: ", ") + " - not with \(function)"
        case .edgesWithHistograms(let keyword):
            "\(keyword) modifier is not supported with histograms"
        case .conflictingInfoLabel(let name): "conflicting label: \(name)"
        case .duplicateInfo(let first, let second, let time):
            "found duplicate series for info metric: existing \(first) @ \(time), "
                + "new \(second) @ \(time)"
        case .histogramInfo(let series):
            "this should be an info metric, with float samples: \(series)"
        case .unsupported(let what): "\(what) is not supported"
        case .crowded:
            "the queries under way hold as many samples as they may together; try again in a moment"
        case .canceled: "query was canceled in query execution"
        case .timedOut: "query timed out in query execution"
        }
    }
}

private func grouped(_ number: Int) -> String {
    let text = String(number)
    guard text.count > 3 else { return text }
    return grouped(number / 1000) + "," + text.suffix(3)
}
