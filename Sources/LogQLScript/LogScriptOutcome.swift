import LogQL
import Model
import QueryMath

/// What came of an eval.
enum LogScriptOutcome {
    case failure(String)
    case scalar(Double)
    /// A value or nil for each step.
    case series([LogScriptEval.Series])

    init(_ result: MetricResult, _ times: MetricTimes) {
        switch result {
        case .scalar(let value, _): self = .scalar(value)
        case .vector(let elements, _):
            self = .series(
                elements.map { LogScriptEval.Series(labels: $0.labels, values: [$0.value]) })
        case .matrix(let columns): self = .series(columns.map { Self.series($0, times) })
        }
    }

    private static func series(
        _ columns: SeriesColumns, _ times: MetricTimes
    ) -> LogScriptEval.Series {
        var values = [Double?](repeating: nil, count: times.stepCount)
        guard case .range(let start, _, let step) = times else {
            return LogScriptEval.Series(labels: columns.labels, values: values)
        }
        var indexOfTime: [Int64: Int] = [:]
        for index in values.indices {
            let time = start.advanced(byNanoseconds: step * Int64(index))
            indexOfTime[time.milliseconds.rawValue] = index
        }
        for (time, value) in zip(columns.timestamps, columns.values) {
            if let index = indexOfTime[time] { values[index] = value }
        }
        return LogScriptEval.Series(labels: columns.labels, values: values)
    }

    /// For reports.
    var lines: [String] {
        switch self {
        case .failure(let text):
            return text.split(separator: "\n").map { "failure: \($0)" }
        case .scalar(let value): return [GoFloat.json(value)]
        case .series(let series):
            if series.isEmpty { return ["nothing"] }
            return series.map { series in
                let labels = series.labels.map { "\($0.name)=\"\($0.value)\"" }
                let values = series.values.map { $0.map { GoFloat.json($0) } ?? "_" }
                return "{\(labels.joined(separator: ", "))} \(values.joined(separator: " "))"
            }
        }
    }
}

extension MetricTimes {
    /// 1 for an instant.
    var stepCount: Int {
        switch self {
        case .instant: 1
        case .range(let start, let end, let step):
            Int((end.rawValue - start.rawValue) / step) + 1
        }
    }
}
