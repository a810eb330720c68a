import CollectorQuery
import CollectorWeb
import Model
import RemoteWrite
import Storage
import Synchronization
import Testing

/// Two series with exemplars at 10 s and 20 s; refuses what the test says.
final class FakeExemplarReader: ExemplarReader {
    let failure = Mutex<StorageError?>(nil)
    let asked = Mutex<[ExemplarSelection]>([])

    func exemplars(
        ofTrace id: String, start: TimestampMS, end: TimestampMS, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] {
        try await exemplars(
            ExemplarSelection(matcherSets: [], start: start, end: end), exemplarsMax: exemplarsMax
        ).compactMap { series in
            var series = series
            series.exemplars.removeAll { $0.traceID != id }
            return series.exemplars.isEmpty ? nil : series
        }
    }

    private static let series = ["a", "b<&>"].map { host in
        SeriesExemplars(
            labels: ["__name__": "latency_bucket", "host": host],
            exemplars: [
                Exemplar(
                    labels: ["trace_id": "t-\(host)"], value: 0.1, timestamp: TimestampMS(10_000)),
                Exemplar(labels: [:], value: .infinity, timestamp: TimestampMS(20_500)),
            ])
    }

    func exemplars(
        _ selection: ExemplarSelection, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] {
        if let failure = failure.withLock({ $0 }) { throw failure }
        asked.withLock { $0.append(selection) }
        guard let selectors = try? SelectorSet(selection.matcherSets) else { return [] }
        return Self.series.filter { selectors.accepts($0.labels) }.compactMap { series in
            var series = series
            series.exemplars.removeAll { exemplar in
                exemplar.timestamp < selection.start || exemplar.timestamp > selection.end
            }
            return series.exemplars.isEmpty ? nil : series
        }
    }
}

/// `query_exemplars`, and exemplars of remote write.
@Suite("Exemplar API")
struct ExemplarAPITests {
    private static let first =
        #"{"labels":{"trace_id":"t-a"},"value":"0.1","timestamp":10}"#
    private static let second = #"{"labels":{},"value":"+Inf","timestamp":20.500}"#
    private static let a =
        #"{"seriesLabels":{"__name__":"latency_bucket","host":"a"},"exemplars":["#

    @Test(
        "exemplars of the series of every selector, within start and end",
        arguments: [
            ("query=latency_bucket{host=\"a\"}", a + first + "," + second + "]}"),
            ("query=latency_bucket{host=\"a\"}&start=10&end=20", a + first + "]}"),
            (
                "query=histogram_quantile(0.9,sum(rate(latency_bucket{host=~\"a|x\"}[5m] offset 1h))by(le))/up",
                a + first + "," + second + "]}"
            ),
            ("query=latency_bucket{host=\"a\"}&end=10", a + first + "]}"),
            ("query=latency_bucket{host=\"a\"}&start=20.5", a + second + "]}"),
            ("query=latency_bucket&start=1767323045000&end=1767323046000", ""),
            ("query=up", ""),
            (
                "query=latency_bucket{host!=\"a\"}&end=15",
                #"{"seriesLabels":{"__name__":"latency_bucket","host":"b\u003c\u0026\u003e"},"#
                    + #""exemplars":[{"labels":{"trace_id":"t-b\u003c\u0026\u003e"},"#
                    + #""value":"0.1","timestamp":10}]}"#
            ),
        ])
    func answers(parameters: String, data: String) async throws {
        for (line, form) in [
            ("GET /prometheus/api/v1/query_exemplars?\(encoded(parameters))", ""),
            ("POST /prometheus/api/v1/query_exemplars", encoded(parameters)),
        ] {
            let answer = try await FakeCollector.ask(line, form: form)
            #expect(answer.body == #"{"status":"success","data":["# + data + "]}")
        }
    }

    private func encoded(_ parameters: String) -> String {
        parameters.replacing("\"", with: "%22").replacing("{", with: "%7B")
            .replacing("}", with: "%7D").replacing("|", with: "%7C")
            .replacing(" ", with: "%20").replacing("+", with: "%2B")
    }

    @Test("each selector is asked for once, at the query's own times")
    func selection() async throws {
        let reader = FakeExemplarReader()
        let site = FakeCollector.site(exemplars: reader)
        _ = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query_exemplars?query=a-b%20offset%201h&start=1&end=2",
            site: site)
        #expect(
            reader.asked.withLock { $0 } == [
                ExemplarSelection(
                    matcherSets: ["a", "b"].map { [LabelMatcher("__name__", .equal, $0)] },
                    start: TimestampMS(1_000), end: TimestampMS(2_000))
            ])
    }

    @Test(
        "what is wrong is told",
        arguments: [
            ("query=a&start=2&end=1", nil, 400, "end timestamp must not be before start"),
            ("query=a&start=x", nil, 400, #"invalid parameter \"start\""#),
            (
                "query=a", StorageError.limitExceeded(limit: "limits.query_exemplars", maximum: 5),
                422, "limits.query_exemplars is 5"
            ),
            ("query=a", .unavailable("away"), 503, "away"),
        ] as [(String, StorageError?, Int, String)])
    func failures(
        parameters: String, failure: StorageError?, status: Int, part: String
    ) async throws {
        let reader = FakeExemplarReader()
        reader.failure.withLock { $0 = failure }
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query_exemplars?\(parameters)",
            site: FakeCollector.site(exemplars: reader))
        #expect(answer.status == status && answer.body.contains(part), "\(answer.body)")
    }

    @Test("remote write: exemplars reach the storage; those that are none are counted")
    func remoteWrite() async throws {
        func exemplar(_ trace: String, _ time: UInt64) -> [UInt8] {
            WriteMessage.bytes(3) { exemplar in
                exemplar += WriteMessage.bytes(1) { label in
                    label += WriteMessage.text(1, "trace_id") + WriteMessage.text(2, trace)
                }
                exemplar += WriteMessage.double(2, 0.5)
                exemplar += WriteMessage.varint(3 << 3) + WriteMessage.varint(time)
            }
        }
        func series(_ name: String, _ exemplars: [UInt8]) -> [UInt8] {
            WriteMessage.bytes(1) { series in
                series += WriteMessage.bytes(1) { label in
                    label += WriteMessage.text(1, "__name__") + WriteMessage.text(2, name)
                }
                series += exemplars
            }
        }
        let long = String(repeating: "é", count: 121)
        let body =
            series("a", exemplar("t1", 2_000) + exemplar("t2", 1) + exemplar(long, 2_000))
            + series("b", exemplar(String(long.dropLast()), 3_000)) + series("", exemplar("t", 1))
        let writer = FakeSampleWriter()
        writer.state.withLock { $0.oldest = 1_000 }
        let site = FakeCollector.site(sampleWriter: writer)
        let response = await site.respond(
            to: WebRequest(
                method: "POST", path: ["prometheus", "api", "v1", "write"],
                headers: ["host": "127.0.0.1:9600"], body: SnappyBlock.compress(body)))
        // The nameless series alone is worth an error.
        #expect(response.status == 400)
        try writer.state.withLock { state in
            let batch = try #require(state.batches.last)
            #expect(batch.exemplars.map(\.series.rawValue) == [0, 1])
            #expect(
                batch.exemplars.map(\.exemplar) == [
                    Exemplar(
                        labels: ["trace_id": "t1"], value: 0.5, timestamp: TimestampMS(2_000)),
                    Exemplar(
                        labels: ["trace_id": String(long.dropLast())], value: 0.5,
                        timestamp: TimestampMS(3_000)),
                ])
        }
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            "petrel_remote_write_exemplars_total 2",
            #"petrel_remote_write_exemplars_rejected_total{reason="labels"} 1"#,
            #"petrel_remote_write_exemplars_rejected_total{reason="time"} 1"#,
            #"petrel_remote_write_exemplars_rejected_total{reason="series"} 1"#,
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }
}
