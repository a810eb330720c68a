import Testing

/// What the documents promise about themselves.
@Suite("Documents")
struct DocumentTests {
    @Test(
        "the house has its papers",
        arguments: [
            "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE",
            "Makefile",
            ".ci/run", "docs/formats/fleet.md", "docs/formats/spool.md", "docs/formats/storage.md",
        ])
    func exists(path: String) { #expect(!SourceTree.text(path).isEmpty, "missing: \(path)") }

    @Test("ARCHITECTURE.md stays under 300 lines")
    func short() {
        #expect(
            SourceTree.text("ARCHITECTURE.md").split(
                separator: "\n", omittingEmptySubsequences: false
            ).count < 300)
    }

    @Test("changelog lines name their kind and area")
    func changelog() {
        let kinds = ["FEATURE", "CHANGE", "PERF", "BUGFIX", "SECURITY"]
        for line in SourceTree.text("CHANGELOG.md").split(separator: "\n")
        where line.hasPrefix("- ") {
            #expect(
                kinds.contains { line.hasPrefix("- [\($0)] ") } && line.contains(": "),
                "\(line)")
        }
    }

    @Test("migrations are numbered without a hole")
    func migrations() {
        let names = SourceTree.load(["collector/Store/Migrations"], ".sql").map {
            $0.path.split(separator: "/").last.map(String.init) ?? ""
        }
        #expect(!names.isEmpty)
        for (index, name) in names.enumerated() {
            let number = String(repeating: "0", count: 4 - "\(index + 1)".count) + "\(index + 1)"
            #expect(name.hasPrefix(number + "_"), "\(name) should be number \(number)")
        }
    }
}
