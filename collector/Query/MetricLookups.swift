package import Model
import Storage
import World

// Questions about series, labels and what else is known beside samples. They cost what all series cost, so they have bounds
// as queries have, but places and a thread of their own: a menu of labels does not wait for a long query, nor the other
// way round.
extension MetricQueryService {
    /// Such questions answered at once; the others wait.
    static let lookupsRunningMax = 4

    /// Runs `body` on the thread for lookups once there is a place, within the time of a query. Throws `QueryFailure`:
    /// what `body` throws, `timeout`, `canceled`, or `unavailable` where too many wait.
    package func lookUp<Answer: Sendable>(
        _ body: @escaping @Sendable () async throws -> Answer
    ) async throws(QueryFailure) -> Answer {
        let service = self
        do {
            return try await withQueryDeadline(
                milliseconds: limits.timeoutMilliseconds, clock: clock
            ) {
                try await service.lookupGate.run {
                    try await withTaskExecutorPreference(service.lookupExecutor) {
                        try await body()
                    }
                }
            }
        } catch { throw QueryFailure(any: error) }
    }

    package func labelNames(_ scope: Scope) async throws(QueryFailure) -> [String] {
        let reader = reader
        return try await lookUp { try await reader.labelNames(scope.bounded) }
    }

    package func labelValues(
        _ name: String, _ scope: Scope
    ) async throws(QueryFailure) -> [String] {
        let reader = reader
        return try await lookUp { try await reader.labelValues(name, scope.bounded) }
    }

    package func series(_ scope: Scope) async throws(QueryFailure) -> [Labels] {
        let reader = reader
        return try await lookUp { try await reader.series(scope.bounded) }
    }

    package func metadata(
        metric: String?
    ) async throws(QueryFailure) -> [ExactText: [MetricMetadata]] {
        let reader = reader
        return try await lookUp { try await reader.metadata(metric: metric) }
    }
}
