/// A function of a range vector; the raw value is its name.
enum RangeFunction: String, Sendable {
    case rate, irate, increase, delta, idelta, deriv, changes, resets
    case predictLinear = "predict_linear"
    case doubleExponentialSmoothing = "double_exponential_smoothing"
    case sum = "sum_over_time"
    case avg = "avg_over_time"
    case min = "min_over_time"
    case max = "max_over_time"
    case count = "count_over_time"
    case first = "first_over_time"
    case last = "last_over_time"
    case present = "present_over_time"
    case absent = "absent_over_time"
    case stddev = "stddev_over_time"
    case stdvar = "stdvar_over_time"
    case quantile = "quantile_over_time"
    case mad = "mad_over_time"
    case timeOfFirst = "ts_of_first_over_time"
    case timeOfLast = "ts_of_last_over_time"
    case timeOfMin = "ts_of_min_over_time"
    case timeOfMax = "ts_of_max_over_time"

    /// Whether the result is the series itself at another time, so that it keeps its name.
    var keepsName: Bool { self == .first || self == .last }

    /// Whether `anchored` may edge its range. Source: Prometheus 3.14 `AnchoredSafeFunctions`.
    var allowsAnchored: Bool { Self.anchoredNames.contains(rawValue) }
    /// Whether `smoothed` may edge its range. Source: Prometheus 3.14 `SmoothedSafeFunctions`.
    var allowsSmoothed: Bool { Self.smoothedNames.contains(rawValue) }

    static let anchoredNames = ["changes", "delta", "increase", "rate", "resets"]
    static let smoothedNames = ["delta", "increase", "rate"]
}

/// A function of instant vectors, scalars and strings; the raw value is its name.
enum InstantFunction: String, Sendable {
    case abs, absent, acos, acosh, asin, asinh, atan, atanh, ceil, clamp, cos, cosh, deg, exp
    case floor, hour, ln, log2, log10, minute, month, pi, rad, round, scalar, sgn, sin, sinh
    case sort, sqrt, tan, tanh, timestamp, vector, year
    case clampMax = "clamp_max"
    case clampMin = "clamp_min"
    case dayOfMonth = "day_of_month"
    case dayOfWeek = "day_of_week"
    case dayOfYear = "day_of_year"
    case daysInMonth = "days_in_month"
    case histogramAvg = "histogram_avg"
    case histogramCount = "histogram_count"
    case histogramFraction = "histogram_fraction"
    case histogramQuantile = "histogram_quantile"
    case histogramQuantiles = "histogram_quantiles"
    case histogramStddev = "histogram_stddev"
    case histogramStdvar = "histogram_stdvar"
    case histogramSum = "histogram_sum"
    case labelJoin = "label_join"
    case labelReplace = "label_replace"
    case maxOf = "max_of"
    case minOf = "min_of"
    case sortByLabel = "sort_by_label"
    case sortByLabelDesc = "sort_by_label_desc"
    case sortDesc = "sort_desc"
    case startTimestamp = "start_timestamp"
}

/// Functions whose result depends on the evaluation time whatever their arguments, so that `@` in an argument doesn't
/// make them step invariant. Source: Prometheus 3.14 `AtModifierUnsafeFunctions`.
package let timeDependentFunctions: Set<String> = [
    "days_in_month", "day_of_month", "day_of_week", "day_of_year", "end", "hour", "minute",
    "month", "year", "predict_linear", "range", "start", "step", "time", "timestamp",
]
