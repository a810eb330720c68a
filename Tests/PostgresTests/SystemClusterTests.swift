import Glibc
import Postgres
import Testing

@Suite struct SystemClusterTests {
    /// What `postgresql.conf` says; socket folder and port.
    @Test(
        arguments: [
            ("", "/var/run/postgresql", 5432),
            ("port = 5433\t# (change requires restart)", "/var/run/postgresql", 5433),
            ("#port = 5433\n  port=5434", "/var/run/postgresql", 5434),
            ("port 5435\nport = 5436", "/var/run/postgresql", 5436),
            ("Port = 5437", "/var/run/postgresql", 5437),
            ("port = nonsense", "/var/run/postgresql", 5432),
            ("unix_socket_directories = '/tmp/a b, /run/x' # two", "/tmp/a b", 5432),
            ("unix_socket_directories = '/tmp/it''s'", "/tmp/it's", 5432),
            ("unix_socket_directories = '/tmp/unfinished", "/tmp/unfinished", 5432),
            ("= 3\n'\nport", "/var/run/postgresql", 5432),
        ] as [(String, String, Int)])
    func configurationIsRead(_ text: String, _ folder: String, _ port: Int) {
        let cluster = SystemCluster(version: "15", name: "main", configuration: text)
        #expect(cluster.socketDirectory == folder)
        #expect(cluster.port == port)
        #expect(cluster.socket == "\(folder)/.s.PGSQL.\(port)")
        #expect(cluster.title == "15/main")
    }

    @Test func aMachineWithoutClustersHasNone() {
        #expect(SystemCluster.all(root: "/nowhere").isEmpty)
    }

    /// Debian's layout, made in a folder of its own.
    @Test func clustersAreFoundWithWhatTheirConfigurationIncludes() throws {
        var template = Array("/tmp/petrel-clusters-XXXXXX".utf8CString)
        let root = try #require(
            template.withUnsafeMutableBufferPointer { buffer in
                buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
            })
        defer { TestServer.remove(tree: root) }
        for (path, text) in [
            ("9.6/main/postgresql.conf", "port = 5440\n#include_dir = 'conf.d'\n"),
            ("9.6/main/conf.d/10.conf", "port = 1\n"),
            ("17/main/postgresql.conf", "port = 5432\ninclude_dir = 'conf.d'\n"),
            ("17/main/conf.d/20-port.conf", "port = 5433"),
            ("17/main/conf.d/10-port.conf", "port = 2\nunix_socket_directories = '/run/x'\n"),
            ("17/main/conf.d/.90-hidden.conf", "port = 3\n"),
            ("17/main/conf.d/90-port.conf.bak", "port = 4\n"),
            ("17/other/postgresql.conf", "include_dir = '\(root)/17/main/conf.d'\nport = 5450\n"),
            ("15/main/pg_hba.conf", ""), ("notes/main/postgresql.conf", "port = 5\n"),
        ] {
            try write(text, to: "\(root)/\(path)")
        }
        #expect(
            SystemCluster.all(root: root) == [
                SystemCluster(version: "17", name: "main", socketDirectory: "/run/x", port: 5433),
                SystemCluster(version: "17", name: "other", socketDirectory: "/run/x", port: 5450),
                SystemCluster(
                    version: "9.6", name: "main", socketDirectory: "/var/run/postgresql",
                    port: 5440),
            ])
    }

    /// Makes the file and the folders above it.
    private func write(_ text: String, to path: String) throws {
        var folder = ""
        for part in path.split(separator: "/").dropLast() {
            folder += "/" + part
            mkdir(folder, 0o700)
        }
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        fputs(text, file)
    }
}
