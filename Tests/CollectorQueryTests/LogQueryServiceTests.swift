import CollectorQuery
import LogQL
import Model
import Storage
import Synchronization
import Testing

/// LogQL over a reader that gives what it is told to.
@Suite("Log queries")
struct LogQueryServiceTests {
    /// Two lines of ten bytes at 5 ns.
    static let page = LogPage(
        streams: [["app": "x"]], streamIndexes: [0, 0],
        entries: [line, line])
    static let line = LogEntry(
        timestamp: TimestampNS(5), line: Array("0123456789".utf8), level: "warn")

    static func service(
        _ reader: any LogReader, limits: LogQueryLimits = LogQueryLimits(),
        clock: FixedClock = FixedClock()
    ) -> LogQueryService {
        LogQueryService(
            reader: reader, clock: clock, executor: globalConcurrentExecutor, limits: limits)
    }

    static func request(_ text: String) -> LogRangeRequest {
        LogRangeRequest(text: text, from: TimestampNS(0), to: TimestampNS(10), entriesMax: 3)
    }

    @Test("a log query stops at its limit and at its budget")
    func entries() async throws {
        let reader = FakeLogReader(pages: [Self.page, Self.page, Self.page])
        let request = Self.request(#"{app="x"} |= "5""#)
        let answer = try await Self.service(reader).range(request)
        guard case .streams(let streams) = answer.value else {
            Issue.record("no streams")
            return
        }
        #expect(streams.map(\.entries.count) == [3])
        #expect(streams.map(\.labels) == [["app": "x", "detected_level": "warn"]])
        #expect(answer.statistics.scannedLineCount == 3)
        #expect(answer.statistics.scannedByteCount == 30)

        let small = Self.service(reader, limits: LogQueryLimits(scannedBytesMax: 15))
        await #expect {
            try await small.range(request)
        } throws: {
            ($0 as? QueryFailure)?.kind == .execution
        }
    }

    @Test("with categories a stream has its own labels alone")
    func categories() async throws {
        var request = Self.request(#"{app="x"} | regexp "(?P<two>..)""#)
        request.hasCategories = true
        let answer = try await Self.service(FakeLogReader(pages: [Self.page])).range(request)
        guard case .streams(let streams) = answer.value else {
            Issue.record("no streams")
            return
        }
        let entry = LogResultEntry(
            timestamp: TimestampNS(5), line: Array("0123456789".utf8),
            structuredMetadata: ["detected_level": "warn"], parsed: ["two": "01"])
        #expect(streams == [LogResultStream(labels: ["app": "x"], entries: [entry, entry])])
    }

    @Test("a metric query reads its windows oldest first, within its budget")
    func numbers() async throws {
        let selections = Mutex<[LogSelection]>([])
        let reader = FakeLogReader(
            pages: [Self.page], onSelection: { wanted in selections.withLock { $0.append(wanted) } }
        )
        let text = #"sum by (app) (count_over_time({app="x"} |= "345" [1s]))"#
        let time = TimestampNS(1_000_000_000)
        let answer = try await Self.service(reader).instant(text, at: time)
        guard case .metric(.vector(let elements, let at)) = answer.value else {
            Issue.record("no vector")
            return
        }
        #expect(elements == [MetricElement(labels: ["app": "x"], value: 2)])
        #expect(at == TimestampMS(1000))
        #expect(answer.statistics.scannedLineCount == 2)
        let selection = try #require(selections.withLock { $0 }.first)
        #expect(selection.direction == .forward)
        #expect(selection.needles == [Array("345".utf8)])
        #expect(selection.from == TimestampNS(1))
        #expect(selection.to == TimestampNS(1_000_000_001))

        let small = Self.service(reader, limits: LogQueryLimits(scannedBytesMax: 15))
        await #expect {
            try await small.instant(text, at: time)
        } throws: {
            ($0 as? QueryFailure)?.kind == .execution
        }
    }

    @Test("more series than allowed are refused in Loki's words")
    func series() async {
        let limits = LogQueryLimits(metric: MetricLimits(seriesMax: 1))
        let page = LogPage(
            streams: [["app": "x"], ["app": "y"]], streamIndexes: [0, 1],
            entries: [Self.line, Self.line])
        let service = Self.service(FakeLogReader(pages: [page]), limits: limits)
        await #expect {
            try await service.instant(
                #"rate({app=~".+"}[1s])"#, at: TimestampNS(1_000_000_000))
        } throws: {
            let failure = $0 as? QueryFailure
            return failure?.kind == .execution
                && failure?.message.hasPrefix("maximum number of series (1) reached") == true
        }
    }

    @Test("a query whose asker went away reads no further page")
    func hangUp() async throws {
        let pages = Mutex(0)
        let (began, source) = AsyncStream.makeStream(of: Void.self)
        let reader = FakeLogReader(endless: Self.page) {
            pages.withLock { $0 += 1 }
            source.yield()
        }
        let service = Self.service(reader)
        let query = Task {
            try await service.instant(
                #"count_over_time({app="x"}[1s])"#, at: TimestampNS(1_000_000_000))
        }
        for await _ in began { break }
        query.cancel()
        await #expect {
            try await query.value
        } throws: {
            ($0 as? QueryFailure)?.kind == .canceled
        }
        #expect(pages.withLock { $0 } > 0)
    }

    @Test("a query that takes too long ends as a time-out")
    func timeout() async {
        let service = Self.service(
            FakeLogReader(endless: Self.page) {}, clock: FixedClock(endsSleeps: true))
        await #expect {
            try await service.instant(
                #"count_over_time({app="x"}[1s])"#, at: TimestampNS(1_000_000_000))
        } throws: {
            ($0 as? QueryFailure)?.kind == .timeout
        }
    }

    @Test("an instant question for lines is refused, one for numbers answered")
    func instant() async throws {
        let service = Self.service(FakeLogReader())
        await #expect(throws: QueryFailure.self) {
            try await service.instant(#"{app="x"}"#, at: TimestampNS(0))
        }
        let answer = try await service.instant(
            "vector(1)+vector(1)", at: TimestampNS(4_000_000_000))
        guard case .metric(.vector(let elements, let time)) = answer.value else {
            Issue.record("no vector")
            return
        }
        #expect(elements == [MetricElement(labels: .empty, value: 2)])
        #expect(time == TimestampMS(4000))
    }
}
