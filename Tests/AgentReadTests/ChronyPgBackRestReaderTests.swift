import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

@Suite("chrony and pgBackRest readers")
struct ChronyPgBackRestReaderTests {
    private static let now = TimestampNS(1_700_000_000_500_000_000)

    // MARK: - chrony

    /// The reference's time in `answer`, as the exporter rounds it.
    private static let referenceSeconds = Double(1_700_000_000_250_000_000 as Int64) / 1e9

    /// A number as chronyd sends it: `coefficient` × 2^(`exponent` - 25).
    private static func number(_ coefficient: Int32, _ exponent: Int32) -> UInt32 {
        UInt32(bitPattern: exponent << 25) | UInt32(bitPattern: coefficient) & 0x01FF_FFFF
    }

    private static func bytes(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// An answer to `question` of chronyd's.
    private static func answer(
        to question: [UInt8], status: UInt8 = 0, reference: UInt32 = 0xC0A8_0101,
        address: [UInt8] = [192, 168, 1, 1], family: UInt8 = 1, timeHigh: UInt32 = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = [6, 2, 0, 0, 0, 33, 0, 5, 0, status, 0, 0, 0, 0, 0, 0]
        bytes += question[8..<12]
        bytes += [UInt8](repeating: 0, count: 8)
        bytes += Self.bytes(reference)
        bytes += address + [UInt8](repeating: 0, count: 16 - address.count)
        bytes += [0, family, 0, 0, 0, 3, 0, 0]
        bytes += Self.bytes(timeHigh) + Self.bytes(1_700_000_000) + Self.bytes(250_000_000)
        let half = number(1 << 23, 1)
        let minusQuarter = number(-(1 << 23), 0)
        for value in [
            minusQuarter, half, number(3, 26), number(25, 24), number(-25, 24), number(1, 25),
            number(1, -64 + 25), number(0, 0), number(65, 25),
        ] { bytes += Self.bytes(value) }
        return bytes
    }

    private static func reader(
        _ exchange: @escaping @Sendable ([UInt8]) throws(ServiceError) -> [UInt8]
    ) -> ChronyReader {
        ChronyReader(at: .tcp(host: "127.0.0.1", port: 323), exchange: exchange)
    }

    @Test("tracking has chrony_exporter's names and chronyd's numbers")
    func tracking() throws {
        let asked = Mutex<[UInt8]>([])
        let reader = Self.reader { (question) throws(ServiceError) in
            asked.withLock { $0 = question }
            return Self.answer(to: question)
        }
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        let question = asked.withLock { $0 }
        #expect(question.count == 104)
        #expect(question.prefix(8).elementsEqual([6, 1, 0, 0, 0, 33, 0, 0]))
        #expect(question.dropFirst(12).allSatisfy { $0 == 0 })
        let info =
            "chrony_tracking_info{tracking_address=\"192.168.1.1\",tracking_name=\"192.168.1.1\","
            + "tracking_refid=\"C0A80101\"}"
        #expect(
            samples == [
                "chrony_up": 1, info: 1, "chrony_tracking_stratum": 3,
                "chrony_tracking_reference_timestamp_seconds": Self.referenceSeconds,
                "chrony_tracking_system_time_seconds": -0.25,
                "chrony_tracking_last_offset_seconds": 0.5,
                "chrony_tracking_rms_offset_seconds": 6,
                "chrony_tracking_frequency_ppms": 12.5,
                "chrony_tracking_residual_frequency_ppms": -12.5,
                "chrony_tracking_skew_ppms": 1,
                "chrony_tracking_root_delay_seconds": 0x1p-64,
                "chrony_tracking_root_dispersion_seconds": 0,
                "chrony_tracking_update_interval_seconds": 65,
                "chrony_tracking_remote_reference": 1,
            ])
        #expect(reader.problems.isEmpty)
        #expect(reader.job == "chrony")
    }

    @Test(
        "a source is an address, a reference clock, the clock itself, or none",
        arguments: [
            (
                0x1234_ABCD, [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1], 2,
                "tracking_address=\"2001:db8::1\",tracking_name=\"2001:db8::1\","
                    + "tracking_refid=\"1234ABCD\"", 1.0
            ),
            (
                0x5050_5300, [], 0,
                "tracking_address=\"PPS\",tracking_name=\"PPS\",tracking_refid=\"50505300\"", 1
            ), (0x7F7F_0101, [], 0, "tracking_refid=\"7F7F0101\"", 0),
            (0, [], 0, "tracking_refid=\"00000000\"", 0),
        ] as [(UInt32, [UInt8], UInt8, String, Double)])
    func sources(
        reference: UInt32, address: [UInt8], family: UInt8, labels: String, isRemote: Double
    ) throws {
        let reader = Self.reader { (question) throws(ServiceError) in
            Self.answer(to: question, reference: reference, address: address, family: family)
        }
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        #expect(samples["chrony_tracking_info{\(labels)}"] == 1)
        #expect(samples["chrony_tracking_remote_reference"] == isRemote)
    }

    @Test("times of 32 bits and times far away are read")
    func times() throws {
        for (high, seconds) in [(0x7FFF_FFFF, Self.referenceSeconds), (4, 18_879_869_184)]
            as [(UInt32, Double)]
        {
            let reader = Self.reader { (question) throws(ServiceError) in
                Self.answer(to: question, timeHigh: high)
            }
            let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
            #expect(samples["chrony_tracking_reference_timestamp_seconds"] == seconds)
        }
    }

    @Test("no chronyd gives nothing, one that was there and is gone gives chrony_up 0")
    func absent() throws {
        let isThere = Mutex(false)
        let address = ServiceAddress.tcp(host: "127.0.0.1", port: 323)
        let reader = Self.reader { (question) throws(ServiceError) in
            guard isThere.withLock({ $0 }) else {
                throw .connection(address, operation: "receive", errno: ECONNREFUSED)
            }
            return Self.answer(to: question)
        }
        #expect(try reader.read(now: Self.now).isEmpty)
        #expect(reader.problems.isEmpty)
        isThere.withLock { $0 = true }
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))["chrony_up"] == 1)
        isThere.withLock { $0 = false }
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now)) == ["chrony_up": 0])
        #expect(reader.problems.first?.contains("cmdport") == true)
    }

    @Test("an answer that is refused, short, or in another form is chrony_up 0")
    func malformed() throws {
        let answers: [@Sendable ([UInt8]) -> [UInt8]] = [
            { _ in [] }, { Self.answer(to: $0, status: 2) },
            { Array(Self.answer(to: $0).prefix(103)) }, { [7] + Self.answer(to: $0).dropFirst() },
            { question in
                var bytes = Self.answer(to: question)
                bytes[7] = 9
                return bytes
            },
            { Array(Self.answer(to: $0).prefix(28)) },
        ]
        for answer in answers {
            let reader = Self.reader { (question) throws(ServiceError) in answer(question) }
            #expect(NodeReaderTests.samples(try reader.read(now: Self.now)) == ["chrony_up": 0])
            #expect(reader.problems.count == 1)
        }
    }

    @Test("over UDP an answer to an earlier question is not taken, and nobody is no answer")
    func datagrams() throws {
        let server = try #require(DatagramServer())
        let thread = try DedicatedThread()
        thread.submit {
            server.serve { question in
                var late = Self.answer(to: question, status: 3)
                late[16] ^= 0xFF
                return [late, [1, 2, 3], Self.answer(to: question)]
            }
        }
        let reader = ChronyReader(port: server.port)
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        #expect(samples["chrony_up"] == 1)
        #expect(samples["chrony_tracking_stratum"] == 3)
        // Bound and never read: the deadline.
        let silent = NodeReaderTests.samples(try reader.read(now: Self.now))
        #expect(silent == ["chrony_up": 0])
        let port = server.port
        server.stop()
        #expect(try ChronyReader(port: port).read(now: Self.now).isEmpty)
    }

    // MARK: - pgBackRest

    private static let path = "/var/lib/petrel/pgbackrest/info.json"

    /// One stanza in two repositories, in the form of pgBackRest 2.57.
    private static let info = """
        [{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1",
        "max":"000000010000000000000009","min":"000000010000000000000001"},
        {"database":{"id":1,"repo-key":2},"id":"17-1","max":null,"min":null}],
        "backup":[
        {"annotation":{"k":"v"},"archive":{"start":"000000010000000000000002",
        "stop":"000000010000000000000003"},"backrest":{"format":5,"version":"2.57.0"},
        "database":{"id":1,"repo-key":1},"error":false,
        "info":{"delta":1000,"repository":{"delta":100,"size":110},"size":2000},
        "label":"20231114-200000F","lsn":{"start":"0/2000028","stop":"0/3000050"},
        "prior":null,"reference":null,
        "timestamp":{"start":1699990000,"stop":1699990060},"type":"full"},
        {"archive":{"start":"000000010000000000000008","stop":"000000010000000000000008"},
        "backrest":{"format":5,"version":"2.58"},"database":{"id":1,"repo-key":2},"error":true,
        "info":{"delta":50,"repository":{"delta":5,"delta-map":7,"size-map":9},"size":2100},
        "label":"20231114-200000F_20231114-210000I","lsn":{"start":null,"stop":null},
        "prior":"20231114-200000F","reference":["20231114-200000F"],
        "timestamp":{"start":1699999000,"stop":1699999500},"type":"incr"}],
        "cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7300000000000000000,
        "version":"17"},{"id":1,"repo-key":2,"system-id":7300000000000000000,"version":"17"}],
        "name":"main","repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}},
        {"cipher":"aes-256-cbc","key":2,"status":{"code":2,"message":"no valid backups"}}],
        "status":{"code":4,"lock":{"backup":{"held":true,"size":3000,"size-cplt":1500},
        "restore":{"held":false}},"message":"different across repos"}}]
        """

    @Test("stanzas and backups have pgbackrest_exporter's names")
    func stanza() throws {
        let reader = PgBackRestReader(tree: MemoryTree([Self.path: Self.info]))
        let families = try reader.read(now: Self.now)
        let samples = NodeReaderTests.samples(families)
        let fixed: [String: Double] = [
            "pgbackrest_exporter_status{stanza=\"all-stanzas\"}": 1,
            "pgbackrest_version_info": 2_058_000,
            "pgbackrest_stanza_status{stanza=\"main\"}": 4,
            "pgbackrest_stanza_backup_lock_status{stanza=\"main\"}": 1,
            "pgbackrest_stanza_backup_total_bytes{stanza=\"main\"}": 3000,
            "pgbackrest_stanza_backup_complete_bytes{stanza=\"main\"}": 1500,
            "pgbackrest_stanza_restore_lock_status{stanza=\"main\"}": 0,
            "pgbackrest_stanza_restore_total_bytes{stanza=\"main\"}": 0,
            "pgbackrest_stanza_restore_complete_bytes{stanza=\"main\"}": 0,
            "pgbackrest_repo_status{cipher=\"none\",repo_key=\"1\",stanza=\"main\"}": 0,
            "pgbackrest_repo_status{cipher=\"aes-256-cbc\",repo_key=\"2\",stanza=\"main\"}": 2,
            "pgbackrest_wal_archive_status{database_id=\"1\",pg_version=\"17\",repo_key=\"1\","
                + "stanza=\"main\"}": 1,
            "pgbackrest_wal_archive_status{database_id=\"1\",pg_version=\"17\",repo_key=\"2\","
                + "stanza=\"main\"}": 0,
            "pgbackrest_backup_info{backrest_ver=\"2.57.0\",backup_name=\"20231114-200000F\","
                + "backup_type=\"full\",block_incr=\"n\",database_id=\"1\",lsn_start=\"0/2000028\","
                + "lsn_stop=\"0/3000050\",pg_version=\"17\",repo_key=\"1\",stanza=\"main\","
                + "wal_start=\"000000010000000000000002\",wal_stop=\"000000010000000000000003\"}":
                1,
            "pgbackrest_backup_info{backrest_ver=\"2.58\","
                + "backup_name=\"20231114-200000F_20231114-210000I\",backup_type=\"incr\","
                + "block_incr=\"y\",database_id=\"1\",lsn_start=\"-\",lsn_stop=\"-\","
                + "pg_version=\"17\",prior=\"20231114-200000F\",repo_key=\"2\",stanza=\"main\","
                + "wal_start=\"000000010000000000000008\",wal_stop=\"000000010000000000000008\"}":
                1,
        ]
        for (key, value) in fixed { #expect(samples[key] == value, "\(key)") }
        let last: [(String, full: Double, incr: Double)] = [
            ("since_last_completion_seconds", 9_940, 500), ("last_duration_seconds", 60, 500),
            ("last_size_bytes", 2000, 2100), ("last_delta_bytes", 1000, 50),
            ("last_repo_size_bytes", 110, 0), ("last_repo_size_map_bytes", 0, 9),
            ("last_repo_delta_bytes", 100, 5), ("last_repo_delta_map_bytes", 0, 7),
            ("last_error_status", 0, 1),
        ]
        for (name, full, incr) in last {
            // The last full backup is the last differential one too.
            for type in ["full", "diff"] {
                let labels = "backup_type=\"\(type)\",block_incr=\"n\",stanza=\"main\""
                #expect(samples["pgbackrest_backup_\(name){\(labels)}"] == full, "\(name)")
            }
            let labels = "backup_type=\"incr\",block_incr=\"y\",stanza=\"main\""
            #expect(samples["pgbackrest_backup_\(name){\(labels)}"] == incr, "\(name)")
        }
        #expect(samples.count == fixed.count + 3 * last.count)
        #expect(families.allSatisfy { $0.metadata.type == .gauge && !$0.metadata.help.isEmpty })
        #expect(reader.problems.isEmpty)
    }

    @Test("without a full backup there is no last one, and without a stanza only the status")
    func noBackup() throws {
        let empty = """
            [{"backup":[],"db":[],"name":"main","status":{"code":1,"message":"missing stanza path"}}]
            """
        let samples = NodeReaderTests.samples(
            try PgBackRestReader(tree: MemoryTree([Self.path: empty])).read(now: Self.now))
        #expect(samples["pgbackrest_stanza_status{stanza=\"main\"}"] == 1)
        #expect(samples.keys.allSatisfy { !$0.contains("_last_") && !$0.contains("version") })
        let none = NodeReaderTests.samples(
            try PgBackRestReader(tree: MemoryTree([Self.path: "[]\n"])).read(now: Self.now))
        #expect(none == ["pgbackrest_exporter_status{stanza=\"all-stanzas\"}": 1])
    }

    @Test("a host without the file gives nothing; one whose file is gone or broken gives status 0")
    func fileGone() throws {
        let status = "pgbackrest_exporter_status{stanza=\"all-stanzas\"}"
        let tree = MemoryTree()
        let reader = PgBackRestReader(tree: tree)
        #expect(try reader.read(now: Self.now).isEmpty)
        for broken in ["", "{}", "[{\"name\":", "[] x"] {
            tree.create(Self.path, broken)
            #expect(NodeReaderTests.samples(try reader.read(now: Self.now)) == [status: 0])
            #expect(reader.problems.first?.contains(Self.path) == true)
        }
        tree.create(Self.path, "[]")
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now)) == [status: 1])
        tree.delete(Self.path)
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now)) == [status: 0])
    }

    @Test("a file that has not changed is not parsed again")
    func unchanged() throws {
        func text(_ code: Int) -> String {
            "[{\"name\":\"main\",\"status\":{\"code\":\(code)}}]"
        }
        let key = "pgbackrest_stanza_status{stanza=\"main\"}"
        let tree = MemoryTree([Self.path: text(1)])
        let reader = PgBackRestReader(tree: tree)
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[key] == 1)
        // In its place, with its size and its time.
        tree.empty(Self.path)
        tree.append(Self.path, text(2))
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[key] == 1)
        tree.touch(Self.path, seconds: 1_700_000_000)
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[key] == 2)
        tree.create(Self.path, text(3))
        #expect(NodeReaderTests.samples(try reader.read(now: Self.now))[key] == 3)
    }

    @Test("of too many backups the last are told, and of too many stanzas the first")
    func bounds() throws {
        let backups = (0...1_000).map { "{\"label\":\"b\($0)\",\"type\":\"full\"}" }
        let stanzas = (0...64).map { "{\"name\":\"s\($0)\"}" }
        let first = "{\"name\":\"main\",\"backup\":[\(backups.joined(separator: ","))]},"
        let text = "[" + first + stanzas.joined(separator: ",") + "]"
        let reader = PgBackRestReader(tree: MemoryTree([Self.path: text]))
        let samples = NodeReaderTests.samples(try reader.read(now: Self.now))
        let infos = samples.keys.filter { $0.hasPrefix("pgbackrest_backup_info{") }
        #expect(infos.count == 1_000)
        #expect(!infos.contains { $0.contains("\"b0\"") })
        #expect(samples.keys.filter { $0.hasPrefix("pgbackrest_stanza_status{") }.count == 64)
        #expect(samples["pgbackrest_stanza_status{stanza=\"main\"}"] == 0)
    }

    @Test("a file that nobody writes any more is told, and its backups still age")
    func old() throws {
        let folder = try TemporaryFolder("read")
        defer { folder.remove() }
        let path = try folder.write("pgbackrest.json", Self.info, modifiedSeconds: 1_700_000_000)
        let reader = PgBackRestReader(tree: PosixTree(), path: path)
        let status = "pgbackrest_exporter_status{stanza=\"all-stanzas\"}"
        let since =
            "pgbackrest_backup_since_last_completion_seconds{backup_type=\"full\","
            + "block_incr=\"n\",stanza=\"main\"}"
        for (age, isFresh) in [(1_800, 1.0), (1_801, 0)] as [(Int64, Double)] {
            let now = TimestampNS((1_700_000_000 + age) * 1_000_000_000)
            let samples = NodeReaderTests.samples(try reader.read(now: now))
            #expect(samples[status] == isFresh)
            #expect(samples[since] == 9_940 + Double(age))
            #expect(reader.problems.isEmpty == (isFresh == 1))
        }
    }
}

/// A UDP socket on loopback.
private final class DatagramServer: Sendable {
    let port: UInt16
    private let descriptor: Int32

    init?() {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        self.descriptor = descriptor
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        port = UInt16(bigEndian: place.sin_port)
        guard isBound else {
            close(descriptor)
            return nil
        }
    }

    /// Answers one datagram that comes within 5 s.
    func serve(_ answers: ([UInt8]) -> [[UInt8]]) {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 5_000) == 1 else { return }
        var bytes = [UInt8](repeating: 0, count: 2_048)
        var place = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer in
                let count = recvfrom(descriptor, &bytes, bytes.count, 0, peer, &size)
                for answer in answers(Array(bytes.prefix(max(0, count)))) {
                    _ = sendto(descriptor, answer, answer.count, 0, peer, size)
                }
            }
        }
    }

    func stop() { close(descriptor) }
}
