import Glibc
import PromQLScript
import Testing

/// The scripts of Prometheus 3.14 and the evals of each that must pass: raise a figure when more do, never lower one.
private let ratchet: [(file: String, passes: Int, evals: Int)] = [
    ("aggregators", 125, 160), ("at_modifier", 71, 71), ("collision", 2, 2),
    ("duration_expression", 59, 59), ("extended_vectors", 120, 169), ("functions", 326, 431),
    ("histograms", 93, 185), ("literals", 25, 25), ("name_label_dropping", 30, 30),
    ("native_histograms", 3, 522), ("operators", 141, 213), ("range_queries", 17, 18),
    ("start_timestamps", 2, 26),
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
    @Test(arguments: ratchet)
    func script(file: String, passes: Int, evals: Int) throws {
        let text = try #require(contents(of: "\(conformance)/promqltest/\(file).test"))
        let report = ScriptRunner.run(text: text, name: file)
        #expect(report.total == evals, "evals of \(file) counted otherwise")
        let failures = report.failures.filter { !$0.contains("native histograms") }
        #expect(
            report.passed >= passes,
            "\(file): \(report.passed) of \(evals) pass:\n\(failures.joined(separator: "\n"))")
    }
}
