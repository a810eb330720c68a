import AgentStream
import CollectorReceive
import Model
import Storage
import Synchronization
import Testing
import Wire
import World

/// What a stream carries beside values.
@Suite(.serialized) struct ExemplarStreamTests {
    /// One scrape of three series, `m{i=…}`: the second has a start timestamp, and what `body` adds.
    private static func payload(
        at now: TimestampMS, _ body: (inout MetricsPayloadBuilder) -> Void
    ) -> [UInt8] {
        var builder = MetricsPayloadBuilder(timestamp: now)
        for id in UInt32(1)...3 {
            builder.define(
                id, ["__name__": "m", "i": "\(id)"], .counter, help: "It.", unit: "seconds")
            builder.add(id, Double(id), start: id == 2 ? now.rawValue - 5_000 : 0)
        }
        body(&builder)
        return builder.finish()
    }

    private static func exemplar(_ value: Double, at time: TimestampMS) -> Exemplar {
        Exemplar(labels: ["trace_id": "t"], value: value, timestamp: time)
    }

    private static func value(_ name: String, _ receiver: FleetReceiver) -> Double? {
        receiver.metrics.families().first { $0.name == name }?.points.map(\.value).reduce(0, +)
    }

    /// What the store was handed of one payload.
    private static func taken(
        _ harness: FleetHarness, _ payload: [UInt8],
        _ check: (IngestBatch, FleetReceiver) throws -> Void
    ) async throws {
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let spool = FakeSpool()
            spool.append(garbage: payload, records: 3)
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let stream = harness.makeStream(spool, store, holder, StreamMetrics())
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 1 })
            }
            #expect(harness.writer.records == 3 && harness.writer.gaps.isEmpty)
            try check(#require(harness.writer.state.withLock { $0.batches.first }), receiver)
        }
    }

    @Test func startTimestampsAndExemplarsReachTheStore() async throws {
        let harness = try FleetHarness()
        let now = harness.clock.now.milliseconds
        let payload = Self.payload(at: now) {
            $0.add(Self.exemplar(0.5, at: now), of: 2)
            $0.add(Self.exemplar(1, at: now.advanced(byMilliseconds: 86_400_000)), of: 1)
            $0.add(Self.exemplar(2, at: TimestampMS(0)), of: 1)
            $0.add(Self.exemplar(3, at: now), of: 77)
        }
        try await Self.taken(harness, payload) { batch, receiver in
            guard case .metrics(let scrapes) = batch.content else {
                Issue.record("no metrics")
                return
            }
            #expect(scrapes.map(\.startTimestamps) == [[0, now.rawValue - 5_000, 0]])
            #expect(
                batch.exemplars == [
                    PushedExemplar(
                        series: scrapes[0].series[1], exemplar: Self.exemplar(0.5, at: now))
                ])
            // Two at impossible times, and one of no series: no gap stands for them.
            #expect(batch.rejectedExemplarCount == 3)
            #expect(Self.value("petrel_receive_exemplars_total", receiver) == 1)
            #expect(Self.value("petrel_receive_exemplars_rejected_total", receiver) == 3)
        }
    }

    @Test func anExemplarThatTheStorageRefusesCostsNoSample() async throws {
        let harness = try FleetHarness()
        harness.writer.state.withLock { $0.exemplarPoison = 666 }
        let now = harness.clock.now.milliseconds
        let payload = Self.payload(at: now) { $0.add(Self.exemplar(666, at: now), of: 2) }
        try await Self.taken(harness, payload) { batch, receiver in
            #expect(batch.exemplars.isEmpty && batch.rejectedExemplarCount == 1)
            #expect(Self.value("petrel_receive_exemplars_rejected_total", receiver) == 1)
        }
    }
}
