package import GoTemplate
package import Model

/// An entry of an answer.
package struct LogResultEntry: Hashable, Sendable {
    package var timestamp: TimestampNS
    /// As the stages left it.
    package var line: [UInt8]
    /// Empty unless the answer has categories.
    package var structuredMetadata: Labels
    /// What parsers and `label_format` set, errors included. Empty unless the answer has categories.
    package var parsed: Labels

    package init(
        timestamp: TimestampNS, line: [UInt8], structuredMetadata: Labels = .empty,
        parsed: Labels = .empty
    ) {
        self.timestamp = timestamp
        self.line = line
        self.structuredMetadata = structuredMetadata
        self.parsed = parsed
    }
}

/// Entries of an answer with the same labels.
package struct LogResultStream: Hashable, Sendable {
    /// All labels, or those of the stream where the answer has categories. Empty values are kept.
    package var labels: Labels
    package var entries: [LogResultEntry]

    package init(labels: Labels, entries: [LogResultEntry] = []) {
        self.labels = labels
        self.entries = entries
    }
}

/// What an answer to a log query may be and cost.
package struct LogQueryOptions: Hashable, Sendable {
    package enum Direction: Hashable, Sendable { case forward, backward }

    /// Entries of an answer; what comes after them is not looked at.
    package var entriesMax: Int
    /// The order in which entries are given and come out.
    package var direction = Direction.backward
    /// An entry is left out that is nearer than this to the last one taken, in nanoseconds; 0 takes all.
    package var intervalNanoseconds: Int64 = 0
    /// Whether structured metadata and parsed labels stay with the entries, instead of making streams of their own.
    /// Source: Loki's `X-Loki-Response-Encoding-Flags: categorize-labels`.
    package var hasCategories = false
    package var scannedLinesMax = Int.max
    /// Of lines, in bytes.
    package var scannedBytesMax = Int.max
    package var streamsMax = Int.max
    /// Of names and values, each label set counted once, in bytes.
    package var labelBytesMax = 64 << 20
    /// Of the lines of an answer, in bytes.
    package var lineBytesMax = 64 << 20
    /// What `now` is in templates; nil stands for each entry's own time.
    package var now: TimestampNS?
    /// The time zones of templates.
    package var locations = GoLocations.utcAlone
    /// Of entries with the same value of this label, or without it, the first is taken; nil: all are.
    package var distinctLabel: String?
    /// So many entries of that time, the first that the query would keep, are left out: they were given before.
    package var skippedTime: TimestampNS?
    package var skippedCount = 0
    /// Whether `LogCollection.found` is to be filled.
    package var keepsFound = false

    package init(entriesMax: Int) {
        precondition(entriesMax >= 0, "negative limit")
        self.entriesMax = entriesMax
    }
}

/// A kept entry as it is stored, and what the query made of it.
package struct LogFoundEntry: Sendable {
    /// Of the stream as it is stored.
    package let stream: Labels
    package let entry: LogEntry
    /// Of the answer's stream.
    package let labels: Labels
    package let result: LogResultEntry
}

/// The answer to a log query as it grows: pages go in, in the order of the query's direction, kept entries stay.
/// Not for several threads at once.
package final class LogCollection {
    /// Lines looked at.
    package private(set) var scannedLineCount = 0
    /// Bytes of the lines looked at.
    package private(set) var scannedByteCount = 0
    package private(set) var entryCount = 0
    /// Of the entry taken last.
    package private(set) var lastTaken: TimestampNS?
    /// Entries taken of that time.
    package private(set) var lastTakenCount = 0
    /// The kept entries in the order in which they were read, where the options want them.
    package private(set) var found: [LogFoundEntry] = []

    private struct Source {
        var stream: PipelineStream
        var deletions: LogDeletions.Stream
    }

    private let options: LogQueryOptions
    private let run: PipelineRun
    private let deletions: LogDeletions
    private var sources: [Labels: Source] = [:]
    private var indexOfStream: [Labels: Int] = [:]
    private var collected: [LogResultStream] = []
    private var knownSets: Set<EntryLabelSet> = []
    private var labelByteCount = 0
    private var lineByteCount = 0
    private var skippedCount = 0
    private let distinctLabel: LabelName?
    private var distinctValues: Set<ExactText> = []

    package init(query: LogQuery, options: LogQueryOptions, deletions: [LogDeletion] = []) {
        self.options = options
        let run = PipelineRun(query.pipeline)
        run.labels.now = options.now
        run.labels.toDateInZone = options.locations.toDateInZone
        distinctLabel = options.distinctLabel.map { run.labels.name($0) }
        self.run = run
        self.deletions = LogDeletions(deletions)
    }

    package var isFull: Bool { entryCount >= options.entriesMax }

    /// Adds what the query keeps of a page: `entries[i]` belongs to `streams[streamIndexes[i]]`; false as soon as no
    /// more is wanted. Throws `LogQLError.limit`; the answer then stays as it was before the entry that was too much.
    package func process(
        _ entries: [LogEntry], streamIndexes: [Int], streams: [Labels]
    ) throws(LogQLError) -> Bool {
        let sources = streams.map { source($0) }
        for (entry, streamIndex) in zip(entries, streamIndexes) {
            guard !isFull else { return false }
            try count(entry)
            let source = sources[streamIndex]
            guard !deletions.cover(entry, of: source.deletions),
                run.process(entry, of: source.stream), isFarEnough(entry.timestamp),
                !isSkipped(entry.timestamp), isDistinct()
            else { continue }
            try append(entry, of: streams[streamIndex])
        }
        return !isFull
    }

    /// Streams in ascending label order; the entries of each in the order in which they were read.
    package var streams: [LogResultStream] { collected.sorted { $0.labels < $1.labels } }

    private func source(_ labels: Labels) -> Source {
        if let known = sources[labels] { return known }
        let made = Source(
            stream: run.forStream(labels), deletions: deletions.forStream(labels))
        sources[labels] = made
        return made
    }

    private func count(_ entry: LogEntry) throws(LogQLError) {
        scannedLineCount += 1
        scannedByteCount += entry.line.count
        if scannedLineCount > options.scannedLinesMax {
            throw .limit(.scannedLines(max: options.scannedLinesMax))
        }
        if scannedByteCount > options.scannedBytesMax {
            throw .limit(.scannedBytes(max: options.scannedBytesMax))
        }
    }

    /// Whether the interval since the last entry has passed. Source: Loki 3.6 `readStreams`.
    private func isFarEnough(_ timestamp: TimestampNS) -> Bool {
        guard options.intervalNanoseconds > 0, let lastTaken else { return true }
        let (from, to) =
            options.direction == .forward
            ? (lastTaken.rawValue, timestamp.rawValue) : (timestamp.rawValue, lastTaken.rawValue)
        let (distance, overflow) = to.subtractingReportingOverflow(from)
        return overflow ? to > from : distance >= options.intervalNanoseconds
    }

    private func isSkipped(_ timestamp: TimestampNS) -> Bool {
        guard skippedCount < options.skippedCount, timestamp == options.skippedTime else {
            return false
        }
        skippedCount += 1
        return true
    }

    /// No more values are remembered than entries are taken.
    private func isDistinct() -> Bool {
        guard let distinctLabel else { return true }
        return distinctValues.insert(ExactText(run.labels.value(of: distinctLabel) ?? "")).inserted
    }

    private func append(_ entry: LogEntry, of stream: Labels) throws(LogQLError) {
        let set = run.labelSet
        guard lineByteCount + run.line.count <= options.lineBytesMax else {
            throw .limit(.lineBytes(max: options.lineBytesMax))
        }
        lineByteCount += run.line.count
        if !knownSets.contains(set) {
            guard labelByteCount + set.byteCount <= options.labelBytesMax else {
                throw .limit(.labelBytes(max: options.labelBytesMax))
            }
            labelByteCount += set.byteCount
            knownSets.insert(set)
        }
        let labels = options.hasCategories ? set.stream : set.all
        let index: Int
        if let known = indexOfStream[labels] {
            index = known
        } else {
            guard collected.count < options.streamsMax else {
                throw .limit(.streams(max: options.streamsMax))
            }
            index = collected.count
            indexOfStream[labels] = index
            collected.append(LogResultStream(labels: labels))
        }
        let hasCategories = options.hasCategories
        let result = LogResultEntry(
            timestamp: entry.timestamp, line: run.line,
            structuredMetadata: hasCategories ? set.structuredMetadata : .empty,
            parsed: hasCategories ? set.parsed : .empty)
        collected[index].entries.append(result)
        if options.keepsFound {
            found.append(
                LogFoundEntry(stream: stream, entry: entry, labels: labels, result: result))
        }
        entryCount += 1
        lastTakenCount = lastTaken == entry.timestamp ? lastTakenCount + 1 : 1
        lastTaken = entry.timestamp
    }
}
