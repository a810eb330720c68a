import CollectorEvaluate
import Logging
import Model
import Rules
import Storage
import Synchronization
import Testing

@Suite("Rule groups")
struct RuleGroupRunnerTests {
    private let fake = FakeCollector()

    private func runner(_ yaml: String) throws -> RuleGroupRunner {
        let groups = try RuleFile.parse(yaml, file: "r.yaml", validateExpression: { _ in nil })
        return RuleGroupRunner(
            group: try #require(groups.first), records: [], dependencies: fake.dependencies(),
            configuration: EvaluateConfiguration(), logger: Logger(label: "test"))
    }

    private static let busy = """
        groups:
          - name: g
            rules:
              - alert: Busy
                expr: load
                for: 30s
                annotations: {summary: "{{ $value }}"}
        """

    private func answer(_ expression: String, _ elements: [EvaluatedElement]?) {
        fake.state.withLock { $0.answers[expression] = elements }
    }

    private var messages: [OutboxMessage] { fake.state.withLock { $0.messages } }

    @Test("pending, firing, repeated, resolved: told once each")
    func life() async throws {
        let runner = try runner(Self.busy)
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(0))
        #expect(messages.isEmpty)
        await runner.evaluate(at: TimestampMS(30_000))
        #expect(messages.count == 1)
        #expect(messages.last?.alerts.first?.isFiring == true)
        #expect(messages.last?.alerts.first?.annotations["summary"] == "2")
        await runner.evaluate(at: TimestampMS(45_000))
        #expect(messages.count == 1)
        await runner.evaluate(at: TimestampMS(30_000 + 4 * 3_600_000))
        #expect(messages.count == 2)
        answer("load", [])
        await runner.evaluate(at: TimestampMS(40_000 + 4 * 3_600_000))
        #expect(messages.count == 3)
        #expect(messages.last?.alerts.first?.isFiring == false)
        await runner.evaluate(at: TimestampMS(55_000 + 4 * 3_600_000))
        #expect(messages.count == 3)
        let states = fake.state.withLock { $0.transitions.map(\.to) }
        #expect(states == [.pending, .firing, .inactive])
    }

    @Test("a change that could not be committed is told when it can")
    func commitFails() async throws {
        let runner = try runner(Self.busy)
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(0))
        fake.state.withLock { $0.refusesCommits = true }
        await runner.evaluate(at: TimestampMS(30_000))
        #expect(runner.snapshot.records(ofRuleAt: 0).map(\.state) == [.pending])
        fake.state.withLock { $0.refusesCommits = false }
        await runner.evaluate(at: TimestampMS(45_000))
        #expect(messages.count == 1)
        #expect(runner.snapshot.records(ofRuleAt: 0).map(\.state) == [.firing])
    }

    @Test("a failing expression is the rule's health and moves no alert")
    func queryFails() async throws {
        let runner = try runner(Self.busy)
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(0))
        answer("load", nil)
        await runner.evaluate(at: TimestampMS(30_000))
        #expect(!runner.snapshot.health[0].lastError.isEmpty)
        #expect(runner.snapshot.records(ofRuleAt: 0).map(\.state) == [.pending])
    }

    @Test("alerts beyond the group's limit end, and who was told of them is told")
    func limit() async throws {
        let runner = try runner(
            "groups: [{name: g, limit: 1, rules: [{alert: Busy, expr: load}]}]")
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(0))
        #expect(messages.count == 1)
        answer(
            "load", ["h1", "h2"].map { EvaluatedElement(labels: ["host": $0], value: 2) })
        await runner.evaluate(at: TimestampMS(15_000))
        #expect(messages.count == 2)
        let told = messages.last?.alerts ?? []
        #expect(told.map(\.labels) == [["alertname": "Busy", "host": "h1"]])
        #expect(told.map(\.endsAt) == [TimestampMS(15_000)])
        #expect(!runner.snapshot.health[0].lastError.isEmpty)
        await runner.evaluate(at: TimestampMS(30_000))
        #expect(messages.count == 2)
    }

    @Test("rules of one group whose alerts have the same labels keep a record each")
    func twins() async throws {
        let runner = try runner(
            """
            groups: [{name: g, rules: [
              {alert: Busy, expr: load, for: 30s}, {alert: Busy, expr: load1}]}]
            """)
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        answer("load1", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(0))
        let stored = fake.state.withLock { $0.committed.map { [$0.rule, $0.state.rawValue] } }
        #expect(stored.contains(["r.yaml;g;Busy;0", "pending"]))
        #expect(stored.contains(["r.yaml;g;Busy;1", "firing"]))
    }

    @Test("recorded series are written under the rule's name")
    func recording() async throws {
        let runner = try runner(
            "groups: [{name: g, rules: [{record: 'job:load', expr: load, labels: {a: b}}]}]")
        answer("load", [EvaluatedElement(labels: ["host": "h1"], value: 2)])
        await runner.evaluate(at: TimestampMS(1000))
        let written = fake.state.withLock { $0.samples }
        #expect(written.count == 1)
        #expect(
            written.first?.0 == ["__name__": "job:load", "a": "b", "host": "h1"])
        #expect(written.first?.1 == Sample(TimestampMS(1000), 2))
    }

    /// Eight observations with a sum of 4, two of them in the bucket of zero.
    private static let histogram = FloatHistogram(
        count: 8, sum: 4, zeroThreshold: 0.5, zeroCount: 2,
        positive: FloatHistogram.Buckets(first: 1, counts: [6]))

    @Test("native histograms are recorded, and end as other series do")
    func recordedHistograms() async throws {
        let runner = try runner("groups: [{name: g, rules: [{record: 'job:lat', expr: lat}]}]")
        answer(
            "lat",
            [
                EvaluatedElement(labels: ["host": "h1"], histogram: Self.histogram),
                EvaluatedElement(labels: ["host": "h2"], value: 3),
            ])
        await runner.evaluate(at: TimestampMS(1000))
        #expect(fake.state.withLock { $0.histograms.map(\.0) } == [Self.recorded("h1")])
        #expect(
            fake.state.withLock { $0.histograms.map(\.1) }
                == [HistogramSample(1000, Self.histogram)])
        #expect(fake.state.withLock { $0.samples.map(\.0) } == [Self.recorded("h2")])
        answer("lat", [EvaluatedElement(labels: ["host": "h2"], value: 3)])
        await runner.evaluate(at: TimestampMS(2000))
        let ended = fake.state.withLock { $0.samples }.filter {
            StalenessMarker.isMarker($0.1.value)
        }
        #expect(ended.map(\.0) == [Self.recorded("h1")])
    }

    private static func recorded(_ host: String) -> Labels {
        ["__name__": "job:lat", "host": host]
    }

    @Test("an alert whose expression is a histogram fires with the value 0 and shows the histogram")
    func histogramAlert() async throws {
        let runner = try runner(
            """
            groups:
              - name: g
                rules:
                  - alert: Slow
                    expr: lat
                    annotations:
                      value: "{{ $value }}"
                      query: '{{ query "lat" | first | value }}'
            """)
        answer("lat", [EvaluatedElement(labels: ["host": "h1"], histogram: Self.histogram)])
        await runner.evaluate(at: TimestampMS(0))
        let records = runner.snapshot.records(ofRuleAt: 0)
        #expect(records.map(\.state) == [.firing])
        #expect(records.map(\.value) == [0])
        let text = "{count:8, sum:4, [-0.5,0.5]:2, (1,2]:6}"
        #expect(records.map(\.annotations) == [["value": text, "query": text]])
    }

    @Test("the grid holds its interval, whatever the clock does")
    func grid() throws {
        let groups = try RuleFile.parse(
            "groups: [{name: g, interval: 5s}]", file: "r.yaml", validateExpression: { _ in nil })
        let grid = EvaluationGrid(try #require(groups.first))
        for now: Int64 in [-7_001, -1, 0, 4_999, 5_000, 1_700_000_000_123] {
            let tick = grid.tick(at: TimestampMS(now))
            #expect(tick.rawValue <= now && now - tick.rawValue < 5_000)
            #expect((1...5_000).contains(grid.wait(at: TimestampMS(now))))
            #expect(grid.tick(at: tick) == tick)
            #expect(grid.missed(from: tick, to: tick.advanced(byMilliseconds: 15_000)) == 2)
            #expect(grid.missed(from: tick, to: tick.advanced(byMilliseconds: -15_000)) == 0)
        }
    }
}
