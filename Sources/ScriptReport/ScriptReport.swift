/// What became of the evals of one test script.
package struct ScriptReport: Hashable, Sendable {
    package var passed: Int
    package var failed: Int
    /// `file:line: …` with the reason, or with what was expected and what came, of each eval that failed; and why a script
    /// stopped.
    package var failures: [String]

    package init(passed: Int = 0, failed: Int = 0, failures: [String] = []) {
        self.passed = passed
        self.failed = failed
        self.failures = failures
    }

    /// Evals in all.
    package var total: Int { passed + failed }
}

/// Why an eval, or a line of a script, fails.
package struct ScriptFailure: Error {
    package var reason: String

    package init(_ reason: String) { self.reason = reason }
}
