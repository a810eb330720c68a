import ArgumentParser
import Startup

/// `petrel-agent doctor`: everything that the agent needs, looked at one by one.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks everything that the agent needs and names the remedy of what is wrong.",
        discussion: """
            Exit code 0: nothing failed (warnings may be there); 1: something failed. Run it with sudo, so that it sees \
            the identity and whose the ports are.
            """)
    @OptionGroup var options: AgentOptions
    @Flag(help: "Prints one JSON object instead of lines.")
    var json = false

    func run() async throws {
        let report = CheckReport(
            program: "petrel-agent", results: await AgentDoctor(options).results())
        print(json ? report.json : report.text, terminator: "")
        if report.exitCode != 0 { throw ExitCode(report.exitCode) }
    }
}
