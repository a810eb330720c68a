import ArgumentParser
import Glibc
import YAMLDocument

/// `petrel-agent`: reads a host and streams what it reads to the collector, through a spool on disk.
@main
struct PetrelAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-agent",
        abstract: "Reads this host's statistics, journal and log files for a Petrel collector.",
        version: version,
        subcommands: [
            RunCommand.self, JoinCommand.self, MetricsCommand.self, StatusCommand.self,
            CheckConfigCommand.self, SetupCommand.self,
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
