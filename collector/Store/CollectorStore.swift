package import Logging
import Postgres
package import Storage
import Synchronization
package import World

/// The collector's database: everything that the stages read and write through the protocols of `Storage`.
///
/// Everything that returns normally from a writing call is committed and durable. What is kept in memory (the label
/// indexes) follows the database and is rebuilt from it at `open`.
package final class CollectorStore: Sendable {
    let configuration: StoreConfiguration
    let clock: any WorldClock
    let logger: Logger
    /// Owner's connections: migrations and retention.
    let ownerPool: PostgresPool
    let writePool: PostgresPool
    let readPool: PostgresPool
    let cluster: PrivateCluster?
    let catalogue: Catalogue
    let ownSamples: OwnSampleState
    let partitions = KnownPartitions()
    let metrics = MetricState()
    let logs = LogState()
    package let logFeed = LogFeedHub()
    let exemplarRate = ExemplarRate()
    let exemplarCounts = Mutex(ExemplarCounts())
    let refusals = Mutex(SeriesRefusals())
    let retention = Mutex(RetentionCounts())
    /// A write found no space: the retention looks at once.
    let isOutOfSpace = Atomic(false)
    let space = SpaceGate()

    private init(
        configuration: StoreConfiguration, clock: any WorldClock, random: any RandomSource,
        logger: Logger, ownerPool: PostgresPool, writePool: PostgresPool, readPool: PostgresPool,
        cluster: PrivateCluster?, catalogue: Catalogue
    ) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.ownerPool = ownerPool
        self.writePool = writePool
        self.readPool = readPool
        self.cluster = cluster
        self.catalogue = catalogue
        ownSamples = OwnSampleState(epoch: random.next())
    }

    /// Starts or adopts the private cluster where there is one, migrates, loads the label indexes and makes the
    /// partitions of the next hours. Throws `unavailable` or `refused` with the remedy.
    package static func open(
        configuration: StoreConfiguration, clock: any WorldClock, random: any RandomSource,
        logger: Logger
    ) async throws(StorageError) -> CollectorStore {
        var cluster: PrivateCluster?
        let url: String
        switch configuration.database {
        case .url(let given): url = given
        case .privateCluster(let place):
            do {
                let started = try await PrivateCluster.start(place, logger: logger)
                cluster = started
                url = started.url
            } catch {
                throw storageError(error)
            }
        }
        let pools = Pools(
            url: url, configuration: configuration, random: random, logger: logger)
        do {
            try await refuseTransactionPooler(pools.owner, url, configuration.password, logger)
            let applied = try await MigrationRunner.migrate(pools.owner)
            if !applied.isEmpty {
                logger.info("migrated the database", metadata: ["migrations": "\(applied)"])
            }
            let catalogue = try await Catalogue.load(
                pools.owner, configuration, now: hour(clock.now))
            let store = CollectorStore(
                configuration: configuration, clock: clock, random: random, logger: logger,
                ownerPool: pools.owner, writePool: pools.write, readPool: pools.read,
                cluster: cluster, catalogue: catalogue)
            // Retention may find space: what keeps it from running keeps the disk full.
            _ = try await store.unlessFull("tables of the next hours and days could not be made") {
                () throws(StorageError) in try await store.ensurePartitionsAhead()
            }
            try await store.loadLogState()
            return store
        } catch {
            await pools.close()
            if let cluster, !cluster.wasAdopted { try? await cluster.stop() }
            throw storageError(error)
        }
    }

    /// Closes all connections and stops the private cluster.
    package func close() async {
        logFeed.finish()
        for pool in [ownerPool, writePool, readPool] { await pool.close() }
        guard let cluster else { return }
        do {
            try await cluster.stop()
        } catch {
            logger.error("the private PostgreSQL did not stop", metadata: ["error": "\(error)"])
        }
    }

    /// Applies the migrations alone (`petrel-collector migrate`): numbers applied, ascending.
    package static func migrate(
        configuration: StoreConfiguration, logger: Logger
    ) async throws(StorageError) -> [Int] {
        do {
            switch configuration.database {
            case .url(let url):
                return try await migrate(
                    url: url, password: configuration.password, logger: logger)
            case .privateCluster(let place):
                let cluster = try await PrivateCluster.start(place, logger: logger)
                let applied: [Int]
                do {
                    applied = try await migrate(url: cluster.url, logger: logger)
                } catch {
                    if !cluster.wasAdopted { try await cluster.stop() }
                    throw error
                }
                if !cluster.wasAdopted { try await cluster.stop() }
                return applied
            }
        } catch {
            throw storageError(error)
        }
    }

    private static func migrate(
        url: String, password: PostgresPassword? = nil, logger: Logger
    ) async throws -> [Int] {
        try await PostgresPool.once(
            PostgresPoolConfiguration(
                url: url, password: password, prologue: [StoreRole.becomeOwner]), logger: logger
        ) { try await MigrationRunner.migrate($0) }
    }

    /// A pooler between announces another process than the one that serves; in transaction mode it breaks prepared
    /// statements and roles.
    private static func refuseTransactionPooler(
        _ pool: PostgresPool, _ url: String, _ password: PostgresPassword?, _ logger: Logger
    ) async throws {
        do {
            let isPooled = try await pool.withSession { session in
                try session.query("SELECT pg_backend_pid()").int4(0, 0)
                    != session.announcedBackendPID
            }
            guard isPooled else { return }
        } catch let error as PostgresError where DatabaseInspection.isOfPooler(error) {}
        let found = try await DatabaseInspection.pooler(
            url: url, password: password, logger: logger)
        guard found != .transaction else {
            throw PostgresError.cluster(
                "a connection pooler in transaction mode stands before PostgreSQL, where roles, "
                    + "settings and prepared statements of a session break: point database.url at "
                    + "the server's own port, or at a pool with pool_mode = session")
        }
        logger.warning(
            "a connection pooler stands before PostgreSQL: point database.url at the server itself")
    }
}

// MARK: - Running statements

extension CollectorStore {
    func write<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T {
        do { return try await writePool.withSession(body) } catch { throw writeFailure(error) }
    }

    /// What a write failed of; one that found no space has retention look.
    func writeFailure(_ error: any Error) -> StorageError {
        let failure = storageError(error)
        if case .exhausted = failure { isOutOfSpace.store(true, ordering: .relaxed) }
        return failure
    }

    func read<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T {
        do { return try await readPool.withSession(body) } catch { throw storageError(error) }
    }

    func own<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T {
        do { return try await ownerPool.withSession(body) } catch { throw storageError(error) }
    }
}

/// The three pools; each becomes its role where the role exists.
private struct Pools {
    let owner: PostgresPool
    let write: PostgresPool
    let read: PostgresPool

    init(
        url: String, configuration: StoreConfiguration, random: any RandomSource, logger: Logger
    ) {
        func pool(_ connectionsMax: Int, _ prologue: [String]) -> PostgresPool {
            PostgresPool(
                PostgresPoolConfiguration(
                    url: url, password: configuration.password, connectionsMax: connectionsMax,
                    waitMilliseconds: configuration.waitMilliseconds, prologue: prologue),
                logger: logger, random: { random.next() })
        }
        owner = pool(2, [StoreRole.becomeOwner, "SET synchronous_commit = on"])
        write = pool(
            configuration.writeConnectionsMax,
            [
                StoreRole.become("petrel_ingest"), "SET synchronous_commit = on",
                "SET statement_timeout = '60s'",
            ])
        read = pool(
            configuration.readConnectionsMax,
            [
                StoreRole.become("petrel_query"), "SET default_transaction_read_only = on",
                "SET statement_timeout = \(configuration.queryMillisecondsMax)", "SET jit = off",
            ])
    }

    func close() async { for pool in [owner, write, read] { await pool.close() } }
}

/// Statements with which a session becomes the role that it works as, where that role is there.
enum StoreRole {
    /// Beside a system cluster the login role owns nothing; elsewhere the role that connects owns the database itself.
    static let becomeOwner = """
        DO $$ BEGIN
            IF EXISTS (SELECT 1 FROM pg_roles r JOIN pg_database d ON d.datdba = r.oid
                WHERE r.rolname = 'petrel_owner' AND d.datname = current_database()
                AND pg_has_role(current_user, r.oid, 'MEMBER')) THEN
                SET ROLE petrel_owner;
            END IF;
        END $$
        """

    static func become(_ role: String) -> String {
        """
        DO $$ BEGIN
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '\(role)'
                AND pg_has_role(current_user, oid, 'MEMBER')) THEN
                SET ROLE \(role);
            END IF;
        END $$
        """
    }
}

/// The sequence of the samples that the collector makes itself; each start is an epoch of its own.
final class OwnSampleState: Sendable {
    let epoch: UInt64
    private let sequence = Mutex<Int64>(0)

    init(epoch: UInt64) { self.epoch = epoch }

    func next() -> Int64 {
        sequence.withLock {
            $0 += 1
            return $0
        }
    }
}
