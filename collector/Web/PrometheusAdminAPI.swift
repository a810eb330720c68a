import CollectorQuery
import Model
import Storage

// What changes the store, and reading by remote read. The server listens on loopback alone; `WebGate` keeps other sites'
// pages away, what comes through a proxy, and everybody while `http.admin` is off.
extension PrometheusAPI {
    func admin(
        _ action: String, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        switch action {
        case "delete_series": return try await deleteSeries(parameters)
        case "clean_tombstones":
            do { _ = try await dependencies.deleter.cleanTombstones() } catch {
                throw QueryFailure(error)
            }
            return WebResponse(status: 204)
        default:
            return Self.notOffered(
                "there are no snapshots: all data is in PostgreSQL, so back it up with pg_dump")
        }
    }

    /// Answered with 204 once done. Throws `badData` for what can't be a deletion.
    private func deleteSeries(
        _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        guard !parameters.all("match[]").isEmpty else {
            throw QueryFailure(.badData, "no match[] parameter provided")
        }
        let start = try Self.optionalTime("start", parameters)
        let end = try Self.optionalTime("end", parameters)
        let sets: [[LabelMatcher]]
        do { sets = try matcherSets(parameters) } catch {
            throw Self.invalid("match[]", error)
        }
        let scope = LabelScope(
            matcherSets: sets, start: start ?? TimestampMS(.min), end: end ?? TimestampMS(.max))
        do { _ = try await dependencies.deleter.deleteSeries(scope) } catch {
            throw QueryFailure(error)
        }
        return WebResponse(status: 204)
    }

    func remoteRead() -> WebResponse {
        Self.notOffered(
            "remote read is not offered; ask /prometheus/api/v1/query_range, or read "
                + "petrel.sample with SQL")
    }

    private static func notOffered(_ message: String) -> WebResponse {
        PrometheusEnvelope.failure(501, "unavailable", message)
    }
}
