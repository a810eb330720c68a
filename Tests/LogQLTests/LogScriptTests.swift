import FoundationEssentials
import LogQLScript
import ScriptReport
import Testing

/// The scripts of Loki 3.6 and how many evals each has: all must pass.
private let scripts: [(file: String, evals: Int)] = [
    ("binary_operations", 268), ("conversions", 14), ("formatters", 31), ("label_filters", 286),
    ("line_filters", 56), ("range_aggregations", 241),
]

private let folder =
    (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
    + "/logqltest"

private func contents(of path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
}

@Suite(
    .enabled(
        if: contents(of: folder + "/conversions.logqltest") != nil,
        "NOT RUN: no logqltest scripts in $PETREL_CONFORMANCE (or ../shared/conformance)"))
struct LogScriptConformanceTests {
    @Test(arguments: scripts)
    func script(file: String, evals: Int) throws {
        let text = try #require(contents(of: "\(folder)/\(file).logqltest"))
        let report = LogScriptRunner.run(text: text, name: file)
        #expect(report.total == evals, "evals of \(file) counted otherwise")
        #expect(
            report.failures == [],
            "\(file): \(report.passed) of \(evals) pass:\n\(report.failures.joined(separator: "\n"))"
        )
    }
}

/// The runner itself: what is wrong must fail, with what was wanted and what came.
struct LogScriptRunnerTests {
    private func report(_ evals: String) -> ScriptReport {
        LogScriptRunner.run(
            text: "load\n  {app=\"a\"} \"x\" @ 10s [repeat every 10s for 6]\n\n" + evals, name: "t")
    }

    @Test(arguments: [
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  {app=\"a\"} 5\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  {app=\"b\"} 6\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  {app=\"a\", x=\"\"} 6\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  {app=\"a\"} 6\n  {app=\"b\"} 6\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  expect empty\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  expect fail\n",
        "eval instant at 60s count_over_time({app=\"a\"}[1m])\n  6\n",
        "eval instant at 60s sum(\n  expect fail msg: something else\n",
        "eval instant at 60s 1+1\n  3\n",
        "eval instant at 60s 1+1\n  {} 2\n",
        "eval range from 0s to 20s step 10s count_over_time({app=\"a\"}[10s])\n  {app=\"a\"} 1 1 1\n",
        "eval range from 0s to 20s step 10s count_over_time({app=\"a\"}[10s])\n  {app=\"a\"} _ 1\n",
    ])
    func wrong(eval: String) {
        let report = report(eval)
        #expect(report.passed == 0 && report.failed == 1, "\(report)")
        #expect(report.failures[0].contains("expected:"))
        #expect(report.failures[0].hasPrefix("t:4: "))
    }

    @Test(arguments: [
        "eval instant at 60s 1+1\n", "eval\n", "eval instant at x 1\n  1\n", "evil\n", "load\n",
        "load\n  {app=\"a\"} \"x\"\n", "load\n  {app=\"a\"} \"x\" @ 1s [repeat every]\n",
        "eval instant at 1s 1\n  expect nothing\n", "eval instant at 1s 1\n  1\n  expect empty\n",
    ])
    func stopped(script: String) {
        let report = report(script)
        #expect(report.failed == 1 && report.failures.count == 1, "\(report)")
    }

    @Test func notation() {
        let report = report(
            """
            # Loads add up; `#` in quotes is text.
            load
              {app="a"} "q#{{.i}}" @ 10s [repeat every 1s for 3] [metadata k="v" "odd key"="w"]
              # a comment
              {app="b"} `{"a":1}` @ 1m0s # another

            eval range from 10s to 50s step 10s count_over_time({app="a"}[10s]) # comment
              {app="a"} 1x4
              {app="a", k="v", "odd key"="w"} 1 2 _ _ _
            eval range from 10s to 30s step 10s sum(sum_over_time({app="a"} | pattern "q#<n>" | unwrap n [10s]))
              {} 0+3x1 _
            eval range from 0s to 20s step 10s vector(3) - 1
              {} 2x2
            eval instant at 60s count_over_time({app="b"} | json [1m])
              {app="b", a="1"} 1
            eval instant at 1m sum(
              expect fail regex: parse +error

            """)
        #expect(report.failures == [])
        #expect(report.passed == 5)
    }
}
