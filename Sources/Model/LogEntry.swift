/// A log line of a stream.
package struct LogEntry: Hashable, Sendable {
    package var timestamp: TimestampNS
    /// The line's bytes exactly as read, without its line end. At most `LogEntry.lineBytesMax`.
    package var line: [UInt8]
    /// Lower-case level: trace, debug, info, warn, error, critical, fatal; nil where the line has none.
    package var level: String?
    /// Fields beside the line: trace_id, span_id, request_id, user_id, action, result, pid, …; names are unique.
    package var metadata: Labels

    package init(
        timestamp: TimestampNS, line: [UInt8], level: String? = nil, metadata: Labels = .empty
    ) {
        self.timestamp = timestamp
        self.line = line
        self.level = level
        self.metadata = metadata
    }

    /// The longest line kept whole, 256 KiB; readers cut longer ones and mark them `petrel_cut=<original length>`.
    package static let lineBytesMax = 256 * 1024
}

/// Entries of one stream; `labels` is the stream's identity (host, source, service_name, unit, container, filename).
package struct LogStream: Hashable, Sendable {
    package var labels: Labels
    package var entries: [LogEntry]

    package init(labels: Labels, entries: [LogEntry] = []) {
        self.labels = labels
        self.entries = entries
    }
}
