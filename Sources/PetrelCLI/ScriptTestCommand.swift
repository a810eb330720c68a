import ArgumentParser
import LogQLScript
import PromQLScript
import ScriptReport
import World
import WorldLive

/// `petrel promqltest FILE…`: Prometheus' test scripts against our engine.
struct ScriptTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promqltest", abstract: "Run PromQL test scripts (Prometheus' *.test).",
        discussion: "The last line is `N passed, M failed`; the exit code is 1 where M > 0.")

    @OptionGroup var scripts: ScriptFiles

    func run() throws {
        try scripts.run { ScriptRunner.run(text: $0, name: $1) }
    }
}

/// `petrel logqltest FILE…`: Loki's test scripts against our engine.
struct LogScriptTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logqltest", abstract: "Run LogQL test scripts (Loki's *.logqltest).",
        discussion: "The last line is `N passed, M failed`; the exit code is 1 where M > 0.")

    @OptionGroup var scripts: ScriptFiles

    func run() throws {
        try scripts.run { LogScriptRunner.run(text: $0, name: $1) }
    }
}

/// The files of a script command.
struct ScriptFiles: ParsableArguments {
    @Argument(help: "Test scripts.")
    var files: [String]

    func validate() throws {
        guard !files.isEmpty else { throw ValidationError("name at least one file") }
    }

    /// Runs each file by `runScript`, which is given its text and name, and prints what came of it. Throws where a file
    /// can't be read, and exit code 1 where an eval failed.
    func run(_ runScript: (String, String) -> ScriptReport) throws {
        let tree = LiveFileTree()
        var passed = 0
        var failed = 0
        for file in files {
            let bytes: [UInt8]
            do { bytes = try tree.contents(file) } catch {
                throw CommandFailure("can't read \(file): errno \(error.errno)")
            }
            let report = runScript(String(decoding: bytes, as: UTF8.self), file)
            for failure in report.failures { print(failure) }
            print("\(file): \(report.passed) passed, \(report.failed) failed")
            passed += report.passed
            failed += report.failed
        }
        print("\(passed) passed, \(failed) failed")
        if failed > 0 { throw ExitCode(1) }
    }
}
