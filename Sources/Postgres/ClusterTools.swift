import Glibc
import Logging

/// PostgreSQL's own programs, run for one private cluster.
struct ClusterTools: Sendable {
    /// The oldest major version that the schema works with.
    static let majorVersionMin = 14
    static let startSecondsMax = 60

    var binaries: String
    /// The user to become where this process is root.
    var user: String?
    var place: ClusterPlace
    /// With less space free than this many bytes nothing is made ahead.
    var freeBytesMin: Int64

    /// Space that is kept for a start.
    private var reserve: DiskReserve { DiskReserve(path: place.reserve) }

    private var segments: SegmentsAhead {
        SegmentsAhead(
            path: place.data + "/pg_wal", user: place.user, group: place.group,
            freeBytesMin: freeBytesMin)
    }

    /// Takes the space that the server may need when the disk is full, as far as it has not and the disk has room. The
    /// segment after which too few stand there; nil: enough do.
    @discardableResult
    func keepSpace(isServerRunning: Bool) async -> UInt64? {
        await besideTasks("petrel.space") {
            TransactionSpace(data: place.data, user: place.user, group: place.group).keep()
            reserve.keep()
            return segments.keep(isServerRunning: isServerRunning)
        }
    }

    /// The newest `/usr/lib/postgresql/*/bin` or the folder of `pg_ctl` in the search path.
    static func findBinaries(
        _ configuration: PrivateClusterConfiguration
    ) throws(PostgresError) -> String {
        if let given = configuration.binaries { return given }
        let root = "/usr/lib/postgresql"
        let versions = SmallFile.list(root).compactMap { Int($0) }.sorted(by: >)
        let debian = versions.map { "\(root)/\($0)/bin" }
        let searched = configuration.searchPath.split(separator: ":").map(String.init)
        for folder in debian + searched
        where access(folder + "/initdb", X_OK) == 0 && access(folder + "/pg_ctl", X_OK) == 0 {
            return folder
        }
        throw .cluster(
            "no PostgreSQL server programs found (initdb, pg_ctl): apt-get install postgresql, "
                + "or set database.url")
    }

    func initialise() async throws(PostgresError) {
        let outcome = try await run(
            "initdb",
            [
                "-D", place.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                "--locale=C.UTF-8", "--data-checksums",
            ])
        guard outcome.status == 0 else {
            throw .cluster(
                "initdb failed (\(outcome.status)) in \(place.data): \(tail(outcome.output)); free "
                    + "space or remove that folder, and start again")
        }
    }

    /// The major version of the data; 0 where it can't be told.
    private var major: Int {
        Int((SmallFile.read(place.data + "/PG_VERSION") ?? "").prefix { $0.isNumber }) ?? 0
    }

    /// Refuses data of another major version than the programs'.
    func checkVersion() throws(PostgresError) {
        let major = major
        guard major > 0 else {
            throw .cluster("\(place.data)/PG_VERSION is unreadable: restore or remove the folder")
        }
        guard major >= Self.majorVersionMin else {
            throw .cluster("PostgreSQL \(major) is too old: install 14 or newer")
        }
        let programs = binaries.split(separator: "/").compactMap { Int($0) }.last
        if let programs, programs != major {
            throw .cluster(
                "the data in \(place.data) are of PostgreSQL \(major), the programs of "
                    + "\(programs): install postgresql-\(major) or run pg_upgrade")
        }
    }

    /// Whether the settings were written once.
    var hasSettings: Bool {
        SmallFile.status(place.data + "/petrel.conf") != nil
            && SmallFile.read(place.data + "/postgresql.conf", bytesMax: 256 * 1024)?
                .contains(Self.include) == true
    }

    private static let include = "include 'petrel.conf'"

    /// Writes `petrel.conf` beside the data and includes it once.
    func writeSettings(_ extra: [String]) async throws(PostgresError) {
        let defaults = [
            "listen_addresses = ''", "unix_socket_directories = '\(place.socket)'",
            "unix_socket_permissions = 0700", "port = 5432", "max_connections = 40",
            "shared_buffers = 64MB", "work_mem = 8MB", "maintenance_work_mem = 64MB",
            "max_wal_size = 512MB",
            "min_wal_size = \((Int(SegmentsAhead.count) + 1) * SegmentsAhead.byteCount >> 20)MB",
            "temp_file_limit = 1GB", "max_locks_per_transaction = 512",
            "default_toast_compression = lz4", "wal_compression = on", "jit = off",
            "logging_collector = off", "log_timezone = UTC", "timezone = UTC",
            "huge_pages = off", "cluster_name = petrel", "autovacuum_naptime = 5min",
            // Else each checkpoint writes a file of its own, and the server ends where there is no space for it.
            major >= 18 ? "max_active_replication_origins = 0" : "max_replication_slots = 0",
        ]
        let text = (defaults + extra).joined(separator: "\n") + "\n"
        let path = place.data + "/petrel.conf"
        let owner = (user: place.user, group: place.group)
        if SmallFile.read(path) != text { try SmallFile.write(text, to: path, owner: owner) }
        let main = place.data + "/postgresql.conf"
        guard let current = SmallFile.read(main, bytesMax: 256 * 1024) else {
            throw .cluster("cannot read \(main): restore it")
        }
        if !current.contains(Self.include) {
            try SmallFile.write(current + "\n\(Self.include)\n", to: main, owner: owner)
        }
    }

    func isRunning() async -> Bool {
        guard SmallFile.status(place.data + "/postmaster.pid") != nil,
            let outcome = try? await run("pg_ctl", ["status", "-D", place.data])
        else { return false }
        return outcome.status == 0
    }

    /// Takes the space that the server may need, and starts it. Where there is none to start, the reserve is given up for
    /// it, and that is said.
    func start(_ logger: Logger) async throws(PostgresError) {
        await keepSpace(isServerRunning: false)
        do throws(PostgresError) { try await start() } catch {
            guard reserve.giveUp() else { throw error }
            logger.warning(
                "no space is left for PostgreSQL; its reserve was given up for a start: free space",
                metadata: ["data": "\(place.data)", "bytes": "\(DiskReserve.byteCount)"])
            try await start()
        }
    }

    private func start() async throws(PostgresError) {
        let log = place.log + "/postgres.log"
        let outcome = try await run(
            "pg_ctl",
            [
                "start", "-w", "-s", "-t", "\(Self.startSecondsMax)", "-D", place.data, "-l", log,
            ])
        guard outcome.status == 0 else {
            let said = SmallFile.read(log, bytesMax: 1 << 20) ?? outcome.output
            throw .cluster(
                "PostgreSQL did not start in \(place.data): \(tail(said)); its log is \(log)")
        }
    }

    func stop(mode: String) async throws(PostgresError) {
        guard await isRunning() else { return }
        let outcome = try await run(
            "pg_ctl", ["stop", "-w", "-s", "-t", "60", "-m", mode, "-D", place.data])
        guard outcome.status == 0 else {
            throw .cluster("PostgreSQL did not stop: \(tail(outcome.output))")
        }
    }

    /// The socket folder of the running server: an adopted one may use another than this start would choose.
    func socketInUse() throws(PostgresError) -> String {
        // Lines of postmaster.pid: process, data, start time, port, socket folder, …
        let lines = (SmallFile.read(place.data + "/postmaster.pid") ?? "").split(
            separator: "\n", omittingEmptySubsequences: false)
        guard lines.count > 4, !lines[4].isEmpty else { return place.socket }
        return String(lines[4])
    }

    private func run(
        _ program: String, _ arguments: [String]
    ) async throws(PostgresError) -> ChildOutcome {
        var command = [binaries + "/" + program] + arguments
        if let user {
            let setpriv = "/usr/bin/setpriv"
            guard access(setpriv, X_OK) == 0 else {
                throw .cluster("setpriv is missing: apt-get install util-linux")
            }
            command =
                [setpriv, "--reuid=\(user)", "--regid=\(place.group)", "--init-groups", "--"]
                + command
        }
        // The server's user may not enter the folder in which the collector was started.
        return try await ChildProcess.run(
            ["/usr/bin/env", "--chdir=/"] + command, outputPath: place.log + "/\(program).out")
    }

    private func tail(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).suffix(4).joined(separator: " | ")
    }
}
