import AgentRead
import Model
import Testing
import YAMLDocument

@Suite("Options of what is read of services")
struct ServiceOptionsTests {
    private static func options(_ text: String) throws -> ServiceOptions {
        var root = try YAMLMapping.parse(text, file: "agent.yaml")
        let options = try ServiceOptions(&root)
        try root.finish()
        return options
    }

    @Test("servers, keys, files")
    func whole() throws {
        let options = try Self.options(
            """
            services:
              disable: [chrony]
              valkey:
                - address: /run/v.sock
                  server: a
                  keys: [{bullmq: mail, prefix: b, db: 2}, {celery: c}, {key: k}]
                - {address: "[::1]:6380", user: "", password_file: /s, server: b}
              valkey_keys: [{key: z}]
              postgres: [{address: "db:5433", database: app}]
              pgbouncer: [{address: "127.0.0.1:6433", user: stats}]
              certificates: [/srv/*.pem]
              secrets: [{name: token, expires: 2027-01-31}]
              backups: [{name: n, paths: [/b/*]}]
            """)
        #expect(!options.isOn("chrony") && options.isOn("valkey"))
        #expect(
            options.valkey == [
                ValkeyTarget(
                    .unix(path: "/run/v.sock"), label: "a", isExpected: true,
                    keys: [
                        ValkeyKey(.bullMQ(prefix: "b"), "mail", database: 2),
                        ValkeyKey(.celery, "c"), ValkeyKey(.key, "k"),
                    ]),
                ValkeyTarget(
                    .tcp(host: "::1", port: 6380), user: nil, secretPath: "/s", label: "b",
                    isExpected: true),
            ])
        #expect(options.valkeyKeys == [ValkeyKey(.key, "z")])
        #expect(
            options.postgres == [
                PostgresTarget(address: .tcp(host: "db", port: 5433), database: "app")
            ])
        #expect(
            options.pgbouncer == [
                PgBouncerTarget(address: .tcp(host: "127.0.0.1", port: 6433), user: "stats")
            ])
        #expect(options.certificatePatterns == ["/srv/*.pem"])
        #expect(options.secrets.map(\.expiresAt.rawValue) == [1_801_353_600_000])
        #expect(options.backups == [BackupSet(name: "n", patterns: ["/b/*"])])
    }

    @Test(
        "what is wrong is named with its place",
        arguments: [
            ("services: {disable: [cron]}", "no service `cron`"),
            ("services: {valkey: [{address: 6379}]}", "expected a socket's path or HOST:PORT"),
            ("services: {valkey: [{address: 'a:0'}]}", "expected a socket's path or HOST:PORT"),
            ("services: {valkey: [{address: '::1:6379'}]}", "expected a socket's path"),
            (
                "services: {valkey: [{address: 'a:1'}, {address: 'b:1'}]}",
                "give each a `server` of its own"
            ),
            ("services: {postgres: [{address: 'a:1', port: 2}]}", "unknown key `port`"),
            ("services: {postgres: [{address: 'a:1', password_file: x}]}", "absolute path"),
            ("services: {valkey_keys: [{queue: x}]}", "key"),
            ("services: {certificates: [a.pem]}", "expected absolute paths, found `a.pem`"),
            ("services: {secrets: [{name: a, expires: soon}]}", "expected a day or a time"),
            ("services: {backups: [{name: a}]}", "expected absolute paths"),
            (
                "services: {backups: [{name: a, paths: [/a]}, {name: a, paths: [/b]}]}",
                "`a` is listed twice"
            ),
        ])
    func wrong(text: String, expected: String) {
        let error = #expect(throws: YAMLError.self) { try Self.options(text) }
        #expect(error?.description.hasPrefix("agent.yaml:1:") == true)
        #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
    }
}
