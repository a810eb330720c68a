/// What a check-up found of one thing.
package struct CheckResult: Hashable, Sendable {
    package enum Verdict: Int, Comparable, Hashable, Sendable {
        case ok = 0
        /// Works, but not as it should, or will not for long.
        case warn = 1
        case fail = 2

        package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

        /// As a line begins.
        var word: String {
            switch self {
            case .ok: "ok"
            case .warn: "warn"
            case .fail: "FAIL"
            }
        }
    }

    /// The thing, in one or two words.
    package var name: String
    package var verdict: Verdict
    /// What was found, one sentence without its full stop.
    package var found: String
    /// The exact command or line that helps; empty where nothing is wrong.
    package var remedy: String

    package init(_ name: String, _ verdict: Verdict, _ found: String, remedy: String) {
        self.name = name
        self.verdict = verdict
        self.found = found
        self.remedy = remedy
    }

    package static func ok(_ name: String, _ found: String) -> CheckResult {
        CheckResult(name, .ok, found, remedy: "")
    }
    package static func warn(_ name: String, _ found: String, remedy: String) -> CheckResult {
        CheckResult(name, .warn, found, remedy: remedy)
    }
    package static func fail(_ name: String, _ found: String, remedy: String) -> CheckResult {
        CheckResult(name, .fail, found, remedy: remedy)
    }
}

/// Everything that a check-up of one program found.
package struct CheckReport: Sendable {
    package var program: String
    package var results: [CheckResult]

    package init(program: String, results: [CheckResult]) {
        self.program = program
        self.results = results
    }

    /// 1 where anything failed; warnings alone are 0.
    package var exitCode: Int32 { results.contains { $0.verdict == .fail } ? 1 : 0 }

    /// One line a check, and below each that is not ok its remedy; with the last line's end.
    package var text: String {
        let width = results.map(\.name.count).max() ?? 0
        var line = LineText()
        for result in results {
            let word = result.verdict.word
            line.raw(word + String(repeating: " ", count: 6 - word.count))
            line.escaped(result.name, bytesMax: .max, isQuoted: false)
            line.raw(String(repeating: " ", count: width - result.name.count + 2))
            line.escaped(result.found, bytesMax: .max, isQuoted: false)
            line.raw("\n")
            for remedy in result.remedy.split(separator: "\n") {
                line.raw("        ")
                line.escaped(String(remedy), bytesMax: .max, isQuoted: false)
                line.raw("\n")
            }
        }
        return String(decoding: line.bytes, as: UTF8.self)
    }

    /// One object: `program`, `exit`, and `checks` of `name`, `verdict` (`ok`, `warn`, `fail`), `found` and `remedy`;
    /// one line with its end.
    package var json: String {
        var line = LineText()
        func field(_ key: String, _ value: String) {
            line.raw("\"\(key)\":\"")
            line.escaped(value, bytesMax: .max)
            line.raw("\"")
        }
        line.raw("{")
        field("program", program)
        line.raw(",\"exit\":\(exitCode),\"checks\":[")
        for (index, result) in results.enumerated() {
            line.raw(index == 0 ? "{" : ",{")
            field("name", result.name)
            line.raw(",")
            field("verdict", result.verdict.word.lowercased())
            line.raw(",")
            field("found", result.found)
            line.raw(",")
            field("remedy", result.remedy)
            line.raw("}")
        }
        line.raw("]}\n")
        return String(decoding: line.bytes, as: UTF8.self)
    }
}
