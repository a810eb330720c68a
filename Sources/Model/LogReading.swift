/// How far a source has been read: opaque to all but its reader, which resumes from it.
package struct SourcePosition: Hashable, Sendable {
    /// `journal`, or `file:<path pattern>`: unique per source of an agent.
    package var source: String
    package var bytes: [UInt8]

    package init(source: String, bytes: [UInt8]) {
        self.source = source
        self.bytes = bytes
    }
}

/// What a log reader read in one go: entries in order, losses it found, and where it stands after them.
package struct LogReadChunk: Sendable {
    package struct Item: Hashable, Sendable {
        package var stream: Labels
        package var entry: LogEntry

        package init(stream: Labels, entry: LogEntry) {
            self.stream = stream
            self.entry = entry
        }
    }

    package var items: [Item]
    package var gaps: [GapRecord]
    package var position: SourcePosition

    package init(items: [Item], gaps: [GapRecord] = [], position: SourcePosition) {
        self.items = items
        self.gaps = gaps
        self.position = position
    }
}

/// The families of one scrape with the time they belong to.
package struct MetricScrape: Sendable {
    /// On the scrape grid: a multiple of the interval.
    package var timestamp: TimestampMS
    /// Labels that every sample of the scrape carries beside its own: `job`, `instance`, `nodename`.
    package var targetLabels: Labels
    package var families: [MetricFamily]

    package init(timestamp: TimestampMS, targetLabels: Labels, families: [MetricFamily]) {
        self.timestamp = timestamp
        self.targetLabels = targetLabels
        self.families = families
    }
}
