internal import Synchronization

/// Keeps a warning that each attempt to connect would repeat to once an hour. Safe from any thread.
package final class Complaints: Sendable {
    private let last = Mutex<(text: String, at: Int64)>(("", 0))
    /// After so long the same warning is news again, nanoseconds.
    package static let repeatNanoseconds: Int64 = 3_600_000_000_000

    /// Nothing was said yet.
    package init() {}

    /// Whether `text` is to be logged at `now` (monotonic nanoseconds).
    package func isNews(_ text: String, now: Int64) -> Bool {
        last.withLock { last in
            guard text != last.text || now - last.at >= Self.repeatNanoseconds else { return false }
            last = (text, now)
            return true
        }
    }

    /// All is well: the same warning would be news.
    package func settle() { last.withLock { $0.text = "" } }
}
