import AgentRead
import ArgumentParser
import Logging
import Startup
import World
import WorldLive

/// The options that commands share; a flag wins over the file.
struct AgentOptions: ParsableArguments {
    @Option(help: "Configuration file (default /etc/petrel/agent.yaml, where it exists).")
    var config: String?
    @Option(help: "Folder of the identity and the spool.")
    var stateDir: String?
    @Option(help: "Address and port of /metrics.")
    var listen: String?
    @Option(name: .customLong("path.procfs"), help: "Where procfs is mounted.")
    var procfs = "/proc"
    @Option(name: .customLong("path.sysfs"), help: "Where sysfs is mounted.")
    var sysfs = "/sys"
    @Option(name: .customLong("path.rootfs"), help: "Where the host's root is mounted.")
    var rootfs = "/"
    @Option(name: .customLong("path.udev.data"), help: "Where udev keeps its data.")
    var udevData = "/run/udev/data"
    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp(
            "node_exporter's flags of readers, such as --no-collector.arp or --collector.diskstats.device-exclude=REGEX.",
            valueName: "collector-flag"))
    var collectorFlags: [String] = []

    static let standardFile = "/etc/petrel/agent.yaml"

    var paths: NodePaths {
        NodePaths(procfs: procfs, sysfs: sysfs, rootfs: rootfs, udevData: udevData)
    }

    /// Where the configuration comes from.
    var source: ConfigurationSource {
        ConfigurationSource(
            config: config, stateDirectory: stateDir, listen: listen,
            collectorFlags: collectorFlags)
    }

    func configuration() throws -> AgentConfiguration { try source.configuration() }
}

/// The file of the configuration, and the flags that win over it.
struct ConfigurationSource: Sendable {
    var config: String?
    var stateDirectory: String?
    var listen: String?
    var collectorFlags: [String] = []

    /// The configuration: defaults, file, flags. Blocks.
    func configuration() throws -> AgentConfiguration {
        var configuration = AgentConfiguration()
        if let (path, text) = try StartFiles.live.configurationText(
            named: config, standard: AgentOptions.standardFile)
        {
            configuration = try AgentConfiguration(text: text, file: path)
        }
        if let stateDirectory { configuration.stateDirectory = stateDirectory }
        if let listen {
            guard AddressAndPort(listen) != nil else {
                throw ValidationError("--listen: expected ADDRESS:PORT, found '\(listen)'")
            }
            configuration.listen = listen
        }
        configuration.stateDirectory = StartFiles.live.absolute(configuration.stateDirectory)
        try apply(collectorFlags, to: &configuration.nodeOptions)
        return configuration
    }

    /// What node_exporter has and Petrel has not is said and left out: its command line serves here as it is.
    private func apply(_ flags: [String], to options: inout NodeOptions) throws {
        for flag in flags {
            guard flag.hasPrefix("--collector.") || flag.hasPrefix("--no-collector.") else {
                throw ValidationError("Unknown option '\(flag)'")
            }
            do throws(NodeOptionError) {
                try options.apply(flag: flag)
            } catch .notRead(let name) {
                StandardOutput.remark("petrel-agent: \(flag): \(NodeOptionError.notRead(name))")
            } catch { throw ValidationError("\(flag): \(error)") }
        }
    }
}

extension StartFiles {
    /// The machine's.
    static var live: StartFiles {
        StartFiles(files: LiveFileTree(), surroundings: LiveSurroundings())
    }
}

extension AgentConfiguration {
    var identityFolder: String { stateDirectory + "/identity" }
    var spoolFolder: String { stateDirectory + "/spool" }
    /// Where the running agent answers `petrel-agent status`.
    var statusSocket: String { stateDirectory + "/status.sock" }
    /// What scraped targets had at the last stop.
    var scrapeFolder: String { stateDirectory + "/scrape" }

    /// Makes the state folder where it is missing; says what is wrong with it.
    func prepareStateDirectory(_ files: LiveFileTree) throws(StartError) {
        try StartFiles(files: files, surroundings: LiveSurroundings()).prepareStateFolder(
            stateDirectory, flag: "--state-dir")
    }

    /// The agent's own log.
    func logger(_ surroundings: any Surroundings) -> Logger {
        Logger(
            label: "petrel-agent", level: logLevel, format: logFormat, surroundings: surroundings,
            clock: LiveClock())
    }
}
