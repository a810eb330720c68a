import Glibc
import Logging
import Postgres
import Testing

/// The server of this test run, in a folder of its own.
enum TestServer {
    static let isInstalled: Bool = {
        var found = glob_t()
        defer { globfree(&found) }
        return glob("/usr/lib/postgresql/*/bin/initdb", 0, nil, &found) == 0
            || access("/usr/bin/initdb", X_OK) == 0
    }()

    static let missing: Comment =
        "SKIPPED: no PostgreSQL server programs (apt-get install postgresql)"

    /// One folder a test process, removed when the process ends.
    private static let folder: String = {
        var template = Array("/tmp/petrel-postgres-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else { preconditionFailure("no folder can be made in /tmp") }
        atexit { TestServer.removeFolder() }
        return made
    }()

    private static func removeFolder() { remove(tree: folder) }

    static func remove(tree path: String) {
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) { place in
                    place.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name == "." || name == ".." { continue }
                // Links are removed, not followed.
                if entry.pointee.d_type == UInt8(DT_DIR) {
                    remove(tree: path + "/" + name)
                } else {
                    unlink(path + "/" + name)
                }
            }
            closedir(folder)
        }
        rmdir(path)
    }

    /// The tests crash the server, not the machine: nothing need wait for the disk.
    private static let settings = ["fsync = off", "full_page_writes = off"]

    static var quiet: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    /// Starts the server, or adopts it where it runs.
    static func start(freeBytesMin: Int64 = 48 << 20) async throws -> PrivateCluster {
        try await PrivateCluster.start(
            PrivateClusterConfiguration(
                stateDirectory: folder, settings: settings, freeBytesMin: freeBytesMin),
            logger: quiet)
    }

    /// Starts the server, runs `body` with a pool of two connections, and stops the server.
    static func with(_ body: (PostgresPool, PrivateCluster) async throws -> Void) async throws {
        let cluster = try await start()
        let pool = PostgresPool(
            PostgresPoolConfiguration(url: cluster.url, connectionsMax: 2), logger: quiet,
            random: { 1 })
        do {
            try await body(pool, cluster)
        } catch {
            await pool.close()
            try await cluster.stop()
            throw error
        }
        await pool.close()
        try await cluster.stop()
    }
}
