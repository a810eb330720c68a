import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

/// A clock whose sleepers wake when the test moves it.
final class ManualClock: WorldClock {
    private struct State {
        var monotonic: Int64 = 0
        var sleepers: [Int: (until: Int64, continuation: CheckedContinuation<Void, any Error>)] =
            [:]
        var cancelled: Set<Int> = []
        var next = 0
    }
    private let state = Mutex(State())

    var now: TimestampNS { TimestampNS(monotonicNanoseconds) }
    var monotonicNanoseconds: Int64 { state.withLock { $0.monotonic } }
    var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    func advance(_ nanoseconds: Int64) {
        let woken = state.withLock { state in
            state.monotonic += nanoseconds
            let due = state.sleepers.filter { $0.value.until <= state.monotonic }
            for id in due.keys { state.sleepers[id] = nil }
            return due.values.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }

    func sleep(nanoseconds: Int64) async throws {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isCancelled = state.withLock { state in
                    guard state.cancelled.remove(id) == nil else { return true }
                    state.sleepers[id] = (state.monotonic + nanoseconds, continuation)
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                let sleeper = state.sleepers.removeValue(forKey: id)
                if sleeper == nil { state.cancelled.insert(id) }
                return sleeper
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }
}

/// A clock whose first sleeper of `nanoseconds` wakes when the test lets it, cancelled or not.
final class LateClock: WorldClock {
    private enum Sleeper {
        case none
        case asleep(CheckedContinuation<Void, Never>)
        case awake
    }

    static let nanoseconds: Int64 = 77
    private let clock = ManualClock()
    private let sleeper = Mutex(Sleeper.none)
    private let count = Mutex(0)

    var hasSleeper: Bool {
        sleeper.withLock { sleeper in
            if case .asleep = sleeper { return true }
            return false
        }
    }

    var now: TimestampNS { clock.now }
    var monotonicNanoseconds: Int64 { clock.monotonicNanoseconds }
    func sleep(nanoseconds: Int64) async throws {
        let isFirst =
            nanoseconds == Self.nanoseconds
            && count.withLock { count in
                count += 1
                return count == 1
            }
        guard isFirst else { return try await clock.sleep(nanoseconds: nanoseconds) }
        await withCheckedContinuation { continuation in
            let isAwake = sleeper.withLock { sleeper in
                if case .awake = sleeper { return true }
                sleeper = .asleep(continuation)
                return false
            }
            if isAwake { continuation.resume() }
        }
    }
    func wake() {
        let asleep = sleeper.withLock { sleeper in
            defer { sleeper = .awake }
            return sleeper
        }
        if case .asleep(let continuation) = asleep { continuation.resume() }
    }
}

/// A reader that hangs until a byte is written to its pipe.
final class HangingReader: NodeReader {
    let name = "hanging"
    let ends: (read: Int32, write: Int32)
    let starts = Mutex(0)
    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        self.ends = (ends[0], ends[1])
    }
    func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        starts.withLock { $0 += 1 }
        var byte: UInt8 = 0
        _ = Glibc.read(ends.read, &byte, 1)
        return [MetricFamily("late", .gauge, help: "", points: [.init(.empty, 1)])]
    }
    func release() {
        var byte: UInt8 = 1
        _ = Glibc.write(ends.write, &byte, 1)
    }
}

struct QuickReader: NodeReader {
    var name = "quick"
    var error: ReadError?
    func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        if let error { throw error }
        return [MetricFamily("quick", .gauge, help: "", points: [.init(.empty, 2)])]
    }
}

struct ValueReader: NodeReader {
    var name: String
    var value: Double
    func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        [MetricFamily(name, .gauge, help: "", points: [.init(.empty, value)])]
    }
}

@Suite("Node reader set")
struct NodeReaderSetTests {
    @Test("the machine: start, join, deadline, late return")
    func machine() {
        var machine = ReaderRunStateMachine()
        #expect(machine.begin(now: 10) == .start)
        #expect(machine.begin(now: 11) == .join)
        #expect(machine.finish(now: 15) == .deliver(afterNanoseconds: 5))
        #expect(machine.deadline(now: 16) == .nothing)
        #expect(machine.begin(now: 20) == .start)
        #expect(machine.deadline(now: 25) == .fail(afterNanoseconds: 5))
        #expect(machine.deadline(now: 26) == .nothing)
        #expect(machine.begin(now: 40) == .fail(afterNanoseconds: 20))
        #expect(machine.finish(now: 50) == .discard)
        #expect(machine.begin(now: 60) == .start)
    }

    @Test("success and duration of each reader")
    func figures() async throws {
        let failing = QuickReader(name: "failing", error: .overdue(reader: "x"))
        let set = try NodeReaderSet(readers: [QuickReader(), failing], clock: ManualClock())
        let samples = NodeReaderTests.samples(await set.scrape(now: TimestampNS(0)))
        #expect(
            samples == [
                "quick": 2, "node_scrape_collector_success{collector=\"quick\"}": 1,
                "node_scrape_collector_success{collector=\"failing\"}": 0,
                "node_scrape_collector_duration_seconds{collector=\"quick\"}": 0,
                "node_scrape_collector_duration_seconds{collector=\"failing\"}": 0,
            ])
    }

    @Test("a hung reader fails alone, is not started again, and comes back")
    func hung() async throws {
        let clock = ManualClock()
        let hanging = HangingReader()
        let set = try NodeReaderSet(
            readers: [hanging, QuickReader()], clock: clock, deadlineNanoseconds: 5)
        func outcomes() async -> [String: ReaderOutcome] {
            Dictionary(
                uniqueKeysWithValues: await set.outcomes(now: TimestampNS(0)).map {
                    ($0.reader, $0)
                })
        }
        async let first = outcomes()
        // Moves time until the deadline has passed for whoever sleeps.
        let mover = Mutex(false)
        async let moving: Void = {
            while !mover.withLock({ $0 }) {
                if clock.sleeperCount > 0, hanging.starts.withLock({ $0 }) == 1 { clock.advance(5) }
                await Task.yield()
            }
        }()
        let failed = await first
        mover.withLock { $0 = true }
        await moving
        #expect(failed["hanging"]?.error == .overdue(reader: "hanging"))
        #expect(failed["hanging"].map { $0.durationNanoseconds >= 5 } == true)

        // Still hanging: reported at once, without a second start and without harm to the other.
        let again = await outcomes()
        #expect(again["hanging"]?.error == .overdue(reader: "hanging"))
        #expect(again["quick"]?.error == nil)
        #expect(again["quick"]?.families.count == 1)
        #expect(hanging.starts.withLock { $0 } == 1)

        hanging.release()
        hanging.release()
        var healed: ReaderOutcome?
        for _ in 0..<100_000 where healed?.error != nil || healed == nil {
            healed = await outcomes()["hanging"]
        }
        #expect(healed?.error == nil)
        #expect(healed?.families.first?.name == "late")
        #expect(hanging.starts.withLock { $0 } == 2)
    }

    @Test("the deadline of a reading that ended does not concern the next one")
    func lateDeadline() async throws {
        let clock = LateClock()
        let hanging = HangingReader()
        let set = try NodeReaderSet(
            readers: [hanging], clock: clock, deadlineNanoseconds: LateClock.nanoseconds)
        func started(_ count: Int) async {
            while hanging.starts.withLock({ $0 }) < count { await Task.yield() }
        }
        let first = Task { await set.outcomes(now: TimestampNS(0)) }
        await started(1)
        while !clock.hasSleeper { await Task.yield() }
        hanging.release()
        // Joins the first reading until that has ended, then is one of its own; the first still waits for its sleeper.
        let second = Task {
            while true {
                let outcomes = await set.outcomes(now: TimestampNS(1))
                if hanging.starts.withLock({ $0 }) == 2 { return outcomes }
            }
        }
        await started(2)
        clock.wake()
        #expect(await first.value.map(\.error) == [nil])
        hanging.release()
        #expect(await second.value.map(\.error) == [nil])
    }

    @Test("readers that hang keep no thread from the others")
    func relieved() async throws {
        let clock = ManualClock()
        let hanging = (0..<5).map { _ in HangingReader() }
        let set = try NodeReaderSet(
            readers: hanging + [QuickReader()], clock: clock, deadlineNanoseconds: 1 << 60)
        let mover = Mutex(false)
        async let moving: Void = {
            var isReleased = false
            while !mover.withLock({ $0 }) {
                if clock.sleeperCount > 0 { clock.advance(NodeReaderSet.reliefNanoseconds) }
                await Task.yield()
                // All hang: now they may end, the quick one behind them was begun or will be.
                if !isReleased, hanging.allSatisfy({ $0.starts.withLock { $0 } == 1 }) {
                    isReleased = true
                    for reader in hanging { reader.release() }
                }
            }
        }()
        let outcomes = await set.outcomes(now: TimestampNS(0))
        mover.withLock { $0 = true }
        await moving
        #expect(outcomes.count == 6)
        #expect(outcomes.allSatisfy { $0.error == nil && $0.families.count == 1 })
    }

    @Test("a change of readers: one stays, one is another from then on, one goes, one comes")
    func change() async throws {
        func reader(_ name: String, _ value: Double) -> ValueReader {
            ValueReader(name: name, value: value)
        }
        let set = try NodeReaderSet(
            readers: [reader("stays", 1), reader("other", 1), reader("goes", 1)],
            clock: ManualClock())
        set.change(
            to: [reader("comes", 2), reader("other", 2), reader("stays", 2)],
            deadlineNanoseconds: 5, isKept: { $0 == "stays" })
        let outcomes = await set.outcomes(now: TimestampNS(0))
        #expect(outcomes.map(\.reader) == ["comes", "other", "stays"])
        #expect(outcomes.map { $0.families[0].points[0].value } == [2, 2, 1])
    }

    @Test("a reader that hangs is not begun in its new form before it returns")
    func changeOfHung() async throws {
        let hanging = HangingReader()
        let set = try NodeReaderSet(
            readers: [hanging], clock: ManualClock(), deadlineNanoseconds: 1 << 60)
        // A scrape that nobody waits for leaves the reading overdue.
        let first = Task { await set.outcomes(now: TimestampNS(0)) }
        while hanging.starts.withLock({ $0 }) < 1 { await Task.yield() }
        first.cancel()
        #expect(await first.value.map(\.error) == [.overdue(reader: "hanging")])
        set.change(
            to: [ValueReader(name: "hanging", value: 3)], deadlineNanoseconds: 1 << 60,
            isKept: { _ in false })
        #expect(
            await set.outcomes(now: TimestampNS(0)).map(\.error) == [.overdue(reader: "hanging")])
        hanging.release()
        var outcome: ReaderOutcome?
        while outcome?.families.isEmpty != false {
            outcome = await set.outcomes(now: TimestampNS(0)).first
        }
        #expect(outcome?.error == nil && outcome?.families[0].points[0].value == 3)
        #expect(hanging.starts.withLock { $0 } == 1)
    }

    @Test("cancelling a scrape does not wait for a hung reader")
    func cancelled() async throws {
        let hanging = HangingReader()
        let set = try NodeReaderSet(readers: [hanging], clock: ManualClock())
        let outcomes = await withTaskGroup(of: [ReaderOutcome].self) { group in
            group.addTask { await set.outcomes(now: TimestampNS(0)) }
            group.cancelAll()
            return await group.next() ?? []
        }
        #expect(outcomes.map(\.error) == [.overdue(reader: "hanging")])
        hanging.release()
    }
}
