import ArgumentParser
import Startup

/// `petrel-collector doctor`: everything that the collector needs, looked at one by one.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract:
            "Checks everything that the collector needs and names the remedy of what is wrong.",
        discussion: """
            Exit code 0: nothing failed (warnings may be there); 1: something failed. Run it with sudo, so that it sees \
            the authority's key and whose the ports are. Nothing is sent to receivers.
            """)
    @OptionGroup var common: CommonOptions
    @Flag(help: "Prints one JSON object instead of lines.")
    var json = false

    func run() async throws {
        let report = CheckReport(
            program: "petrel-collector", results: await CollectorDoctor(common).results())
        print(json ? report.json : report.text, terminator: "")
        if report.exitCode != 0 { throw ExitCode(report.exitCode) }
    }
}
