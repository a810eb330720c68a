// swift-tools-version: 6.2
// The first map of Petrel: a section a layer, the stages of each side in the order data flows.
// The table of layers is ARCHITECTURE.md "Layers"; TidyTests keeps both true.

import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// Release executables: the Swift runtime linked statically (here, not by `--static-swift-stdlib`, so that the tests, whose
/// library exists only as a shared one, use the same compiled modules); lld with relative relocations and no exported
/// symbols (10 MB smaller, 4 MiB less resident).
let lean: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims",
            "-lswiftSynchronization", "-use-ld=lld",
            "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs",
            "-Xlinker", "--no-export-dynamic", "-Xlinker", "--exclude-libs=ALL",
        ], .when(configuration: .release))
]

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals: Target.Dependency = .product(
    name: "UnixSignals", package: "swift-service-lifecycle")
let arguments: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let grpc: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
let grpcProtobuf: Target.Dependency = .product(
    name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let grpcTransport: Target.Dependency = .product(
    name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket: Target.Dependency = .product(name: "NIOWebSocket", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let httpClient: Target.Dependency = .product(
    name: "AsyncHTTPClient", package: "async-http-client")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")

func library(
    _ name: String, at path: String? = nil, _ dependencies: [Target.Dependency] = [],
    resources: [Resource] = [], exclude: [String] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: path ?? "Sources/\(name)", exclude: exclude,
        resources: resources, swiftSettings: strict)
}

func program(_ name: String, at path: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: path, swiftSettings: strict,
        linkerSettings: lean)
}

/// The tests themselves are not optimised, the code under test is.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(name)",
        swiftSettings: strict + [.unsafeFlags(["-Onone"], .when(configuration: .release))])
}

// Layer 0: what everything means, and the world as protocols. Imports nothing.
let meaning: [Target] = [
    library("Model"),
    library("World", ["Model"]),
    .target(
        name: "CRE2", path: "Sources/CRE2", publicHeadersPath: "include",
        linkerSettings: [
            .unsafeFlags(["-Xlinker", "-l:libre2.a"]), .linkedLibrary("stdc++"),
        ]),
    library("LinearRegex", ["CRE2"]),
    .target(name: "CGlibc", path: "Sources/CGlibc", publicHeadersPath: "include"),
]

// Layer 1: one skill each.
let skills: [Target] = [
    .target(name: "CMalloc", path: "Sources/CMalloc", publicHeadersPath: "include"),
    library("WorldLive", ["Model", "World", "CGlibc", "CMalloc"]),
    library("Storage", ["Model"]),
    library("QueryMath", ["Model"]),
    library("ChunkCodec", ["Model"]),
    .systemLibrary(
        name: "CZstd", path: "Sources/CZstd", providers: [.apt(["libzstd-dev"])]),
    .target(
        name: "LogBlock", dependencies: ["Model", "LinearRegex", "CZstd"], path: "Sources/LogBlock",
        swiftSettings: strict,
        linkerSettings: [.unsafeFlags(["-Xlinker", "-l:libzstd.a"])]),
    library("GoTemplate", ["Model"]),
    library("Exposition", ["Model"]),
    library("JSONReading"),
    library("ScriptReport"),
    library("PromQLSyntax", ["Model", "LinearRegex"]),
    library("Wire", ["Model", protobuf], exclude: []),
    library("Identity", ["Model", "World", x509, crypto, asn1]),
    .systemLibrary(
        name: "CYAML", path: "Sources/CYAML", pkgConfig: "yaml-0.1",
        providers: [.apt(["libyaml-dev"])]),
    library("YAMLDocument", ["Model", "CYAML"]),
    .systemLibrary(
        name: "CSnappy", path: "Sources/CSnappy", providers: [.apt(["libsnappy-dev"])]),
    .target(
        name: "RemoteWrite", dependencies: ["Model", "CSnappy"], path: "Sources/RemoteWrite",
        swiftSettings: strict,
        linkerSettings: [
            .unsafeFlags(["-Xlinker", "-l:libsnappy.a"]), .linkedLibrary("stdc++"),
        ]),
    .systemLibrary(
        name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib",
        providers: [.apt(["zlib1g-dev"])]),
    library("Gzip", ["CZlib"]),
    .systemLibrary(
        name: "CLibPQ", path: "Sources/CLibPQ", pkgConfig: "libpq",
        providers: [.apt(["libpq-dev"])]),
    library("Postgres", ["Model", "CLibPQ", "CGlibc", log]),
]

// Layer 2: the languages' engines, the services' generated code, the simulated world.
let engines: [Target] = [
    library("PromQL", ["Model", "LinearRegex", "QueryMath", "PromQLSyntax"]),
    library("LogQLSyntax", ["Model", "LinearRegex", "PromQLSyntax"]),
    library("WireRPC", ["Wire", protobuf, grpc, grpcProtobuf]),
    library("OTLP", ["Model", "JSONReading", "QueryMath", "RemoteWrite"]),
    library("Simulation", ["Model", "World"]),
]

// Layer 3: pure parts that the collector and the command line share.
let shared: [Target] = [
    library(
        "LogQL",
        ["Model", "LinearRegex", "QueryMath", "GoTemplate", "JSONReading", "LogQLSyntax"]),
    library(
        "Rules",
        ["Model", "Storage", "QueryMath", "GoTemplate", "PromQLSyntax", "YAMLDocument"]),
    library("Routing", ["Model", "LinearRegex", "GoTemplate", "YAMLDocument"]),
    library(
        "PromQLScript",
        ["Model", "LinearRegex", "QueryMath", "ScriptReport", "PromQLSyntax", "PromQL"]),
    library(
        "LogQLScript",
        ["Model", "LinearRegex", "QueryMath", "ScriptReport", "LogQLSyntax", "LogQL"]),
    library(
        "Startup",
        [
            "Model", "World", "Storage", "YAMLDocument", arguments, log, lifecycle, signals,
            nioCore,
        ]),
]

// Layer 4, agent: read and scrape, batch, spool, stream; export.
let agentStages: [Target] = [
    .target(name: "CSystemd", path: "Sources/CSystemd", publicHeadersPath: "include"),
    .target(name: "CHost", path: "Sources/CHost", publicHeadersPath: "include"),
    library(
        "AgentRead", at: "agent/Read",
        [
            "Model", "World", "LinearRegex", "Exposition", "YAMLDocument", "JSONReading", "Gzip",
            "CHost", "CSystemd", log, crypto, asn1,
        ]),
    library(
        "AgentScrape", at: "agent/Scrape",
        [
            "Model", "World", "Exposition", "Gzip", "LinearRegex", "YAMLDocument", nioCore,
            nioPosix, nioHTTP1, nioSSL, log, lifecycle,
        ]),
    library("AgentBatch", at: "agent/Batch", ["Model", "Storage", "Wire"]),
    library("AgentSpool", at: "agent/Spool", ["Model", "World", "Storage", "Wire"]),
    library(
        "AgentStream", at: "agent/Stream",
        [
            "Model", "World", "Storage", "Wire", "WireRPC", "Identity", grpc, grpcTransport,
            nioCore, nioPosix, nioSSL, log, x509, crypto, lifecycle, protobuf,
        ]),
    library(
        "AgentExport", at: "agent/Export",
        ["Model", "Exposition", nioCore, nioPosix, nioHTTP1, log, lifecycle]),
    library(
        "AgentHelper", at: "agent/Helper",
        [
            "Model", "World", "Exposition", "JSONReading", nioCore, nioPosix, nioHTTP1, log,
            lifecycle,
        ]),
    library("AgentSetup", at: "agent/Setup", ["World", crypto]),
]

// Layer 4, collector: receive, store, query, evaluate, notify.
let collectorStages: [Target] = [
    library(
        "CollectorReceive", at: "collector/Receive",
        [
            "Model", "World", "Storage", "Wire", "WireRPC", "Identity", "Startup", grpc,
            grpcTransport, nioCore, nioPosix, nioSSL, log, x509, crypto, lifecycle, protobuf,
        ]),
    library(
        "CollectorStore", at: "collector/Store",
        [
            "Model", "World", "Storage", "LinearRegex", "ChunkCodec", "LogBlock", "Postgres", log,
            lifecycle,
        ],
        resources: [.embedInCode("Migrations")]),
    library(
        "CollectorQuery", at: "collector/Query",
        [
            "Model", "World", "Storage", "LinearRegex", "GoTemplate", "PromQLSyntax", "PromQL",
            "LogQLSyntax", "LogQL", log,
        ]),
    library(
        "CollectorEvaluate", at: "collector/Evaluate",
        [
            "Model", "World", "Storage", "Rules", "GoTemplate", log, lifecycle,
        ]),
    library(
        "CollectorNotify", at: "collector/Notify",
        [
            "Model", "World", "Storage", "Routing", "GoTemplate", httpClient, nioCore, nioPosix,
            nioHTTP1, nioSSL, log, lifecycle,
        ]),
]

// Layer 5: every HTTP surface of the collector.
let web: [Target] = [
    library(
        "CollectorWeb", at: "collector/Web",
        [
            "Model", "World", "Storage", "QueryMath", "GoTemplate", "Exposition", "Gzip",
            "RemoteWrite", "OTLP", "PromQLSyntax", "PromQL", "LogQLSyntax", "LogQL", "JSONReading",
            "Startup", "CollectorQuery", hummingbird, nioCore, nioPosix, nioHTTP1, nioWebSocket,
            crypto, log, lifecycle,
        ])
]

// Layer 6: the programs. Only they choose the live world and wire the stages.
let programs: [Target] = [
    program(
        "petrel-agent", at: "agent/Main",
        [
            "Model", "World", "WorldLive", "Storage", "Identity", "YAMLDocument", "Exposition",
            "Startup", "AgentRead", "AgentScrape", "AgentBatch", "AgentSpool", "AgentStream",
            "AgentExport", "AgentHelper", "AgentSetup", nioCore, nioPosix, arguments, log,
            lifecycle, signals,
        ]),
    program(
        "petrel-collector", at: "collector/Main",
        [
            "Model", "World", "WorldLive", "Storage", "Identity", "YAMLDocument", "GoTemplate",
            "Postgres", "PromQLSyntax", "PromQL", "Rules", "Routing", "Startup",
            "CollectorReceive", "CollectorStore", "CollectorQuery", "CollectorEvaluate",
            "CollectorNotify", "CollectorWeb", httpClient, nioCore, nioPosix, arguments, log,
            lifecycle, signals,
        ]),
    program(
        "petrel", at: "Sources/PetrelCLI",
        [
            "Model", "World", "WorldLive", "ScriptReport", "PromQLScript", "LogQLScript", arguments,
            httpClient, nioCore, nioHTTP1, nioSSL,
        ]),
    // For development alone: in no package. `make bench` runs it.
    program(
        "petrel-kernels", at: "Benchmarks/Kernels",
        ["Model", "LinearRegex", "ChunkCodec", "PromQLSyntax", "PromQL", arguments]),
]

// The tests, one target a subject; `tests(name, dependencies)`.
let checks: [Target] = [
    tests("ModelTests", ["Model"]),
    tests("YAMLDocumentTests", ["Model", "YAMLDocument"]),
    tests("GoTemplateTests", ["Model", "GoTemplate"]),
    tests("RoutingTests", ["Model", "GoTemplate", "YAMLDocument", "Routing"]),
    tests("RulesTests", ["Model", "Storage", "GoTemplate", "YAMLDocument", "Rules"]),
    tests("WorldLiveTests", ["Model", "World", "WorldLive"]),
    tests(
        "StartupTests",
        [
            "Model", "World", "Storage", "YAMLDocument", "Simulation", "Startup", arguments, log,
            lifecycle, nioCore, nioEmbedded,
        ]),
    tests("WireTests", ["Model", "World", "Wire", "Simulation", protobuf]),
    tests("AgentBatchTests", ["Model", "Storage", "Wire", "AgentBatch", protobuf]),
    tests(
        "AgentSpoolTests",
        ["Model", "World", "WorldLive", "Storage", "Wire", "Simulation", "AgentSpool"]),
    tests("TidyTests", []),
    tests("LinearRegexTests", ["LinearRegex"]),
    tests("PromQLSyntaxTests", ["Model", "PromQLSyntax"]),
    tests("LogQLSyntaxTests", ["Model", "LogQLSyntax"]),
    tests(
        "LogQLTests",
        ["Model", "GoTemplate", "LogQLSyntax", "LogQL", "ScriptReport", "LogQLScript"]),
    tests(
        "CollectorQueryTests",
        ["Model", "World", "Storage", "PromQLSyntax", "PromQL", "LogQL", "CollectorQuery"]),
    tests(
        "CollectorWebTests",
        [
            "Model", "World", "Storage", "Gzip", "RemoteWrite", "OTLP", "PromQL", "LogQL",
            "CollectorQuery", "CollectorWeb", nioCore, nioPosix, log, lifecycle,
        ]),
    tests("ExpositionTests", ["Model", "Exposition"]),
    tests(
        "AgentReadTests",
        ["Model", "World", "LinearRegex", "Exposition", "YAMLDocument", "Gzip", "AgentRead"]),
    tests(
        "AgentScrapeTests",
        [
            "Model", "World", "Exposition", "Gzip", "LinearRegex", "YAMLDocument", "Simulation",
            "AgentScrape", nioCore, nioPosix, nioHTTP1, nioSSL, log, lifecycle,
        ]),
    tests(
        "AgentExportTests",
        ["AgentExport", nioCore, nioPosix, nioHTTP1, log, lifecycle]),
    tests(
        "AgentHelperTests",
        [
            "Model", "World", "WorldLive", "JSONReading", "AgentRead", "AgentHelper", nioCore,
            nioPosix, nioHTTP1, log, lifecycle,
        ]),
    tests("AgentSetupTests", ["Model", "World", "WorldLive", "Simulation", "AgentSetup"]),
    tests(
        "CollectorEvaluateTests",
        ["Model", "World", "Storage", "GoTemplate", "Rules", "CollectorEvaluate", log]),
    tests("IdentityTests", ["Model", "World", "WorldLive", "Simulation", "Identity"]),
    tests("AgentStreamTests", ["Model", "AgentStream"]),
    tests(
        "CollectorReceiveTests",
        [
            "Model", "World", "WorldLive", "Storage", "Wire", "WireRPC", "Identity",
            "AgentStream", "CollectorReceive", "Simulation", grpc, grpcTransport, nioPosix, log,
            lifecycle,
            protobuf,
        ]),
    tests("PostgresTests", ["Postgres", log]),
    tests(
        "CollectorStoreTests",
        [
            "Model", "World", "Storage", "ChunkCodec", "LogBlock", "Postgres", "CollectorStore",
            log,
        ]),
    tests("LogBlockTests", ["Model", "LinearRegex", "LogBlock"]),
    tests("ChunkCodecTests", ["Model", "ChunkCodec"]),
    tests("RemoteWriteTests", ["Model", "RemoteWrite"]),
    tests("OTLPTests", ["Model", "QueryMath", "RemoteWrite", "OTLP"]),
    tests("GzipTests", ["Gzip"]),
    tests("QueryMathTests", ["QueryMath"]),
    tests(
        "PromQLTests",
        ["Model", "QueryMath", "ScriptReport", "PromQLSyntax", "PromQL", "PromQLScript"]),
    tests(
        "CollectorNotifyTests",
        [
            "Model", "World", "Storage", "GoTemplate", "Routing", "Simulation",
            "CollectorNotify", httpClient, nioCore, nioPosix, nioHTTP1, log,
        ]),
]

let package = Package(
    name: "petrel",
    products: [
        .executable(name: "petrel-agent", targets: ["petrel-agent"]),
        .executable(name: "petrel-collector", targets: ["petrel-collector"]),
        .executable(name: "petrel", targets: ["petrel"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        // The default traits of the next two pull in the whole of Foundation, and ICU with it.
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0", traits: []),
        .package(
            url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1",
            traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", from: "2.4.1"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: meaning + skills + engines + shared + agentStages + collectorStages + web + programs
        + checks
)
