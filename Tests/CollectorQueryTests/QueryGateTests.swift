import CollectorQuery
import Synchronization
import Testing

/// Who runs, who waits, and who is refused.
@Suite("Query gate")
struct QueryGateTests {
    /// Opens once; whoever waits for it goes on.
    final class Door: Sendable {
        private let stream: AsyncStream<Void>
        private let continuation: AsyncStream<Void>.Continuation
        init() { (stream, continuation) = AsyncStream.makeStream(of: Void.self) }
        func open() { continuation.finish() }
        func wait() async { for await _ in stream {} }
    }

    /// How many are inside, were at most, and came out.
    final class Tally: Sendable {
        private let counts = Mutex((now: 0, peak: 0, done: 0))
        func enter() {
            counts.withLock {
                $0.now += 1
                $0.peak = max($0.peak, $0.now)
            }
        }
        func leave() {
            counts.withLock {
                $0.now -= 1
                $0.done += 1
            }
        }
        var all: (now: Int, peak: Int, done: Int) { counts.withLock { $0 } }
    }

    @Test("more than may run wait, and all get their turn")
    func waits() async throws {
        let gate = QueryGate(runningMax: 2, waitingMax: 50)
        let tally = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<40 {
                group.addTask {
                    try await gate.run {
                        tally.enter()
                        await Task.yield()
                        tally.leave()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(tally.all.now == 0)
        #expect(tally.all.peak <= 2)
        #expect(tally.all.done == 40)
    }

    @Test("a full queue refuses at once")
    func refuses() async throws {
        let gate = QueryGate(runningMax: 1, waitingMax: 0)
        let inside = Door()
        let leave = Door()
        async let first: Void = gate.run {
            inside.open()
            await leave.wait()
        }
        await inside.wait()
        await #expect {
            try await gate.run {}
        } throws: { error in
            (error as? QueryFailure)?.kind == .unavailable
        }
        leave.open()
        try await first
        try await gate.run {}
    }

    @Test("who waits and is cancelled leaves the queue and no place behind")
    func cancels() async throws {
        let gate = QueryGate(runningMax: 1, waitingMax: 10)
        let inside = Door()
        let leave = Door()
        async let first: Void = gate.run {
            inside.open()
            await leave.wait()
        }
        await inside.wait()
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    try await gate.run {}
                    return false
                } catch { return (error as? QueryFailure)?.kind == .canceled }
            }
            group.cancelAll()
            for await wasCancelled in group { #expect(wasCancelled) }
        }
        leave.open()
        try await first
        try await gate.run {}
    }
}
