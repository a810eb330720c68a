import Glibc
package import Logging

/// Where a private cluster lives and how it runs.
package struct PrivateClusterConfiguration: Sendable {
    /// Absolute; the cluster is made in its folder `postgres`.
    package var stateDirectory: String
    /// Folder of `initdb`, `pg_ctl` and `postgres`; nil: the newest installed.
    package var binaries: String?
    /// The system user that runs the server where this process is root, for root must not.
    package var systemUser: String
    /// Search path for `pg_ctl` where no Debian layout is found.
    package var searchPath: String
    /// Lines for `petrel.conf`, after the defaults: `name = value`.
    package var settings: [String]
    /// With less space free than this many bytes no segments of the server's log are made ahead.
    package var freeBytesMin: Int64

    package init(
        stateDirectory: String, binaries: String? = nil, systemUser: String = "postgres",
        searchPath: String = "/usr/local/bin:/usr/bin:/bin", settings: [String] = [],
        freeBytesMin: Int64 = 48 << 20
    ) {
        self.stateDirectory = stateDirectory
        self.binaries = binaries
        self.systemUser = systemUser
        self.searchPath = searchPath
        self.settings = settings
        self.freeBytesMin = freeBytesMin
    }
}

/// A PostgreSQL server of the collector's own, from the machine's installed binaries: unix socket only, in a folder that
/// nobody else enters, started at need and stopped with the collector.
///
/// The server runs in a session of its own. A server that a killed collector left behind is adopted.
package struct PrivateCluster: Sendable {
    /// The role that owns the database `petrel`; no superuser, may make roles.
    package static let owner = "petrel_owner"
    /// `sockaddr_un` holds 108 bytes with the closing NUL. Source: unix(7).
    package static let socketPathBytesMax = 107

    /// Folder of the data files.
    package let dataDirectory: String
    /// Folder of the socket.
    package let socketDirectory: String
    /// Whether a running server was found and kept.
    package let wasAdopted: Bool
    private let tools: ClusterTools
    private let logger: Logger

    /// How the collector connects: as `petrel_owner` to the database `petrel`.
    package var url: String { "host='\(socketDirectory)' user=\(Self.owner) dbname=petrel" }
    /// How an administrator connects, as the server's superuser.
    package var administratorURL: String { "host='\(socketDirectory)' user=postgres dbname=petrel" }

    /// Makes the cluster where there is none, starts it where it does not run, and makes its owner and database.
    /// Throws `cluster` with the remedy.
    package static func start(
        _ configuration: PrivateClusterConfiguration, logger: Logger
    ) async throws -> PrivateCluster {
        let place = try ClusterPlace.prepare(configuration, logger: logger)
        let tools = ClusterTools(
            binaries: try ClusterTools.findBinaries(configuration),
            user: getuid() == 0 ? configuration.systemUser : nil, place: place,
            freeBytesMin: configuration.freeBytesMin)
        if SmallFile.status(place.data + "/PG_VERSION") == nil { try await tools.initialise() }
        try tools.checkVersion()
        let wasRunning = await tools.isRunning()
        if !wasRunning {
            do throws(PostgresError) {
                try await tools.writeSettings(configuration.settings)
            } catch {
                // Those of the last start are as good on a full disk.
                guard tools.hasSettings else { throw error }
                logger.error("PostgreSQL starts with the settings of its last start: \(error)")
            }
            try await tools.start(logger)
        }
        let socket = try tools.socketInUse()
        let cluster = PrivateCluster(
            dataDirectory: place.data, socketDirectory: socket, wasAdopted: wasRunning,
            tools: tools, logger: logger)
        try await cluster.prepareDatabase()
        logger.info(
            wasRunning ? "adopted the running private PostgreSQL" : "started a private PostgreSQL",
            metadata: ["data": "\(place.data)", "socket": "\(socket)"])
        return cluster
    }

    /// Stops the server fast: sessions end, everything committed is kept. Returns when it is down.
    package func stop() async throws(PostgresError) {
        try await tools.stop(mode: "fast")
    }

    /// Stops the server as a crash would and starts it again: it recovers from its log.
    package func crashAndRestart() async throws(PostgresError) {
        try await tools.stop(mode: "immediate")
        try await tools.start(logger)
    }

    /// Takes the space that the server needs on a full disk: the next segments of its log, and a reserve for a start. To be
    /// called every second. Where there is no room for them: the number of the segment that is written now; a checkpoint
    /// turns old segments into new ones then, once for each such number.
    package func keepSpace() async -> UInt64? {
        await tools.keepSpace(isServerRunning: true)
    }

    /// Has the server write what its log stands for, so that it can take the log's old segments again. Throws a
    /// `PostgresError`: no connection, or the server's refusal.
    package func checkpoint() async throws {
        try await PostgresPool.once(
            PostgresPoolConfiguration(url: administratorURL), logger: logger
        ) { try await $0.withSession { try $0.execute("CHECKPOINT") } }
    }

    /// Starts the server where it does not run (it crashed, or somebody stopped it); true when it had to. Throws
    /// `cluster` with the remedy.
    package func ensureRunning() async throws(PostgresError) -> Bool {
        // Cheap while all is well: a look at one process, and no program started.
        if let process = serverProcess, kill(process, 0) == 0 || errno == EPERM { return false }
        guard await !tools.isRunning() else { return false }
        try await tools.start(logger)
        return true
    }

    /// The server's process; nil where it does not run.
    package var serverProcess: Int32? {
        SmallFile.read(dataDirectory + "/postmaster.pid")?.split(separator: "\n").first.flatMap {
            Int32($0)
        }
    }

    private func prepareDatabase() async throws {
        let owner = Self.owner
        let administrator = PostgresPoolConfiguration(
            url: "host='\(socketDirectory)' user=postgres dbname=postgres")
        try await PostgresPool.once(administrator, logger: logger) { pool in
            try await pool.withSession { session in
                let role = try session.query(
                    "SELECT 1 FROM pg_roles WHERE rolname = $1", [.text(owner)])
                if role.count == 0 {
                    try session.execute("CREATE ROLE \(owner) LOGIN CREATEROLE")
                }
                let database = try session.query(
                    "SELECT 1 FROM pg_database WHERE datname = 'petrel'")
                if database.count == 0 {
                    try session.execute("CREATE DATABASE petrel OWNER \(owner)")
                }
            }
        }
    }
}
