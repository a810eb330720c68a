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
    /// Fields beside the line that every wanted entry has, by name and exact value; to skip by, or to ignore, likewise.
    package var metadata: [Label] = []
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

/// Where the times end that lines are counted in: at `phaseNanoseconds + n * widthNanoseconds`, inclusive.
package struct LogRateGrid: Hashable, Sendable {
    package let widthNanoseconds: Int64
    package let phaseNanoseconds: Int64

    /// `widthNanoseconds` must be above 0.
    package init(widthNanoseconds: Int64, phaseNanoseconds: Int64) {
        precondition(widthNanoseconds > 0, "a grid without width")
        self.widthNanoseconds = widthNanoseconds
        self.phaseNanoseconds = phaseNanoseconds
    }

    /// As the store counts by itself, lines and bytes: a line at 12:00:00 sharp belongs to the minute that ends there.
    package static let minutes = LogRateGrid(
        widthNanoseconds: LogRate.widthNanoseconds, phaseNanoseconds: 0)

    /// Whether whole minutes fill each of its times.
    package var isOfMinutes: Bool {
        widthNanoseconds % LogRate.widthNanoseconds == 0
            && phaseNanoseconds % LogRate.widthNanoseconds == 0
    }

    /// Where the time that has `nanoseconds` in it ends.
    package func end(of nanoseconds: Int64) -> Int64 {
        let (quotient, rest) = (nanoseconds - phaseNanoseconds).quotientAndRemainder(
            dividingBy: widthNanoseconds)
        return (rest > 0 ? quotient + 1 : quotient) * widthNanoseconds + phaseNanoseconds
    }
}

/// Lines of a stream and level within one time of a grid, counted by the store.
package struct LogRate: Hashable, Sendable {
    /// The end, inclusive, of the time, or of a minute in it.
    package var through: TimestampNS
    /// Index in `LogRatePage.streams`.
    package var streamIndex: Int
    package var level: String?
    package var lineCount: Int
    /// Of the lines, without their ends; 0 where the grid is not of minutes.
    package var byteCount: Int

    package init(
        through: TimestampNS, streamIndex: Int, level: String?, lineCount: Int, byteCount: Int
    ) {
        self.through = through
        self.streamIndex = streamIndex
        self.level = level
        self.lineCount = lineCount
        self.byteCount = byteCount
    }

    package static let widthNanoseconds: Int64 = 60_000_000_000
}

/// The counts of a selection, ordered by time; of one minute, stream and level there may be several.
package struct LogRatePage: Sendable {
    package var streams: [Labels]
    package var rates: [LogRate]
    /// Rows of the store that hold these lines.
    package var blockCount: Int

    package init(streams: [Labels] = [], rates: [LogRate] = [], blockCount: Int = 0) {
        self.streams = streams
        self.rates = rates
        self.blockCount = blockCount
    }
}

/// All entries that carry an id, in the order of time.
package struct LogTrace: Sendable {
    package var page: LogPage
    /// There are more than were asked for.
    package var isCut: Bool

    package init(page: LogPage, isCut: Bool) {
        self.page = page
        self.isCut = isCut
    }
}

/// How the query side reads logs.
package protocol LogReader: Sendable {
    /// How many lines, and on a grid of minutes how many bytes, the streams that satisfy all matchers have in the times
    /// that end in `(from, to]`. They are whole: lines from before `from` may be counted.
    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage
    /// Every entry of every host within `[from, to)` that has `id` as its `trace_id` or `request_id`, oldest first.
    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace
    /// Calls `body` with pages of at most a few thousand entries, in time order, until it returns false or all are
    /// read. Entries of one timestamp come in the order in which they were stored (reversed when backward).
    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String]
    func logLabelValues(_ name: String, _ scope: LabelScope) async throws(StorageError) -> [String]
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels]
}
