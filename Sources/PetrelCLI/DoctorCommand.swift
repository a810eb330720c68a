import ArgumentParser
import World
import WorldLive

/// `petrel doctor`: the check-up of whichever of the two programs is installed on this host.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks the agent and the collector of this host and names each remedy.",
        discussion: """
            Runs 'petrel-agent doctor' and 'petrel-collector doctor', those that are installed. Exit code 1 where one \
            of them found a failure. Run it with sudo, so that nothing is hidden from it.
            """)
    static let secondsMax = 120

    @Flag(help: "Prints one JSON array of both reports instead of lines.")
    var json = false

    func run() async throws {
        let runner = LiveProgramRunner()
        let found = ["petrel-agent", "petrel-collector"].compactMap { Self.place(of: $0, runner) }
        guard !found.isEmpty else {
            throw CommandFailure(
                "neither petrel-agent nor petrel-collector is installed on this host: "
                    + "sudo apt install petrel-agent")
        }
        var reports: [String] = []
        var worst: Int32 = 0
        for program in found {
            let outcome: ProgramOutcome
            do throws(ProgramError) {
                outcome = try runner.run(
                    ProgramRun(
                        [program, "doctor"] + (json ? ["--json"] : []),
                        deadlineSeconds: Self.secondsMax))
            } catch {
                throw CommandFailure("\(error)")
            }
            worst = max(worst, outcome.status)
            if !outcome.errors.isEmpty { Terminal.printError("\(program): \(outcome.errors)") }
            guard !outcome.output.isEmpty else { continue }
            reports.append(json ? String(outcome.output.dropLast()) : outcome.output)
            if !json {
                if found.count > 1 { print("\(program):") }
                print(outcome.output, terminator: "")
            }
        }
        if json { print("[" + reports.joined(separator: ",") + "]") }
        if worst != 0 { throw ExitCode(worst) }
    }

    /// Beside this program, as in a build folder, or else where the system keeps its programs.
    private static func place(of name: String, _ runner: LiveProgramRunner) -> String? {
        if let own = try? LiveFileTree().readLink("/proc/self/exe"),
            let slash = own.lastIndex(of: "/"),
            let beside = runner.locate(own[...slash] + name)
        {
            return beside
        }
        return runner.locate(name)
    }
}
