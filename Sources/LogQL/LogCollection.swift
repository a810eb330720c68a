package import Model

/// The answer to a log query as it grows: pages go in, in the order of the query's direction, kept entries stay.
package struct LogCollection: Sendable {
    /// Lines looked at.
    package private(set) var scannedLineCount = 0
    /// Bytes of the lines looked at.
    package private(set) var scannedByteCount = 0
    package private(set) var entryCount = 0
    private let query: LogQuery
    private let entriesMax: Int
    private var indexOfStream: [Labels: Int] = [:]
    private var collected: [LogStream] = []

    /// Holds at most `entriesMax` entries; later ones are not looked at.
    package init(query: LogQuery, entriesMax: Int) {
        precondition(entriesMax >= 0, "negative limit")
        self.query = query
        self.entriesMax = entriesMax
    }

    package var isFull: Bool { entryCount >= entriesMax }

    /// Adds what the query keeps of a page: `entries[i]` belongs to `streams[streamIndexes[i]]`; false as soon as no more is wanted.
    package mutating func process(
        _ entries: [LogEntry], streamIndexes: [Int], streams: [Labels]
    ) -> Bool {
        for (entry, streamIndex) in zip(entries, streamIndexes) {
            guard !isFull else { return false }
            scannedLineCount += 1
            scannedByteCount += entry.line.count
            guard query.keeps(entry.line) else { continue }
            append(entry, to: streams[streamIndex])
        }
        return !isFull
    }

    private mutating func append(_ entry: LogEntry, to labels: Labels) {
        entryCount += 1
        if let index = indexOfStream[labels] {
            collected[index].entries.append(entry)
        } else {
            indexOfStream[labels] = collected.count
            collected.append(LogStream(labels: labels, entries: [entry]))
        }
    }

    /// Streams in ascending label order; the entries of each in the order in which they were read.
    package var streams: [LogStream] { collected.sorted { $0.labels < $1.labels } }
}
