import Testing

/// The table of ARCHITECTURE.md "Layers": a target imports only from layers below its own; stages never each other.
@Suite("Layers")
struct LayerTests {
    static let layers: [[String]] = [
        ["Model", "World", "CRE2", "LinearRegex", "CGlibc"],
        [
            "WorldLive", "Storage", "ChunkCodec", "LogBlock", "QueryMath", "GoTemplate",
            "Exposition",
            "Gzip", "CZlib", "CMalloc",
            "PromQLSyntax", "Probe", "Wire", "Identity", "Postgres", "YAMLDocument", "CYAML",
            "CLibPQ", "CSnappy", "CZstd", "RemoteWrite", "JSONReading", "ScriptReport",
        ],
        ["PromQL", "LogQLSyntax", "WireRPC", "OTLP", "Simulation"],
        [
            "LogQL", "ProbeClients", "Rules", "Routing", "PromQLScript", "LogQLScript", "Startup",
        ],
        [
            "CHost", "CSystemd", "AgentRead", "AgentScrape", "AgentProbe", "AgentBatch",
            "AgentSpool",
            "AgentStream",
            "AgentExport", "AgentHelper", "AgentSetup", "CollectorReceive", "CollectorCheck",
            "CollectorStore", "CollectorQuery", "CollectorEvaluate", "CollectorNotify",
        ],
        ["CollectorWeb"],
        ["petrel-agent", "petrel-collector", "petrel", "petrel-kernels"],
    ]

    /// Arrows inside a layer that the table allows, each with its reason.
    static let within: Set<String> = [
        "World>Model",  // the world's protocols speak of times
        // C and its owner
        "LinearRegex>CRE2", "YAMLDocument>CYAML", "Postgres>CLibPQ", "AgentRead>CHost",
        "AgentRead>CSystemd",
        "Gzip>CZlib", "WorldLive>CMalloc",
        "RemoteWrite>CSnappy", "LogBlock>CZstd",
        "LogQLScript>LogQL",  // the runner of an engine that is of the same layer
    ]

    /// A heavy dependency and the only targets that may import it.
    static let owners: [String: Set<String>] = [
        "GRPCCore": ["WireRPC", "AgentStream", "CollectorReceive"],
        "GRPCNIOTransportHTTP2Posix": ["AgentStream", "CollectorReceive"],
        "Hummingbird": ["CollectorWeb"],
        "CLibPQ": ["Postgres"],
        "SwiftProtobuf": ["Wire", "WireRPC", "AgentStream", "CollectorReceive"],
        "CYAML": ["YAMLDocument"],
        "CZlib": ["Gzip"],
        "CMalloc": ["WorldLive"],
        "CRE2": ["LinearRegex"],
        "CSnappy": ["RemoteWrite"], "CZstd": ["LogBlock"],
        "CHost": ["AgentRead"], "CSystemd": ["AgentRead"], "CGlibc": ["WorldLive", "Postgres"],
    ]

    static let layerOf: [String: Int] = Dictionary(
        uniqueKeysWithValues: layers.enumerated().flatMap { index, names in
            names.map { ($0, index) }
        })

    /// Every arrow between the project's targets, as `from>to`, read from the sources.
    static let arrows: Set<String> = {
        var found: Set<String> = []
        for file in SourceTree.swiftFiles where !file.isTest {
            for module in imports(file) where layerOf[module] != nil {
                found.insert("\(file.target)>\(module)")
            }
        }
        return found
    }()

    static func imports(_ file: SourceTree.File) -> [String] {
        file.lines.compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard let at = words.firstIndex(of: "import"), at <= 1,
                at == 0 || ["package", "internal", "private", "fileprivate"].contains(words[0]),
                words.count > at + 1
            else { return nil }
            return words.last.map { $0.split(separator: ".").map(String.init)[0] }
        }
    }

    @Test("every target has a place in the table")
    func placed() {
        let unplaced = Set(SourceTree.swiftFiles.filter { !$0.isTest }.map(\.target)).filter {
            Self.layerOf[$0] == nil
        }
        #expect(unplaced.isEmpty, "add to the table: \(unplaced.sorted())")
    }

    @Test("arrows point downward")
    func downward() {
        #expect(!Self.arrows.isEmpty)
        for arrow in Self.arrows.subtracting(Self.within).sorted() {
            let ends = arrow.split(separator: ">").map(String.init)
            guard let from = Self.layerOf[ends[0]], let to = Self.layerOf[ends[1]] else { continue }
            #expect(from > to, "\(ends[0]) (layer \(from)) imports \(ends[1]) (layer \(to))")
        }
    }

    @Test("agent and collector meet only in the shared libraries")
    func sides() {
        for arrow in Self.arrows {
            let ends = arrow.split(separator: ">").map(String.init)
            let crosses =
                (isAgent(ends[0]) && isCollector(ends[1]))
                || (isCollector(ends[0]) && isAgent(ends[1]))
            #expect(!crosses, "\(arrow)")
        }
    }

    @Test("the live world is chosen by the programs alone")
    func liveWorld() {
        let users = Self.arrows.filter { $0.hasSuffix(">WorldLive") }
        let allowed: Set = [
            "petrel-agent>WorldLive", "petrel-collector>WorldLive", "petrel>WorldLive",
        ]
        #expect(users.subtracting(allowed).isEmpty)
    }

    @Test("heavy dependencies have one owner")
    func heavy() {
        for file in SourceTree.swiftFiles where !file.isTest {
            for module in Self.imports(file) {
                guard let owners = Self.owners[module] else { continue }
                #expect(owners.contains(file.target), "\(file.path) imports \(module)")
            }
        }
    }

    @Test("the drawing in ARCHITECTURE.md shows these arrows and no others")
    func drawing() {
        let text = SourceTree.text("ARCHITECTURE.md")
        var drawn: Set<String> = []
        var inDrawing = false
        for line in text.split(separator: "\n") {
            if line.hasPrefix("```") { inDrawing = line.contains("arrows") }
            guard inDrawing, let arrow = line.firstRange(of: " -> ") else { continue }
            let from = line[..<arrow.lowerBound].filter { $0 != " " }
            for to in line[arrow.upperBound...].split(separator: " ") {
                drawn.insert("\(from)>\(to)")
            }
        }
        let missing = Self.arrows.subtracting(drawn).sorted()
        let stale = drawn.subtracting(Self.arrows).sorted()
        #expect(missing.isEmpty, "not in the drawing: \(missing)")
        #expect(stale.isEmpty, "drawn, but not in the sources: \(stale)")
    }

    private func isAgent(_ target: String) -> Bool {
        target.hasPrefix("Agent") || target == "petrel-agent"
    }
    private func isCollector(_ target: String) -> Bool {
        target.hasPrefix("Collector") || target == "petrel-collector"
    }
}
