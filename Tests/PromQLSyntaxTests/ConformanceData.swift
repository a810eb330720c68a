import FoundationEssentials
import Glibc

/// The files that Prometheus' own tests became: `$PETREL_CONFORMANCE`, else beside the project.
enum ConformanceData {
    static let missing: String =
        "no conformance data: set PETREL_CONFORMANCE to the folder with promql-parse-cases.json"

    static var isPresent: Bool {
        FileManager.default.fileExists(atPath: folder + "/promql-parse-cases.json")
    }

    struct ParseCase: Decodable, Sendable {
        var query: String
        var fail: Bool
    }

    static func parseCases() throws -> [ParseCase] {
        try JSONDecoder().decode([ParseCase].self, from: Data(text("promql-parse-cases.json").utf8))
    }

    /// The queries of Prometheus' benchmark, without the number of steps behind each.
    static func benchmarkQueries() -> [String] {
        text("promql-bench-queries.tsv").split(separator: "\n").compactMap {
            $0.split(separator: "\t").first.map(String.init)
        }
    }

    /// One `eval` of a script, or one line of series.
    struct ScriptLine: Sendable {
        var file: String
        var number: Int
        var text: String
        /// Whether the script says that the query fails.
        var fails = false
    }

    static var scriptNames: [String] {
        let names =
            (try? FileManager.default.contentsOfDirectory(atPath: folder + "/promqltest")) ?? []
        return names.filter { $0.hasSuffix(".test") }.sorted()
    }

    /// The queries and the series lines of all scripts.
    static func scripts() -> (queries: [ScriptLine], series: [ScriptLine]) {
        var queries: [ScriptLine] = []
        var series: [ScriptLine] = []
        for file in scriptNames {
            var isInBlock = false
            for (index, raw) in text("promqltest/" + file).split(
                separator: "\n", omittingEmptySubsequences: false
            ).enumerated() {
                let line = trimmed(raw)
                if line.isEmpty { isInBlock = false }
                if line.isEmpty || line.hasPrefix("#") || line == "clear" { continue }
                if line.hasPrefix("load") {
                    isInBlock = true
                } else if line.hasPrefix("eval"), let query = query(in: line) {
                    isInBlock = true
                    queries.append(
                        ScriptLine(
                            file: file, number: index + 1, text: query,
                            fails: line.hasPrefix("eval_fail")))
                } else if line.hasPrefix("expect fail") {
                    queries[queries.count - 1].fails = true
                } else if isInBlock, !line.hasPrefix("expect"), isSeries(line) {
                    series.append(ScriptLine(file: file, number: index + 1, text: line))
                }
            }
        }
        return (queries, series)
    }

    /// The query of `eval instant at 5m QUERY` or `eval range from A to B step S QUERY`.
    private static func query(in line: String) -> String? {
        let words = line.split(separator: " ", omittingEmptySubsequences: true)
        let skipped: Int
        if words[1] == "range" {
            skipped = 8
        } else {
            skipped = words.count > 2 && words[2] == "at" ? 4 : 2
        }
        guard words.count > skipped else { return nil }
        return String(line[words[skipped].startIndex...])
    }

    /// Not a bare number, an old-style message or a line of start timestamps.
    private static func isSeries(_ line: String) -> Bool {
        guard let first = line.unicodeScalars.first, !line.contains("}@st "),
            !line.split(separator: " ")[0].hasSuffix("@st")
        else { return false }
        return (first == "{" || first == "_" || first.properties.isAlphabetic)
            && !line.hasPrefix("expected_fail") && Double(line) == nil
    }

    private static func trimmed(_ line: Substring) -> String {
        let isBlank = { (character: Character) in character == " " || character == "\t" }
        var rest = line.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return String(rest)
    }

    private static let folder: String =
        getenv("PETREL_CONFORMANCE").map { String(cString: $0) } ?? "../shared/conformance"

    private static func text(_ path: String) -> String {
        String(
            decoding: FileManager.default.contents(atPath: folder + "/" + path) ?? Data(),
            as: UTF8.self)
    }
}
