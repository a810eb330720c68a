package import Model

/// Entries that were committed just now, as a follower gets them.
package struct LogFeedBatch: Sendable {
    package var streams: [LogStream]
    /// Entries, by their stream, that the follower was too slow for since the batch before.
    package var dropped: [(labels: Labels, timestamp: TimestampNS)]
    /// How many were dropped in all; `dropped` names at most a few hundred.
    package var droppedCount: Int

    package init(
        streams: [LogStream], dropped: [(labels: Labels, timestamp: TimestampNS)] = [],
        droppedCount: Int = 0
    ) {
        self.streams = streams
        self.dropped = dropped
        self.droppedCount = droppedCount
    }
}

/// One that follows. Ends when it is let go.
package protocol LogFollowing: Sendable {
    /// What came since the last call, as soon as there is something; nil at the end of the process' service.
    /// Throws `CancellationError`.
    func next() async throws -> LogFeedBatch?
}

/// Gives out entries as they are committed, whatever their times are.
package protocol LogFeed: Sendable {
    /// From now on. Throws `badMatcher`, and `limitExceeded` where too many follow already.
    func follow(_ matchers: [LabelMatcher]) throws(StorageError) -> any LogFollowing
}
