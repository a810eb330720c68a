import CollectorQuery
import Model
import PromQL
import Storage
import Testing

/// Series whose labels look the same but have different bytes, as the store keeps them, stay two.
@Suite("Labels by their bytes")
struct LabelBytesTests {
    /// One code point, and a letter with an accent to combine: one string to Swift.
    fileprivate static let composed = "\u{e9}"
    fileprivate static let combining = "e\u{301}"

    /// `a{y="\u{e9}"}` is 1, `a{y="e\u{301}"}` is 2.
    private struct Reader: MetricReader {
        func select(
            _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
        ) async throws(StorageError) -> [[SeriesColumns]] {
            selections.map { selection in
                [(LabelBytesTests.combining, 2.0), (LabelBytesTests.composed, 1.0)].filter {
                    text, _ in
                    selection.matchers.allSatisfy {
                        $0.name != "y" || $0.value.utf8.elementsEqual(text.utf8)
                    }
                }.map { text, value in
                    SeriesColumns(
                        labels: Labels(
                            sortedUnchecked: [Label("__name__", "a"), Label("y", text)]),
                        timestamps: [60_000], values: [value])
                }
            }
        }
        func historyChange(since version: UInt64) -> HistoryChange {
            HistoryChange(version: 1, earliest: version == 0 ? TimestampMS(.min) : nil)
        }
        func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
        func labelValues(
            _ name: String, _ scope: LabelScope
        ) async throws(StorageError) -> [String] { [] }
        func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] { [] }
        func metadata(
            metric: String?
        ) async throws(StorageError) -> [ExactText: [MetricMetadata]] { [:] }
    }

    private static let service = MetricQueryService(
        reader: Reader(), clock: FixedClock(now: TimestampNS(10_000_000_000_000)),
        executor: globalConcurrentExecutor)

    @Test("matchers are equal where their bytes are")
    func matchers() {
        let matchers = [Self.composed, Self.combining, Self.composed].map {
            LabelMatcher("y", .equal, $0)
        }
        #expect(matchers[0] != matchers[1])
        #expect(matchers[0] == matchers[2])
        #expect(Set(matchers).count == 2)
        #expect(
            LabelMatcher(Self.composed, .equal, "") != LabelMatcher(Self.combining, .equal, ""))
    }

    @Test("one query reads both")
    func selectors() async throws {
        let answer = try await Self.service.instant(
            "sum(a{y=\"\(Self.composed)\"}) + 10 * sum(a{y=\"\(Self.combining)\"})",
            at: TimestampMS(60_000))
        #expect(
            answer.value
                == .vector([
                    VectorElement(labels: .empty, sample: Sample(TimestampMS(60_000), 21))
                ]))
    }

    @Test("the answer to one is not kept for the other")
    func cache() async throws {
        for (text, value) in [(Self.composed, 1.0), (Self.combining, 2), (Self.composed, 1)] {
            let answer = try await Self.service.range(
                "sum(a{y=\"\(text)\"})", from: TimestampMS(60_000), through: TimestampMS(120_000),
                stepMilliseconds: 60_000)
            #expect(
                answer.value
                    == .matrix([
                        SeriesColumns(
                            labels: .empty, timestamps: [60_000, 120_000],
                            values: [value, value])
                    ]))
        }
    }

    @Test("both are elements of one answer, and groups of one aggregation")
    func elements() async throws {
        for text in ["a", "sum by (y) (a)", "a * 1"] {
            let answer = try await Self.service.instant(text, at: TimestampMS(60_000))
            guard case .vector(let elements) = answer.value else {
                Issue.record("no vector")
                return
            }
            #expect(elements.map(\.sample.value).sorted() == [1, 2], "\(text)")
        }
    }
}
