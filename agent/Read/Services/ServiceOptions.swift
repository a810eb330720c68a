import Model
package import YAMLDocument

/// What a configuration's `services` says: which readers run, and what they read instead of what they find, or beside it.
///
/// Where a list of servers is given, those are read and no others.
package struct ServiceOptions: Sendable {
    package var valkey: [ValkeyTarget] = []
    /// Keys and queues of the servers that are found by themselves.
    package var valkeyKeys: [ValkeyKey] = []
    package var postgres: [PostgresTarget] = []
    package var pgbouncer: [PgBouncerTarget] = []
    /// What is scraped as Caddy's.
    package var caddy: [CaddyTarget] = []
    /// Beside the usual folders.
    package var certificatePatterns: [String] = []
    package var secrets: [SecretExpiry] = []
    package var backups: [BackupSet] = []
    private var disabled: Set<String> = []

    /// The readers that can be turned off, and Caddy, which is scraped.
    static let names = [
        "backups", "caddy", "certificates", "chrony", "docker", "fail2ban", "pgbackrest",
        "pgbouncer",
        "postgres", "valkey",
    ]

    package init() {}

    /// Whether the reader `name` runs.
    package func isOn(_ name: String) -> Bool { !disabled.contains(name) }

    /// Whether `reader` runs, and reads the same, as under `other`.
    package func isSame(_ reader: String, as other: ServiceOptions) -> Bool {
        guard isOn(reader) == other.isOn(reader) else { return false }
        return switch reader {
        case "valkey": valkey == other.valkey && valkeyKeys == other.valkeyKeys
        case "postgres": postgres == other.postgres
        case "pgbouncer": pgbouncer == other.pgbouncer
        case "caddy": caddy == other.caddy
        case "certificates":
            certificatePatterns == other.certificatePatterns && secrets == other.secrets
        case "backups": backups == other.backups
        case "container": isOn("docker") == other.isOn("docker")
        default: true
        }
    }

    /// Reads the section `services` of a configuration.
    package init(_ root: inout YAMLMapping) throws(YAMLError) {
        var section = try root.section("services")
        for name in try section.strings("disable") {
            guard Self.names.contains(name) else {
                throw section.error(
                    at: "disable",
                    "no service `\(name)`; expected one of \(Self.names.joined(separator: ", "))")
            }
            disabled.insert(name)
        }
        valkeyKeys = try Self.keys(&section, "valkey_keys")
        for var entry in try section.mappings("valkey") {
            let keys = try Self.keys(&entry, "keys")
            let server = try Server(&entry, user: ValkeyReader.user)
            valkey.append(
                ValkeyTarget(
                    server.address, user: server.user.isEmpty ? nil : server.user,
                    secretPath: server.secretPath ?? ValkeyReader.secretPath,
                    label: server.label, isExpected: true, keys: keys))
        }
        for var entry in try section.mappings("postgres") {
            let database = try entry.string("database", default: "postgres")
            let server = try Server(&entry, user: PostgresTarget.standardUser)
            postgres.append(
                PostgresTarget(
                    address: server.address, user: server.user, secretPath: server.secretPath,
                    database: database, label: server.label))
        }
        for var entry in try section.mappings("pgbouncer") {
            let server = try Server(&entry, user: PgBouncerTarget.standardUser)
            pgbouncer.append(
                PgBouncerTarget(
                    address: server.address, user: server.user,
                    secretPath: server.secretPath ?? PgBouncerTarget.standardSecretPath,
                    label: server.label))
        }
        for var entry in try section.mappings("caddy") {
            let address = try Self.address(&entry)
            guard case .tcp = address else {
                throw entry.error(
                    at: "address",
                    "expected HOST:PORT of Caddy's admin endpoint, found `\(address)`")
            }
            let label = try entry.string("server")
            try entry.finish()
            caddy.append(CaddyTarget(address, label: label?.isEmpty == true ? nil : label))
        }
        try Self.requireDistinct(caddy, "caddy", max: CaddyTarget.serversMax, section)
        try Self.requireDistinct(valkey, "valkey", max: ValkeyReader.serversMax, section)
        try Self.requireDistinct(postgres, "postgres", max: PostgresReader.serversMax, section)
        try Self.requireDistinct(pgbouncer, "pgbouncer", max: PgBouncerReader.serversMax, section)
        try readFiles(&section)
        try section.finish()
    }

    private mutating func readFiles(_ section: inout YAMLMapping) throws(YAMLError) {
        certificatePatterns = try section.strings("certificates")
        for path in certificatePatterns where !path.hasPrefix("/") {
            throw section.error(at: "certificates", "expected absolute paths, found `\(path)`")
        }
        for var entry in try section.mappings("secrets") {
            let name = try entry.requiredString("name")
            let text = try entry.requiredString("expires")
            guard let time = RFC3339.parse(text) ?? RFC3339.parse(text + "T00:00:00Z") else {
                throw entry.error(
                    at: "expires",
                    "expected a day or a time such as 2027-01-31 or 2027-01-31T12:00:00Z")
            }
            try entry.finish()
            secrets.append(SecretExpiry(name: name, expiresAt: time.milliseconds))
        }
        var names: Set<String> = []
        for var entry in try section.mappings("backups") {
            let name = try entry.requiredString("name")
            let paths = try entry.strings("paths")
            guard !paths.isEmpty, paths.allSatisfy({ $0.hasPrefix("/") }) else {
                throw entry.error(at: "paths", "expected absolute paths, such as [/backup/*.dump]")
            }
            guard names.insert(name).inserted else {
                throw entry.error(at: "name", "`\(name)` is listed twice")
            }
            try entry.finish()
            backups.append(BackupSet(name: name, patterns: paths))
        }
    }

    /// A server of a list, without what is one service's own.
    private struct Server {
        var address: ServiceAddress
        var user: String
        var secretPath: String?
        var label: String?

        init(_ entry: inout YAMLMapping, user standard: String) throws(YAMLError) {
            address = try ServiceOptions.address(&entry)
            user = try entry.string("user", default: standard)
            let secret = try entry.string("password_file", default: "")
            guard secret.isEmpty || secret.hasPrefix("/") else {
                throw entry.error(at: "password_file", "expected an absolute path")
            }
            secretPath = secret.isEmpty ? nil : secret
            let name = try entry.string("server", default: "")
            label = name.isEmpty ? nil : name
            try entry.finish()
        }
    }

    private static func address(_ entry: inout YAMLMapping) throws(YAMLError) -> ServiceAddress {
        let text = try entry.requiredString("address")
        guard let address = ServiceAddress(text) else {
            throw entry.error(
                at: "address",
                "expected a socket's path or HOST:PORT, such as 127.0.0.1:6379, found `\(text)`")
        }
        guard !address.needsResolver else {
            throw entry.error(
                at: "address",
                "expected localhost or an IP address, found `\(text)`; services are read beside "
                    + "the agent, and no name is resolved for that")
        }
        return address
    }

    /// Of several servers each needs a name of its own, or their series are one.
    private static func requireDistinct(
        _ targets: [some ServiceTarget], _ key: String, max: Int, _ section: YAMLMapping
    ) throws(YAMLError) {
        guard targets.count <= max else {
            throw section.error(at: key, "\(targets.count) servers; at most \(max) are read")
        }
        var addresses: Set<ServiceAddress> = []
        for target in targets where !addresses.insert(target.address).inserted {
            throw section.error(at: key, "`\(target.address)` is listed twice")
        }
        guard Set(targets.map(\.label)).count < targets.count else { return }
        throw section.error(
            at: key, "several servers: give each a `server` of its own, which becomes its label")
    }

    private static func keys(
        _ entry: inout YAMLMapping, _ name: String
    ) throws(YAMLError) -> [ValkeyKey] {
        var keys: [ValkeyKey] = []
        for var item in try entry.mappings(name) {
            let database = try item.int("db", default: 0, range: 0...65_535)
            let kind: ValkeyKey.Kind
            let text: String
            if let queue = try item.string("bullmq") {
                kind = .bullMQ(
                    prefix: try item.string("prefix", default: ValkeyKey.bullMQPrefix))
                text = queue
            } else if let queue = try item.string("celery") {
                (kind, text) = (.celery, queue)
            } else {
                (kind, text) = (.key, try item.requiredString("key"))
            }
            try item.finish()
            let key = ValkeyKey(kind, text, database: database)
            guard !keys.contains(key) else {
                throw entry.error(at: name, "`\(text)` is listed twice")
            }
            keys.append(key)
        }
        return keys
    }
}

extension ServiceAddress {
    /// A socket's absolute path, `HOST:PORT` or `[ADDRESS]:PORT`; nil for anything else.
    package init?(_ text: String) {
        guard !text.hasPrefix("/") else {
            self = .unix(path: text)
            return
        }
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self = .tcp(host: String(host), port: port)
    }
}
