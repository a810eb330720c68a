import ArgumentParser

/// `petrel-collector`: receives what agents send, keeps it in PostgreSQL, answers queries, evaluates rules, notifies.
@main
struct PetrelCollector: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-collector",
        abstract: "Keeps what a fleet's agents send in PostgreSQL, answers queries and alerts.",
        version: version,
        subcommands: [
            RunCommand.self, EnrollCommand.self, MigrateCommand.self, VerifyCommand.self,
            CheckConfigCommand.self,
        ])
    static let version = "0.1.0"
}
