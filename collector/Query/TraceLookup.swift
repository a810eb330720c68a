package import Model
package import Storage

/// What carries a trace or request id.
package struct TraceAnswer: Sendable {
    /// A line, with the labels of its stream.
    package struct Line: Hashable, Sendable {
        package var labels: Labels
        package var entry: LogEntry
    }

    /// In the order of time.
    package var lines: [Line]
    /// There are more lines than that.
    package var isCut: Bool
    /// By series in ascending label order, those of one in the order of time.
    package var exemplars: [SeriesExemplars]
    /// False where there are too many; then there are none here.
    package var hasAllExemplars: Bool
}

extension LogQueryService {
    /// Bytes of an id that is looked for.
    package static let traceIDBytesMax = 200
    /// Lines of an answer.
    package static let traceLinesMax = 10_000
    /// Exemplars of an answer.
    private static let exemplarsMax = 1_000
    /// How far from the first and the last line exemplars are looked for.
    private static let exemplarMilliseconds: Int64 = 300_000

    /// The lines within `[from, to)`, of whatever host, whose trace or request id this is, and the exemplars of the same id
    /// about the time of the lines. Throws `QueryFailure`.
    package func trace(
        _ id: String, from: TimestampNS, to: TimestampNS, exemplars: any ExemplarReader
    ) async throws(QueryFailure) -> TraceAnswer {
        let reader = reader
        let found = try await whenThereIsRoom {
            try await reader.logTrace(id, from: from, to: to, entriesMax: Self.traceLinesMax)
        }
        let page = found.page
        var answer = TraceAnswer(
            lines: zip(page.streamIndexes, page.entries).map { index, entry in
                TraceAnswer.Line(labels: page.streams[index], entry: entry)
            }, isCut: found.isCut, exemplars: [], hasAllExemplars: true)
        guard let first = page.entries.first?.timestamp, let last = page.entries.last?.timestamp
        else { return answer }
        do {
            answer.exemplars = try await exemplars.exemplars(
                ofTrace: id,
                start: first.milliseconds.advanced(byMilliseconds: -Self.exemplarMilliseconds),
                end: last.milliseconds.advanced(byMilliseconds: Self.exemplarMilliseconds),
                exemplarsMax: Self.exemplarsMax)
        } catch {
            guard case .limitExceeded = error else { throw QueryFailure(error) }
            answer.hasAllExemplars = false
        }
        return answer
    }
}
