package import Model

/// Which log entries a query needs.
package struct LogSelection: Hashable, Sendable {
    package enum Direction: String, Hashable, Sendable {
        /// Oldest first.
        case forward
        /// Newest first.
        case backward
    }

    /// Matchers over stream labels; all must hold.
    package var matchers: [LabelMatcher]
    /// Byte strings that every wanted line contains; the reader may use them to skip, and may ignore them.
    package var needles: [[UInt8]]
    /// Inclusive.
    package var from: TimestampNS
    /// Exclusive.
    package var to: TimestampNS
    package var direction: Direction

    package init(
        matchers: [LabelMatcher], needles: [[UInt8]] = [], from: TimestampNS, to: TimestampNS,
        direction: Direction
    ) {
        self.matchers = matchers
        self.needles = needles
        self.from = from
        self.to = to
        self.direction = direction
    }
}

/// Some entries of a selection in its direction: `entries[i]` belongs to the stream `streams[streamIndexes[i]]`.
package struct LogPage: Sendable {
    package var streams: [Labels]
    package var streamIndexes: [Int]
    package var entries: [LogEntry]

    package init(streams: [Labels] = [], streamIndexes: [Int] = [], entries: [LogEntry] = []) {
        precondition(streamIndexes.count == entries.count, "columns of different length")
        self.streams = streams
        self.streamIndexes = streamIndexes
        self.entries = entries
    }
}

/// How the query side reads logs.
package protocol LogReader: Sendable {
    /// Calls `body` with pages of at most a few thousand entries, in time order, until it returns false or all are
    /// read. Entries of one timestamp come in the order in which they were stored (reversed when backward).
    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String]
    func logLabelValues(_ name: String, _ scope: LabelScope) async throws(StorageError) -> [String]
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels]
}
