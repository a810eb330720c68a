import Logging
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

    /// Whether nothing would be admitted; takes no attempt from anybody.
    func isShut(at now: Int64) -> Bool { now < shutUntil.load(ordering: .relaxed) }

    func shut(at now: Int64) { shutUntil.store(now + Self.pauseNanoseconds, ordering: .relaxed) }

    func open() { shutUntil.store(0, ordering: .relaxed) }
}

extension CollectorStore {
    /// As `write`, for samples and lines: throws `exhausted` without an attempt for `SpaceGate.pauseNanoseconds` after one
    /// that found no space.
    func writeData<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T {
        guard space.admits(at: clock.monotonicNanoseconds) else { throw Self.isFull }
        do {
            let result = try await writePool.withSession(body)
            space.open()
            return result
        } catch {
            switch (error as? PostgresError)?.sqlState {
            case "53100"?: space.shut(at: clock.monotonicNanoseconds)
            // The server answered something else: it is not for want of space.
            case .some: space.open()
            case nil: break
            }
            throw writeFailure(error)
        }
    }

    /// As `write`, for the table of samples or lines that are about to be written: throws `exhausted` without an attempt
    /// where they would be. `isAhead`: nobody waits for it, and it is tried all the same.
    func writeTable(
        isAhead: Bool, _ body: @escaping @Sendable (PostgresSession) throws -> Void
    ) async throws(StorageError) {
        guard isAhead || !space.isShut(at: clock.monotonicNanoseconds) else { throw Self.isFull }
        do { try await writePool.withSession(body) } catch {
            if !isAhead, (error as? PostgresError)?.sqlState == "53100" {
                space.shut(at: clock.monotonicNanoseconds)
            }
            throw writeFailure(error)
        }
    }

    /// Whether `body` came to its end: false, and logged, where the database had no space for it, or no memory.
    func unlessFull(
        _ problem: Logger.Message, _ body: () async throws(StorageError) -> Void
    ) async throws(StorageError) -> Bool {
        do throws(StorageError) {
            try await body()
            return true
        } catch {
            guard case .exhausted(let text) = error else { throw error }
            logger.error(problem, metadata: ["error": "\(text)"])
            return false
        }
    }

    private static let isFull = StorageError.exhausted(
        "the database's disk is full: a write found no space a moment ago; free space")
}
