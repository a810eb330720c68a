import AgentRead
import AgentSpool
import AgentStream
import Identity
import Logging
import Model
import NIOCore
import NIOPosix
import Startup
import World

/// What the service manager is told of the agent.
struct AgentLiveness {
    /// Shortest time after which a service counts as stalled: a disk may be slow for a while.
    static let stallNanosecondsMin: Int64 = 60_000_000_000

    let scrape: ProgressMark
    let logs = ProgressMark("log writer", deadlineNanoseconds: 2 * stallNanosecondsMin)
    private let eventLoop = ProgressMark("event loop", deadlineNanoseconds: stallNanosecondsMin)

    init(intervalMilliseconds: Int64) {
        scrape = ProgressMark(
            "scrape",
            deadlineNanoseconds: max(Self.stallNanosecondsMin, 3 * intervalMilliseconds * 1_000_000)
        )
    }

    /// Ready as soon as it runs: the agent reads and spools whether or not the collector is there. `status` may wait for
    /// the disk, on `statusThread`.
    func service(
        _ notifier: SystemdNotifier, eventLoops: MultiThreadedEventLoopGroup,
        statusThread: DedicatedThread, status: @escaping @Sendable () -> String,
        clock: any WorldClock, logger: Logger
    ) -> LivenessService {
        LivenessService(
            notifier: notifier, marks: [scrape, logs, eventLoop],
            probes: eventLoops.makeIterator().map { loop in
                EchoProbe(eventLoop) { loop.execute($0) }
            }, isReady: { true },
            askStatus: { tell in statusThread.submit { tell(status()) } },
            clock: clock, logger: logger)
    }

    /// The agent in one line: where it streams to and what waits.
    static func status(
        collector: CollectorAddress?, isConnected: (StreamKind) -> Bool, held: UInt64
    ) -> String {
        guard let collector else {
            return "not joined, \(held) records in spool; run petrel-agent join"
        }
        let connected = StreamKind.allCases.filter(isConnected)
        let waiting = "\(held) records in spool"
        if connected.isEmpty { return "collector \(collector.name) is away, \(waiting)" }
        if connected.count == StreamKind.allCases.count {
            return "streaming to \(collector.name), \(waiting)"
        }
        let names = connected.map(\.name).joined(separator: ", ")
        return "streaming \(names) alone to \(collector.name), \(waiting)"
    }
}
