package import Model
import Postgres
package import Storage
import Synchronization

// A read is one cursor in one read-only transaction: one snapshot, sorted once, fetched a page at a time. Two indexes
// serve it: (stream_id, ts, id) for few streams, (ts, id, stream_id) where the newest lines of many are wanted.

extension CollectorStore: LogReader {
    /// Entries of one page.
    static let pageEntriesMax = 2_000
    /// Entries of the first page: a query that wants ten lines should not wait for two thousand.
    static let firstPageEntriesMax = 200

    package func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        let streams = try catalogue.streams.withLock { index throws(StorageError) in
            var found: [Int32: Labels] = [:]
            for number in try index.matching(selection.matchers) {
                found[number] = index.labels(of: number)
            }
            return found
        }
        guard !streams.isEmpty, selection.from < selection.to else { return }
        let outcome = try await read { session in
            // What `body` throws is its own and passes through unchanged.
            Result { try readPages(selection, streams, session, body) }
                .mapError { PageFailure(error: $0) }
        }
        switch outcome {
        case .success: return
        case .failure(let failure):
            throw failure.error is PostgresError ? storageError(failure.error) : failure.error
        }
    }

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
        try catalogue.streams.withLock { index throws(StorageError) in
            try index.matching(scope).compactMap { index.labels(of: $0) }
        }.sorted()
    }
}

private struct PageFailure: Error {
    var error: any Error
}

private func readPages(
    _ selection: LogSelection, _ streams: [Int32: Labels], _ session: PostgresSession,
    _ body: (LogPage) throws -> Bool
) throws {
    let order = selection.direction == .forward ? "ASC" : "DESC"
    var values: [PostgresValue] = [
        .int4Array(streams.keys.sorted()), .int8(selection.from.rawValue),
        .int8(selection.to.rawValue),
    ]
    var conditions = "stream_id = ANY ($1) AND ts >= $2 AND ts < $3"
    for needle in selection.needles where !needle.isEmpty {
        values.append(.bytea(needle))
        conditions += " AND position($\(values.count) in line) > 0"
    }
    try session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") { session in
        try session.query(
            """
            DECLARE log_page NO SCROLL CURSOR FOR
            SELECT stream_id, ts, level, metadata, metadata_key, line FROM petrel.log_entry
            WHERE \(conditions) ORDER BY ts \(order), id \(order)
            """, values)
        var count = CollectorStore.firstPageEntriesMax
        while true {
            let rows = try session.query("FETCH \(count) FROM log_page")
            if rows.count > 0, try !body(try page(rows, streams)) { return }
            guard rows.count == count else { return }
            count = CollectorStore.pageEntriesMax
        }
    }
}

private func page(_ rows: PostgresRows, _ streams: [Int32: Labels]) throws -> LogPage {
    var page = LogPage()
    var indexes: [Int32: Int] = [:]
    for row in 0..<rows.count {
        let number = try rows.int4(row, 0)
        let index: Int
        if let known = indexes[number] {
            index = known
        } else {
            index = page.streams.count
            indexes[number] = index
            page.streams.append(streams[number] ?? .empty)
        }
        page.streamIndexes.append(index)
        page.entries.append(
            LogEntry(
                timestamp: TimestampNS(try rows.integer(row, 1)), line: rows.bytes(row, 5),
                level: rows.optionalText(row, 2), metadata: try metadata(rows, row)))
    }
    return page
}

/// The metadata of a row of `…, metadata (3), metadata_key (4), …`: the key is exact where there is one.
func metadata(_ rows: PostgresRows, _ row: Int) throws -> Labels {
    if !rows.isNull(row, 4) {
        guard let labels = Labels(key: rows.bytes(row, 4)) else {
            throw StorageError.corrupt("a log entry's metadata key does not decode")
        }
        return labels
    }
    guard !rows.isNull(row, 3) else { return .empty }
    let flat = try rows.textArray(row, 3)
    guard flat.count % 2 == 0 else {
        throw StorageError.corrupt("a log entry's metadata has a name without a value")
    }
    // Written from a set: sorted and unique already.
    return Labels(
        sortedUnchecked: stride(from: 0, to: flat.count, by: 2).map {
            Label(flat[$0] ?? "", flat[$0 + 1] ?? "")
        })
}
