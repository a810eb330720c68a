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
}
