import CollectorQuery
import Model
import Storage
import Synchronization

/// Streams in memory that are read and counted as a store does it: hints are used, counts come in several parts.
final class StoredLogReader: LogReader {
    /// What was asked.
    struct Questions {
        var selections: [LogSelection] = []
        var rateRanges: [(from: TimestampNS, to: TimestampNS)] = []
        var readEntryCount = 0
    }

    private struct Row {
        var stream: Int
        var entry: LogEntry
    }

    let questions = Mutex(Questions())
    private let labels: [Labels]
    /// In the order of time, and then of storing.
    private let rows: [Row]
    private let pageEntries: Int

    /// Entries are stored in the order of `streams`.
    init(_ streams: [LogStream], pageEntries: Int = 7) {
        labels = streams.map(\.labels)
        self.pageEntries = pageEntries
        let stored = streams.enumerated().flatMap { index, stream in
            stream.entries.map { Row(stream: index, entry: $0) }
        }
        rows = stored.enumerated().sorted {
            ($0.element.entry.timestamp, $0.offset) < ($1.element.entry.timestamp, $1.offset)
        }.map(\.element)
    }

    private func matching(_ matchers: [LabelMatcher]) throws(StorageError) -> Set<Int> {
        do {
            let set = try SelectorSet(matchers.isEmpty ? [] : [matchers])
            return Set(labels.indices.filter { set.accepts(labels[$0]) })
        } catch { throw .badMatcher("\(error)") }
    }

    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        questions.withLock { $0.selections.append(selection) }
        let wanted = try matching(selection.matchers)
        var found = rows.filter { row in
            wanted.contains(row.stream) && row.entry.timestamp >= selection.from
                && row.entry.timestamp < selection.to
                && selection.metadata.allSatisfy { row.entry.metadata[$0.name] == $0.value }
                && selection.needles.allSatisfy { Self.contains(row.entry.line, $0) }
        }
        if selection.direction == .backward { found.reverse() }
        var rest = found[...]
        while !rest.isEmpty {
            let part = rest.prefix(pageEntries)
            rest = rest.dropFirst(part.count)
            questions.withLock { $0.readEntryCount += part.count }
            let page = LogPage(
                streams: labels, streamIndexes: part.map(\.stream), entries: part.map(\.entry))
            guard try body(page) else { return }
        }
    }

    private static func contains(_ line: [UInt8], _ needle: [UInt8]) -> Bool {
        guard needle.count <= line.count else { return false }
        return (0...(line.count - needle.count)).contains { start in
            line[start..<(start + needle.count)].elementsEqual(needle)
        }
    }

    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage {
        questions.withLock { $0.rateRanges.append((from, to)) }
        let wanted = try matching(matchers)
        var page = LogRatePage(streams: labels, blockCount: 1)
        for row in rows where wanted.contains(row.stream) {
            let time = row.entry.timestamp.rawValue
            let through = TimestampNS(grid.end(of: time))
            guard through > from, through <= to else { continue }
            // One that goes on with the last count, and now and then one of its own.
            if let last = page.rates.last, last.through == through,
                last.streamIndex == row.stream, last.level == row.entry.level, time % 3 != 0
            {
                page.rates[page.rates.count - 1].lineCount += 1
                page.rates[page.rates.count - 1].byteCount += row.entry.line.count
            } else {
                page.rates.append(
                    LogRate(
                        through: through, streamIndex: row.stream, level: row.entry.level,
                        lineCount: 1, byteCount: row.entry.line.count))
            }
        }
        return page
    }

    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace { LogTrace(page: LogPage(), isCut: false) }
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [] }

    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        guard !scope.matcherSets.isEmpty else { return labels.sorted() }
        var found: Set<Int> = []
        for matchers in scope.matcherSets { found.formUnion(try matching(matchers)) }
        return found.map { labels[$0] }.sorted()
    }

    /// The names of the fields beside lines.
    var fieldNames: LogQueryService.FieldNames {
        let names = Set(rows.flatMap { $0.entry.metadata.map(\.name) })
        return { _ in names }
    }
}
