import Testing

/// What files that people copy or read say of the programs, held against their sources.
@Suite("Shipped files")
struct ShippedFileTests {
    /// What stands between `start` and the next `end`.
    private static func part(_ text: String, _ start: String, _ end: String) -> String? {
        guard let head = text.firstRange(of: start) else { return nil }
        let rest = text[head.upperBound...]
        return rest.firstRange(of: end).map { String(rest[..<$0.lowerBound]) }
    }

    /// The value of a key of the provisioning file.
    private static func value(_ key: String) -> String? {
        part(SourceTree.text("packaging/grafana/petrel.yaml"), " \(key): ", "\n")
    }

    @Test(
        "Grafana's data source asks where the collector listens, and takes it for what it says it is"
    )
    func dataSource() throws {
        let listener = try #require(
            Self.part(
                SourceTree.text("collector/Main/CollectorConfiguration.swift"),
                "var http = AddressAndPort(address: \"", ")"))
        let address = listener.replacing("\", port: ", with: ":").replacing("_", with: "")
        #expect(Self.value("url") == "http://\(address)/prometheus")
        let version = try #require(
            Self.part(
                SourceTree.text("collector/Web/PrometheusStatusAPI.swift"),
                "static let prometheusVersion = \"", "\""))
        #expect(Self.value("prometheusVersion") == version)
        let interval = try #require(
            Self.part(
                SourceTree.text("collector/Web/PrometheusTargetsAPI.swift"),
                "static let scrapeIntervalText = \"", "\""))
        #expect(Self.value("timeInterval") == interval)
    }

    @Test("Grafana's data source is in the package, at the path that docs/grafana.md says")
    func dataSourcePath() throws {
        let path = try #require(
            Self.part(
                SourceTree.text("packaging/build-deb"), "\"$here/grafana/petrel.yaml\" ", "\n"))
        #expect(path.hasPrefix("usr/share/"))
        #expect(
            SourceTree.text("docs/grafana.md").contains("install -m 0644 /\(path) "),
            "docs/grafana.md does not install /\(path)")
    }

    @Test("every feature of PromQL is named where people look for them")
    func features() {
        let names = SourceTree.text("Sources/PromQLSyntax/PromQLFeature.swift")
            .split(separator: "\n").compactMap { Self.part(String($0) + "\n", " = \"", "\"\n") }
        #expect(names.contains("promql-experimental-functions"))
        for name in names {
            for file in [
                "docs/grafana.md", "packaging/config/collector.yaml",
                "packaging/man/petrel-collector.yaml.5.in",
            ] {
                // Roff writes its hyphens as `\-`.
                let text = SourceTree.text(file).replacing("\\-", with: "-")
                #expect(text.contains(name), "\(file) does not name \(name)")
            }
        }
    }

    /// Bounds that errors name as a key and that nobody can set yet; shrinks only.
    private static let fixedLimits: Set<String> = ["query_exemplars", "log_streams_max"]

    /// The keys of `limits` that `text` names behind `mark`.
    private static func keys(_ text: some StringProtocol, after mark: String) -> Set<String> {
        var keys: Set<String> = []
        var rest = Substring(text)
        while let found = rest.firstRange(of: mark) {
            rest = rest[found.upperBound...]
            let key = rest.prefix { $0 == "_" || ("a"..."z").contains($0) }
            if key.contains("_") { keys.insert(String(key)) }
        }
        return keys
    }

    @Test("limits that errors name are keys of collector.yaml, and each key has its page")
    func limits() {
        let known = ["int", "duration"].reduce(into: Set<String>()) {
            $0.formUnion(
                Self.keys(
                    SourceTree.text("collector/Main/CollectorConfiguration.swift")
                        .filter { !$0.isWhitespace }, after: "limits.\($1)(\""))
        }
        #expect(known.contains("query_series") && known.contains("concurrent_queries"))
        let page = Self.keys(
            SourceTree.text("packaging/man/petrel-collector.yaml.5.in"), after: "\\fBlimits.")
        #expect(known.subtracting(page) == [], "keys without a page")
        #expect(page.subtracting(known) == [], "pages of no key")
        for file in SourceTree.swiftFiles
        where !file.isTest
            && (file.path.hasPrefix("collector/") || file.path.hasPrefix("Sources/PromQL/")
                || file.path.hasPrefix("Sources/Storage/"))
        {
            for line in file.lines {
                let unknown = Self.keys(line, after: "limits.").subtracting(known)
                    .subtracting(Self.fixedLimits)
                #expect(unknown.isEmpty, "\(file.path): no key of limits: \(unknown)")
            }
        }
    }
}
