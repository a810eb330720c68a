import AgentExport
import AgentHelper
import AgentRead
import AgentSpool
import AgentStream
import Glibc
import Identity
import Logging
import Model
import NIOPosix
import Startup
import Storage
import World
import WorldLive

/// Gathers what `petrel-agent status` shows of the running agent, and answers it on a socket in the state folder, which is
/// the agent's user's and root's alone: what is in the way may name files and servers.
struct StatusReading: Sendable {
    /// Connections of the socket, at a time.
    private static let connectionsMax = 4

    let startedAt: TimestampNS
    /// The spools, with the bytes that each may have.
    let spools: [(spool: Spool, bytesMax: Int)]
    let streams: StreamMetrics
    let identity: IdentityStore
    let logs: LogService
    let scrape: ScrapeService
    let targets: CaddyScraping
    let source: ConfigurationSource
    let reload: ReloadOutcome
    /// Spools and files are looked at on it.
    let thread: DedicatedThread
    let clock: any WorldClock

    /// The server of the socket `path`; nil where there can't be one, which stops nothing. It makes the socket, so it
    /// belongs before the services' start.
    func server(
        _ path: String, group: MultiThreadedEventLoopGroup, logger: Logger
    ) async -> ExportServer? {
        do {
            let descriptor = try HelperSocket.listen(path: path, group: nil)
            return try await ExportServer.adopt(
                descriptor, ExportConfiguration(connectionsMax: Self.connectionsMax),
                content: ExportContent(
                    metrics: { [] },
                    status: {
                        let status = await thread.run { gather() }
                        return (status.isWell, status.text)
                    }), group: group)
        } catch HelperSocketError.pathTooLong {
            logger.warning(
                "the state folder's path is too long for a socket: petrel-agent status can't ask the running agent",
                metadata: ["path": "\(path)"])
        } catch {
            logger.warning(
                "petrel-agent status can't ask the running agent", metadata: ["error": "\(error)"])
        }
        return nil
    }

    /// Blocks for the disk.
    private func gather() -> AgentStatus {
        let file =
            source.config
            ?? ((try? LiveFileTree().status(AgentOptions.standardFile)) == nil
                ? nil : AgentOptions.standardFile)
        var status = AgentStatus(
            now: clock.now, startedAt: startedAt, version: PetrelAgent.version,
            process: getpid(), configuration: reload.standing(file: file))
        do throws(IdentityError) {
            let identity = try identity.load()
            status.certificate = AgentStatus.Certificate(
                host: identity.host?.text ?? "unknown", notBefore: identity.leaf.notBefore,
                notAfter: identity.leaf.notAfter)
        } catch { status.identityError = "\(error)" }
        let renewals = streams.renewals
        status.renewals = renewals.count
        status.renewalFault = renewals.lastError.map(AgentStatus.Fault.init)
        status.collector = identity.collector().map { "\($0.name):\($0.fleetPort)" } ?? ""
        status.streams = spools.map { stream($0.spool, bytesMax: $0.bytesMax) }
        status.logs = logs.standing()
        status.readers = scrape.lastReading()
        status.targets = targets.standing()
        return status
    }

    private func stream(_ spool: Spool, bytesMax: Int) -> AgentStatus.Stream {
        let figures = spool.status()
        var stream = AgentStatus.Stream(spool.kind.name)
        stream.records = figures.spoolRecords
        stream.bytes = figures.spoolBytes
        stream.bytesMax = UInt64(bytesMax)
        stream.gapRecords = figures.gapRecords
        stream.oldestAt = figures.spoolRecords > 0 ? spool.oldestAt : nil
        stream.isDegraded = spool.isDegraded
        switch spool.kind {
        case .metrics: stream.full = spool.isAtBound ? "full, the oldest are dropped" : nil
        case .logs: stream.full = spool.isFull ? "full, log sources wait" : nil
        }
        let standing = streams.standing(spool.kind)
        stream.connectedAt = standing.connectedAt
        stream.fault = standing.lastError.map(AgentStatus.Fault.init)
        return stream
    }
}

extension AgentStatus.Fault {
    fileprivate init(_ error: NotedError) { self.init(error.text, at: error.at) }
}
