import LinearRegex
import LogBlock
import Model
import Postgres
import Storage

/// Gives the lines of rows in the order of time: rows are opened when their time comes, and closed when they are through.
struct LogMerge {
    /// Bytes of rows that are open at once. A query over very many quiet streams needs the most.
    static let openBytesMax = 256 << 20
    /// Rows whose filters of trigrams are read at once.
    private static let filtersPerRead = 64

    private let session: PostgresSession
    private let demand: LogDemand
    private let needles: [Needle]
    private let isForward: Bool
    /// In the order in which they are opened.
    private var sources: [LogSource]
    private var next = 0
    /// Up to here filters of trigrams were read.
    private var checked = 0
    private var ruledOut: Set<Int64> = []
    private var heap: [LogCursor] = []
    private var openBytes = 0

    private(set) var openedCount = 0
    private(set) var skippedCount = 0

    init(
        _ sources: [LogSource], _ demand: LogDemand, needles: [[UInt8]], isForward: Bool,
        _ session: PostgresSession
    ) {
        self.session = session
        self.demand = demand
        self.needles = needles.filter { !$0.isEmpty }.map { Needle($0) }
        self.isForward = isForward
        self.sources = sources.sorted { a, b in
            isForward
                ? (a.first, a.id) < (b.first, b.id) : (a.last, a.id) > (b.last, b.id)
        }
    }

    /// The next line and its stream; nil at the end.
    mutating func nextLine() throws -> (entry: LogEntry, stream: Int32)? {
        while next < sources.count, mustOpen(sources[next]) { try openNext() }
        guard let cursor = heap.first else { return nil }
        let line = (try cursor.entry(), cursor.stream)
        if cursor.advance() {
            siftDown(0)
        } else {
            openBytes -= cursor.byteCount
            let last = heap.removeLast()
            if !heap.isEmpty {
                heap[0] = last
                siftDown(0)
            }
        }
        return line
    }

    /// Whether a row may have a line before, or at the time of, the next of those that are open.
    private func mustOpen(_ source: LogSource) -> Bool {
        guard let cursor = heap.first else { return true }
        return isForward ? source.first <= cursor.time : source.last >= cursor.time
    }

    private mutating func openNext() throws {
        if next >= checked { try checkTrigrams() }
        let source = sources[next]
        next += 1
        if ruledOut.remove(source.id) != nil { return }
        let lines = try read(source)
        openedCount += 1
        guard
            let cursor = try LogCursor(
                lines, source, from: demand.from, to: demand.to, needles, isForward: isForward)
        else { return }
        openBytes += cursor.byteCount
        guard openBytes <= Self.openBytesMax else {
            throw StorageError.limitExceeded(
                limit: "bytes of log blocks open at once", maximum: Self.openBytesMax)
        }
        heap.append(cursor)
        siftUp(heap.count - 1)
    }

    private func read(_ source: LogSource) throws -> LogBlockLines {
        let rows =
            switch source.table {
            case .batch:
                try session.query(
                    "SELECT \(logBatchColumnsSQL) FROM petrel.log_batch WHERE recv_hour = $1 AND stream_id = $2 AND id = $3",
                    [.int4(source.part), .int4(source.stream), .int8(source.id)])
            case .block:
                try session.query(
                    "SELECT \(logBlockColumnsSQL) FROM petrel.log_block WHERE day = $1 AND id = $2",
                    [.int4(source.part), .int8(source.id)])
            }
        guard rows.count == 1 else {
            throw StorageError.corrupt("\(source.name) is gone within a snapshot")
        }
        return try rows.logLines(0, 0, name: source.name)
    }

    /// Reads the filters of the next rows, and notes which have no line with all needles.
    private mutating func checkTrigrams() throws {
        let part = sources[next..<min(next + Self.filtersPerRead, sources.count)]
        checked = part.endIndex
        let blocks = part.filter { $0.table == .block }
        guard !demand.probe.trigrams.isEmpty, !blocks.isEmpty else { return }
        let rows = try session.query(
            """
            SELECT b.id, b.trigram_filter
            FROM unnest($1::int4[], $2::int8[]) AS w (day, id)
            JOIN petrel.log_block b ON b.day = w.day AND b.id = w.id
            """, [.int4Array(blocks.map(\.part)), .int8Array(blocks.map(\.id))])
        for row in 0..<rows.count {
            let mayHave = rows.withBytes(row, 1) {
                TrigramFilter.mayContain(demand.probe.trigrams, in: $0)
            }
            if !mayHave {
                ruledOut.insert(try rows.integer(row, 0))
                skippedCount += 1
            }
        }
    }

    // MARK: The heap

    private func precedes(_ a: LogCursor, _ b: LogCursor) -> Bool {
        // Lines of one time: stream by stream, and in each as they came, which sealing does not change.
        isForward
            ? (a.time, a.stream, a.id) < (b.time, b.stream, b.id)
            : (a.time, a.stream, a.id) > (b.time, b.stream, b.id)
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        while index > 0, precedes(heap[index], heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        while true {
            var best = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < heap.count && precedes(heap[child], heap[best]) {
                best = child
            }
            guard best != index else { return }
            heap.swapAt(index, best)
            index = best
        }
    }
}

/// The lines of one open row that are wanted, one after the other.
private final class LogCursor {
    let stream: Int32
    let id: Int64
    let byteCount: Int
    private(set) var time: Int64
    private let name: String
    private let lines: LogBlockLines?
    /// Where few of a row's lines are wanted, these alone.
    private let picked: [LogEntry]
    /// Indexes of the wanted lines, ascending; empty where `range` has them.
    private let hits: [Int32]
    private let range: Range<Int>
    private let isForward: Bool
    /// Counted from the side where it begins.
    private var at = 0

    /// Nil where no line is wanted.
    init?(
        _ lines: LogBlockLines, _ source: LogSource, from: Int64, to: Int64, _ needles: [Needle],
        isForward: Bool
    ) throws {
        stream = source.stream
        id = source.id
        name = source.name
        self.isForward = isForward
        range = lines.firstIndex(at: from)..<lines.firstIndex(at: to)
        var hits: [Int32] = []
        if !needles.isEmpty {
            for index in range where lines.line(index, containsAll: needles) {
                hits.append(Int32(index))
            }
            guard !hits.isEmpty else { return nil }
        }
        guard !range.isEmpty else { return nil }
        if !needles.isEmpty, hits.count <= lines.count / 4 {
            do throws(LogBlockError) {
                var picked: [LogEntry] = []
                for index in hits { picked.append(try lines.entry(Int(index))) }
                self.picked = picked
            } catch { throw StorageError.corrupt("\(source.name): \(error)") }
            self.lines = nil
            byteCount = picked.reduce(0) { $0 + $1.line.count + 256 }
        } else {
            picked = []
            self.lines = lines
            byteCount = lines.byteCount
        }
        self.hits = hits
        time = 0
        time = timestamp
    }

    private var count: Int { hits.isEmpty ? range.count : hits.count }
    private var place: Int { isForward ? at : count - 1 - at }
    private var index: Int { hits.isEmpty ? range.lowerBound + place : Int(hits[place]) }
    private var timestamp: Int64 {
        lines?.timestamps[index] ?? picked[place].timestamp.rawValue
    }

    func entry() throws -> LogEntry {
        guard let lines else { return picked[place] }
        do throws(LogBlockError) { return try lines.entry(index) } catch {
            throw StorageError.corrupt("\(name): \(error)")
        }
    }

    /// False at the end.
    func advance() -> Bool {
        at += 1
        guard at < count else { return false }
        time = timestamp
        return true
    }
}
