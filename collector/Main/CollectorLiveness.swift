import CollectorEvaluate
import CollectorReceive
import CollectorStore
import Logging
import Model
import NIOCore
import NIOPosix
import Rules
import ServiceLifecycle
import Startup
import Storage
import World

/// What the service manager is told of the collector.
enum CollectorLiveness {
    static let eventLoopNanosecondsMax: Int64 = 60_000_000_000
    /// How long the store may be silent although the database answers apart from it: statements may take a minute, and
    /// a round of the probe a few.
    static let storeNanosecondsMax: Int64 = 600_000_000_000

    /// The probe of the store and, last, the service that speaks to the manager.
    static func services(
        store: CollectorStore, receiver: FleetReceiver, evaluate: EvaluateService,
        webIsListening: ReadyLatch, eventLoops: MultiThreadedEventLoopGroup,
        notifier: SystemdNotifier, clock: any WorldClock, logger: Logger
    ) -> [any Service] {
        let storeMark = ProgressMark("store", deadlineNanoseconds: storeNanosecondsMax)
        let probe = StoreProbe(
            ping: { try await store.ping() }, pingApart: { try await store.pingApart() },
            mark: storeMark, clock: clock, logger: logger)
        let loops = eventLoops.makeIterator().enumerated().map { index, loop in
            let mark = ProgressMark(
                "event loop \(index + 1)", deadlineNanoseconds: eventLoopNanosecondsMax)
            return (mark, EchoProbe(mark) { loop.execute($0) })
        }
        let (presence, board) = (receiver.presence, probe.board)
        let liveness = LivenessService(
            notifier: notifier, marks: [storeMark] + loops.map(\.0), probes: loops.map(\.1),
            isReady: {
                guard await receiver.fleetAddress.wait() != nil,
                    await receiver.enrolmentAddress.wait() != nil
                else { return false }
                return await webIsListening.wait()
            },
            askStatus: { tell in
                let now = clock.monotonicNanoseconds
                let connected = presence.snapshot().values.count {
                    PresenceReporter.isUp(lastHeard: $0.monotonicNanoseconds, now: now)
                }
                tell(
                    status(
                        isStoreAway: board.isAway, connected: connected,
                        firing: evaluate.firingCount))
            }, clock: clock, logger: logger)
        return [probe, liveness]
    }

    /// The collector in one line.
    static func status(isStoreAway: Bool, connected: Int, firing: Int) -> String {
        let hosts = connected == 1 ? "1 host connected" : "\(connected) hosts connected"
        let alerts = firing == 1 ? "1 alert firing" : "\(firing) alerts firing"
        return isStoreAway ? "the database is away; \(hosts)" : "\(hosts), \(alerts)"
    }
}

extension EvaluateService {
    /// Alerts that fire now, without the Watchdog, which always does.
    var firingCount: Int {
        snapshot.reduce(0) { sum, machine in
            machine.group.rules.indices.reduce(sum) { sum, index in
                sum
                    + machine.records(ofRuleAt: index).count {
                        $0.state == .firing && $0.labels["alertname"] != "Watchdog"
                    }
            }
        }
    }
}
