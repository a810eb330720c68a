import Glibc
import PromQLScript
import ScriptReport
import Testing

/// The scripts of Prometheus 3.14 and how many evals each has: all must pass.
private let scripts: [(file: String, evals: Int)] = [
    ("aggregators", 160), ("at_modifier", 71), ("collision", 2), ("duration_expression", 59),
    ("extended_vectors", 169), ("functions", 431), ("histograms", 185), ("literals", 25),
    ("name_label_dropping", 30), ("native_histograms", 522), ("operators", 213),
    ("range_queries", 18), ("start_timestamps", 26),
]

private let conformance =
    getenv("PETREL_CONFORMANCE").map { String(cString: $0) } ?? "../shared/conformance"

private func contents(of path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
        bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

private let hasScripts = access("\(conformance)/promqltest/literals.test", R_OK) == 0

@Suite(
    .enabled(
        if: hasScripts,
        "NOT RUN: no promqltest scripts in \(conformance); set PETREL_CONFORMANCE"))
struct ConformanceTests {
    @Test(arguments: scripts)
    func script(file: String, evals: Int) throws {
        let text = try #require(contents(of: "\(conformance)/promqltest/\(file).test"))
        let report = ScriptRunner.run(text: text, name: file)
        #expect(report.total == evals, "evals of \(file) counted otherwise")
        #expect(
            report.failures == [],
            "\(file): \(report.passed) of \(evals) pass:\n\(report.failures.joined(separator: "\n"))"
        )
    }
}
