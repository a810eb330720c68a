import AgentRead
import AgentSetup
import ArgumentParser
import Exposition
import Glibc
import Identity
import Model
import Startup
import World
import WorldLive
import YAMLDocument

/// `petrel-agent metrics`: one exposition, then the end.
struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Prints one exposition of the node readers and exits.")
    @OptionGroup var options: AgentOptions

    func run() async throws {
        let configuration = try options.configuration()
        HostReading.readAsTheAgent(configuration)
        let readers = try NodeReaderSet(
            readers: HostReading.readers(options.paths, configuration),
            clock: LiveClock())
        try StandardOutput.write(ExpositionWriter.text(await readers.scrape(now: LiveClock().now)))
    }
}

/// `petrel-agent check-config`: says what is wrong with the configuration.
struct CheckConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config", abstract: "Checks the configuration without starting.")
    @OptionGroup var options: AgentOptions

    func run() async throws {
        let configuration = try options.configuration()
        print(
            """
            ok: metrics every \(configuration.interval), \(configuration.scrapeTargets.count) scrape targets, journal \
            \(configuration.readsJournal ? "read" : "not read"), \(configuration.files.count) log files
            """
        )
    }
}

/// `petrel-agent status`: what the running agent does and what is in its way; without one, who this host is in the fleet,
/// what it has on disk and what can be read.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows what the agent reads and sends, and what is in its way.",
        discussion: """
            Asks the running agent over a socket in its state folder: run it with sudo. Exit code 0: the agent runs and can \
            work, whatever a single reader or source says; 1: none answers (then what can be read is shown), it has no \
            certificate that holds, or a spool is full or its disk refuses.

            Below a service that does not let the agent in stand the very lines that it lacks, where root asks.
            """)
    @OptionGroup var options: AgentOptions
    /// The agent looks at its disks before it answers.
    private static let answerSeconds = 10

    func run() async throws {
        let configuration = try options.configuration()
        switch Self.ask(configuration.statusSocket) {
        case .success(let answer):
            let text =
                SetupRemarks.concern(answer.body)
                ? SetupRemarks(of: .live()).added(to: answer.body) : answer.body
            print(text, terminator: "")
            if answer.status != 200 { throw ExitCode(1) }
        case .failure(let silence):
            print("agent        \(silence)")
            let remarks = SetupRemarks(of: .live())
            HostReading.readAsTheAgent(configuration)
            try await showOwnReading(configuration, remarks)
            throw ExitCode(1)
        }
    }

    private static func ask(_ socket: String) -> Result<LocalAnswer, StartError> {
        do throws(FileError) {
            let services = LiveLocalServices(seconds: answerSeconds)
            guard let answer = try services.get(socket: socket, path: "/status") else {
                return .failure(
                    StartError(
                        "does not answer within \(answerSeconds) s; "
                            + "journalctl -u petrel-agent -n 20"))
            }
            return .success(answer)
        } catch { return .failure(StartError(text(error))) }
    }

    /// Why nobody answers at the socket. Source: connect(2), unix(7).
    private static func text(_ error: FileError) -> String {
        switch error.errno {
        case ENOENT, ECONNREFUSED:
            """
            does not run: nobody answers at \(error.path); start it with: sudo systemctl start petrel-agent
            """
        case EACCES, EPERM:
            "\(error.path) is the agent's alone; ask it with: sudo petrel-agent status"
        default: "can't be asked: \(error.path): \(LiveSurroundings().errorText(error.errno))"
        }
    }

    /// What can be seen without the running agent.
    private func showOwnReading(
        _ configuration: AgentConfiguration, _ remarks: SetupRemarks
    ) async throws {
        let files = LiveFileTree()
        let store = IdentityStore(files: files, folder: configuration.identityFolder)
        do {
            let identity = try store.load()
            let host = identity.host?.text ?? "unknown"
            print("identity     \(host), certificate until \(RFC3339.text(identity.leaf.notAfter))")
        } catch { print("identity     \(error)") }
        if let collector = store.collector() {
            print("collector    \(collector.name):\(collector.fleetPort)")
        }
        for kind in StreamKind.allCases {
            let folder = configuration.spoolFolder + "/" + kind.name
            let segments = ((try? files.list(folder)) ?? []).filter { $0.hasSuffix(".seg") }
            print("spool        \(kind.name): \(segments.count) segments in \(folder)")
        }
        let readers = try NodeReaderSet(
            readers: HostReading.readers(options.paths, configuration),
            clock: LiveClock())
        let lines = Self.lines(await readers.outcomes(now: LiveClock().now))
        let caddy = CaddyScraping.remarks(configuration.services, paths: options.paths)
        print(
            remarks.added(
                to: (lines + caddy.map { "target       \($0)" }).joined(separator: "\n")))
    }

    /// A line for each reader that has something to say, and one for those that have not.
    private static func lines(_ outcomes: [ReaderOutcome]) -> [String] {
        var lines: [String] = []
        var idle: [String] = []
        for outcome in outcomes {
            let samples = outcome.families.reduce(0) { $0 + $1.points.count }
            if let error = outcome.error {
                lines.append("reader       \(outcome.reader): failed: \(error)")
            } else if samples == 0, outcome.problems.isEmpty {
                idle.append(outcome.reader)
            } else {
                lines.append("reader       \(outcome.reader): \(samples) samples")
            }
            lines += outcome.problems.map { "             \($0)" }
        }
        if !idle.isEmpty { lines.append("not here     \(idle.joined(separator: " "))") }
        return lines
    }
}
