import Model
import PromQL
import PromQLSyntax

/// Runs range queries by the calls that the collector's query service makes of the engine: parsing, planning, evaluation.
/// Reading is not in it, experimental functions are.
///
/// Source: Prometheus promql/bench_test.go BenchmarkRangeQuery, whose N steps are the last N intervals, N + 1 points.
struct EngineKernel {
    /// What a range query may have.
    static let stepsMax = QueryLimits().stepsMax - 1

    private let series = EngineSeries()

    /// The measurement of one expression, or what is wrong with it.
    func line(_ text: String, steps: Int, _ bounds: RunBounds) -> ResultLine {
        var line = ResultLine(kernel: "engine", name: text)
        line.add("steps", steps)
        do {
            var data: [[SeriesColumns]] = []
            for selection in try prepared(text, steps).selections {
                data.append(try series.select(selection))
            }
            var result: QueryResult?
            let measurement = try Measurement.take(bounds) {
                result = try prepared(text, steps).evaluate(data)
            }
            guard let result else { preconditionFailure("measured without a run") }
            line.add(measurement, samples: result.samplesRead)
            line.add("points", Self.pointCount(result.value))
        } catch { line.fail(error) }
        return line
    }

    private func prepared(_ text: String, _ steps: Int) throws -> PreparedQuery {
        let end = EngineSeries.pointCount * EngineSeries.intervalMS
        return try PreparedQuery(
            try PromQLParser.parse(text, options: .everything),
            parameters: QueryParameters(
                start: TimestampMS(end - Int64(steps) * EngineSeries.intervalMS),
                end: TimestampMS(end), stepMS: EngineSeries.intervalMS))
    }

    private static func pointCount(_ value: QueryValue) -> Int {
        switch value {
        case .scalar, .string: 1
        case .vector(let elements): elements.count
        case .matrix(let series): series.reduce(0) { $0 + $1.values.count + $1.histograms.count }
        }
    }
}
