package import LogQL
package import Model
package import Storage

/// The bounds of log queries.
package struct LogQueryLimits: Hashable, Sendable {
    /// Entries in an answer. Source: Loki's `max_entries_limit_per_query`.
    package var entriesMax: Int
    /// Bytes of lines that one query may look at.
    package var scannedBytesMax: Int
    /// The longest time of one query, that in the queue included.
    package var timeoutMilliseconds: Int64
    /// Of metric queries, each.
    package var metric: MetricLimits

    package init(
        entriesMax: Int = 5000, scannedBytesMax: Int = 16 << 30,
        timeoutMilliseconds: Int64 = 60_000,
        metric: MetricLimits = MetricLimits(byteCountMax: 64 << 20)
    ) {
        self.entriesMax = entriesMax
        self.scannedBytesMax = scannedBytesMax
        self.timeoutMilliseconds = timeoutMilliseconds
        self.metric = metric
    }
}

/// What is asked for a range of time: lines from `from` inclusive to `to` exclusive; numbers at `from`, one step later and
/// so on up to `to`, inclusive.
package struct LogRangeRequest: Hashable, Sendable {
    package var text: String
    package var from: TimestampNS
    package var to: TimestampNS
    package var entriesMax: Int
    package var direction: LogSelection.Direction
    /// Only for metric queries; above 0.
    package var stepNanoseconds: Int64
    /// Only for log queries: a line nearer than this to the last one given is left out. 0 leaves none out.
    package var intervalNanoseconds: Int64 = 0
    /// Whether an entry's fields stay with it, instead of making streams of their own.
    package var hasCategories = false
    /// Only for log queries: lines of its stream that are given before and after each line found, each; at most
    /// `LogQueryService.contextMax`.
    package var contextCount = 0
    /// Only for log queries: of lines with the same value of this label the first is given; nil: all are.
    package var distinctLabel: String?
    /// Only for log queries: where the answer before ended.
    package var cursor: LogCursor?
    /// Whether the answer says where the next one begins.
    package var isPaged = false
    /// Only for metric queries: too many series are cut, with a warning, instead of refused.
    package var isCutAtSeriesMax = false

    package init(
        text: String, from: TimestampNS, to: TimestampNS, entriesMax: Int = 100,
        direction: LogSelection.Direction = .backward, stepNanoseconds: Int64 = 1_000_000_000
    ) {
        self.text = text
        self.from = from
        self.to = to
        self.entriesMax = entriesMax
        self.direction = direction
        self.stepNanoseconds = stepNanoseconds
    }
}

/// Where an answer ended that may have more lines behind it. Lines that are stored later, with times that were given
/// already, are not given; one with the very time of a cursor may shift what has that time.
package struct LogCursor: Hashable, Sendable, CustomStringConvertible {
    /// Of the last line given.
    package var timestamp: TimestampNS
    /// Lines given of that time.
    package var count: Int

    package init(timestamp: TimestampNS, count: Int) {
        self.timestamp = timestamp
        self.count = count
    }

    /// Nil for a text that is no cursor's.
    package init?(_ text: String) {
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 2, let time = Int64(parts[0]), let count = Int(parts[1]), count > 0
        else { return nil }
        self.init(timestamp: TimestampNS(time), count: count)
    }

    package var description: String { "\(timestamp.rawValue)_\(count)" }
}

/// A LogQL answer, ready for any surface.
package struct LogAnswer: Sendable {
    package enum Value: Sendable {
        /// In ascending label order; entries in the request's direction.
        case streams([LogResultStream])
        case metric(MetricResult)
    }

    package var value: Value
    package var statistics: LogStatistics
    /// Of a paged answer; nil for others.
    package var paging: Paging?
    /// What is to be known of the answer, for people.
    package var warnings: [String] = []

    package struct Paging: Hashable, Sendable {
        /// Nil where there are no more lines.
        package var next: LogCursor?
    }

    package init(_ value: Value, _ statistics: LogStatistics = LogStatistics()) {
        self.value = value
        self.statistics = statistics
    }
}

/// What a log query cost. Times are nanoseconds of the monotonic clock.
package struct LogStatistics: Hashable, Sendable {
    /// Lines looked at. One that two parts of a query read counts twice.
    package var scannedLineCount = 0
    /// Bytes of the lines looked at.
    package var scannedByteCount = 0
    /// Lines that the store had counted, so that they were not looked at.
    package var countedLineCount = 0
    /// Waiting for a place among those that run.
    package var queueNanoseconds: Int64 = 0
    /// Reading and evaluating.
    package var evaluationNanoseconds: Int64 = 0

    package init() {}
}
