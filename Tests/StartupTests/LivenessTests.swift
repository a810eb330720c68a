import Logging
import ServiceLifecycle
import Startup
import Testing

@Suite("Liveness")
struct LivenessTests {
    typealias Machine = LivenessStateMachine
    static let second: Int64 = 1_000_000_000

    static func ready(watchdogSeconds: Int64?) -> Machine {
        var machine = Machine(
            LivenessConfiguration(watchdogNanoseconds: watchdogSeconds.map { $0 * second }))
        _ = machine.report("s", now: 0)
        _ = machine.ready(now: 0)
        return machine
    }

    static func subject(_ count: UInt64, _ seconds: Int64 = 20) -> [Machine.Subject] {
        [Machine.Subject(name: "scrape", count: count, deadlineNanoseconds: seconds * second)]
    }

    @Test("ready is said once, with the status and a first feeding")
    func saysReady() {
        var machine = Machine(LivenessConfiguration(watchdogNanoseconds: 30 * Self.second))
        #expect(machine.tick([], now: 0).isEmpty)
        #expect(machine.report("all well", now: 0).isEmpty)
        #expect(
            machine.ready(now: 0) == [.send(["READY=1", "STATUS=all well", "WATCHDOG=1"])])
        #expect(machine.ready(now: 1).isEmpty)
    }

    @Test("a status that comes late is told as soon as it is there")
    func lateStatus() {
        var machine = Machine(LivenessConfiguration(watchdogNanoseconds: nil))
        #expect(machine.ready(now: 0) == [.send(["READY=1"])])
        #expect(machine.tick([], now: 60 * Self.second).isEmpty)
        #expect(machine.report("a", now: 61 * Self.second) == [.send(["STATUS=a"])])
        #expect(machine.report("b", now: 62 * Self.second).isEmpty)
        #expect(machine.tick([], now: 76 * Self.second) == [.send(["STATUS=b"])])
    }

    @Test("the watchdog is fed at half of its time at the latest", arguments: [1, 3, 10, 30, 600])
    func feeding(seconds: Int64) {
        let configuration = LivenessConfiguration(watchdogNanoseconds: seconds * Self.second)
        var machine = Self.ready(watchdogSeconds: seconds)
        var now: Int64 = 0
        var fed: Int64 = 0
        var feedings = 0
        for count in 1...400 {
            now += configuration.tickNanoseconds
            let actions = machine.tick(Self.subject(UInt64(count)), now: now)
            guard actions == [.send(["WATCHDOG=1"])] else { continue }
            #expect(now - fed <= seconds * Self.second / 2)
            fed = now
            feedings += 1
        }
        #expect(now - fed <= seconds * Self.second / 2)
        #expect(feedings >= 400 * configuration.tickNanoseconds / (seconds * Self.second))
    }

    @Test("nobody feeds a watchdog that is not there")
    func noWatchdog() {
        var machine = Self.ready(watchdogSeconds: nil)
        for count in 1...20 {
            #expect(
                machine.tick(
                    Self.subject(UInt64(count)), now: Int64(count) * 5 * Self.second
                ).isEmpty)
        }
    }

    @Test("a service without progress stops the feeding, is named once, and may come back")
    func stall() {
        var machine = Self.ready(watchdogSeconds: 10)
        var all: [Machine.Action] = []
        for step in 1...10 {
            all += machine.tick(Self.subject(1), now: Int64(step) * 5 * Self.second)
        }
        #expect(all.count { $0 == .stalled(name: "scrape", seconds: 25) } == 1)
        #expect(all.contains(.send(["STATUS=no progress of scrape"])))
        let feedings = all.count { action in
            if case .send(let lines) = action { lines.contains("WATCHDOG=1") } else { false }
        }
        #expect(feedings == 4, "fed at 5, 10, 15 and 20 s and no more")
        let back = machine.tick(Self.subject(2), now: 55 * Self.second)
        #expect(back.first == .recovered(name: "scrape"))
        #expect(back.last == .send(["WATCHDOG=1", "STATUS=s"]))
    }

    @Test("a process that did not run for an hour accuses nobody")
    func frozen() {
        var machine = Self.ready(watchdogSeconds: 30)
        _ = machine.tick(Self.subject(1), now: 5 * Self.second)
        let after = machine.tick(Self.subject(1), now: 3605 * Self.second)
        #expect(after == [.send(["WATCHDOG=1"])])
    }

    @Test("a changed status waits for 15 s, and only the newest is told")
    func status() {
        var machine = Self.ready(watchdogSeconds: nil)
        var told: [String] = []
        for step in 1...7 {
            let now = Int64(step) * 5 * Self.second
            for action in machine.report("\(step)", now: now) + machine.tick([], now: now) {
                if case .send(let lines) = action { told += lines }
            }
        }
        #expect(told == ["STATUS=3", "STATUS=6"])
    }

    @Test("after a stop nothing is said any more")
    func stopping() {
        var machine = Self.ready(watchdogSeconds: 1)
        #expect(machine.stop() == [.send(["STOPPING=1", "STATUS=stopping"])])
        #expect(machine.stop().isEmpty)
        #expect(machine.tick(Self.subject(1), now: 99 * Self.second).isEmpty)
        #expect(machine.ready(now: 100 * Self.second).isEmpty)
    }

    @Test("an echo probe has one request under way")
    func echo() {
        let queue = ManualQueue()
        let mark = ProgressMark("loop", deadlineNanoseconds: 1)
        let probe = EchoProbe(mark) { queue.append($0) }
        probe.ask()
        probe.ask()
        #expect(queue.count == 1 && mark.count == 0)
        queue.runAll()
        #expect(mark.count == 1)
        probe.ask()
        #expect(queue.count == 1)
    }

    @Test(
        "a service that runs: ready, fed, stopped; also where its status never comes",
        .timeLimit(.minutes(1)), arguments: [true, false])
    func service(hasStatus: Bool) async throws {
        let surroundings = FakeSurroundings([
            "NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "42",
        ])
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let manager = surroundings.manager
        let service = LivenessService(
            notifier: SystemdNotifier(surroundings), marks: [], probes: [],
            isReady: { true }, askStatus: { if hasStatus { $0("fine") } }, clock: SteppingClock(),
            logger: logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: service),
                    .init(
                        service: WaitForMessages(manager: manager, count: 5),
                        successTerminationBehavior: .gracefullyShutdownGroup),
                ], logger: logger))
        try await group.run()
        let messages = manager.messages
        #expect(messages.first == "READY=1\n" + (hasStatus ? "STATUS=fine\n" : "") + "WATCHDOG=1")
        #expect(messages.dropFirst().first == "WATCHDOG=1")
        #expect(messages.contains("STOPPING=1\nSTATUS=stopping"))
    }
}

/// Ends when the manager has heard so many messages.
private struct WaitForMessages: Service {
    let manager: FakeManager
    let count: Int
    func run() async throws {
        while manager.messages.count < count, !Task.isCancelled { await Task.yield() }
    }
}
