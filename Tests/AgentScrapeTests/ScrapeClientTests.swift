import AgentScrape
import Exposition
import Gzip
import Model
import NIOCore
import NIOSSL
import Simulation
import Testing
import World

@Suite("Scrape client")
struct ScrapeClientTests {
    /// Files with what `contents` says.
    static func tree(_ contents: [String: String] = [:]) throws -> SimulatedFileTree {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        for (path, text) in contents {
            let file = try tree.open(path, .createNew)
            try file.write(Array(text.utf8), at: 0)
            file.close()
        }
        return tree
    }

    static func client(
        _ files: [String: String] = [:], budget: ByteBudget = ByteBudget(),
        resolve: @escaping ScrapeClient.Resolve = ScrapeAddresses.resolve,
        offload: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool = { work in
            work()
            return true
        }
    ) throws -> ScrapeClient {
        ScrapeClient(
            group: RawServer.group, files: try tree(files), version: "1", budget: budget,
            resolve: resolve, offload: offload)
    }

    static func target(
        _ address: String, _ change: (inout ScrapeJob) -> Void = { _ in }
    ) throws -> ScrapeTarget {
        var job = ScrapeJob(name: "app")
        job.staticConfigs = [.init(targets: [address])]
        change(&job)
        return try #require(try ScrapeTarget.all([job]).first)
    }

    /// What a scrape of a server that answers so comes to: the number of samples, or the failure.
    static func scrape(
        _ answer: RawServer.Answer, _ change: (inout ScrapeJob) -> Void = { _ in }
    ) async throws -> Result<Int, ScrapeFailure> {
        let server = try await RawServer.start { _ in answer }
        let target = try target("127.0.0.1:\(server.port)", change)
        let result = await read(try client(), target)
        try await server.stop()
        return result
    }

    static func read(
        _ client: ScrapeClient, _ target: ScrapeTarget
    ) async -> Result<Int, ScrapeFailure> {
        do throws(ScrapeFailure) {
            let body = try await client.fetch(target)
            return .success(try ScrapeFormats.read(body, target.job).values.count)
        } catch { return .failure(error) }
    }

    static let text = "# TYPE a counter\na 1\nb{c=\"d\"} 2\n"

    static let taken: [(name: String, answer: RawServer.Answer, count: Int)] = [
        ("text", .ok(text), 2),
        ("nothing", .ok(""), 0),
        ("nothing, of no type", .init("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0),
        ("nothing, without # EOF", .ok("", type: "application/openmetrics-text"), 0),
        (
            "OpenMetrics", .ok("a 1\n# EOF\n", type: "application/openmetrics-text; version=1.0.0"),
            1
        ),
        (
            "chunks",
            .init(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "4\r\na 1\n\r\n4\r\nb 2\n\r\n0\r\n\r\n"), 2
        ),
        ("until the end", .init("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n"), 1),
        (
            "an early hint",
            .init(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                    + "Content-Length: 4\r\n\r\na 1\n"), 1
        ),
        (
            "an answer behind which the connection stays open",
            .init(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n",
                closes: false), 1
        ),
    ]

    @Test("answers that are taken", arguments: taken)
    func takes(_ name: String, _ answer: RawServer.Answer, _ count: Int) async throws {
        #expect(try await Self.scrape(answer) == .success(count), "\(name)")
    }

    @Test("gzip, in as many members as there are")
    func gzip() async throws {
        let bytes = try Gzip.compress(Array("a 1\n".utf8)) + Gzip.compress(Array("b 2\n".utf8))
        #expect(try await Self.scrape(.ok(bytes, encoding: "gzip")) == .success(2))
        // What is small packed may be large: the limit is of what it opens to.
        let bomb = try Gzip.compress([UInt8](repeating: 10, count: 2 << 20))
        let result = try await Self.scrape(.ok(bomb, encoding: "gzip")) {
            $0.bodyBytesMax = 1 << 20
        }
        #expect(result == .failure(.bodyTooLarge(max: 1 << 20)))
        let cut = try await Self.scrape(.ok(Array(bytes.dropLast(4)), encoding: "gzip"))
        #expect(Self.reason(cut) == "exposition")
        let nothing = try Gzip.compress([])
        let empty = try await Self.scrape(.ok(nothing, type: "text/html", encoding: "gzip"))
        #expect(empty == .success(0))
        #expect(Self.reason(try await Self.scrape(.ok([], encoding: "gzip"))) == "exposition")
    }

    static func reason(_ result: Result<Int, ScrapeFailure>) -> String {
        switch result {
        case .success(let count): "\(count) samples"
        case .failure(let failure): failure.reason
        }
    }

    static let long = String(repeating: "x", count: 100_000)

    static let refused: [(name: String, answer: RawServer.Answer, reason: String)] = [
        ("status", .init("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "status"),
        ("a redirect to nowhere", .init("HTTP/1.1 302 Found\r\n\r\n"), "status"),
        ("no redirect", .init("HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n"), "status"),
        ("HTML", .ok("<html>", type: "text/html"), "content_type"),
        ("protobuf", .ok("x", type: "application/vnd.google.protobuf"), "content_type"),
        ("no type", .init("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n"), "content_type"),
        ("another encoding", .ok(Array("a 1\n".utf8), encoding: "br"), "content_encoding"),
        ("no HTTP", .init("SSH-2.0-OpenSSH_9.2\r\n"), "malformed"),
        ("an endless head", .init("HTTP/1.1 200 OK\r\nX: \(long)\r\n\r\n"), "malformed"),
        (
            "a body cut off", .init("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n"),
            "connection"
        ),
        ("nothing at all", .init(""), "connection"),
        ("garbage", .ok([98, 0xff, 0xfe, 0, 10]), "exposition"),
        (
            "half an OpenMetrics text", .ok("a 1\n", type: "application/openmetrics-text"),
            "exposition"
        ),
        ("a large body", .ok("a 1\n# \(long)"), "body_size_limit"),
        (
            "a large body that does not say so",
            .init("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n# \(long)", closes: false),
            "body_size_limit"
        ),
        (
            "silence", .init("", closes: false), "timeout"
        ),
        (
            "a body that never ends",
            .init("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n", closes: false),
            "timeout"
        ),
    ]

    @Test("answers that fail, each for its reason", arguments: refused)
    func refuses(_ name: String, _ answer: RawServer.Answer, _ reason: String) async throws {
        let result = try await Self.scrape(answer) {
            $0.bodyBytesMax = 50_000
            if reason == "timeout" { $0.timeout = PrometheusDuration(milliseconds: 300) }
        }
        #expect(Self.reason(result) == reason, "\(name): \(result)")
    }

    @Test("a fallback reads what says no known type")
    func fallback() async throws {
        let result = try await Self.scrape(.ok("a 1\n", type: "text/html")) {
            $0.fallbackFormat = .prometheusText
        }
        #expect(result == .success(1))
    }

    @Test("nobody listens")
    func closed() async throws {
        let server = try await RawServer.start { _ in .ok("") }
        let target = try Self.target("127.0.0.1:\(server.port)")
        try await server.stop()
        #expect(Self.reason(await Self.read(try Self.client(), target)) == "connection")
    }

    @Test("what a target is asked")
    func request() async throws {
        let server = try await RawServer.start { _ in .ok(Self.text) }
        let target = try Self.target("127.0.0.1:\(server.port)") {
            $0.metricsPath = "/a b"
            $0.params = [.init("name", ["x&y"])]
            $0.authorization = .basic(user: "petrel", passwordFile: "/password")
        }
        #expect(await Self.read(try Self.client(["/password": "s3cret\n"]), target) == .success(2))
        let credentials = try Self.target("127.0.0.1:\(server.port)") {
            $0.authorization = .credentials(type: "Bearer", file: "/token")
        }
        #expect(await Self.read(try Self.client(["/token": "tok"]), credentials) == .success(2))
        let missing = await Self.read(try Self.client(), credentials)
        #expect(Self.reason(missing) == "preparation")
        let torn = await Self.read(try Self.client(["/token": "a\nHost: b"]), credentials)
        #expect(Self.reason(torn) == "preparation")
        let requests = server.requests
        try await server.stop()
        try #require(requests.count == 2)
        #expect(requests[0].hasPrefix("GET /a%20b?name=x%26y HTTP/1.1\r\n"))
        #expect(requests[0].contains("Host: 127.0.0.1:\(server.port)\r\n"))
        #expect(requests[0].contains("Accept: application/openmetrics-text;version=1.0.0"))
        #expect(requests[0].contains("Accept-Encoding: gzip\r\n"))
        #expect(requests[0].contains("X-Prometheus-Scrape-Timeout-Seconds: 10.0\r\n"))
        #expect(requests[0].contains("Authorization: Basic cGV0cmVsOnMzY3JldA==\r\n"))
        #expect(requests[1].contains("Authorization: Bearer tok\r\n"))
    }

    @Test("bodies share a budget, and give it back")
    func budget() async throws {
        let server = try await RawServer.start { _ in .ok(Self.text) }
        let target = try Self.target("127.0.0.1:\(server.port)")
        let budget = ByteBudget(max: Self.text.utf8.count + 10)
        let client = try Self.client(budget: budget)
        do {
            let held = try await client.fetch(target)
            #expect(budget.count == Self.text.utf8.count)
            #expect(Self.reason(await Self.read(client, target)) == "bodies_total")
            withExtendedLifetime(held) {}
        }
        #expect(await Self.read(client, target) == .success(2))
        try await server.stop()
    }

    @Test("a target that announces much and sends little has little of the budget")
    func announced() async throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000000\r\n\r\n"
        let hanging = try await RawServer.start { _ in .init(head + "a 1\n", closes: false) }
        let large = "a 1\n# " + String(repeating: "x", count: 150_000) + "\n"
        let server = try await RawServer.start { _ in .ok(large) }
        let budget = ByteBudget(max: 250_000)
        let client = try Self.client(budget: budget)
        let first = try Self.target("127.0.0.1:\(hanging.port)") {
            $0.timeout = PrometheusDuration(milliseconds: 500)
        }
        var second = try Self.target("127.0.0.1:\(server.port)")
        second.number = 1
        // It waits for what was announced, and others have their share meanwhile.
        async let waiting = Self.read(client, first)
        let held = try await client.fetch(second)
        #expect(held.bytes.count == large.utf8.count)
        #expect(Self.reason(await waiting) == "timeout")
        // All that a body of a known length takes in the end is its length, and it fits beside what hangs.
        #expect((large.utf8.count...(large.utf8.count + 65_536)).contains(budget.count))
        withExtendedLifetime(held) {}
        try await hanging.stop()
        try await server.stop()
    }

    @Test("a name that never resolves hangs its own target alone, once")
    func hanging() async throws {
        let server = try await RawServer.start { _ in .ok(Self.text) }
        // The work is taken and never done.
        let client = try Self.client(offload: { _ in true })
        let named = try Self.target("some.name:80") {
            $0.timeout = PrometheusDuration(milliseconds: 50)
        }
        var plain = try Self.target("127.0.0.1:\(server.port)")
        plain.number = 1
        #expect(Self.reason(await Self.read(client, named)) == "timeout")
        #expect(Self.reason(await Self.read(client, named)) == "preparation")
        #expect(await Self.read(client, plain) == .success(2))
        let threadless = try Self.client(offload: { _ in false })
        // It is told at once, so that no time is too short for it.
        let patient = try Self.target("some.name:80") {
            $0.timeout = PrometheusDuration(milliseconds: 10_000)
        }
        #expect(Self.reason(await Self.read(threadless, patient)) == "preparation")
        try await server.stop()
    }

    /// A name with these addresses.
    static func resolving(_ addresses: [SocketAddress]) -> ScrapeClient.Resolve {
        { (_, _) throws(ScrapeFailure) in addresses }
    }

    @Test("of a name's addresses those that refuse or keep silent are passed over")
    func addresses() async throws {
        let server = try await RawServer.start { _ in .ok(Self.text) }
        let hanging = try HangingPort()
        let target = try Self.target("app.internal:\(server.port)") {
            $0.timeout = PrometheusDuration(milliseconds: 3_000)
        }
        let good = try SocketAddress(ipAddress: "127.0.0.1", port: server.port)
        let refusing = try SocketAddress(ipAddress: "127.0.0.2", port: server.port)
        let silent = try SocketAddress(ipAddress: "127.0.0.1", port: hanging.port)
        for addresses in [[refusing, good], [silent, good], [good, refusing]] {
            let client = try Self.client(resolve: Self.resolving(addresses))
            #expect(await Self.read(client, target) == .success(2))
        }
        let none = try Self.client(resolve: Self.resolving([refusing, refusing]))
        let refused = "127.0.0.2 refused: nothing listens there"
        #expect(await Self.read(none, target) == .failure(.connection("\(refused); \(refused)")))
        try await server.stop()
        hanging.close()
    }

    @Test("what fails on a connection is not asked for anew elsewhere")
    func onceConnected() async throws {
        let server = try await RawServer.start { _ in .init("HTTP/1.1 200 OK\r\nContent-L") }
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: server.port)
        let client = try Self.client(resolve: Self.resolving([address, address]))
        let target = try Self.target("app.internal:\(server.port)")
        #expect(Self.reason(await Self.read(client, target)) == "connection")
        #expect(server.requests.count == 1)
        try await server.stop()
    }

    @Test("the system's resolver")
    func resolver() throws {
        #expect(
            try ScrapeAddresses.resolve("127.0.0.1", 80)
                == [SocketAddress(ipAddress: "127.0.0.1", port: 80)])
        #expect(
            try ScrapeAddresses.resolve("::1", 8080)
                == [SocketAddress(ipAddress: "::1", port: 8080)])
        let local = try ScrapeAddresses.resolve("localhost", 80)
        #expect(local.contains { ["127.0.0.1", "::1"].contains($0.ipAddress) })
        #expect(Set(local).count == local.count && local.count <= ScrapeAddresses.countMax)
        let error = #expect(throws: ScrapeFailure.self) { try ScrapeAddresses.resolve("a..b", 80) }
        #expect(error?.reason == "preparation")
    }

    struct TLSCase: Sendable, CustomStringConvertible {
        var description: String
        var pair: (certificate: String, key: String)
        var change: @Sendable (inout ScrapeTLSFiles) -> Void
        var reason: String
    }

    static let tlsCases: [TLSCase] = [
        TLSCase(
            description: "for the address", pair: addressed, change: { $0.caFile = "/ca.pem" },
            reason: "2 samples"),
        TLSCase(
            description: "not for the address", pair: named, change: { $0.caFile = "/ca.pem" },
            reason: "tls"),
        TLSCase(
            description: "for the name", pair: named,
            change: {
                $0.caFile = "/ca.pem"
                $0.serverName = "app.internal"
            }, reason: "2 samples"),
        TLSCase(
            description: "for another name", pair: named,
            change: {
                $0.caFile = "/ca.pem"
                $0.serverName = "other.internal"
            }, reason: "tls"),
        TLSCase(
            description: "of an authority that the system does not know", pair: addressed,
            change: { _ in }, reason: "tls"),
        TLSCase(
            description: "of anybody, unverified", pair: named,
            change: { $0.isUnverified = true }, reason: "2 samples"),
        TLSCase(
            description: "no file", pair: addressed, change: { $0.caFile = "/none.pem" },
            reason: "preparation"),
    ]

    static func serverContext(
        _ pair: (certificate: String, key: String),
        _ change: (inout TLSConfiguration) -> Void = { _ in }
    ) throws -> NIOSSLContext {
        let certificates = try NIOSSLCertificate.fromPEMBytes(Array(pair.certificate.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(pair.key.utf8), format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        change(&configuration)
        return try NIOSSLContext(configuration: configuration)
    }

    @Test("a certificate that an HTTP status refuses is read anew")
    func rotated() async throws {
        let context = try Self.serverContext(Self.addressed)
        let server = try await RawServer.start(tls: context) { head in
            head.contains("GET /refused ")
                ? .init("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n") : .ok(Self.text)
        }
        let tree = try Self.tree([
            "/ca.pem": Self.addressed.certificate, "/own.pem": Self.named.certificate,
            "/own.key": Self.named.key,
        ])
        let client = ScrapeClient(group: RawServer.group, files: tree, version: "1") { work in
            work()
            return true
        }
        // One number, and so one context.
        let targets = try ["/metrics", "/refused"].map { path in
            try Self.target("127.0.0.1:\(server.port)") {
                ($0.scheme, $0.metricsPath, $0.tls.caFile) = ("https", path, "/ca.pem")
                ($0.tls.certFile, $0.tls.keyFile) = ("/own.pem", "/own.key")
            }
        }
        #expect(await Self.read(client, targets[0]) == .success(2))
        // What no longer is a certificate shows whether the file is read.
        try Self.replace("/own.pem", "rotated", tree)
        #expect(await Self.read(client, targets[0]) == .success(2))
        #expect(Self.reason(await Self.read(client, targets[1])) == "status")
        #expect(Self.reason(await Self.read(client, targets[0])) == "preparation")
        try Self.replace("/own.pem", Self.named.certificate, tree)
        #expect(await Self.read(client, targets[0]) == .success(2))
        try await server.stop()
    }

    @Test(
        "TLS before 1.2 is refused",
        arguments: [(TLSVersion.tlsv11, "tls"), (.tlsv12, "2 samples"), (.tlsv13, "2 samples")])
    func versions(_ version: TLSVersion, _ reason: String) async throws {
        let context = try Self.serverContext(Self.addressed) {
            ($0.minimumTLSVersion, $0.maximumTLSVersion) = (version, version)
        }
        let server = try await RawServer.start(tls: context) { _ in .ok(Self.text) }
        let target = try Self.target("127.0.0.1:\(server.port)") {
            ($0.scheme, $0.tls.caFile) = ("https", "/ca.pem")
        }
        let client = try Self.client(["/ca.pem": Self.addressed.certificate])
        #expect(Self.reason(await Self.read(client, target)) == reason)
        try await server.stop()
    }

    static let cutCases: [(name: String, head: String, body: String, reason: String)] = [
        ("whole, by its length", "Content-Length: 4\r\n\r\n", "a 1\n", "1 samples"),
        (
            "whole, by its chunks", "Transfer-Encoding: chunked\r\n\r\n",
            "4\r\na 1\n\r\n0\r\n\r\n", "1 samples"
        ),
        ("short of its length", "Content-Length: 9\r\n\r\n", "a 1\n", "connection"),
        (
            "short of its chunks", "Transfer-Encoding: chunked\r\n\r\n", "4\r\na 1\n\r\n",
            "connection"
        ),
        ("ended by the connection alone", "\r\n", "a 1\n", "connection"),
        ("short of its head", "", "", "connection"),
    ]

    @Test("an answer over TLS whose connection is cut", arguments: cutCases)
    func cut(_ name: String, _ head: String, _ body: String, _ reason: String) async throws {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + head + body
        let context = try Self.serverContext(Self.addressed)
        for cuts in [true, false] {
            let server = try await RawServer.start(tls: context) { _ in .init(text, cuts: cuts) }
            let target = try Self.target("127.0.0.1:\(server.port)") {
                ($0.scheme, $0.tls.caFile) = ("https", "/ca.pem")
            }
            let client = try Self.client(["/ca.pem": Self.addressed.certificate])
            // TLS that says its end is one: then the connection ends the answer.
            let expected = !cuts && head == "\r\n" ? "1 samples" : reason
            #expect(Self.reason(await Self.read(client, target)) == expected, "\(name) \(cuts)")
            try await server.stop()
        }
    }

    static func replace(_ path: String, _ text: String, _ tree: SimulatedFileTree) throws {
        try tree.remove(path)
        let file = try tree.open(path, .createNew)
        try file.write(Array(text.utf8), at: 0)
        file.close()
    }

    @Test("TLS: whose certificate is taken", arguments: tlsCases)
    func tls(_ entry: TLSCase) async throws {
        let context = try Self.serverContext(entry.pair)
        let server = try await RawServer.start(tls: context) { _ in .ok(Self.text) }
        let target = try Self.target("127.0.0.1:\(server.port)") {
            $0.scheme = "https"
            entry.change(&$0.tls)
        }
        let client = try Self.client(["/ca.pem": entry.pair.certificate])
        #expect(Self.reason(await Self.read(client, target)) == entry.reason)
        try await server.stop()
    }

    /// Self-signed, for a hundred years; nothing trusts them but these tests. For app.internal and 127.0.0.1:
    static let addressed = (
        certificate: """
        -----BEGIN CERTIFICATE-----
        MIIBozCCAUigAwIBAgIUZH9Ptfq8ycdnlPOpYmV2Tu7B5IEwCgYIKoZIzj0EAwIw
        FjEUMBIGA1UEAwwLc2NyYXBlIHRlc3QwIBcNMjYxMTI2MDQ1NTI3WhgPMjEyNjEx
        MDIwNDU1MjdaMBYxFDASBgNVBAMMC3NjcmFwZSB0ZXN0MFkwEwYHKoZIzj0CAQYI
        KoZIzj0DAQcDQgAEyS/jThkjqIPqVJrw+741yL2p3eTksW0IoNlwIXCg4Nkayce4
        Hfge/QqGJp4p4HY9k2aHJ/awHxv/jly6/uK69KNyMHAwHQYDVR0OBBYEFNaBlpwP
        Q/L8CFN9Ae28u64wENNYMB8GA1UdIwQYMBaAFNaBlpwPQ/L8CFN9Ae28u64wENNY
        MA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0RBBYwFIIMYXBwLmludGVybmFshwR/AAAB
        MAoGCCqGSM49BAMCA0kAMEYCIQDjNYGWoMCaoUm72l7OoZmTkTHGPpKG3W4eykPE
        R/hSfQIhANnt/vMqE0+qJyQaDCemdzOj9rAvjpPW9s+XBLBBRR6M
        -----END CERTIFICATE-----

        """,
        key: """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghSi02OoOtO4Zif1W
        ZlE1Im1WlXn1E5qGZdA/u5nIBQ+hRANCAATJL+NOGSOog+pUmvD7vjXIvand5OSx
        bQig2XAhcKDg2RrJx7gd+B79CoYmningdj2TZocn9rAfG/+OXLr+4rr0
        -----END PRIVATE KEY-----

        """
    )

    /// For app.internal alone.
    static let named = (
        certificate: """
        -----BEGIN CERTIFICATE-----
        MIIBnDCCAUKgAwIBAgIUFPp7R37lWIwqN8zsZa7ykZkshPcwCgYIKoZIzj0EAwIw
        FjEUMBIGA1UEAwwLc2NyYXBlIHRlc3QwIBcNMjYxMTI2MDUxODIxWhgPMjEyNjEx
        MDIwNTE4MjFaMBYxFDASBgNVBAMMC3NjcmFwZSB0ZXN0MFkwEwYHKoZIzj0CAQYI
        KoZIzj0DAQcDQgAE3VMPuZB5HB/DaYH7vz2pECqw4TI3aqSFeC6UOVr+kX+zddAf
        rQbuN7IqHe/mCtf56p2uUxfNJqf/x3dfrjLhTqNsMGowHQYDVR0OBBYEFHv2nZhA
        5GzUBEvau0wifCEm7W+5MB8GA1UdIwQYMBaAFHv2nZhA5GzUBEvau0wifCEm7W+5
        MA8GA1UdEwEB/wQFMAMBAf8wFwYDVR0RBBAwDoIMYXBwLmludGVybmFsMAoGCCqG
        SM49BAMCA0gAMEUCIQCzKR+awBhww4ZYHwUuvvPpAoB7H9EpM8b+NMfW8DUtZgIg
        ePXfVsjcoDA3oeJdSXa7/CHMLvFTkKTN+CjWjO8xlxU=
        -----END CERTIFICATE-----

        """,
        key: """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbSZNJmqwsQRov9BD
        EsdZnShDGVJabLkqgSgyvAt8B4ShRANCAATdUw+5kHkcH8Npgfu/PakQKrDhMjdq
        pIV4LpQ5Wv6Rf7N10B+tBu43siod7+YK1/nqna5TF80mp//Hd1+uMuFO
        -----END PRIVATE KEY-----

        """
    )
}
