import CollectorQuery
import Model

// What the store's counts by minute answer: `index/stats`, `index/volume`, `index/volume_range`; and `patterns`.
extension LokiAPI {
    /// A bare object.
    func indexStatistics(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let (from, to) = try orderedBounds(parameters)
        _ = try step(parameters, from, to)
        let statistics = try await dependencies.logs.indexStatistics(
            try dependencies.logs.volumeMatchers(parameters["query"]), from: from, to: to)
        var json = JSONWriter()
        json.object { json in
            for (key, count) in [
                ("streams", statistics.streamCount), ("chunks", statistics.blockCount),
                ("entries", statistics.entryCount), ("bytes", statistics.byteCount),
            ] {
                json.key(key)
                json.number(Int64(count))
            }
        }
        return .json(json)
    }

    /// A vector of bytes; with `isRange` a matrix.
    func volume(
        _ parameters: FormParameters, isRange: Bool
    ) async throws(QueryFailure) -> WebResponse {
        let (from, to) = try bounds(parameters)
        var wanted = LogVolumeRequest(
            matchers: try dependencies.logs.volumeMatchers(parameters["query"]), from: from, to: to,
            resultCountMax: parameters["limit"] == "0"
                ? 100 : try Self.count("limit", parameters) ?? 100)
        wanted.targetLabels = parameters["targetLabels"].split(separator: ",").map(String.init)
        if !parameters["aggregateBy"].isEmpty {
            guard
                let aggregation = LogVolumeRequest.Aggregation(rawValue: parameters["aggregateBy"])
            else { throw QueryFailure(.badData, "invalid aggregation option") }
            wanted.aggregation = aggregation
        }
        if isRange {
            wanted.stepNanoseconds =
                try Self.duration("step", parameters) ?? Self.defaultStepNanoseconds(from, to)
        }
        return LokiEnvelope.answer(
            try await dependencies.logs.volume(wanted), hasCategories: false)
    }

    /// None are looked for; the parameters are judged as Loki judges them.
    func patterns(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let (from, to) = try orderedBounds(parameters)
        _ = try step(parameters, from, to)
        _ = try dependencies.logs.volumeMatchers(parameters["query"])
        return LokiEnvelope.success { $0.array { _ in } }
    }
}
