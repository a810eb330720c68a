import LogQL
import LogQLSyntax
package import Model
package import Storage
import Synchronization
package import World

/// The bounds of log queries.
package struct LogQueryLimits: Hashable, Sendable {
    /// Entries in an answer. Source: Loki's `max_entries_limit_per_query`.
    package var entriesMax: Int
    /// Bytes of lines that one query may look at.
    package var scannedBytesMax: Int
    package var timeoutMilliseconds: Int64

    package init(
        entriesMax: Int = 5000, scannedBytesMax: Int = 16 << 30,
        timeoutMilliseconds: Int64 = 60_000
    ) {
        self.entriesMax = entriesMax
        self.scannedBytesMax = scannedBytesMax
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// Answers LogQL from a `LogReader`.
package struct LogQueryService: Sendable {
    /// What is asked for a range of time: `from` inclusive, `to` exclusive.
    package struct RangeRequest: Hashable, Sendable {
        package var text: String
        package var from: TimestampNS
        package var to: TimestampNS
        package var entriesMax: Int
        package var direction: LogSelection.Direction
        /// Only for metric queries; above 0.
        package var stepMilliseconds: Int64

        package init(
            text: String, from: TimestampNS, to: TimestampNS, entriesMax: Int = 100,
            direction: LogSelection.Direction = .backward, stepMilliseconds: Int64 = 1000
        ) {
            self.text = text
            self.from = from
            self.to = to
            self.entriesMax = entriesMax
            self.direction = direction
            self.stepMilliseconds = stepMilliseconds
        }
    }

    /// An answer, ready for any surface.
    package enum Answer: Sendable {
        /// In ascending label order; entries in the request's direction.
        case streams([LogStream], scannedLines: Int, scannedBytes: Int)
        case vector([(Labels, Sample)])
        case scalar(Sample)
        case matrix([SeriesColumns])
    }

    /// Points of a series in an answer. Source: Loki, as Prometheus.
    package static let pointsMax: Int64 = 11_000

    package let limits: LogQueryLimits
    private let reader: any LogReader
    private let clock: any WorldClock
    private let gate: QueryGate

    package init(
        reader: any LogReader, clock: any WorldClock, gate: QueryGate = QueryGate(),
        limits: LogQueryLimits = LogQueryLimits()
    ) {
        self.reader = reader
        self.clock = clock
        self.gate = gate
        self.limits = limits
    }

    /// Entries or points over a range of time. Throws `QueryFailure`.
    package func range(_ request: RangeRequest) async throws(QueryFailure) -> Answer {
        guard request.from < request.to else {
            throw QueryFailure(.badData, "end timestamp must not be before or equal to start time")
        }
        switch try Self.prepare(request.text) {
        case .metric(let expression): return try Self.points(expression, request)
        case .log(let query): return try await entries(query, request)
        }
    }

    /// A metric query at one time. Throws `QueryFailure`.
    package func instant(_ text: String, at time: TimestampNS) throws(QueryFailure) -> Answer {
        switch try Self.prepare(text) {
        case .log:
            throw QueryFailure(
                .badData,
                "log queries are not supported as an instant query type, "
                    + "please change your query to a range query type")
        case .metric(let expression):
            let number = LogQLNumber(expression)
            let sample = Sample(time.milliseconds, number.value)
            switch number {
            case .scalar: return .scalar(sample)
            case .vector: return .vector([(.empty, sample)])
            }
        }
    }

    /// The canonical text of a query. Throws `QueryFailure`.
    package func format(_ text: String) throws(QueryFailure) -> String {
        do { return try LogQLParser.parse(text).description } catch {
            throw QueryFailure(.badData, error.description)
        }
    }

    /// The matchers of selectors such as `{a="b"}`, one list a selector; an empty text stands for none.
    package func matcherSets(_ selectors: [String]) throws(QueryFailure) -> [[LabelMatcher]] {
        var sets: [[LabelMatcher]] = []
        for selector in selectors where !selector.isEmpty {
            do {
                let matchers = try LogQLParser.parseMatchers(selector)
                if !matchers.isEmpty { sets.append(matchers) }
            } catch { throw QueryFailure(.badData, error.description) }
        }
        return sets
    }

    package func labelNames(_ scope: LabelScope) async throws(QueryFailure) -> [String] {
        do { return try await reader.logLabelNames(scope) } catch { throw QueryFailure(error) }
    }

    package func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(QueryFailure) -> [String] {
        do { return try await reader.logLabelValues(name, scope) } catch {
            throw QueryFailure(error)
        }
    }

    package func streams(_ scope: LabelScope) async throws(QueryFailure) -> [Labels] {
        do { return try await reader.logStreams(scope) } catch { throw QueryFailure(error) }
    }

    private static func prepare(_ text: String) throws(QueryFailure) -> PreparedLogQL {
        do { return try PreparedLogQL.prepare(text) } catch {
            throw QueryFailure(.badData, error.description)
        }
    }

    private func entries(
        _ query: LogQuery, _ request: RangeRequest
    ) async throws(QueryFailure) -> Answer {
        let selection = LogSelection(
            matchers: query.matchers, needles: query.needles, from: request.from, to: request.to,
            direction: request.direction)
        let limits = limits
        let reader = reader
        let clock = clock
        do {
            return try await gate.run {
                try await withQueryDeadline(
                    milliseconds: limits.timeoutMilliseconds, clock: clock
                ) {
                    try await Self.collect(
                        query, selection, reader: reader,
                        entriesMax: request.entriesMax, scannedBytesMax: limits.scannedBytesMax)
                }
            }
        } catch { throw QueryFailure(any: error) }
    }

    private static func collect(
        _ query: LogQuery, _ selection: LogSelection, reader: any LogReader, entriesMax: Int,
        scannedBytesMax: Int
    ) async throws -> Answer {
        let collection = Mutex(LogCollection(query: query, entriesMax: entriesMax))
        try await reader.forEachPage(selection) { page in
            try Task.checkCancellation()
            let (wantsMore, scannedBytes) = collection.withLock {
                (
                    $0.process(
                        page.entries, streamIndexes: page.streamIndexes, streams: page.streams),
                    $0.scannedByteCount
                )
            }
            guard scannedBytes <= scannedBytesMax else {
                throw StorageError.limitExceeded(
                    limit: "scanned bytes", maximum: scannedBytesMax)
            }
            return wantsMore
        }
        return collection.withLock {
            .streams(
                $0.streams, scannedLines: $0.scannedLineCount, scannedBytes: $0.scannedByteCount)
        }
    }

    /// A number without streams is the same at every step.
    private static func points(
        _ expression: MetricExpression, _ request: RangeRequest
    ) throws(QueryFailure) -> Answer {
        let from = request.from.milliseconds.rawValue
        let to = request.to.milliseconds.rawValue
        let step = request.stepMilliseconds
        guard step > 0 else {
            throw QueryFailure(
                .badData,
                "zero or negative query resolution step widths are not accepted. "
                    + "Try a positive integer")
        }
        guard (to - from) / step <= pointsMax else {
            throw QueryFailure(
                .badData,
                "exceeded maximum resolution of 11,000 points per time series. "
                    + "Try increasing the value of the step parameter")
        }
        let times = Array(stride(from: from, through: to, by: Int64.Stride(step)))
        let value = LogQLNumber(expression).value
        return .matrix([
            SeriesColumns(
                labels: .empty, timestamps: times,
                values: Array(repeating: value, count: times.count))
        ])
    }
}
