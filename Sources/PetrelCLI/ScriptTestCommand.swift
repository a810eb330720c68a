import ArgumentParser
import PromQLScript
import World
import WorldLive

/// `petrel promqltest FILE…`: Prometheus' test scripts against our engine.
struct ScriptTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promqltest", abstract: "Run PromQL test scripts (Prometheus' *.test).",
        discussion: "The last line is `N passed, M failed`; the exit code is 1 where M > 0.")

    @Argument(help: "Test scripts.")
    var files: [String]

    func validate() throws {
        guard !files.isEmpty else { throw ValidationError("name at least one file") }
    }

    func run() throws {
        let tree = LiveFileTree()
        var passed = 0
        var failed = 0
        for file in files {
            let bytes: [UInt8]
            do { bytes = try tree.contents(file) } catch {
                throw CommandFailure("can't read \(file): errno \(error.errno)")
            }
            let report = ScriptRunner.run(text: String(decoding: bytes, as: UTF8.self), name: file)
            for failure in report.failures { print(failure) }
            print("\(file): \(report.passed) passed, \(report.failed) failed")
            passed += report.passed
            failed += report.failed
        }
        print("\(passed) passed, \(failed) failed")
        if failed > 0 { throw ExitCode(1) }
    }
}
