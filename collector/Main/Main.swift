import ArgumentParser
import Glibc
import Startup
import WorldLive

/// `petrel-collector`: receives what agents send, keeps it in PostgreSQL, answers queries, evaluates rules, notifies.
@main
struct PetrelCollector: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-collector",
        abstract: "Keeps what a fleet's agents send in PostgreSQL, answers queries and alerts.",
        version: version,
        subcommands: [
            RunCommand.self, EnrollCommand.self, MigrateCommand.self, VerifyCommand.self,
            CheckConfigCommand.self, DoctorCommand.self, SetupDatabaseCommand.self,
        ])
    static let version = "0.1.0"

    /// Exit codes: 0 fine, 1 the work failed, 2 the command line or a configuration file is wrong.
    static func main() async {
        if let end = await ProgramEnd.run(Self.self, surroundings: LiveSurroundings()) {
            Glibc.exit(end.code)
        }
    }
}
