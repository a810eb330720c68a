import LogBlock
import Model
import Storage
import Synchronization

/// What the collector knows of the log lines in the database: what waits to be sealed, and when streams had lines.
final class LogState: Sendable {
    /// What a stream has in `log_batch`.
    struct Waiting: Hashable, Sendable {
        var lineCount = 0
        var byteCount = 0
        /// Of the receipt, nanoseconds.
        var oldest = Int64.max
    }

    struct Counts: Hashable, Sendable {
        var seals = 0
        var failures = 0
        var blocks = 0
        var lines = 0
        var bytes = 0
        var mergedBlocks = 0
        /// Of the last seal: how long its oldest line had waited, nanoseconds.
        var lagNanoseconds: Int64 = 0
        var openedBlocks = 0
        var skippedBlocks = 0
    }

    fileprivate struct State {
        var waiting: [Int32: Waiting] = [:]
        /// Times of the first and the last line, by stream.
        var spans: [Int32: ClosedRange<Int64>] = [:]
        /// Names of the fields that lines of a stream had; nil: too many to know.
        var fields: [Int32: Set<String>?] = [:]
    }

    /// Names of fields of one stream that are remembered.
    fileprivate static let fieldsMax = 500

    private let state = Mutex(State())
    let counts = Mutex(Counts())
    /// One at a time: seals, merges, what gives filters of traces their blocks, and the end of packing.
    let sealing = AsyncLock()
    /// By block, hashes for the filters of traces; of blocks that are in none yet.
    let traces = Mutex<[Int64: (hashes: Set<UInt64>, hasLongRun: Bool)]>([:])

    // MARK: What waits

    /// These rows were committed.
    func take(_ rows: [LogRow], receivedAt: Int64) {
        guard !rows.isEmpty else { return }
        state.withLock { state in
            for row in rows {
                let columns = row.columns
                var waiting = state.waiting[row.stream] ?? Waiting()
                waiting.lineCount += columns.lineCount
                waiting.byteCount += columns.byteCount + columns.metadata.count
                waiting.oldest = min(waiting.oldest, receivedAt)
                state.waiting[row.stream] = waiting
                state.note(row)
            }
        }
    }

    /// These rows are about to be committed.
    func noteSpans(_ rows: [LogRow]) {
        state.withLock { state in
            for row in rows { state.note(row) }
        }
    }

    /// Streams had lines with these fields.
    func setFields(_ fields: [Int32: [String]]) {
        state.withLock { state in
            for (stream, names) in fields { state.note(names, of: stream) }
        }
    }

    /// Names of the fields that lines of these streams may have; nil where that is not known.
    func fields(of streams: [Int32]) -> Set<String>? {
        state.withLock { state in
            var names: Set<String> = []
            for stream in streams {
                guard let known = state.fields[stream] else { continue }
                guard let known else { return nil }
                names.formUnion(known)
            }
            return names
        }
    }

    /// What is older than `time`, nanoseconds, is gone.
    func forget(before time: Int64) {
        state.withLock { state in
            for (stream, span) in state.spans where span.lowerBound < time {
                state.spans[stream] =
                    span.upperBound < time ? nil : time...max(time, span.upperBound)
            }
        }
    }

    /// What waits according to the database; what was taken while it was asked may count twice, or not at all, until the
    /// next reading.
    func setWaiting(_ waiting: [Int32: Waiting]) { state.withLock { $0.waiting = waiting } }

    func setSpans(_ spans: [Int32: ClosedRange<Int64>]) {
        state.withLock { state in
            for (stream, span) in spans { state.extend(stream, span.lowerBound, span.upperBound) }
        }
    }

    /// What was sealed waits no longer; what came meanwhile does.
    func sealed(_ waiting: [Int32: Waiting], now: Int64) {
        state.withLock { state in
            for (stream, gone) in waiting {
                guard var left = state.waiting[stream] else { continue }
                left.lineCount -= gone.lineCount
                left.byteCount -= gone.byteCount
                left.oldest = now
                state.waiting[stream] = left.lineCount > 0 ? left : nil
            }
        }
    }

    var waiting: [Int32: Waiting] { state.withLock { $0.waiting } }

    // MARK: When streams had lines

    /// From the first to the last line of these streams; nil where they have none.
    func span(of streams: [Int32]) -> ClosedRange<Int64>? {
        state.withLock { state in
            var whole: ClosedRange<Int64>?
            for stream in streams {
                guard let span = state.spans[stream] else { continue }
                let known = whole ?? span
                whole =
                    min(
                        known.lowerBound, span.lowerBound)...max(
                        known.upperBound, span.upperBound)
            }
            return whole
        }
    }

    /// Those of the streams that may have lines within `[from, to)`, nanoseconds.
    func active(_ streams: [Int32], from: Int64, to: Int64) -> [Int32] {
        state.withLock { state in
            streams.filter { stream in
                guard let span = state.spans[stream] else { return false }
                return span.upperBound >= from && span.lowerBound < to
            }
        }
    }
}

extension LogState {
    /// What is due to be sealed, in groups of at most `bytesMax` (a stream that alone has more is a group).
    func due(now: Int64, bytesMax: Int) -> [[Int32]] {
        let all = waiting
        let total = all.values.reduce(0) { $0 + $1.byteCount }
        let isCrowded = total > CollectorStore.unsealedBytesMax
        let chosen = all.filter { _, waiting in
            waiting.lineCount >= LogBlockColumns.linesMax
                || waiting.byteCount >= LogBlockColumns.bytesMax
                || now - waiting.oldest >= CollectorStore.sealAgeNanoseconds
                || isCrowded && waiting.byteCount >= CollectorStore.crowdedBytesMin
        }
        var groups: [[Int32]] = []
        var room = 0
        for (stream, waiting) in chosen.sorted(by: { $0.key < $1.key }) {
            if waiting.byteCount > room || groups.isEmpty {
                groups.append([])
                room = bytesMax
            }
            groups[groups.count - 1].append(stream)
            room -= waiting.byteCount
        }
        return groups
    }
}

extension LogState.State {
    fileprivate mutating func note(_ row: LogRow) {
        note(row.columns.fieldNames, of: row.stream)
        guard let first = row.columns.timestamps.first, let last = row.columns.timestamps.last
        else { return }
        extend(row.stream, first, last)
    }

    fileprivate mutating func note(_ names: [String], of stream: Int32) {
        let known = fields[stream] ?? Set()
        guard let known, !names.allSatisfy(known.contains) else { return }
        let all = known.union(names)
        fields[stream] = .some(all.count <= LogState.fieldsMax ? all : nil)
    }

    fileprivate mutating func extend(_ stream: Int32, _ first: Int64, _ last: Int64) {
        guard let span = spans[stream] else {
            spans[stream] = first...last
            return
        }
        spans[stream] = min(span.lowerBound, first)...max(span.upperBound, last)
    }
}
