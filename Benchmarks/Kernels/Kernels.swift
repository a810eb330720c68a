import ArgumentParser
import Glibc

/// `petrel-kernels`: times the innermost parts of the collector, one JSON line a case on the standard output.
@main
struct Kernels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "petrel-kernels",
        abstract: "Time the chunk codec and the PromQL engine, one JSON line a case.",
        discussion:
            "A tool for development, in no package: `make bench` runs it, see CONTRIBUTING.md.",
        subcommands: [CodecCommand.self, EngineCommand.self])
}

struct CodecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec",
        abstract: "Encode and decode chunks of a fleet's kinds of series.")

    @OptionGroup var bounds: RunBounds

    func run() throws {
        for kind in FleetColumns.Kind.allCases {
            for line in try CodecKernel(kind).lines(bounds) { print(line) }
            // Whoever reads sees each case when it is measured.
            fflush(nil)
        }
    }
}

struct EngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine",
        abstract: "Parse, plan and evaluate range queries over series that are in memory.",
        discussion:
            "Reads lines of EXPRESSION<TAB>STEPS from the standard input; `#` begins a comment.")

    /// Lines of one run.
    private static let casesMax = 10_000

    @OptionGroup var bounds: RunBounds

    func run() throws {
        let kernel = EngineKernel()
        var failures = 0
        for (text, steps) in try Self.cases() {
            let line = kernel.line(text, steps: steps, bounds)
            if line.isFailure { failures += 1 }
            print(line)
            fflush(nil)
        }
        if failures > 0 { throw ExitCode(1) }
    }

    private static func cases() throws -> [(String, Int)] {
        var cases: [(String, Int)] = []
        var number = 0
        while let line = readLine() {
            number += 1
            if line.isEmpty || line.hasPrefix("#") { continue }
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 2, let steps = Int(fields[1]),
                (1...EngineKernel.stepsMax).contains(steps)
            else {
                throw ValidationError(
                    "line \(number): expected EXPRESSION<TAB>STEPS, 1 to \(EngineKernel.stepsMax) "
                        + "of them")
            }
            guard cases.count < casesMax else {
                throw ValidationError("line \(number): more than \(casesMax) cases")
            }
            cases.append((String(fields[0]), steps))
        }
        guard !cases.isEmpty else {
            throw ValidationError("no expressions: give them on the standard input")
        }
        return cases
    }
}
