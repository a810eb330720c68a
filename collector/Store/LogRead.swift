import LogBlock
package import Model
import Postgres
package import Storage
import Synchronization

// A read is one read-only transaction: one snapshot, in which each line is once, in a batch or in a block. Which rows may
// have wanted lines is told by their filters; they are opened in the order of time, so that the newest lines of many
// streams open few. SQL: docs/formats/storage.md, "Log blocks".

extension CollectorStore: LogReader {
    /// Entries of one page.
    static let pageEntriesMax = 2_000
    /// Bytes of lines after which a page is full.
    static let pageBytesMax = 4 << 20
    /// Entries of the first page: a query that wants ten lines should not wait for two thousand.
    static let firstPageEntriesMax = 200
    /// Bytes of the lines of a trace; further lines are cut.
    static let traceBytesMax = 64 << 20

    package func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        let streams = try matchingStreams(selection.matchers)
        let probe = LogProbe(needles: selection.needles, fields: selection.metadata)
        guard
            let demand = demand(
                streams, from: selection.from, to: selection.to, probe: probe)
        else { return }
        let outcome = try await read { session in
            // What `body` throws is its own and passes through unchanged.
            Result { try readPages(selection, demand, streams, session, body) }
                .mapError { PageFailure(error: $0) }
        }
        switch outcome {
        case .success(let cost): note(cost)
        case .failure(let failure):
            throw failure.error is PostgresError ? storageError(failure.error) : failure.error
        }
    }

    private func matchingStreams(
        _ matchers: [LabelMatcher]
    ) throws(StorageError) -> [Int32: Labels] {
        try catalogue.streams.withLock { index throws(StorageError) in
            var found: [Int32: Labels] = [:]
            for number in try index.matching(matchers) {
                found[number] = index.labels(of: number)
            }
            return found
        }
    }

    /// Nil where none of the streams has lines within the time.
    private func demand(
        _ streams: [Int32: Labels], from: TimestampNS, to: TimestampNS, probe: LogProbe
    ) -> LogDemand? {
        let active = logs.active(streams.keys.sorted(), from: from.rawValue, to: to.rawValue)
        return LogDemand(
            active, from: from.rawValue, to: to.rawValue, span: logs.span(of: active),
            probe: probe)
    }

    /// Names of the fields beside the lines of the streams that satisfy all matchers, or more; nil where they are too many
    /// to know.
    package func logFieldNames(
        _ matchers: [LabelMatcher]
    ) throws(StorageError) -> Set<String>? {
        logs.fields(of: try matchingStreams(matchers).keys.sorted())
    }

    private func note(_ cost: LogReadCost) {
        logs.counts.withLock { counts in
            counts.openedBlocks += cost.openedCount
            counts.skippedBlocks += cost.skippedCount
        }
    }

    // MARK: Traces

    package func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace {
        let streams = try matchingStreams([])
        let probe = LogProbe(needles: [], fields: [Label("trace_id", id)])
        guard let demand = demand(streams, from: from, to: to, probe: probe) else {
            return LogTrace(page: LogPage(), isCut: false)
        }
        let (trace, cost) = try await read { session in
            try session.transaction(snapshotSQL) { session in
                var reader = try LogPageReader(demand, needles: [], isForward: true, session)
                var builder = LogPageBuilder(streams)
                var byteCount = 0
                while let (entry, stream) = try reader.merge.nextLine() {
                    let isOfTrace = LogProbe.traceFields.contains {
                        bytesEqual(entry.metadata[$0], id)
                    }
                    guard isOfTrace else { continue }
                    byteCount += entry.line.count
                    guard builder.page.entries.count < entriesMax,
                        byteCount <= Self.traceBytesMax
                    else {
                        return (LogTrace(page: builder.page, isCut: true), reader.cost)
                    }
                    builder.append(entry, of: stream)
                }
                return (LogTrace(page: builder.page, isCut: false), reader.cost)
            }
        }
        note(cost)
        return trace
    }

    // MARK: Counts

    package func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage {
        let streams = try matchingStreams(matchers)
        // Lines of the time that ends after `from`.
        let first = from.advanced(byNanoseconds: -grid.widthNanoseconds)
        let last = to.advanced(byNanoseconds: 1)
        guard
            let demand = demand(
                streams, from: first, to: last, probe: LogProbe(needles: []))
        else { return LogRatePage() }
        return try await read { session in
            grid.isOfMinutes
                ? try rates(demand, streams, from: from.rawValue, to: to.rawValue, session)
                : try counts(
                    demand, streams, from: from.rawValue, to: to.rawValue, grid, session)
        }
    }

    // MARK: Labels

    package func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        var names: Set<ExactText> = []
        for labels in try await logStreams(scope) {
            for label in labels { names.insert(ExactText(label.name)) }
        }
        return names.map(\.text).sorted(by: bytesPrecede)
    }

    package func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] {
        var values: Set<ExactText> = []
        for labels in try await logStreams(scope) {
            let value = labels[name]
            if !value.isEmpty { values.insert(ExactText(value)) }
        }
        return values.map(\.text).sorted(by: bytesPrecede)
    }

    package func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        let found = try catalogue.streams.withLock { index throws(StorageError) in
            try index.matching(scope)
        }
        let active = logs.active(
            found, from: scope.start.nanoseconds.rawValue,
            to: scope.end.nanoseconds.advanced(byNanoseconds: 1_000_000).rawValue)
        return catalogue.streams.withLock { index in
            active.compactMap { index.labels(of: $0) }
        }.sorted()
    }
}

/// What a read opened, and what it did not have to.
struct LogReadCost: Sendable {
    var openedCount = 0
    var skippedCount = 0
}

private struct PageFailure: Error {
    var error: any Error
}

private let snapshotSQL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

/// The lines of a demand in the order of time.
private struct LogPageReader {
    var merge: LogMerge
    private let ruledOutCount: Int

    init(
        _ demand: LogDemand, needles: [[UInt8]], isForward: Bool, _ session: PostgresSession
    ) throws {
        // Before the snapshot: a day that is packed meanwhile would be another table, whose rows it does not know.
        try session.query("LOCK TABLE ONLY petrel.log_block IN ACCESS SHARE MODE")
        var finder = LogSourceFinder(demand)
        let sources = try finder.sources(session)
        ruledOutCount = finder.skippedCount
        merge = LogMerge(sources, demand, needles: needles, isForward: isForward, session)
    }

    var cost: LogReadCost {
        LogReadCost(
            openedCount: merge.openedCount,
            skippedCount: ruledOutCount + merge.skippedCount)
    }
}

/// A page in the making.
private struct LogPageBuilder {
    private(set) var page = LogPage()
    private var indexes: [Int32: Int] = [:]
    private let streams: [Int32: Labels]

    init(_ streams: [Int32: Labels]) { self.streams = streams }

    mutating func append(_ entry: LogEntry, of stream: Int32) {
        let index = indexes[stream] ?? page.streams.count
        if index == page.streams.count {
            indexes[stream] = index
            page.streams.append(streams[stream] ?? .empty)
        }
        page.streamIndexes.append(index)
        page.entries.append(entry)
    }

    /// The page so far; the next begins.
    mutating func take() -> LogPage {
        defer {
            page = LogPage()
            indexes = [:]
        }
        return page
    }
}

private func readPages(
    _ selection: LogSelection, _ demand: LogDemand, _ streams: [Int32: Labels],
    _ session: PostgresSession, _ body: (LogPage) throws -> Bool
) throws -> LogReadCost {
    try session.transaction(snapshotSQL) { session in
        var reader = try LogPageReader(
            demand, needles: selection.needles, isForward: selection.direction == .forward,
            session)
        var builder = LogPageBuilder(streams)
        var room = CollectorStore.firstPageEntriesMax
        var byteCount = 0
        while let (entry, stream) = try reader.merge.nextLine() {
            builder.append(entry, of: stream)
            byteCount += entry.line.count
            guard
                builder.page.entries.count == room || byteCount >= CollectorStore.pageBytesMax
            else { continue }
            room = CollectorStore.pageEntriesMax
            byteCount = 0
            guard try body(builder.take()) else { return reader.cost }
        }
        if !builder.page.entries.isEmpty { _ = try body(builder.take()) }
        return reader.cost
    }
}
