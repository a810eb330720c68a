import ArgumentParser
import Glibc

/// `petrel`: the operator's command line.
@main
struct Petrel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel",
        abstract: "Ask a Petrel collector for metrics, logs, alerts and hosts.",
        subcommands: [
            QueryCommand.self, LogsCommand.self, TraceCommand.self, AlertsCommand.self,
            HostsCommand.self, NotifyCommand.self, DeliveriesCommand.self, DoctorCommand.self,
            ScriptTestCommand.self, LogScriptTestCommand.self,
        ])

    /// Exit codes: 0 done, 1 failed, 2 used wrongly.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as CommandFailure {
            Terminal.printError("petrel: \(error.message)")
            Glibc.exit(1)
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            guard code != .success else { exit(withError: error) }
            Terminal.printError(fullMessage(for: error))
            Glibc.exit(code == .validationFailure ? 2 : 1)
        }
    }
}

/// A command that did not succeed, in one line for the operator.
struct CommandFailure: Error {
    var message: String

    init(_ message: String) { self.message = Terminal.escaped(message) }
}
