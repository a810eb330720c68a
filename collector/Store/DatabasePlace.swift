package import Logging
import Postgres
package import Storage

extension StoreConfiguration {
    /// How to connect for a look at the database. A private cluster that runs is adopted; one that does not would be
    /// started, so ask only while its collector runs. Throws `unavailable` or `refused` with the remedy.
    package func databaseURL(logger: Logger) async throws(StorageError) -> String {
        switch database {
        case .url(let url): return url
        case .privateCluster(let place):
            do {
                return try await PrivateCluster.start(place, logger: logger).url
            } catch {
                throw storageError(error)
            }
        }
    }
}
