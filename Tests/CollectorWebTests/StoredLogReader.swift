import CollectorQuery
import Model
import Storage
import Synchronization

/// Streams in memory, read and counted; remembers what was asked.
final class StoredLogReader: LogReader {
    struct Questions {
        var selections: [LogSelection] = []
        var scopes: [LabelScope] = []
        var rates: [(matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS)] = []
    }

    let questions = Mutex(Questions())
    private let streams: [LogStream]

    init(_ streams: [LogStream] = []) { self.streams = streams }

    private func matching(_ sets: [[LabelMatcher]]) throws(StorageError) -> [LogStream] {
        do {
            let set = try SelectorSet(sets.filter { !$0.isEmpty })
            return streams.filter { set.accepts($0.labels) }
        } catch { throw .badMatcher("\(error)") }
    }

    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        questions.withLock { $0.selections.append(selection) }
        let found = try matching([selection.matchers])
        var rows = found.enumerated().flatMap { index, stream in
            stream.entries.map { (stream: index, entry: $0) }
        }.filter { selection.from <= $0.entry.timestamp && $0.entry.timestamp < selection.to }
        rows.sort { ($0.entry.timestamp, $0.stream) < ($1.entry.timestamp, $1.stream) }
        if selection.direction == .backward { rows.reverse() }
        _ = try body(
            LogPage(
                streams: found.map(\.labels), streamIndexes: rows.map(\.stream),
                entries: rows.map(\.entry)))
    }

    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage {
        questions.withLock { $0.rates.append((matchers, from, to)) }
        let found = try matching([matchers])
        var page = LogRatePage(streams: found.map(\.labels), blockCount: found.count)
        for (index, stream) in found.enumerated() {
            for entry in stream.entries {
                let through = TimestampNS(grid.end(of: entry.timestamp.rawValue))
                guard from < through, through <= to else { continue }
                page.rates.append(
                    LogRate(
                        through: through, streamIndex: index, level: entry.level, lineCount: 1,
                        byteCount: entry.line.count))
            }
        }
        page.rates.sort { $0.through < $1.through }
        return page
    }

    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace { LogTrace(page: LogPage(), isCut: false) }

    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        Set(try await logStreams(scope).flatMap { $0.map(\.name) }).sorted()
    }

    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] {
        Set(try await logStreams(scope).map { $0[name] }).filter { !$0.isEmpty }.sorted()
    }

    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        questions.withLock { $0.scopes.append(scope) }
        return try matching(scope.matcherSets).map(\.labels).sorted()
    }
}
