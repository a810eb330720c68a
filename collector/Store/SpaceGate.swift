import Postgres
import Storage
import Synchronization
import World

/// Shut for a while after a write of data found no space: each attempt costs the database some of its log, of which it has
/// little then. One attempt in a while shows whether there is space again.
final class SpaceGate: Sendable {
    static let pauseNanoseconds: Int64 = 5_000_000_000
    /// Of the monotonic clock; 0 while it is open.
    private let shutUntil = Atomic<Int64>(0)

    /// Whether a write may be tried. Of those that come when the pause is over one may, and the others wait for another.
    func admits(at now: Int64) -> Bool {
        let until = shutUntil.load(ordering: .relaxed)
        guard until != 0 else { return true }
        guard now >= until else { return false }
        return shutUntil.compareExchange(
            expected: until, desired: now + Self.pauseNanoseconds, ordering: .relaxed
        ).exchanged
    }

    func shut(at now: Int64) { shutUntil.store(now + Self.pauseNanoseconds, ordering: .relaxed) }

    func open() { shutUntil.store(0, ordering: .relaxed) }
}

extension CollectorStore {
    /// As `write`, for samples and lines: throws `exhausted` without an attempt for `SpaceGate.pauseNanoseconds` after one
    /// that found no space.
    func writeData<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T {
        guard space.admits(at: clock.monotonicNanoseconds) else {
            throw .exhausted(
                "the database's disk is full: a write found no space a moment ago; free space")
        }
        do {
            let result = try await writePool.withSession(body)
            space.open()
            return result
        } catch {
            if (error as? PostgresError)?.sqlState == "53100" {
                space.shut(at: clock.monotonicNanoseconds)
            }
            throw writeFailure(error)
        }
    }
}
