import Model
import PromQLSyntax
import QueryMath

/// What the engine has to say about a result, in the words of Prometheus.
/// Source: Prometheus 3.14 `util/annotations`.
enum Remark: Hashable {
    /// In what histograms were combined.
    enum Operation: String {
        case addition, subtraction, aggregation
    }

    case invalidQuantile(Double)
    case invalidRatio(Double, bound: Double)
    case badBucketLabel(metric: String, label: String)
    case mixedRange(metric: String)
    case mixedAggregation
    case mixedClassicAndNative(metric: String)
    case notCounter(metric: String)
    case notGauge(metric: String)
    case mixedBuckets(metric: String)
    case incompatibleBuckets(operation: String)
    case sortInRangeQuery
    case possibleNonCounter(metric: String)
    case forcedMonotonicity(metric: String, Corrections)
    case incompatibleTypes(left: String, operation: String, right: String)
    case ignoredInAggregation(String)
    case ignoredInMixedRange(metric: String)
    case quantileOfNaN(metric: String)
    case quantileSkewedByNaN(metric: String)
    case fractionWithNaN(metric: String)
    case resetConflict(Operation)
    case reconciledBounds(Operation)
    case overlappingStartTime(metric: String)

    func annotation(at position: Int) -> Annotation {
        Annotation(
            severity, message, details: details, offset: position, isOfSamples: isOfSamples)
    }

    private var isOfSamples: Bool {
        switch self {
        case .sortInRangeQuery, .possibleNonCounter: false
        case .invalidQuantile, .invalidRatio, .badBucketLabel, .mixedRange, .mixedAggregation,
            .mixedClassicAndNative, .notCounter, .notGauge, .mixedBuckets, .incompatibleBuckets,
            .forcedMonotonicity, .incompatibleTypes, .ignoredInAggregation, .ignoredInMixedRange,
            .quantileOfNaN, .quantileSkewedByNaN, .fractionWithNaN, .resetConflict,
            .reconciledBounds, .overlappingStartTime:
            true
        }
    }

    private var severity: Annotation.Severity {
        switch self {
        case .invalidQuantile, .invalidRatio, .badBucketLabel, .mixedRange, .mixedAggregation,
            .mixedClassicAndNative, .notCounter, .notGauge, .mixedBuckets, .incompatibleBuckets,
            .sortInRangeQuery, .resetConflict, .overlappingStartTime:
            .warning
        case .possibleNonCounter, .forcedMonotonicity, .incompatibleTypes, .ignoredInAggregation,
            .ignoredInMixedRange, .quantileOfNaN, .quantileSkewedByNaN, .fractionWithNaN,
            .reconciledBounds:
            .info
        }
    }

    private var details: Annotation.Details {
        if case .forcedMonotonicity(_, let corrections) = self { return .corrections(corrections) }
        if case .overlappingStartTime = self { return .series(1) }
        return .none
    }

    private var message: String {
        switch self {
        case .invalidQuantile(let value):
            "quantile value should be between 0 and 1, got \(GoFloat.general(value))"
        case .invalidRatio(let value, let bound):
            "ratio value should be between -1 and 1, got \(GoFloat.general(value)), "
                + "capping to \(GoFloat.general(bound))"
        case .badBucketLabel(let metric, let label):
            "bucket label \"le\" is missing or has a malformed value of \(quoted(label))"
                + suffix(metric)
        case .mixedRange(let metric):
            "encountered a mix of histograms and floats for metric name \(quoted(metric))"
        case .mixedAggregation: "encountered a mix of histograms and floats for aggregation"
        case .mixedClassicAndNative(let metric):
            "vector contains a mix of classic and native histograms" + suffix(metric)
        case .notCounter(let metric):
            "this native histogram metric is not a counter: \(quoted(metric))"
        case .notGauge(let metric):
            "this native histogram metric is not a gauge: \(quoted(metric))"
        case .mixedBuckets(let metric):
            "vector contains a mix of histograms with exponential and custom buckets schemas "
                + "for metric name \(quoted(metric))"
        case .incompatibleBuckets(let operation):
            "incompatible bucket layout encountered for binary operator \(operation)"
        case .sortInRangeQuery:
            "sort is ineffective for range queries since results are always ordered by labels"
        case .possibleNonCounter(let metric):
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                + quoted(metric)
        case .forcedMonotonicity(let metric, _):
            "input to histogram_quantile needed to be fixed for monotonicity (see "
                + "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                + "#histogram_quantile)" + suffix(metric)
        case .incompatibleTypes(let left, let operation, let right):
            "incompatible sample types encountered for binary operator \(quoted(operation)): "
                + "\(left) \(operation) \(right)"
        case .ignoredInAggregation(let aggregation):
            "ignored histogram in \(aggregation) aggregation"
        case .ignoredInMixedRange(let metric):
            "ignored histograms in a range containing both floats and histograms for metric name "
                + quoted(metric)
        case .quantileOfNaN(let metric):
            "input to histogram_quantile has NaN observations, result is NaN" + suffix(metric)
        case .quantileSkewedByNaN(let metric):
            "input to histogram_quantile has NaN observations, result is skewed higher"
                + suffix(metric)
        case .fractionWithNaN(let metric):
            "input to histogram_fraction has NaN observations, which are excluded from all "
                + "fractions" + suffix(metric)
        case .resetConflict(let operation):
            "conflicting counter resets during histogram \(operation.rawValue)"
        case .reconciledBounds(let operation):
            "mismatched custom buckets were reconciled during \(operation.rawValue)"
        case .overlappingStartTime(let metric):
            "sample has start time that overlaps with previous sample timestamp for metric "
                + quoted(metric)
        }
    }

    private func suffix(_ metric: String) -> String {
        metric.isEmpty ? "" : " for metric name \(quoted(metric))"
    }
}

extension Annotation.Details {
    var text: String {
        switch self {
        case .none: return ""
        case .series(let count): return count > 1 ? " (\(count) occurrences)" : ""
        case .corrections(let some):
            return ", from buckets \(GoFloat.general(some.lowestBound)) to "
                + "\(GoFloat.general(some.highestBound)), with a max diff of "
                + "\(GoFloat.general(some.greatestDifference, digits: 2)), over \(some.count) "
                + "samples from \(instant(some.firstTime)) to \(instant(some.lastTime))"
        }
    }

    /// The second in UTC.
    private func instant(_ milliseconds: Int64) -> String {
        RFC3339.text(TimestampMS(milliseconds / 1000 * 1000))
    }
}
