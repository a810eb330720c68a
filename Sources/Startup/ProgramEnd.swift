package import ArgumentParser
package import World
import YAMLDocument

/// How a program ends: what it prints and its exit code.
package struct ProgramEnd: Hashable, Sendable {
    /// 0 fine, 1 the work failed, 2 the command line or a configuration file is wrong.
    package var code: Int32
    /// Without the line's end; empty where nothing is to be said.
    package var message: String

    /// Whether `message` goes to standard output: it is what was asked for, such as `--help`.
    package var isAnswer: Bool { code == 0 }

    /// What `error`, thrown by a command of `program`, means.
    package init<Program: ParsableCommand>(_ error: any Error, of program: Program.Type) {
        let isConfiguration = error is YAMLError
        let exit = program.exitCode(for: error)
        message = isConfiguration ? "Error: \(error)" : program.fullMessage(for: error)
        code = isConfiguration || exit == .validationFailure ? 2 : exit.rawValue
    }

    /// Parses the command line and runs its command; nil where all went well.
    package static func run<Program: AsyncParsableCommand>(
        _ program: Program.Type, surroundings: any Surroundings
    ) async -> ProgramEnd? {
        do {
            var command = try program.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return nil
        } catch {
            let end = ProgramEnd(error, of: program)
            if end.isAnswer {
                print(end.message)
            } else if !end.message.isEmpty {
                surroundings.writeStandardError(Array((end.message + "\n").utf8))
            }
            return end
        }
    }
}
