import AgentRead
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

/// `petrel-agent status`: who this host is in the fleet, and what it has on disk.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows this host's identity, its readers and its spool.")
    @OptionGroup var options: AgentOptions

    func run() async throws {
        let configuration = try options.configuration()
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
        Self.show(await readers.outcomes(now: LiveClock().now))
    }

    /// A line for each reader that has something to say, and one for those that have not.
    private static func show(_ outcomes: [ReaderOutcome]) {
        var idle: [String] = []
        for outcome in outcomes {
            let samples = outcome.families.reduce(0) { $0 + $1.points.count }
            if let error = outcome.error {
                print("reader       \(outcome.reader): failed: \(error)")
            } else if samples == 0, outcome.problems.isEmpty {
                idle.append(outcome.reader)
            } else {
                print("reader       \(outcome.reader): \(samples) samples")
            }
            for problem in outcome.problems { print("             \(problem)") }
        }
        if !idle.isEmpty { print("not here     \(idle.joined(separator: " "))") }
    }
}
