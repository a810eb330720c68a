import Model
import Storage
import Synchronization

/// What of the past was changed by samples that came late, by retention or by deletion: `MetricReader.historyChange`.
///
/// Who changes it notes it after the change can be read. Safe from any thread.
final class HistoryLog: Sendable {
    /// Changes that are told apart; older ones count as one.
    private static let changesMax = 64

    private struct State {
        /// Of the last change.
        var version: UInt64 = 1
        /// In ascending order; each speaks for the versions up to its own after the one before.
        var changes: [(version: UInt64, earliest: Int64)] = []
    }

    private let state = Mutex(State())

    /// Samples at `earliest` milliseconds and later came, at `now`; what is young is no change.
    func note(earliest: Int64, now: Int64) {
        guard earliest < now - HistoryChange.settledMilliseconds else { return }
        note(earliest: earliest)
    }

    /// Something at `earliest` milliseconds or later is not as it was.
    func note(earliest: Int64) {
        state.withLock { state in
            state.version += 1
            state.changes.append((state.version, earliest))
            guard state.changes.count > Self.changesMax else { return }
            let oldest = state.changes.removeFirst()
            state.changes[0].earliest = min(state.changes[0].earliest, oldest.earliest)
        }
    }

    func change(since version: UInt64) -> HistoryChange {
        state.withLock { state in
            guard version > 0 else {
                return HistoryChange(version: state.version, earliest: TimestampMS(.min))
            }
            let earliest = state.changes.lazy.filter { $0.version > version }.map(\.earliest).min()
            return HistoryChange(
                version: state.version, earliest: earliest.map { TimestampMS($0) })
        }
    }
}
