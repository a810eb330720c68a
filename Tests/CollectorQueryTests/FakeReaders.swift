import Model
import Storage
import World

/// A clock that stands at 100 s, or where it is told to; sleeps end when they are cancelled, or at once where told so.
struct FixedClock: WorldClock {
    var endsSleeps = false
    var now = TimestampNS(100_000_000_000)
    var monotonicNanoseconds: Int64 { 0 }
    func sleep(nanoseconds: Int64) async throws {
        if endsSleeps { return }
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

/// Answers every selection with the same series.
struct FakeMetricReader: MetricReader {
    var answer: [SeriesColumns] = []
    var error: StorageError?
    /// Never answers until it is cancelled.
    var hangs = false
    /// Called before it hangs.
    var onCall: (@Sendable () -> Void)?

    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] {
        try await delay()
        return selections.map { _ in answer }
    }
    func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        try await delay()
        return []
    }
    func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] {
        try await delay()
        return []
    }
    func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        try await delay()
        return answer.map(\.labels)
    }
    func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]] {
        try await delay()
        return [:]
    }

    private func delay() async throws(StorageError) {
        if hangs {
            onCall?()
            let (stream, _) = AsyncStream.makeStream(of: Void.self)
            for await _ in stream {}
            throw .cancelled
        }
        if let error { throw error }
    }
}

/// Gives its pages one by one, on a thread without a task as the store does, and then `endless` for ever.
struct FakeLogReader: LogReader {
    var pages: [LogPage] = []
    var endless: LogPage?
    var onSelection: @Sendable (LogSelection) -> Void = { _ in }
    /// Called before each page of `endless`.
    var onPage: @Sendable () -> Void = {}

    init(
        pages: [LogPage] = [], onSelection: @escaping @Sendable (LogSelection) -> Void = { _ in }
    ) {
        self.pages = pages
        self.onSelection = onSelection
    }

    init(endless: LogPage, onPage: @escaping @Sendable () -> Void) {
        self.endless = endless
        self.onPage = onPage
    }

    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        onSelection(selection)
        try await Task.detached {
            for page in pages where try !body(page) { return }
            while let endless {
                await Task.yield()
                onPage()
                guard try body(endless) else { return }
            }
        }.value
    }
    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage { LogRatePage() }
    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace { LogTrace(page: LogPage(), isCut: false) }
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [] }
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] { [] }
}
