import CollectorQuery
import CollectorWeb
import Gzip
import Logging
import Model
import NIOCore
import NIOPosix
import ServiceLifecycle
import Storage
import Testing

@Suite("Web service")
struct WebServiceTests {
    /// Runs a server over `reader`, hands its port to `body`, and shuts it down.
    private static func serving(
        _ reader: any MetricReader, exemplars: any ExemplarReader = FakeExemplarReader(),
        metrics: MetricQueryService? = nil, stallMillisecondsMax: Int64 = 60_000,
        change: (inout WebDependencies) -> Void = { _ in },
        _ body: @Sendable @escaping (Int) async throws -> Void
    ) async throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let (ports, source) = AsyncStream.makeStream(of: Int.self)
        var configuration = WebConfiguration(port: 0)
        configuration.stallMillisecondsMax = stallMillisecondsMax
        let service = try WebService(
            configuration: configuration,
            site: FakeCollector.site(
                configuration: configuration, exemplars: exemplars, metricReader: reader,
                metrics: metrics, change: change),
            logger: quiet, onListening: { source.yield($0) })
        let services = ServiceGroup(
            configuration: .init(services: [.init(service: service)], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            for await port in ports {
                try await body(port)
                break
            }
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// `windowBytes` is what the client's side takes without its being read.
    private static func connect(
        _ port: Int, windowBytes: ChannelOptions.Types.SocketOption.Value? = nil
    ) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        if let windowBytes {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: windowBytes)
        }
        return
            try await bootstrap
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel(wrappingChannelSynchronously: channel)
                }
            }
    }

    private static func get(_ path: String, _ more: String = "") -> ByteBuffer {
        ByteBuffer(string: "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\(more)\r\n")
    }

    /// The whole answer to a request on a connection of its own.
    private static func ask(_ port: Int, _ path: String, _ more: String = "") async throws
        -> [UInt8]
    {
        try await connect(port).executeThenClose { inbound, outbound in
            try await outbound.write(get(path, more + "Connection: close\r\n"))
            var bytes: [UInt8] = []
            for try await part in inbound { bytes += part.readableBytesView }
            return bytes
        }
    }

    /// The head of an answer, and the content of a body in chunks. Source: RFC 9112, section 7.1.
    private static func parts(_ answer: [UInt8]) throws -> (head: String, content: [UInt8]) {
        let end = try #require(answer.firstRange(of: Array("\r\n\r\n".utf8)))
        let head = String(decoding: answer[..<end.lowerBound], as: UTF8.self).lowercased()
        try #require(head.contains("transfer-encoding: chunked"))
        var content: [UInt8] = []
        var rest = answer[end.upperBound...]
        while true {
            let line = try #require(rest.firstRange(of: Array("\r\n".utf8)))
            let size = try #require(
                Int(String(decoding: rest[..<line.lowerBound], as: UTF8.self), radix: 16))
            if size == 0 { return (head, content) }
            content += rest[line.upperBound..<line.upperBound + size]
            rest = rest[(line.upperBound + size + 2)...]
        }
    }

    @Test(
        "a long answer is sent in pieces, compressed too, and is the same",
        arguments: [false, true])
    func longAnswer(isCompressed: Bool) async throws {
        // 40 series of 1,100 steps: half a megabyte.
        let series = (0..<40).map { number in
            let values = (0..<1100).map { "[\($0),\"\($0)\"]" }.joined(separator: ",")
            return #"{"metric":{"__name__":"up","host":"h\#(number)"},"values":[\#(values)]}"#
        }.sorted()
        let expected =
            #"{"status":"success","data":{"resultType":"matrix","result":["#
            + series.joined(separator: ",") + "]}}"
        try await Self.serving(ManySamples(seriesCount: 40, secondCount: 1100)) { port in
            let answer = try await Self.ask(
                port, "/prometheus/api/v1/query_range?query=up&start=0&end=1099&step=1",
                isCompressed ? "Accept-Encoding: gzip\r\n" : "")
            var (head, content) = try Self.parts(answer)
            #expect(head.contains("content-encoding: gzip") == isCompressed)
            if isCompressed {
                #expect(content.count < expected.utf8.count / 4)
                content = try Gzip.decompress(content, bytesMax: 1 << 20)
            }
            #expect(content.elementsEqual(expected.utf8))
        }
    }

    @Test("the head of a long answer has no body")
    func headOfLongAnswer() async throws {
        try await Self.serving(ManySamples(seriesCount: 40, secondCount: 1100)) { port in
            let path = "/prometheus/api/v1/query_range?query=up&start=0&end=1099&step=1"
            let text = try await Self.connect(port).executeThenClose { inbound, outbound in
                try await outbound.write(
                    ByteBuffer(
                        string: "HEAD \(path) HTTP/1.1\r\nHost: localhost\r\n"
                            + "Connection: close\r\n\r\n"))
                var text = ""
                for try await part in inbound { text += String(buffer: part) }
                return text
            }
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n") && text.hasSuffix("\r\n\r\n"))
        }
    }

    @Test("a client that takes nothing of its answer is cut, and what the answer held is free")
    func stalledClient() async throws {
        let budget = SampleBudget(samplesMax: 10_000_000)
        let reader = ManySamples(seriesCount: 200, secondCount: 1000)
        let metrics = MetricQueryService(
            reader: reader, clock: FixedClock(), executor: globalConcurrentExecutor,
            budget: budget)
        // More than the buffers of both sides take.
        try await Self.serving(reader, metrics: metrics, stallMillisecondsMax: 50) { port in
            try await Self.connect(port, windowBytes: 4096).executeThenClose { _, outbound in
                try await outbound.write(
                    Self.get(
                        "/prometheus/api/v1/query_range?query=up/3&start=0&end=999&step=1"))
                var reads = reader.reads.makeAsyncIterator()
                _ = await reads.next()
                while budget.held == 0 { await Task.yield() }
                while budget.held != 0 { await Task.yield() }
            }
            let other = try await Self.ask(port, "/healthz")
            #expect(String(decoding: other, as: UTF8.self).hasSuffix("ok\n"))
        }
    }

    @Test("queries follow one another on one connection")
    func keepAlive() async throws {
        try await Self.serving(FakeMetricReader()) { port in
            let query = "/prometheus/api/v1/query?query=up&time=60"
            let answers = try await Self.connect(port).executeThenClose { inbound, outbound in
                var text = ""
                var parts = inbound.makeAsyncIterator()
                for count in 1...3 {
                    // Not before the last was answered: another query is no hang-up.
                    try await outbound.write(Self.get(query))
                    while text.ranges(of: #""status":"success""#).count < count {
                        guard let part = try await parts.next() else { return text }
                        text += String(buffer: part)
                    }
                }
                try await outbound.write(Self.get("/healthz", "Connection: close\r\n"))
                while let part = try await parts.next() { text += String(buffer: part) }
                return text
            }
            #expect(answers.ranges(of: "HTTP/1.1 200 OK").count == 4)
        }
    }

    @Test(
        "what is pushed may be long, however its path is written, and nothing else",
        arguments: [
            ("/loki/api/v1/push", 404), ("/loki/api/v1/push/", 404), ("/api/prom/push/?a=b", 404),
            ("/otlp/v1/%6cogs/", 404), ("/otlp/v1/metrics/", 415),
            ("/prometheus/api/v1/write/", 415), ("/loki/api/v1/push/x", 413),
            ("/loki/api/v1/query", 413),
        ])
    func longBodies(path: String, status: Int) async throws {
        let count = WebConfiguration(port: 0).bodyBytesMax + 1
        try await Self.serving(FakeMetricReader()) { port in
            let text = try await SocketClient.connected(port) { client in
                try await client.write(
                    "POST \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(count)\r\n"
                        + "Content-Type: text/plain\r\n\r\n"
                        + String(repeating: "x", count: count))
                return try await client.head()
            }
            #expect(text.hasPrefix("http/1.1 \(status) "), "\(text)")
        }
    }

    @Test("what reads is cancelled when its client hangs up")
    func hangUp() async throws {
        let reader = EndlessReader()
        try await Self.serving(reader, exemplars: reader) { port in
            var events = reader.events.makeAsyncIterator()
            for path in [
                "api/v1/query?query=up", "api/v1/query_range?query=up&start=0&end=9&step=1",
                "api/v1/query_exemplars?query=up", "api/v1/series?match%5B%5D=up", "api/v1/labels",
                "api/v1/label/a/values", "api/v1/metadata", "api/v1/status/tsdb",
                "federate?match%5B%5D=up",
            ] {
                try await Self.connect(port).executeThenClose { _, outbound in
                    try await outbound.write(Self.get("/prometheus/\(path)"))
                    #expect(await events.next() == .began)
                }
                #expect(await events.next() == .cancelled)
            }
        }
    }

    @Test("what is written is done though its client hangs up")
    func hangUpOfWriter() async throws {
        let (began, beginning) = AsyncStream.makeStream(of: Void.self)
        let (gate, opening) = AsyncStream.makeStream(of: Void.self)
        let (ends, ending) = AsyncStream.makeStream(of: Bool.self)
        let seal: @Sendable () async throws -> Int = {
            beginning.yield()
            // Ends at a cancellation too.
            for await _ in gate {}
            ending.yield(Task.isCancelled)
            return 1
        }
        let change = { (dependencies: inout WebDependencies) in dependencies.sealLogs = seal }
        try await Self.serving(FakeMetricReader(), change: change) { port in
            try await Self.connect(port).executeThenClose { _, outbound in
                try await outbound.write(
                    ByteBuffer(
                        string: "POST /api/v1/logs/seal HTTP/1.1\r\nHost: localhost\r\n"
                            + "Content-Length: 0\r\n\r\n"))
                for await _ in began { break }
            }
            // Time for a cancellation, were there one.
            try await Task.sleep(for: .milliseconds(50))
            opening.finish()
            for await isCancelled in ends {
                #expect(!isCancelled)
                break
            }
        }
    }
}

/// Reads for ever, and tells when it begins and when it is cancelled.
private struct EndlessReader: MetricReader, ExemplarReader {
    enum Event { case began, cancelled }

    let events: AsyncStream<Event>
    private let source: AsyncStream<Event>.Continuation

    init() { (events, source) = AsyncStream.makeStream() }

    /// Ends by cancellation alone.
    private func hang<Answer>() async throws(StorageError) -> Answer {
        source.yield(.began)
        let (never, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in never {}
        source.yield(.cancelled)
        throw .cancelled
    }

    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] { try await hang() }
    func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        try await hang()
    }
    func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { try await hang() }
    func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] { try await hang() }
    func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]] { try await hang() }
    func exemplars(
        _ selection: ExemplarSelection, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] { try await hang() }
    func exemplars(
        ofTrace id: String, start: TimestampMS, end: TimestampMS, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] { try await hang() }
}
