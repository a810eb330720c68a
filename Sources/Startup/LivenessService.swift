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
    private let status: @Sendable () -> String
    private let clock: any WorldClock
    private let logger: Logger
    private let machine: Mutex<LivenessStateMachine>
    private let tickNanoseconds: Int64

    /// `isReady` returns once the program does its work, or false when cancelled before. `status` is one line for
    /// `systemctl status`; it must not wait.
    package init(
        notifier: SystemdNotifier, marks: [ProgressMark], probes: [EchoProbe],
        isReady: @escaping @Sendable () async -> Bool, status: @escaping @Sendable () -> String,
        clock: any WorldClock, logger: Logger
    ) {
        self.notifier = notifier
        self.marks = marks
        self.probes = probes
        self.isReady = isReady
        self.status = status
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
        perform(
            machine.withLock { $0.ready(status: status(), now: clock.monotonicNanoseconds) })
        while !Task.isCancelled {
            for probe in probes { probe.ask() }
            do { try await clock.sleep(nanoseconds: tickNanoseconds) } catch { return }
            let subjects = marks.map {
                LivenessStateMachine.Subject(
                    name: $0.name, count: $0.count, deadlineNanoseconds: $0.deadlineNanoseconds)
            }
            let line = status()
            perform(
                machine.withLock {
                    $0.tick(subjects, status: line, now: clock.monotonicNanoseconds)
                })
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
