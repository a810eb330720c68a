package import World

/// Runs `body` with at most `milliseconds` of the monotonic clock. Throws `QueryFailure` (`timeout`), or what `body`
/// throws; `body` is cancelled and awaited in either case.
package func withQueryDeadline<Answer: Sendable>(
    milliseconds: Int64, clock: any WorldClock,
    _ body: @escaping @Sendable () async throws -> Answer
) async throws -> Answer {
    try await withThrowingTaskGroup(of: Answer?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await clock.sleep(nanoseconds: milliseconds * 1_000_000)
            return nil
        }
        defer { group.cancelAll() }
        while let outcome = try await group.next() {
            if let outcome { return outcome }
            throw QueryFailure(.timeout, "query timed out in query execution")
        }
        throw CancellationError()
    }
}
