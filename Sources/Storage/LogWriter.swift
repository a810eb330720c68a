package import Model

/// Log entries as a sender pushes them over HTTP.
package struct LogPush: Sendable {
    /// Labels are complete: `service_name` is there, and levels were looked for.
    package var streams: [LogStream]
    /// SHA-256 of the request's body and shard: one that comes again within a day is a repeat, and is not stored again.
    package var digest: [UInt8]

    package init(streams: [LogStream], digest: [UInt8]) {
        self.streams = streams
        self.digest = digest
    }
}

/// What became of a push that did not fail.
package enum LogPushOutcome: Hashable, Sendable {
    /// Committed; entries that are older than the retention are not: they are a gap record.
    case stored(entryCount: Int, tooOldCount: Int)
    /// It was committed before.
    case repeated
}

/// How pushed logs are written.
package protocol LogWriter: Sendable {
    /// Returns after the commit. Throws `limitExceeded` where there would be too many streams, and `unavailable`.
    func storeLogs(_ push: LogPush) async throws(StorageError) -> LogPushOutcome
}
