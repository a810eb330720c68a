import Testing

/// House style that a machine can check. Exceptions stand in one list each, which only shrinks.
@Suite("House style")
struct StyleTests {
    static let fileLinesMax = 600
    static let testFileLinesMax = 900
    static let functionLinesMax = 70

    /// Files over the limit: none.
    static let longFiles: Set<String> = []
    /// `path:function` over the limit: none.
    static let longFunctions: Set<String> = []

    static var own: [SourceTree.File] { SourceTree.swiftFiles.filter { !$0.isGenerated } }

    @Test("files stay short")
    func fileLength() {
        for file in Self.own where !Self.longFiles.contains(file.path) {
            let limit = file.isTest ? Self.testFileLinesMax : Self.fileLinesMax
            #expect(file.lines.count <= limit + 1, "\(file.path): \(file.lines.count) lines")
        }
    }

    @Test("functions stay short")
    func functionLength() {
        for file in Self.own where !file.isTest {
            for (name, line, count) in functions(file)
            where count > Self.functionLinesMax
                && !Self.longFunctions.contains("\(file.path):\(name)")
            {
                Issue.record("\(file.path):\(line) \(name) has \(count) lines")
            }
        }
    }

    /// Name, first line and length of each function, by the indentation that the formatter guarantees.
    private func functions(_ file: SourceTree.File) -> [(String, Int, Int)] {
        var found: [(String, Int, Int)] = []
        for (index, line) in file.lines.enumerated() {
            let body = line.drop { $0 == " " }
            let indent = line.count - body.count
            let words = body.split(separator: " ")
            guard !body.hasPrefix("//"),
                let at = words.prefix(6).firstIndex(where: {
                    $0 == "func" || $0.hasPrefix("init(") || $0.hasPrefix("init?(")
                }),
                words[..<at].allSatisfy({ $0.allSatisfy { $0.isLetter || "@()_".contains($0) } })
            else { continue }
            let close = String(repeating: " ", count: indent) + "}"
            guard
                let end = file.lines[(index + 1)...].firstIndex(where: {
                    $0.hasPrefix(close)
                        || (!$0.isEmpty && $0.prefix(indent + 1).contains { $0 != " " }
                            && !$0.hasPrefix(String(repeating: " ", count: indent) + ")"))
                })
            else { continue }
            found.append(
                (words[at...].prefix(2).joined(separator: " "), index + 1, end - index + 1))
        }
        return found
    }

    /// A banned text, where it is allowed, and why it is banned.
    static let banned: [(text: String, allowed: Set<String>, why: String)] = [
        ("import Foundation", [], "the whole of Foundation links ICU: FoundationEssentials"),
        ("@testable", [], "tests use the package API"),
        ("Date()", ["WorldLive"], "time comes through WorldClock"),
        ("Date.now", ["WorldLive"], "time comes through WorldClock"),
        (".random(", ["WorldLive"], "randomness comes through RandomSource"),
        ("SystemRandomNumberGenerator", ["WorldLive"], "randomness comes through RandomSource"),
        ("FileManager", ["WorldLive"], "files come through WorldFileTree"),
        ("ProcessInfo", ["WorldLive"], "the environment comes through the programs"),
        ("clock_gettime", ["WorldLive"], "time comes through WorldClock"),
        ("try!", [], "handle the error"),
        ("fatalError(", [], "throw, or say the invariant in a precondition"),
        ("TODO", [], "file an issue"), ("FIXME", [], "file an issue"),
    ]

    @Test("banned calls", arguments: banned.indices)
    func bannedCalls(index: Int) {
        let (text, allowed, why) = Self.banned[index]
        for file in Self.own
        where !allowed.contains(file.target) && !file.path.contains("TidyTests") {
            if file.isTest, text != "@testable", text != "import Foundation" { continue }
            for (number, line) in file.lines.enumerated() where line.contains(text) {
                let code = line.drop { $0 == " " }
                guard !code.hasPrefix("//") else { continue }
                if text == "import Foundation", line.hasSuffix("FoundationEssentials") { continue }
                if text.first?.isLetter == true, isPartOfWord(text, in: line) { continue }
                Issue.record("\(file.path):\(number + 1): \(text): \(why)")
            }
        }
    }

    private func isPartOfWord(_ text: String, in line: Substring) -> Bool {
        guard let range = line.firstRange(of: text), range.lowerBound > line.startIndex else {
            return false
        }
        let before = line[line.index(before: range.lowerBound)]
        return before.isLetter || before == "_" || before == "."
    }

    /// What follows an access level, so that a text that begins with one is none.
    private static let declared: Set<Substring> = [
        "actor", "class", "enum", "extension", "final", "func", "import", "indirect", "init", "let",
        "mutating", "nonisolated", "override", "protocol", "static", "struct", "subscript",
        "typealias", "var",
    ]

    @Test("nothing is public")
    func nothingPublic() {
        for file in Self.own {
            for (number, line) in file.lines.enumerated() {
                let words = line.split(separator: " ")
                guard let first = words.first, first == "public" || first == "open",
                    words.count > 1, Self.declared.contains(words[1].prefix { $0 != "(" })
                else { continue }
                Issue.record("\(file.path):\(number + 1): access is `package` at most")
            }
        }
    }

    @Test("no unstructured tasks outside Main")
    func tasks() {
        for file in Self.own where !file.isTest && !file.path.contains("/Main/") {
            for (number, line) in file.lines.enumerated()
            where line.contains("Task {") || line.contains("Task.detached") {
                guard !line.drop(while: { $0 == " " }).hasPrefix("//"),
                    !line.contains("addTask {"), !line.contains("withUnsafeCurrentTask {")
                else { continue }
                Issue.record("\(file.path):\(number + 1): a long life is a Service")
            }
        }
    }

    @Test("package declarations are documented")
    func documented() {
        var undocumented: [String] = []
        for file in Self.own where !file.isTest {
            for (number, line) in file.lines.enumerated() {
                let code = line.drop { $0 == " " }
                let isType = ["struct ", "enum ", "final class ", "protocol ", "actor "].contains {
                    code.hasPrefix("package " + $0)
                }
                guard isType, number > 0 else { continue }
                var above = number - 1
                while above > 0, file.lines[above].drop(while: { $0 == " " }).hasPrefix("@") {
                    above -= 1
                }
                if !file.lines[above].drop(while: { $0 == " " }).hasPrefix("///") {
                    let indent = line.count - code.count
                    if indent == 0 { undocumented.append("\(file.path):\(number + 1)") }
                }
            }
        }
        #expect(undocumented.isEmpty, "no docstring: \(undocumented)")
    }
}
