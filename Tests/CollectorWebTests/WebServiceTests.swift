import CollectorWeb
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
        _ body: @Sendable @escaping (Int) async throws -> Void
    ) async throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let (ports, source) = AsyncStream.makeStream(of: Int.self)
        let configuration = WebConfiguration(port: 0)
        let service = try WebService(
            configuration: configuration,
            site: FakeCollector.site(
                configuration: configuration, exemplars: exemplars, metricReader: reader),
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

    private static func connect(
        _ port: Int
    ) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel(wrappingChannelSynchronously: channel)
                }
            }
    }

    private static func get(_ path: String, _ more: String = "") -> ByteBuffer {
        ByteBuffer(string: "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\(more)\r\n")
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

    @Test("what reads is cancelled when its client hangs up")
    func hangUp() async throws {
        let reader = EndlessReader()
        try await Self.serving(reader, exemplars: reader) { port in
            var events = reader.events.makeAsyncIterator()
            for path in [
                "api/v1/query?query=up", "api/v1/query_range?query=up&start=0&end=9&step=1",
                "api/v1/query_exemplars?query=up", "api/v1/series?match[]=up", "api/v1/labels",
                "api/v1/label/a/values", "api/v1/metadata", "api/v1/status/tsdb",
                "federate?match[]=up",
            ] {
                try await Self.connect(port).executeThenClose { _, outbound in
                    try await outbound.write(Self.get("/prometheus/\(path)"))
                    #expect(await events.next() == .began)
                }
                #expect(await events.next() == .cancelled)
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
    ) async throws(StorageError) -> [String: [MetricMetadata]] { try await hang() }
    func exemplars(
        _ selection: ExemplarSelection, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] { try await hang() }
}
