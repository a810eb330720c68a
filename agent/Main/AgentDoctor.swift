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
    /// The agent itself waits for a slow reader before it answers.
    static let answerSeconds = 10
    /// Certificates are renewed at half of their life; a little later something must be wrong.
    static let renewalShare = 0.6

    private let options: AgentOptions
    private let files = LiveFileTree()
    private let probe = LiveHostProbe()
    private let surroundings = LiveSurroundings()
    private let program: CheckedProgram<AgentConfiguration>
    private var configuration: AgentConfiguration { program.configuration }
    private var service: ServiceUser { program.service }

    init(_ options: AgentOptions) {
        self.options = options
        program = CheckedProgram(
            Self.service, defaults: AgentConfiguration(), files: files, probe: probe,
            programs: LiveProgramRunner(), services: LiveLocalServices(seconds: Self.answerSeconds),
            surroundings: surroundings, load: options.configuration)
    }

    func results() async -> [CheckResult] {
        let place = AddressAndPort(configuration.listen)
        let figures = place.flatMap { program.figures(on: $0, prefix: "petrel_agent_") }
        var results = [configurationResult(), HostChecks.unit(Self.service, service.unit)]
        results += folderResults()
        results += await identityResults()
        results.append(HostChecks.clock(probe.clockSynchronisation()))
        results.append(portResult(figures))
        if let figures {
            results += AgentChecks.running(figures)
        } else if let place, let silence = program.silence(on: place) {
            results.append(silence)
        }
        results += logResults(figures)
        if figures == nil { results += await readerResults() }
        results.append(spoolResult(figures))
        return results
    }

    private func configurationResult() -> CheckResult {
        let named = options.config ?? AgentOptions.standardFile
        let valid = configuration
        return program.configuration(
            named,
            summary: "metrics every \(valid.interval), journal "
                + "\(valid.readsJournal ? "read" : "not read"), \(valid.files.count) log files")
    }

    private func folderResults() -> [CheckResult] {
        let folder = configuration.stateDirectory
        let limit = SpoolConfiguration(overflow: .refuse).freeBytesMin
        return [
            program.folder(folder),
            program.space(folder, bytesMin: limit, consequence: "the spool takes nothing more"),
        ]
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
                "collector", host: collector.name, port: port, outcome,
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

    private static let filesOfPatternMax = 10

    private func logResults(_ figures: OwnFigures?) -> [CheckResult] {
        let access = service.access
        let reader = service.reader.name
        var results = configuration.files.flatMap { file -> [CheckResult] in
            let source = FileTailReader.source(path: file.path)
            // A pattern is up whatever becomes of one of its files.
            let hasProblems =
                figures?.all("petrel_agent_log_source_problems").contains {
                    $0.labels["source"] == source && $0.value > 0
                } ?? false
            let isRead = hasProblems ? false : figures.flatMap { AgentChecks.isRead(source, $0) }
            // The first of a pattern stand for all.
            let paths = (try? file.readerConfiguration().paths(in: LiveFileTree())) ?? [file.path]
            guard !paths.isEmpty else {
                return [
                    .warn(
                        "log file",
                        "\(file.path): no file is found; those that come are read, where \(reader) can "
                            + "list their folder",
                        remedy:
                            "sudo -u \(reader) sh -c 'ls -l \(file.path)'   # or take it out of "
                            + "logs.files in agent.yaml")
                ]
            }
            return paths.prefix(Self.filesOfPatternMax).map {
                access.logFile($0, reader: reader, isRead: isRead)
            }
        }
        results += dockerResults(figures)
        // The running agent has said already whether it can read the journal.
        if figures == nil { results.append(journalResult()) }
        return results
    }

    /// Nothing where there is no Docker.
    private func dockerResults(_ figures: OwnFigures?) -> [CheckResult] {
        let reader = service.reader.name
        let place = "logs of containers"
        return configuration.dockerFolders(files).compactMap { folder in
            let source = DockerLogs.source(folder: folder)
            let problems = figures?.all("petrel_agent_log_source_problems").first {
                $0.labels["source"] == source
            }
            let warning = CheckResult.warn(
                place, "\(folder) is not readable for \(reader)",
                remedy: DockerLogs.remedy(folder: folder, user: reader)
                    + "   # or logs: {docker: false} in agent.yaml")
            switch service.access.verdict(folder) {
            case .absent: return nil
            case .readable: return .ok(place, "\(folder) is readable for \(reader)")
            case .denied, .unknown:
                // Access control lists are not in the mode's bits: the running agent knows.
                guard let problems else { return warning }
                return problems.value > 0
                    ? warning : .ok(place, "\(folder) is read by the running agent")
            }
        }
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
                readers: HostReading.readers(options.paths, configuration),
                clock: LiveClock())
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
