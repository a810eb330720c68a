package import Logging
import ServiceLifecycle
import Synchronization
package import World

/// Tells the service manager when the program is ready, how it fares, that it lives, and that it stops.
///
/// To be the last of the program's services: it starts after the others, and hears of a stop first.
package final class LivenessService: Service {
    private let notifier: SystemdNotifier
    private let marks: [ProgressMark]
    private let probes: [EchoProbe]
    private let isReady: @Sendable () async -> Bool
    private let askStatus: @Sendable (_ tell: @escaping @Sendable (String) -> Void) -> Void
    private let isAsking = Mutex(false)
    private let clock: any WorldClock
    private let logger: Logger
    private let machine: Mutex<LivenessStateMachine>
    private let tickNanoseconds: Int64

    /// `isReady` returns once the program does its work, or false when cancelled before. `askStatus` returns at once and
    /// tells one line for `systemctl status` when it has it, from any thread; until then it is not asked again, so that
    /// a line that never comes, as from a disk that hangs, holds nothing up.
    package init(
        notifier: SystemdNotifier, marks: [ProgressMark], probes: [EchoProbe],
        isReady: @escaping @Sendable () async -> Bool,
        askStatus: @escaping @Sendable (_ tell: @escaping @Sendable (String) -> Void) -> Void,
        clock: any WorldClock, logger: Logger
    ) {
        self.notifier = notifier
        self.marks = marks
        self.probes = probes
        self.isReady = isReady
        self.askStatus = askStatus
        self.clock = clock
        self.logger = logger
        let configuration = LivenessConfiguration(
            watchdogNanoseconds: notifier.watchdogNanoseconds)
        tickNanoseconds = configuration.tickNanoseconds
        machine = Mutex(LivenessStateMachine(configuration))
    }

    package func run() async throws {
        await withGracefulShutdownHandler {
            await cancelWhenGracefulShutdown { await self.keepTelling() }
        } onGracefulShutdown: {
            self.perform(self.machine.withLock { $0.stop() })
        }
    }

    private func keepTelling() async {
        guard await isReady(), !Task.isCancelled else { return }
        ask()
        perform(machine.withLock { $0.ready(now: clock.monotonicNanoseconds) })
        while !Task.isCancelled {
            for probe in probes { probe.ask() }
            ask()
            do { try await clock.sleep(nanoseconds: tickNanoseconds) } catch { return }
            let subjects = marks.map {
                LivenessStateMachine.Subject(
                    name: $0.name, count: $0.count, deadlineNanoseconds: $0.deadlineNanoseconds)
            }
            perform(machine.withLock { $0.tick(subjects, now: clock.monotonicNanoseconds) })
        }
    }

    private func ask() {
        let isFree = isAsking.withLock { asking in
            defer { asking = true }
            return !asking
        }
        guard isFree else { return }
        askStatus { [self] line in
            isAsking.withLock { $0 = false }
            perform(machine.withLock { $0.report(line, now: clock.monotonicNanoseconds) })
        }
    }

    private func perform(_ actions: [LivenessStateMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let lines): notifier.send(lines)
            case .stalled(let name, let seconds):
                logger.error(
                    "\(name) makes no progress; the watchdog is not fed until it does",
                    metadata: ["service": "\(name)", "seconds": "\(seconds)"])
            case .recovered(let name):
                logger.notice("\(name) makes progress again", metadata: ["service": "\(name)"])
            }
        }
    }
}
