/// What became of the evals of one script.
package struct ScriptReport: Hashable, Sendable {
    package var passed: Int
    package var failed: Int
    /// `file:line: reason` of each eval that failed, and of a line that stopped the script.
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
struct ScriptFailure: Error {
    var reason: String

    init(_ reason: String) { self.reason = reason }
}
