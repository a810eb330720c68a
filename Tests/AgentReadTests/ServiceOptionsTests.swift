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

    @Test(
        "which readers an option is about",
        arguments: [
            ("disable: [docker]", ["container", "docker"]), ("disable: [chrony]", ["chrony"]),
            ("valkey: [{address: \"127.0.0.1:1\"}]", ["valkey"]),
            ("valkey_keys: [{key: z}]", ["valkey"]),
            ("postgres: [{address: \"127.0.0.1:1\"}]", ["postgres"]),
            ("pgbouncer: [{address: \"127.0.0.1:1\"}]", ["pgbouncer"]),
            ("caddy: [{address: \"127.0.0.1:1\"}]", ["caddy"]), ("disable: [caddy]", ["caddy"]),
            ("certificates: [/srv/*.pem]", ["certificates"]),
            ("secrets: [{name: t, expires: 2027-01-31}]", ["certificates"]),
            ("backups: [{name: n, paths: [/b/*]}]", ["backups"]), ("disable: []", []),
        ] as [(String, Set<String>)])
    func isSame(text: String, changed: Set<String>) throws {
        let options = try Self.options("services: {\(text)}")
        let none = try Self.options("{}")
        let names = [
            "backups", "caddy", "certificates", "chrony", "container", "cpu", "docker", "fail2ban",
            "pgbackrest", "pgbouncer", "postgres", "valkey",
        ]
        #expect(Set(names.filter { !options.isSame($0, as: none) }) == changed)
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
              postgres: [{address: "10.0.0.5:5433", database: app}]
              pgbouncer: [{address: "localhost:6433", user: stats}]
              caddy: [{address: "127.0.0.1:2020", server: a}, {address: "[::1]:2019"}]
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
                PostgresTarget(address: .tcp(host: "10.0.0.5", port: 5433), database: "app")
            ])
        #expect(
            options.pgbouncer == [
                PgBouncerTarget(address: .tcp(host: "localhost", port: 6433), user: "stats")
            ])
        #expect(
            options.caddy == [
                CaddyTarget(.tcp(host: "127.0.0.1", port: 2020), label: "a"),
                CaddyTarget(.tcp(host: "::1", port: 2019)),
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
            ("services: {postgres: [{address: 'db:1'}]}", "expected localhost or an IP address"),
            (
                "services: {valkey: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:2'}]}",
                "give each a `server` of its own"
            ),
            (
                "services: {pgbouncer: [{address: /a}, {address: /b}]}",
                "give each a `server` of its own"
            ),
            (
                "services: {valkey: [{address: /a, server: x}, {address: /a, server: y}]}",
                "`/a` is listed twice"
            ),
            (
                "services: {valkey: ["
                    + (1...9).map { "{address: /a\($0), server: s\($0)}" }
                    .joined(separator: ", ") + "]}",
                "9 servers; at most 8 are read"
            ),
            ("services: {postgres: [{address: '[::1]:1', port: 2}]}", "unknown key `port`"),
            ("services: {caddy: [{address: /run/caddy.sock}]}", "expected HOST:PORT"),
            ("services: {caddy: [{address: 'web:2019'}]}", "expected localhost or an IP address"),
            (
                "services: {caddy: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:2'}]}",
                "give each a `server` of its own"
            ),
            ("services: {caddy: [{address: '[::1]:1', user: x}]}", "unknown key `user`"),
            ("services: {postgres: [{address: /a, password_file: x}]}", "absolute path"),
            ("services: {valkey_keys: [{queue: x}]}", "key"),
            ("services: {valkey_keys: [{celery: c}, {celery: c, db: 0}]}", "`c` is listed twice"),
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
