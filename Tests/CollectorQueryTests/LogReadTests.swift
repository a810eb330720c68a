import CollectorQuery
import LogQL
import Model
import Storage
import Synchronization
import Testing

/// What the store is asked for log queries, volumes and fields, and what is made of it.
@Suite("Log reading")
struct LogReadTests {
    static func line(
        _ time: TimestampNS, _ text: String, level: String? = nil, _ metadata: Labels = .empty
    ) -> LogEntry {
        LogEntry(timestamp: time, line: Array(text.utf8), level: level, metadata: metadata)
    }

    private static func service(_ reader: any LogReader) -> LogQueryService {
        LogQueryService(reader: reader, clock: FixedClock())
    }

    private static func at(_ minutes: Int64, _ seconds: Int64 = 0) -> TimestampNS {
        LogCountTests.at(minutes, seconds * 1_000_000_000)
    }

    // MARK: - Fields that are looked for

    private static func traced(_ streams: Labels...) -> StoredLogReader {
        StoredLogReader(
            streams.map { labels in
                LogStream(
                    labels: labels,
                    entries: [
                        line(at(1), "one", ["trace_id": "x"]), line(at(2), "two"),
                        line(at(3), "three", ["trace_id": "y"]),
                    ])
            })
    }

    private static func lines(_ answer: LogAnswer) -> [String] {
        guard case .streams(let streams) = answer.value else { return [] }
        return streams.flatMap(\.entries).map { String(decoding: $0.line, as: UTF8.self) }.sorted()
    }

    @Test("a field that no stream has as a label is asked of the store")
    func fieldHint() async throws {
        let reader = Self.traced(["a": "b"], ["a": "b", "n": "2"])
        let service = Self.service(reader)
        let request = LogRangeRequest(
            text: #"{a="b"} | trace_id="x""#, from: Self.at(0), to: Self.at(9))
        #expect(Self.lines(try await service.range(request)) == ["one", "one"])
        _ = try await service.instant(
            #"count_over_time({a="b"} | trace_id="x" [9m])"#, at: Self.at(9))
        let questions = reader.questions.withLock { $0 }
        #expect(
            questions.selections.map(\.metadata)
                == [[Label("trace_id", "x")], [Label("trace_id", "x")]])
        #expect(questions.readEntryCount == 4)
    }

    @Test("a field that a stream has as a label is not")
    func labelHint() async throws {
        let reader = Self.traced(["a": "b"], ["a": "b", "trace_id": "x"])
        let request = LogRangeRequest(
            text: #"{a="b"} | trace_id="x""#, from: Self.at(0), to: Self.at(9))
        let answer = try await Self.service(reader).range(request)
        #expect(Self.lines(answer) == ["one", "one", "three", "two"])
        #expect(reader.questions.withLock { $0.selections.map(\.metadata) } == [[]])
    }

    @Test("hints never hide an entry", arguments: 0..<40)
    func noFalseNegative(seed: Int) async throws {
        var dice = Dice(state: UInt64(seed) + 1000)
        let streams = LogCountTests.streams(&dice)
        let stages = [
            #"| host="m""#, #"| unit="m" | level="m""#, #"| app="a""#, #"| host="m", unit="a""#,
            #"| line_format "m" | host="m""#, #"| drop host | unit="m""#,
            #"| host="m" or unit="m""#, #"| detected_level="info""#, #"| host_extracted="m""#,
        ]
        for stage in stages {
            let reader = StoredLogReader(streams)
            let text = #"{all="yes"} "# + stage
            let request = LogRangeRequest(
                text: text, from: Self.at(0), to: Self.at(30), entriesMax: 5000)
            let answer = Self.lines(try await Self.service(reader).range(request))
            guard case .log(let query) = try PreparedLogQL.prepare(text) else { return }
            let run = PipelineRun(query.pipeline)
            var expected: [String] = []
            for stream in streams {
                let prepared = run.forStream(stream.labels)
                for entry in stream.entries where run.process(entry, of: prepared) {
                    expected.append(String(decoding: run.line, as: UTF8.self))
                }
            }
            #expect(answer == expected.sorted(), "\(text)")
        }
    }

    // MARK: - Volumes

    private static func sized() -> StoredLogReader {
        StoredLogReader([
            LogStream(
                labels: ["app": "big", "host": "a"],
                entries: [line(at(0, 30), "12345"), line(at(2, 5), "1234567890")]),
            LogStream(labels: ["app": "big", "host": "b"], entries: [line(at(1, 1), "12")]),
            LogStream(labels: ["app": "small"], entries: [line(at(2, 30), "123")]),
            LogStream(labels: ["other": "x"], entries: [line(at(2, 30), "123456")]),
        ])
    }

    private static func volume(
        _ query: String, limit: Int = 100, targets: [String] = [],
        by aggregation: LogVolumeRequest.Aggregation = .series
    ) async throws -> [String] {
        let service = service(sized())
        var request = LogVolumeRequest(
            matchers: try service.volumeMatchers(query), from: at(0), to: at(9),
            resultCountMax: limit)
        request.targetLabels = targets
        request.aggregation = aggregation
        guard
            case .metric(.vector(let elements, let time)) = try await service.volume(request).value
        else { return ["no vector"] }
        #expect(time == at(9).milliseconds)
        return elements.map { element in
            element.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
                + " \(Int(element.value))"
        }
    }

    @Test("a volume is by the labels of the query, of the targets, or by names")
    func volumes() async throws {
        #expect(try await Self.volume(#"{app=~".+"}"#) == ["app=big 17", "app=small 3"])
        #expect(try await Self.volume(#"{app=~".+"}"#, limit: 1) == ["app=big 17"])
        #expect(
            try await Self.volume(#"{app=~".+", host=~".*"}"#)
                == ["app=big,host=a 15", "app=small 3", "app=big,host=b 2"])
        #expect(
            try await Self.volume("{}", targets: ["host"]) == ["host=a 15", "host=b 2"])
        #expect(
            try await Self.volume(#"{app="big"}"#, by: .labels) == ["app= 17", "host= 17"])
        #expect(
            try await Self.volume("{ }", targets: ["app"], by: .labels) == ["app= 20"])
        #expect(try await Self.volume("{}").first == "app=big,host=a 15")
    }

    @Test(
        "selectors for volumes",
        arguments: ["", "{", #"{a=~".*"}"#, #"{a="b"} |= "x""#, "rate({a=\"b\"}[1m])"])
    func volumeMatchers(query: String) {
        #expect(throws: QueryFailure.self) {
            try Self.service(Self.sized()).volumeMatchers(query)
        }
    }

    @Test("a volume over time ends its buckets at multiples of the step")
    func volumeRange() async throws {
        var request = LogVolumeRequest(
            matchers: [LabelMatcher("app", .matchesRegex, ".+")], from: Self.at(0, 20),
            to: Self.at(3), stepNanoseconds: 60_000_000_000)
        let service = Self.service(Self.sized())
        guard case .metric(.matrix(let series)) = try await service.volume(request).value else {
            Issue.record("no matrix")
            return
        }
        #expect(series.map(\.labels) == [["app": "big"], ["app": "small"]])
        let zero = Self.at(0).milliseconds.rawValue
        #expect(series[0].timestamps == [zero + 59_999, zero + 119_999, zero + 180_000])
        #expect(series[0].values == [5, 2, 10])
        #expect(series[1].values == [3])
        // Shorter than what is counted: evenly spread, nothing is lost.
        request.stepNanoseconds = 7_000_000_000
        guard case .metric(.matrix(let fine)) = try await service.volume(request).value else {
            Issue.record("no matrix")
            return
        }
        #expect(fine.flatMap(\.values).reduce(0, +) == 20)
        request.stepNanoseconds = 1_000
        await #expect(throws: QueryFailure.self) { try await service.volume(request) }
    }

    @Test("parts of a minute add up", arguments: 0..<200)
    func parts(seed: Int) {
        var dice = Dice(state: UInt64(seed))
        let from = Int64.random(in: 0..<500, using: &dice)
        let to = from + Int64.random(in: 1..<500, using: &dice)
        let step = Int64.random(in: 1..<200, using: &dice)
        let buckets = VolumeBuckets(from: from, to: to, step: step)
        let after = Int64.random(in: -50..<1000, using: &dice)
        let bytes = Int.random(in: 1..<1000, using: &dice)
        let parts = buckets.parts(of: bytes, after: after, through: after + 60)
        #expect(parts.reduce(0) { $0 + $1.byteCount } == bytes)
        let last = Int((to - 1 - from / step * step) / step)
        #expect(parts.allSatisfy { $0.byteCount > 0 && (0...last).contains($0.bucket) })
    }

    @Test("index statistics count what the minutes of a range hold")
    func statistics() async throws {
        let found = try await Self.service(Self.sized()).indexStatistics(
            [LabelMatcher("app", .matchesRegex, ".+")], from: Self.at(0, 10), to: Self.at(2, 1))
        #expect(found.streamCount == 3)
        #expect(found.entryCount == 4)
        #expect(found.byteCount == 20)
        #expect(found.blockCount == 1)
    }

    // MARK: - Detected

    private static func detected() -> StoredLogReader {
        StoredLogReader([
            LogStream(
                labels: ["host": "a", "pod": "1"],
                entries: [
                    line(
                        at(1), #"{"msg":"x","req":{"size":12,"ok":true},"host":"other"}"#,
                        level: "info", ["trace_id": "t1"]),
                    line(at(2), #"{"msg":"y","req":{"size":13.5}}"#, ["trace_id": "t2"]),
                    line(at(3), "took=15ms msg=z bytes=10MB", level: "warn"),
                    line(at(4), "plain text"),
                ])
        ])
    }

    private static func request(_ text: String = #"{host="a"}"#) -> DetectedFieldsRequest {
        DetectedFieldsRequest(text: text, from: at(0), to: at(9))
    }

    @Test("fields are those of JSON, of logfmt and beside the lines")
    func fields() async throws {
        let found = try await Self.service(Self.detected()).detectedFields(Self.request())
        let texts = found.map {
            "\($0.label) \($0.type) \($0.cardinality) \($0.parsers.joined(separator: "+")) "
                + $0.jsonPath.joined(separator: ".")
        }
        #expect(
            texts == [
                "bytes bytes 1 logfmt ", "detected_level string 2  ",
                "host_extracted string 1 json host", "msg string 3 logfmt+json msg",
                "req_ok boolean 1 json req.ok", "req_size int 2 json req.size",
                "took duration 1 logfmt ", "trace_id string 2  ",
            ])
    }

    @Test("fields that the query itself finds or changes count too, and limits hold")
    func fieldsOfQuery() async throws {
        let service = Self.service(Self.detected())
        let query = #"{host="a"} | json | logfmt | drop __error__, __error_details__ | took!="""#
        let found = try await service.detectedFields(Self.request(query))
        #expect(found.map(\.label) == ["bytes", "detected_level", "msg", "took"])
        var few = Self.request()
        few.resultCountMax = 2
        #expect(try await service.detectedFields(few).count == 2)
        few.lineCountMax = 1
        // The newest line has no fields.
        #expect(try await service.detectedFields(few).isEmpty)
        await #expect(throws: QueryFailure.self) {
            try await service.detectedFields(Self.request(#"rate({host="a"}[1m])"#))
        }
    }

    @Test("a long time is not too long for fields")
    func fieldsOfLongTime() async throws {
        var request = Self.request()
        request.from = TimestampNS(0)
        #expect(try await Self.service(Self.detected()).detectedFields(request).count == 8)
    }

    @Test("values of a field")
    func values() async throws {
        let service = Self.service(Self.detected())
        #expect(try await service.detectedFieldValues("msg", Self.request()) == ["x", "y", "z"])
        #expect(try await service.detectedFieldValues("trace_id", Self.request()) == ["t1", "t2"])
        #expect(
            try await service.detectedFieldValues("detected_level", Self.request())
                == ["info", "warn"])
        #expect(try await service.detectedFieldValues("nosuch", Self.request()).isEmpty)
        var few = Self.request()
        few.resultCountMax = 1
        #expect(try await service.detectedFieldValues("msg", few).count == 1)
    }

    @Test("labels whose values are all ids are not shown")
    func labels() async throws {
        let uuid = "123e4567-e89b-12d3-a456-426614174000"
        let reader = StoredLogReader([
            LogStream(labels: [
                "app": "x", "id": "17", "pod": "5", "flag": "1", "uuid": uuid, "mixed": "1",
            ]),
            LogStream(labels: [
                "app": "y", "id": "2.5", "pod": "6", "flag": "0", "uuid": "{\(uuid)}",
                "mixed": "a",
            ]),
        ])
        let found = try await Self.service(reader).detectedLabels(
            LabelScope(start: TimestampMS(0), end: TimestampMS(1)))
        #expect(
            found.map { "\($0.label) \($0.cardinality)" } == [
                "app 2", "flag 2", "mixed 2", "pod 2",
            ])
    }
}
