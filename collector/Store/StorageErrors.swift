import Postgres
import Storage

/// What a failure of the database means to the stages.
func storageError(_ error: any Error) -> StorageError {
    if let error = error as? StorageError { return error }
    if error is CancellationError { return .cancelled }
    guard let error = error as? PostgresError else { return .refused("\(error)") }
    switch error {
    case .cancelled: return .cancelled
    case .decoding(let text): return .corrupt(text)
    case .connection, .poolExhausted, .timeout, .closed, .cluster:
        return .unavailable(error.description)
    case .server(let message):
        if message.sqlState == "57014" {
            return .unavailable("a statement was stopped after its time: ask for less")
        }
        // Class 53 is "insufficient resources"; too many connections is a matter of time.
        if message.sqlState.hasPrefix("53"), message.sqlState != "53300" {
            return .exhausted(error.description)
        }
        return error.isTransient
            ? .unavailable(error.description) : .refused(error.description)
    }
}
