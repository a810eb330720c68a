import ArgumentParser
import Glibc
import Startup
import WorldLive

/// `petrel-agent`: reads a host and streams what it reads to the collector, through a spool on disk.
@main
struct PetrelAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-agent",
        abstract: "Reads this host's statistics, journal and log files for a Petrel collector.",
        version: version,
        subcommands: [
            RunCommand.self, JoinCommand.self, MetricsCommand.self, StatusCommand.self,
            CheckConfigCommand.self, DoctorCommand.self, SetupCommand.self,
            DockerHelperCommand.self,
            PostureHelperCommand.self,
        ])
    static let version = "0.1.0"

    /// Exit codes: 0 fine, 1 the work failed, 2 the command line or a configuration file is wrong.
    static func main() async {
        FreedMemory.prepareOneArena()
        if let end = await ProgramEnd.run(Self.self, surroundings: LiveSurroundings()) {
            Glibc.exit(end.code)
        }
    }
}
