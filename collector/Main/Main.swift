import ArgumentParser
import Glibc
import YAMLDocument

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

    /// Exit codes: 0 fine, 1 the work failed, 2 the command line or a configuration file is wrong.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let isConfiguration = error is YAMLError
            let code = exitCode(for: error)
            let message = isConfiguration ? "Error: \(error)" : fullMessage(for: error)
            if code == .success {
                print(message)
            } else {
                writeError(message + "\n")
            }
            let isUsage = isConfiguration || code == .validationFailure
            Glibc.exit(isUsage ? 2 : code.rawValue)
        }
    }
}

/// Writes to standard error at once.
private func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
