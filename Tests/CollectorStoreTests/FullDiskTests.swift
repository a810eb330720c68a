import CollectorStore
import Glibc
import Model
import Postgres
import Storage
import Synchronization
import Testing

private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}

/// What a database without space refuses, while days that could go hold it all.
extension StoreTests {
    private static let dayNanoseconds: Int64 = 86_400_000_000_000

    @Test(
        "a full disk: days go by age and by size although nothing can be written, then all that waited is made up for",
        arguments: ["age", "size"])
    func retentionOnFullDisk(reason: String) async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "full_\(reason)"
            let configure = { @Sendable (configuration: inout StoreConfiguration) in
                configuration.metricRetentionHours = reason == "age" ? 48 : 24_000
                configuration.logRetentionDays = reason == "age" ? 2 : 1_000
                configuration.metricBytesMax = reason == "age" ? nil : 1
                configuration.logBytesMax = reason == "age" ? nil : 1
            }
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let base = TestCluster.start / 1_000_000
            let first = base / 86_400_000
            for day in 0..<3 {
                let at = base + Int64(day) * 86_400_000
                try await store.storeOwn([
                    (definition(["__name__": "m"]), Sample(TimestampMS(at), 1))
                ])
                let entry = LogEntry(timestamp: TimestampNS(at * 1_000_000), line: Array("x".utf8))
                _ = try await store.storeLogs(
                    LogPush(
                        streams: [LogStream(labels: ["app": "a"], entries: [entry])],
                        digest: [UInt8](repeating: UInt8(day), count: 32)))
                clock.advance(nanoseconds: Self.dayNanoseconds)
                _ = try await store.sealWhereDue()
                _ = try await store.sealAllLogs()
            }
            await store.close()
            clock.advance(nanoseconds: 5 * Self.dayNanoseconds)
            let old = (first..<first + 3).flatMap { ["chunk_d\($0)", "log_block_d\($0)"] }
            try await Self.interruptDetach(of: "log_block_d\(first)", name, cluster)
            try await Self.fill(name, until: old, cluster)
            store = try await TestCluster.reopen(cluster, name: name, clock: clock, configure)
            #expect(
                try await TestCluster.number(Self.newest, on: name, in: cluster) < first + 8,
                "a table could be made: nothing is full")
            var dropped: Set<String> = []
            for _ in 0..<3 {
                dropped.formUnion(try await store.maintain(isShortOfSpace: true).dropped)
            }
            #expect(dropped.isSuperset(of: old), "\(dropped)")
            #expect(try await TestCluster.number(Self.newest, on: name, in: cluster) == first + 10)
            let told = try await TestCluster.number(
                """
                SELECT count(*) FROM petrel.retention_drop
                WHERE record_count = 1 AND relation ~ '^(chunk|log_block)_d' AND reason = '\(reason)'
                """, on: name, in: cluster)
            // The last has its row: what it freed is the space for that.
            #expect(told == 1)
            if reason == "size" {
                let floor = try await TestCluster.number(
                    "SELECT dropped_through::int8 FROM petrel.retention_class WHERE id = 0",
                    on: name, in: cluster)
                #expect(floor == first + 2)
            }
            try await store.storeOwn([
                (definition(["__name__": "m"]), Sample(clock.now.milliseconds, 2))
            ])
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
        }
    }

    @Test("a full disk: one attempt in five seconds, and all goes on when there is space")
    func writesOnFullDisk() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "full_writes"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            // A sequence counts what is rolled back too.
            try await TestCluster.execute(
                """
                CREATE SEQUENCE petrel.attempt;
                GRANT USAGE, SELECT ON SEQUENCE petrel.attempt TO PUBLIC;
                CREATE FUNCTION public.is_full() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
                BEGIN
                    PERFORM nextval('petrel.attempt');
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
                END $$;
                CREATE TRIGGER is_full BEFORE INSERT ON petrel.log_batch
                    FOR EACH ROW EXECUTE FUNCTION public.is_full();
                """, on: name, in: cluster, as: "postgres")
            var pushCount = 0
            func push() async throws -> LogPushOutcome {
                pushCount += 1
                let entry = LogEntry(timestamp: clock.now, line: Array("\(pushCount)".utf8))
                return try await store.storeLogs(
                    LogPush(
                        streams: [LogStream(labels: ["app": "a"], entries: [entry])],
                        digest: [UInt8](repeating: UInt8(pushCount), count: 32)))
            }
            func refused(_ body: () async throws -> Void) async -> Bool {
                do { try await body() } catch StorageError.exhausted { return true } catch {}
                return false
            }
            let sample = (definition(["__name__": "m"]), Sample(TimestampMS(1), 1))
            try await store.storeOwn([sample])
            func attempts() async throws -> Int64 {
                try await TestCluster.number(
                    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM petrel.attempt",
                    on: name, in: cluster)
            }
            for round in 1...3 {
                for _ in 0..<4 { #expect(await refused { _ = try await push() }) }
                #expect(try await attempts() == Int64(round))
                // They are few, and tried all the same.
                try await store.storeOwn([sample])
                clock.advance(nanoseconds: 5_000_000_000)
            }
            try await TestCluster.execute(
                "DROP TRIGGER is_full ON petrel.log_batch", on: name, in: cluster, as: "postgres")
            for _ in 0..<3 {
                #expect(try await push() == .stored(entryCount: 1, tooOldCount: 0))
                try await store.storeOwn([sample])
            }
            #expect(try await StoreVerifier(store).verify().logEntryCount == 3)
            await store.close()
        }
    }

    /// Leaves a day of log blocks behind whose detach has begun and can't end, as a reader was in its way.
    private static func interruptDetach(
        of day: String, _ name: String, _ cluster: PrivateCluster
    ) async throws {
        let (holds, isDone) = (Flag(), Flag())
        let readerURL = TestCluster.url(of: name, in: cluster)
        async let reader: Void = PostgresPool.once(
            PostgresPoolConfiguration(url: readerURL), logger: TestCluster.quiet
        ) { pool in
            try await pool.withSession { session in
                try session.execute("BEGIN; SELECT count(*) FROM petrel.log_block")
                holds.set()
                while !isDone.isSet { usleep(10_000) }
                try session.execute("ROLLBACK")
            }
        }
        while !holds.isSet { try await Task.sleep(for: .milliseconds(10)) }
        defer { isDone.set() }
        let url = TestCluster.url(of: name, in: cluster)
        await #expect(throws: PostgresError.self) {
            try await PostgresPool.once(
                PostgresPoolConfiguration(url: url), logger: TestCluster.quiet
            ) { pool in
                try await pool.withSession { session in
                    try session.execute("SET lock_timeout = '300ms'")
                    try session.execute(
                        "ALTER TABLE petrel.log_block DETACH PARTITION petrel.\(day) CONCURRENTLY")
                }
            }
        }
        isDone.set()
        try await reader
        let pending = try await TestCluster.number(
            "SELECT count(*) FROM pg_inherits WHERE inhdetachpending", on: name, in: cluster)
        #expect(pending == 1)
    }

    /// The newest day of log blocks.
    private static let newest = """
        SELECT max(substring(relname FROM 12)::int8) FROM pg_class
        WHERE relnamespace = 'petrel'::regnamespace AND relname ~ '^log_block_d[0-9]+$'
        """

    /// Until all of `tables` are gone nothing finds space: no new table, no other state of one, no row of a drop.
    private static func fill(
        _ name: String, until tables: [String], _ cluster: PrivateCluster
    ) async throws {
        let isFull =
            "EXISTS (SELECT FROM unnest(ARRAY['\(tables.joined(separator: "','"))']) AS t (n) "
            + "WHERE to_regclass('petrel.' || n) IS NOT NULL)"
        let body = """
            BEGIN
                IF \(isFull) THEN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
                END IF;
            """
        try await TestCluster.execute(
            """
            CREATE FUNCTION public.full_for_tables() RETURNS event_trigger LANGUAGE plpgsql
                SET search_path = pg_catalog AS $$ \(body) END $$;
            CREATE FUNCTION public.full_for_rows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = pg_catalog AS $$ \(body) RETURN NEW; END $$;
            CREATE EVENT TRIGGER is_full ON ddl_command_start
                WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION public.full_for_tables();
            CREATE TRIGGER is_full BEFORE INSERT ON petrel.retention_drop
                FOR EACH ROW EXECUTE FUNCTION public.full_for_rows();
            CREATE TRIGGER is_full BEFORE UPDATE OF dropped_through ON petrel.retention_class
                FOR EACH ROW EXECUTE FUNCTION public.full_for_rows();
            """, on: name, in: cluster, as: "postgres")
    }
}
