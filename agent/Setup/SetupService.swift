import World

/// The services that can be set up.
package enum SetupService: Hashable, Sendable {
    /// `cluster`: as `18/main`; nil: the only one.
    case postgreSQL(cluster: String?)
    case pgBouncer(configuration: String?)
    case valkey(configuration: String?, ValkeyConsent)
    case caddy(configuration: String?)

    /// Looks at the machine and plans; changes nothing.
    package func plan(_ host: SetupHost) throws(SetupError) -> SetupPlan {
        switch self {
        case .postgreSQL(let name):
            PostgreSQLPlanner.plan(try .survey(try Self.cluster(name, host), host))
        case .pgBouncer(let path): PgBouncerPlanner.plan(try .survey(path, host))
        case .valkey(let path, let consent): ValkeyPlanner.plan(try .survey(path, consent, host))
        case .caddy(let path): CaddyPlanner.plan(try .survey(path, host))
        }
    }

    private static func cluster(
        _ name: String?, _ host: SetupHost
    ) throws(SetupError) -> PostgreSQLCluster {
        let clusters = try PostgreSQLCluster.all(host)
        guard !clusters.isEmpty else {
            throw .notFound(
                service: "PostgreSQL", places: [PostgreSQLCluster.root + "/VERSION/NAME"],
                remedy: "run this on the host with the database (Debian's packages keep clusters "
                    + "there); elsewhere create the role by hand: CREATE ROLE \"\(host.agentUser)\" "
                    + "LOGIN; GRANT pg_monitor TO \"\(host.agentUser)\"")
        }
        let fitting = clusters.filter { name == nil || $0.label == name }
        guard let cluster = fitting.first, fitting.count == 1 else {
            throw .unclear(
                what: name.map { "no cluster is called \($0)" } ?? "several clusters",
                choices: clusters.map(\.label), remedy: "name one with --cluster")
        }
        return cluster
    }

    /// Every service that this machine has, ready to be planned.
    package static func found(_ host: SetupHost) throws(SetupError) -> [SetupService] {
        var found: [SetupService] = try PostgreSQLCluster.all(host).map {
            .postgreSQL(cluster: $0.label)
        }
        if host.exists(PgBouncerFacts.standardPath) { found.append(.pgBouncer(configuration: nil)) }
        for path in ValkeyFacts.places where host.exists(path) {
            found.append(.valkey(configuration: path, ValkeyConsent()))
        }
        if host.exists(CaddyFacts.standardPath) { found.append(.caddy(configuration: nil)) }
        return found
    }

    /// The name on the command line.
    package var name: String {
        switch self {
        case .postgreSQL(let cluster): "postgresql" + (cluster.map { " " + $0 } ?? "")
        case .pgBouncer: "pgbouncer"
        case .valkey: "valkey"
        case .caddy: "caddy"
        }
    }
}
