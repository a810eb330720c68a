package import Model

/// Why a metric query has no answer. Texts that Loki has are word for word those of Loki 3.6, for people and clients know
/// them.
package enum MetricError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A stage can't be built, or `label_replace` has a bad expression.
    case query(LogQLError)
    /// A sample has `__error__`, in a series with these labels.
    case pipeline(Labels)
    /// More series than `MetricLimits.seriesMax`.
    case tooManySeries(Int)
    /// A window is longer than `MetricLimits.rangeNanosecondsMax`; both in nanoseconds.
    case rangeTooLong(Int64, max: Int64)
    /// More steps than `MetricLimits.pointsMax`.
    case tooManyPoints(Int)
    /// The end lies before the start, the step is none, or a time lies outside 1824…2116.
    case badTimes
    /// The query needs more memory than `MetricLimits.byteCountMax`.
    case tooMuchMemory(Int)
    /// Two series of the side that should have one match the same.
    case duplicateSeries(isRight: Bool)
    case manyToOneNotExplicit
    case groupingNotUnique
    /// A number stands where series are wanted: `sum(1)`.
    case literalOperand
    /// `approx_topk` in a range query.
    case instantOnly
    /// An entry is older than the one before it: a defect of the reader.
    case outOfOrder

    package var description: String {
        switch self {
        case .query(let error): error.description
        case .pipeline(let labels): Self.pipelineText(labels)
        case .tooManySeries(let max):
            "maximum number of series (\(max)) reached for a single query; consider reducing "
                + "query cardinality by adding more specific stream selectors, reducing the time "
                + "range, or aggregating results with functions like sum(), count() or topk()"
        case .rangeTooLong(let range, let max):
            "[interval] value exceeds limit: [\(Self.duration(range))] > [\(Self.duration(max))]"
        case .tooManyPoints(let max):
            "exceeded maximum resolution of \(Self.grouped(max)) points per time series. "
                + "Try increasing the value of the step parameter"
        case .badTimes: "the times of the query are out of range"
        case .tooMuchMemory(let max):
            "the query needs more than \(max >> 20) MiB of memory; shorten its time or its "
                + "windows, or let it make fewer series"
        case .duplicateSeries(let isRight):
            "found duplicate series on the \(isRight ? "right" : "left") hand-side;many-to-many "
                + "matching not allowed: matching labels must be unique on one side"
        case .manyToOneNotExplicit:
            "multiple matches for labels: many-to-one matching must be explicit "
                + "(group_left/group_right)"
        case .groupingNotUnique:
            "multiple matches for labels: grouping labels must ensure unique matches"
        case .literalOperand:
            "unexpected expr type (*syntax.LiteralExpr) for Evaluator type "
                + "(*logql.DefaultEvaluator) "
        case .instantOnly: "count min sketches are only supported on instant queries"
        case .outOfOrder: "log entries came out of order"
        }
    }

    /// Source: Loki 3.6 `logqlmodel.PipelineError`.
    private static func pipelineText(_ labels: Labels) -> String {
        let kind = labels[EntryLabels.errorName]
        let series = labels.map { "\($0.name)=\(goQuoted($0.value))" }.joined(separator: ", ")
        return "pipeline error: '\(kind)' for series: '{\(series)}'.\n"
            + "Use a label filter to intentionally skip this error. (e.g | __error__!=\"\(kind)\")."
            + "\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\n"
            + "The label filter can also be specified after unwrap. "
            + "(e.g | unwrap latency | __error__=\"\" )\n"
    }

    private static func duration(_ nanoseconds: Int64) -> String {
        PrometheusDuration(milliseconds: nanoseconds / 1_000_000).description
    }

    /// `11,000`.
    private static func grouped(_ number: Int) -> String {
        guard number >= 1000 else { return String(number) }
        let rest = String(number % 1000)
        let zeros = String(repeating: "0", count: 3 - rest.utf8.count)
        return "\(number / 1000),\(zeros)\(rest)"
    }
}
