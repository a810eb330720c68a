import ArgumentParser

/// `petrel-agent`: reads a host and streams what it reads to the collector, through a spool on disk.
@main
struct PetrelAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-agent",
        abstract: "Reads this host's statistics, journal and log files for a Petrel collector.",
        version: version,
        subcommands: [
            RunCommand.self, JoinCommand.self, MetricsCommand.self, StatusCommand.self,
            CheckConfigCommand.self,
        ])
    static let version = "0.1.0"
}
