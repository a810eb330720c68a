import AgentRead
import AgentSpool
import AgentStream
import Identity
import Model
import NIOCore
import NIOPosix
import Startup
import World
import WorldLive

/// The agent's check-up: gathers facts and has them judged.
struct AgentDoctor {
    /// Name of the packaged unit and of its user.
    static let service = "petrel-agent"
    static let connectMilliseconds = 3_000
    /// Certificates are renewed at half of their life; a little later something must be wrong.
    static let renewalShare = 0.6

    private let options: AgentOptions
    private let files = LiveFileTree()
    private let probe = LiveHostProbe()
    private let surroundings = LiveSurroundings()
    private let service: ServiceUser
    private let configured: Result<AgentConfiguration, any Error>

    init(_ options: AgentOptions) {
        self.options = options
        configured = Result { try options.configuration() }
        service = ServiceUser(
            packaged: Self.service, files: files, probe: probe,
            programs: LiveProgramRunner(), surroundings: surroundings)
    }

    /// What holds, or the defaults where the file is wrong.
    private var configuration: AgentConfiguration {
        (try? configured.get()) ?? AgentConfiguration()
    }

    func results() async -> [CheckResult] {
        let figures = ownFigures()
        var results = [configurationResult(), HostChecks.unit(Self.service, service.unit)]
        results += folderResults()
        results += await identityResults()
        results.append(HostChecks.clock(probe.clockSynchronisation()))
        results.append(portResult(figures))
        if let figures { results += AgentChecks.running(figures) }
        results += logResults(isRunning: figures != nil)
        if figures == nil { results += await readerResults() }
        results.append(spoolResult(figures))
        return results
    }

    private func configurationResult() -> CheckResult {
        let named = options.config ?? AgentOptions.standardFile
        let isThere = (try? files.status(named)) != nil
        let valid = configuration
        var error: String?
        if case .failure(let problem) = configured { error = "\(problem)" }
        return HostChecks.configuration(
            source: isThere ? named : "no file \(named), defaults",
            summary: "metrics every \(valid.interval), journal "
                + "\(valid.readsJournal ? "read" : "not read"), \(valid.files.count) log files",
            error: error, command: "petrel-agent")
    }

    private func folderResults() -> [CheckResult] {
        let folder = configuration.stateDirectory
        let limit = SpoolConfiguration(overflow: .refuse).freeBytesMin
        return [
            HostChecks.folder(
                folder, ownership(folder), owner: service.owner, service: Self.service,
                errorText: surroundings.errorText),
            HostChecks.space(
                folder, freeBytes: try? files.freeBytes(existing(folder)), guardBytes: limit,
                consequence: "the spool takes nothing more"),
        ]
    }

    private func ownership(_ path: String) -> Result<FileOwnership, FileError> {
        do throws(FileError) {
            return .success(try files.ownership(path))
        } catch { return .failure(error) }
    }

    /// The nearest folder above `path` that exists.
    private func existing(_ path: String) -> String {
        var path = path
        while (try? files.status(path)) == nil, let slash = path.lastIndex(of: "/"), path != "/" {
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        return path
    }

    private func identityResults() async -> [CheckResult] {
        let store = IdentityStore(files: files, folder: configuration.identityFolder)
        let identity: Identity.HostIdentity
        do throws(IdentityError) {
            identity = try store.load()
        } catch {
            if case .file(let file) = error, file.errno == 13 {
                return [
                    .fail(
                        "identity", "\(configuration.identityFolder) can't be read by this user",
                        remedy: "run this with sudo")
                ]
            }
            return [.fail("identity", "\(error)", remedy: AgentChecks.joinRemedy)]
        }
        let host = identity.host?.text ?? "unknown"
        var results = [
            HostChecks.validity(
                "identity", of: "certificate of \(host)", notBefore: identity.leaf.notBefore,
                notAfter: identity.leaf.notAfter, now: LiveClock().now.milliseconds,
                renewal: Self.renewalShare,
                remedy: AgentChecks.joinRemedy.replacing("NAME", with: host))
        ]
        guard let collector = store.collector() else {
            results.append(
                .fail(
                    "collector", "the identity does not say where it is",
                    remedy: AgentChecks.joinRemedy.replacing("NAME", with: host)))
            return results
        }
        results += await collectorResults(identity, collector)
        return results
    }

    private func collectorResults(
        _ identity: Identity.HostIdentity, _ collector: CollectorAddress
    ) async -> [CheckResult] {
        let port = Int(collector.fleetPort)
        let outcome = probe.connect(
            host: collector.name, port: port, milliseconds: Self.connectMilliseconds)
        var results = [
            AgentChecks.reach(
                "collector", host: collector.name, port: port, outcome, isNeeded: true,
                errorText: surroundings.errorText)
        ]
        guard outcome == .connected else { return results }
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do throws(StreamError) {
            try await HandshakeProbe.attempt(
                identity: identity, address: collector, clock: LiveClock(), eventLoops: eventLoops)
            results.append(.ok("handshake", "both ends accept each other's certificate"))
        } catch {
            results.append(
                .fail(
                    "handshake", "\(error)",
                    remedy: AgentChecks.joinRemedy.replacing(
                        "NAME", with: identity.host?.text ?? "NAME")))
        }
        try? await eventLoops.shutdownGracefully()
        return results
    }

    /// What the agent that runs says of itself; nil where none answers.
    private func ownFigures() -> OwnFigures? {
        guard let place = AddressAndPort(configuration.listen),
            let answer = LiveLocalServices().get(
                address: loopback(place.address), port: place.port, path: "/metrics"),
            answer.status == 200
        else { return nil }
        let figures = OwnFigures(answer.body)
        return figures.hasName(prefix: "petrel_agent_") ? figures : nil
    }

    private func loopback(_ address: String) -> String {
        switch address {
        case "0.0.0.0", "localhost": "127.0.0.1"
        case "::": "::1"
        default: address
        }
    }

    private func portResult(_ figures: OwnFigures?) -> CheckResult {
        guard let place = AddressAndPort(configuration.listen) else {
            return .warn(
                "port of /metrics", "`\(configuration.listen)` is no address",
                remedy: "listen: 127.0.0.1:9100   # in /etc/petrel/agent.yaml")
        }
        return HostChecks.port(
            "port of /metrics", place, listeners: probe.listeners(port: place.port),
            program: "petrel-agent", isOwn: figures == nil ? nil : true, consequence: .warn,
            key: "listen in /etc/petrel/agent.yaml (streaming goes on without /metrics)")
    }

    private func logResults(isRunning: Bool) -> [CheckResult] {
        let access = service.access
        let reader = service.reader.name
        var results = configuration.files.map { access.logFile($0.path, reader: reader) }
        // The running agent has said already whether it can read the journal.
        if !isRunning { results.append(journalResult()) }
        return results
    }

    private func journalResult() -> CheckResult {
        guard configuration.readsJournal else { return .ok("journal", "not read, as configured") }
        let folders =
            configuration.journalDirectory.isEmpty
            ? ["/var/log/journal", "/run/log/journal"] : [configuration.journalDirectory]
        guard let folder = folders.first(where: { (try? files.status($0)) != nil }) else {
            return .warn(
                "journal", "\(folders.joined(separator: " and ")): there is no journal here",
                remedy:
                    "logs: {journal: {enabled: false}}   # in agent.yaml, where there is no journald"
            )
        }
        let machines = try? files.list(folder).sorted()
        let file = machines?.map { "\(folder)/\($0)/system.journal" }
            .first { (try? files.status($0)) != nil }
        if machines != nil, file == nil {
            return .warn(
                "journal", "\(folder) holds no journal: journald does not run here",
                remedy:
                    "systemctl status systemd-journald   # or: logs: {journal: {enabled: false}}")
        }
        let reader = service.reader.name
        switch service.access.verdict(file ?? folder) {
        case .readable: return .ok("journal", "\(file ?? folder) is readable for \(reader)")
        case .absent, .denied, .unknown:
            return .fail(
                "journal", "\(file ?? folder) is not readable for \(reader)",
                remedy:
                    "sudo usermod -aG systemd-journal \(reader)   # then: sudo systemctl restart petrel-agent"
            )
        }
    }

    private func readerResults() async -> [CheckResult] {
        guard
            let readers = try? NodeReaderSet(
                readers: HostReading.readers(options.paths), clock: LiveClock())
        else { return [] }
        let outcomes = await readers.outcomes(now: LiveClock().now)
        let failed = outcomes.filter { $0.error != nil }
        guard !failed.isEmpty else { return [.ok("readers", "\(outcomes.count) succeed")] }
        return failed.map { outcome in
            .warn(
                "reader", "\(outcome.reader): \(outcome.error.map { "\($0)" } ?? "failed")",
                remedy: "petrel-agent status")
        }
    }

    private func spoolResult(_ figures: OwnFigures?) -> CheckResult {
        let limit = Double(configuration.spoolBytesMax)
        if let figures, let bytes = figures.sum("petrel_agent_spool_bytes") {
            return AgentChecks.spool(
                records: figures.sum("petrel_agent_spool_records"), bytes: bytes, bytesMax: limit)
        }
        var bytes: Int64 = 0
        for kind in StreamKind.allCases {
            let folder = configuration.spoolFolder + "/" + kind.name
            for name in (try? files.list(folder)) ?? [] {
                bytes += (try? files.status(folder + "/" + name))?.size ?? 0
            }
        }
        return AgentChecks.spool(records: nil, bytes: Double(bytes), bytesMax: limit)
    }
}
