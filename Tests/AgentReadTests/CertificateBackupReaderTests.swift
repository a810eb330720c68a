import AgentRead
import Model
import Synchronization
import Testing
import World

/// Files in memory with times, some of which nobody may look at, and a count of what is opened and listed.
private final class GuardedTree: WorldFileTree {
    private struct State {
        var seconds: [String: Int64] = [:]
        var identities: [String: UInt64] = [:]
        var refused: Set<String> = []
        var lookedAtCount = 0
    }

    let files: MemoryTree
    private let state = Mutex(State())

    init(_ files: [String: String]) { self.files = MemoryTree(files) }

    var lookedAtCount: Int { state.withLock { $0.lookedAtCount } }

    func set(_ path: String, seconds: Int64) { state.withLock { $0.seconds[path] = seconds } }
    /// The file is one with every other file of that inode.
    func set(_ path: String, inode: UInt64) { state.withLock { $0.identities[path] = inode } }
    func refuse(_ path: String) { state.withLock { _ = $0.refused.insert(path) } }

    private func look(_ path: String, _ operation: String) throws(FileError) {
        let isRefused = state.withLock { state in
            state.lookedAtCount += 1
            return state.refused.contains(path)
        }
        if isRefused { throw FileError(operation: operation, path: path, errno: 13) }
    }

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        try look(path, "open")
        return try files.open(path, mode)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        try look(path, "list")
        return try files.list(path)
    }
    func status(_ path: String) throws(FileError) -> FileStatus {
        try look(path, "stat")
        let names = try files.list(path)
        guard names.isEmpty else {
            return FileStatus(
                identity: FileIdentity(device: 1, inode: 1), size: 4_096, isDirectory: true)
        }
        var status = try files.status(path)
        let (seconds, inode) = state.withLock { ($0.seconds[path] ?? 0, $0.identities[path]) }
        status.modified = TimestampNS(seconds * 1_000_000_000)
        if let inode { status.identity.inode = inode }
        return status
    }
    func rename(_ from: String, to: String) throws(FileError) { try files.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try files.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) {}
    func synchronizeDirectory(_ path: String) throws(FileError) {}
    func readLink(_ path: String) throws(FileError) -> String { path }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { 0 }
}

@Suite("Certificate and backup readers")
struct CertificateBackupReaderTests {
    private static let now = TimestampNS(1_700_000_000_500_000_000)
    private static let aMinuteLater = TimestampNS(1_700_000_060_500_000_000)

    // MARK: - Certificates

    /// CN=web.example.org of O=Shop, version 1, 2026-01-01 to 2026-04-01T12:00:00Z.
    private static let web = """
        -----BEGIN CERTIFICATE-----
        MIIBMzCB2gIBATAKBggqhkjOPQQDAjAjMQ8wDQYDVQQKDAZQZXRyZWwxEDAOBgNV
        BAMMB1Rlc3QgQ0EwHhcNMjYwMTAxMDAwMDAwWhcNMjYwNDAxMTIwMDAwWjApMRgw
        FgYDVQQDDA93ZWIuZXhhbXBsZS5vcmcxDTALBgNVBAoMBFNob3AwWTATBgcqhkjO
        PQIBBggqhkjOPQMBBwNCAAQWW0KTt9f42BL89cMM6gbY55q1UopPijv2tqx8yBct
        iMeBC3i1vJGJ2jIhD+DR4EbosyBLx2rcxUxs7gtW2OujMAoGCCqGSM49BAMCA0gA
        MEUCIBM/YAZl/GTZ6NLxS6hzI7ewZfv0jkkPOM19S21FH7+vAiEAhw8UvG9A72Kn
        IggPZtxUrtqb8UEAV5UaFqL7STx3I80=
        -----END CERTIFICATE-----

        """

    /// No subject but two DNS names, a key on a curve that few libraries know, 2026-01-02T03:04:05Z to 2026-06-01.
    private static let shop = """
        -----BEGIN CERTIFICATE-----
        MIIBuzCCAWKgAwIBAgIBAjAKBggqhkjOPQQDAjAjMQ8wDQYDVQQKDAZQZXRyZWwx
        EDAOBgNVBAMMB1Rlc3QgQ0EwHhcNMjYwMTAyMDMwNDA1WhcNMjYwNjAxMDAwMDAw
        WjAAMFowFAYHKoZIzj0CAQYJKyQDAwIIAQEHA0IABF9lrbf9Ky8abCIy9uWt1IU/
        TjyJMeAftPGbPHLmHFDcBEMiQ5wHMsKJpMa6ZfjGBDL6spmhzkxvBEYoUl8+dsWj
        gagwgaUwDAYDVR0TAQH/BAIwADAsBgNVHREEJTAjghBzaG9wLmV4YW1wbGUub3Jn
        gg93d3cuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFNSQoOxoIadSclRBE2uVRL7r2qoS
        MEgGA1UdIwRBMD+hJ6QlMCMxDzANBgNVBAoMBlBldHJlbDEQMA4GA1UEAwwHVGVz
        dCBDQYIUGO9sFqtEvOi7EteP3fUIoRjpBlMwCgYIKoZIzj0EAwIDRwAwRAIgdT3A
        +HoKi+eODmn03gXJH6SlXI1DH+rsmzWmeWwUylMCIGzMyyEUlgi10g4hq+38hnS3
        g/HNWfqr5tkA2Pv+6TXS
        -----END CERTIFICATE-----

        """

    /// O=Forever without a common name, an Ed448 key, 2020-02-29 to 9999-12-31T23:59:59Z.
    private static let far = """
        -----BEGIN CERTIFICATE-----
        MIIBCTCBrwIBAzAKBggqhkjOPQQDAjAjMQ8wDQYDVQQKDAZQZXRyZWwxEDAOBgNV
        BAMMB1Rlc3QgQ0EwIBcNMjAwMjI5MDAwMDAwWhgPOTk5OTEyMzEyMzU5NTlaMBIx
        EDAOBgNVBAoMB0ZvcmV2ZXIwQzAFBgMrZXEDOgAMEixCR4aOGdRHfOf8invcjheC
        fBBb6DMYLeGUGy6u7V08GqqI9Vb1NEMVMnWnYMKSufKm6xuKZgAwCgYIKoZIzj0E
        AwIDSQAwRgIhAOKAS8sx0i1KbddekI9VBI1+vbMHszWDQtTO2OWwdUMMAiEAo0d2
        Aiq36r5wCM82cHrdk1RgRZyVtRC2R0hs02GmQCg=
        -----END CERTIFICATE-----

        """

    private static let key = """
        -----BEGIN PRIVATE KEY-----
        no base64 at all
        -----END PRIVATE KEY-----

        """

    private static let notAfter = "petrel_certificate_not_after_timestamp_seconds"
    private static let notBefore = "petrel_certificate_not_before_timestamp_seconds"
    private static let success = "petrel_certificate_read_success"

    private static func labels(_ path: String, _ subject: String) -> String {
        "{issuer=\"Test CA\",path=\"\(path)\",subject=\"\(subject)\"}"
    }

    private static func samples(
        _ file: String, path: String = "/etc/ssl/petrel/a.crt"
    ) throws -> [String: Double] {
        NodeReaderTests.samples(
            try CertificateReader(tree: MemoryTree([path: file])).read(now: now))
    }

    @Test("a certificate has its names and its times, whatever its key")
    func certificates() throws {
        let path = "/etc/ssl/petrel/a.crt"
        for (file, subject, start, end) in [
            (Self.web, "web.example.org", 1_767_225_600, 1_775_044_800),
            (Self.shop, "shop.example.org", 1_767_323_045, 1_780_272_000),
            (Self.far, "Forever", 1_582_934_400, 253_402_300_799),
        ] as [(String, String, Double, Double)] {
            let labels = Self.labels(path, subject)
            #expect(
                try Self.samples(file) == [
                    Self.notBefore + labels: start, Self.notAfter + labels: end,
                    Self.success + "{path=\"\(path)\"}": 1,
                ])
        }
    }

    @Test("a file's text, keys, line ends and other certificates do not matter")
    func files() throws {
        let path = "/etc/ssl/petrel/a.crt"
        let chain = "Certificate:\n    Data: ...\n" + Self.web + Self.key + Self.shop
        let crlf = chain.split(separator: "\n", omittingEmptySubsequences: false)
            .joined(separator: "\r\n")
        for file in [chain, crlf] {
            let samples = try Self.samples(file)
            #expect(samples[Self.notAfter + Self.labels(path, "web.example.org")] == 1_775_044_800)
            #expect(samples[Self.notAfter + Self.labels(path, "shop.example.org")] == 1_780_272_000)
            #expect(samples[Self.success + "{path=\"\(path)\"}"] == 1)
            #expect(samples.count == 5)
        }
    }

    @Test("a certificate in DER is read too")
    func binary() throws {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let text = Self.far.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
        var (bits, count): (UInt32, Int) = (0, 0)
        var der: [UInt8] = []
        for byte in text.utf8 {
            guard let value = alphabet.firstIndex(of: byte) else { break }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            der.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        let facts = try #require(CertificateFacts(der: der))
        #expect(facts.subject == "Forever")
        #expect(facts.issuer == "Test CA")
        #expect(CertificateFacts.list(der).certificates == [facts])
        // Every shorter one, and every one with a byte changed, is refused or read, never trapped on.
        for length in der.indices { #expect(CertificateFacts(der: Array(der[..<length])) == nil) }
        for index in der.indices {
            var other = der
            other[index] ^= 0xFF
            _ = CertificateFacts(der: other)
        }
        #expect(CertificateFacts.list(Array(der.dropLast())).hasBroken)
    }

    @Test("a broken certificate is told, and those beside it are read")
    func broken() throws {
        let path = "/etc/ssl/petrel/a.crt"
        let cut = Self.shop.split(separator: "\n").prefix(4).joined(separator: "\n") + "\n"
        for file in [
            cut + "-----END CERTIFICATE-----\n" + Self.web, Self.web + cut, cut + Self.web,
            Self.web + "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        ] {
            let samples = try Self.samples(file)
            #expect(samples[Self.notAfter + Self.labels(path, "web.example.org")] == 1_775_044_800)
            #expect(samples[Self.success + "{path=\"\(path)\"}"] == 0)
            #expect(samples.count == 3)
        }
        for file in ["", Self.key, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"] {
            #expect(try Self.samples(file) == [Self.success + "{path=\"\(path)\"}": 0])
        }
    }

    @Test("the usual places are looked at, each file once, and what may not be read is told")
    func places() throws {
        let caddy = "/var/lib/caddy/.local/share/caddy/certificates"
        let tree = GuardedTree([
            "/etc/letsencrypt/live/a.example/cert.pem": Self.web,
            "/etc/letsencrypt/live/a.example/privkey.pem": Self.key,
            "/etc/letsencrypt/live/README": "text",
            caddy + "/acme-v02/shop.example.org/shop.example.org.crt": Self.shop,
            caddy + "/acme-v02/shop.example.org/shop.example.org.key": Self.key,
            "/var/lib/petrel/agent/identity/certificate.pem": Self.far,
            "/etc/ssl/petrel/secret.crt": Self.far,
        ])
        tree.refuse("/etc/ssl/petrel/secret.crt")
        tree.refuse("/srv/closed")
        let reader = CertificateReader(
            tree: tree,
            patterns: CertificateReader.standardPatterns + [
                "/etc/letsencrypt/live/a.example/*.pem", "/srv/closed/*.pem", "/nowhere/cert.pem",
                "/srv/closed/*.pem", "/var/lib/petrel/agent/identity/certificate.pem",
            ])
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        let paths = Set(
            samples.keys.compactMap { key -> String? in
                guard key.hasPrefix(Self.notAfter), let start = key.firstRange(of: "path=\"")
                else { return nil }
                return String(key[start.upperBound...].prefix { $0 != "\"" })
            })
        #expect(
            paths == [
                "/etc/letsencrypt/live/a.example/cert.pem",
                caddy + "/acme-v02/shop.example.org/shop.example.org.crt",
                "/var/lib/petrel/agent/identity/certificate.pem",
            ])
        #expect(samples[Self.success + "{path=\"/etc/ssl/petrel/secret.crt\"}"] == 0)
        #expect(
            samples[Self.success + "{path=\"/etc/letsencrypt/live/a.example/privkey.pem\"}"] == 0)
        #expect(samples[Self.success + "{path=\"/srv/closed/*.pem\"}"] == 0)
        #expect(samples.filter { $0.key.hasPrefix(Self.success) }.count == 6)
        let remedy = "sudo setfacl -m u:petrel-agent:rX "
        #expect(reader.problems.contains { $0.hasSuffix(remedy + "/srv/closed") })
        #expect(reader.problems.contains { $0.hasSuffix(remedy + "/etc/ssl/petrel/secret.crt") })
        #expect(reader.problems.count == 4)
    }

    @Test("Certbot's folders are closed by themselves: that is 0, with the command that opens both")
    func certbot() throws {
        let tree = GuardedTree(["/etc/letsencrypt/live/a.example/cert.pem": Self.web])
        tree.refuse("/etc/letsencrypt/live")
        let reader = CertificateReader(tree: tree)
        #expect(
            NodeReaderTests.samples(try reader.read(now: Self.now)) == [
                Self.success + "{path=\"/etc/letsencrypt/live/*/cert.pem\"}": 0
            ])
        #expect(reader.problems.count == 1)
        #expect(
            reader.problems.first?.hasSuffix(
                "sudo setfacl -m u:petrel-agent:rX /etc/letsencrypt/live /etc/letsencrypt/archive")
                == true)
    }

    @Test("files are looked at once a minute, and again where the clock was set back")
    func held() throws {
        let tree = GuardedTree(["/etc/ssl/petrel/a.crt": Self.web])
        let reader = CertificateReader(tree: tree)
        let first = try reader.read(now: Self.now)
        let count = tree.lookedAtCount
        #expect(count > 0)
        tree.files.create("/etc/ssl/petrel/a.crt", Self.shop)
        #expect(try reader.read(now: TimestampNS(Self.aMinuteLater.rawValue - 1)) == first)
        #expect(tree.lookedAtCount == count)
        let second = try reader.read(now: Self.aMinuteLater)
        #expect(second != first)
        tree.files.delete("/etc/ssl/petrel/a.crt")
        #expect(try reader.read(now: Self.now).isEmpty)
    }

    @Test("secrets end when the configuration says")
    func secrets() throws {
        let reader = CertificateReader(
            tree: MemoryTree(), patterns: [],
            secrets: [
                SecretExpiry(name: "smtp", expiresAt: TimestampMS(1_800_000_000_000)),
                SecretExpiry(name: "github", expiresAt: TimestampMS(1_750_000_000_500)),
                SecretExpiry(name: "smtp", expiresAt: TimestampMS(1_790_000_000_000)),
            ])
        #expect(
            NodeReaderTests.samples(try reader.read(now: Self.now)) == [
                "petrel_secret_expiry_timestamp_seconds{name=\"smtp\"}": 1_790_000_000,
                "petrel_secret_expiry_timestamp_seconds{name=\"github\"}": 1_750_000_000.5,
            ])
    }

    // MARK: - Backups

    private static func backups(_ kind: String, _ name: String) -> String {
        "petrel_backup_\(kind){name=\"\(name)\"}"
    }

    @Test("of backups the newest file's time and size are told, and how many there are")
    func backups() throws {
        let tree = GuardedTree([
            "/srv/backup/2026-01/db.dump": "1", "/srv/backup/2026-02/db.dump": "22",
            "/srv/backup/2026-03/db.dump": "333", "/srv/backup/2026-03/db.dump.sha256": "4444",
            "/srv/backup/2026-03/.db.dump": "55555", "/srv/backup/latest/db.dump": "22",
            "/srv/backup/2026-04/db.dump/inner": "a folder of a backup's name",
            "/srv/backup/notes": "text", "/var/backups/etc.tar.gz": "666666",
        ])
        tree.set("/srv/backup/2026-01/db.dump", seconds: 100)
        tree.set("/srv/backup/2026-02/db.dump", seconds: 300)
        tree.set("/srv/backup/2026-03/db.dump", seconds: 200)
        tree.set("/srv/backup/latest/db.dump", seconds: 300)
        // A link to the newest.
        tree.set("/srv/backup/2026-02/db.dump", inode: 7)
        tree.set("/srv/backup/latest/db.dump", inode: 7)
        let reader = BackupReader(
            tree: tree,
            sets: [
                BackupSet(name: "db", patterns: ["/srv/backup/*/*.dump"]),
                BackupSet(
                    name: "etc", patterns: ["/nowhere/*.gz", "/var/backups/etc.tar.gz"]),
                BackupSet(name: "none", patterns: ["/srv/backup/*.zip", "/srv/gone"]),
                BackupSet(name: "db", patterns: ["/srv/backup/notes"]),
                BackupSet(name: "", patterns: ["/srv/backup/notes"]),
            ])
        let families = try reader.read(now: Self.now)
        #expect(
            NodeReaderTests.samples(families) == [
                Self.backups("newest_timestamp_seconds", "db"): 300,
                Self.backups("newest_size_bytes", "db"): 2,
                Self.backups("files", "db"): 3, Self.backups("read_success", "db"): 1,
                Self.backups("newest_timestamp_seconds", "etc"): 0,
                Self.backups("newest_size_bytes", "etc"): 6,
                Self.backups("files", "etc"): 1, Self.backups("read_success", "etc"): 1,
                Self.backups("files", "none"): 0, Self.backups("read_success", "none"): 1,
            ])
        #expect(families.allSatisfy { $0.metadata.type == .gauge && !$0.metadata.help.isEmpty })
        #expect(reader.problems.isEmpty)
    }

    @Test("a folder or a file that may not be looked at is told, and the others are counted")
    func backupsRefused() throws {
        let tree = GuardedTree([
            "/srv/backup/open/a.dump": "1", "/srv/backup/closed/b.dump": "2",
            "/srv/backup/open/c.dump": "3",
        ])
        tree.refuse("/srv/backup/closed")
        tree.refuse("/srv/backup/open/c.dump")
        let reader = BackupReader(
            tree: tree, sets: [BackupSet(name: "db", patterns: ["/srv/backup/*/*.dump"])])
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        #expect(samples[Self.backups("files", "db")] == 1)
        #expect(samples[Self.backups("read_success", "db")] == 0)
        #expect(reader.problems.count == 2)
        #expect(reader.problems.allSatisfy { $0.contains("setfacl") })
    }

    @Test("no sets, no families; a new backup is seen within a minute")
    func backupsHeld() throws {
        #expect(try BackupReader(tree: MemoryTree(), sets: []).read(now: Self.now).isEmpty)
        let tree = MemoryTree(["/srv/a.dump": "1"])
        let reader = BackupReader(
            tree: tree, sets: [BackupSet(name: "db", patterns: ["/srv/?.dump"])])
        let count = Self.backups("files", "db")
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[count] == 1)
        tree.create("/srv/b.dump", "2")
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[count] == 1)
        #expect(NodeReaderTests.samples(try reader.read(now: Self.aMinuteLater))[count] == 2)
    }
}
