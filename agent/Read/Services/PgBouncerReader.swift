package import Model
import Synchronization
package import World

/// A PgBouncer that is read, and how the agent logs in to its console.
package struct PgBouncerTarget: Hashable, Sendable, ServiceTarget {
    /// What `petrel-agent setup pgbouncer` makes.
    package static let standardUser = "petrel-agent"
    package static let standardSecretPath = "/etc/petrel/secrets/pgbouncer"

    package var address: ServiceAddress
    package var user: String
    /// The file whose first line is the password, read where the server asks for it.
    package var secretPath: String?
    /// The `server` label of its points; nil for the usual single one. Of targets with the same label the first that
    /// lets the agent in is read: they are ways to one server.
    package var label: String?
    /// Whether it counts as down before it was ever seen: as what somebody configured, not as what was found.
    package var isExpected: Bool

    package init(
        address: ServiceAddress, user: String = Self.standardUser,
        secretPath: String? = Self.standardSecretPath, label: String? = nil,
        isExpected: Bool = true
    ) {
        self.address = address
        self.user = user
        self.secretPath = secretPath
        self.label = label
        self.isExpected = isExpected
    }
}

/// PgBouncer's pools, databases and totals, from its console.
///
/// It logs in for each reading: since 1.23 PgBouncer ends on SIGTERM when its last client has gone, the console's own
/// clients among them, so a connection that is kept would hold up its restarts.
/// Source: pgbouncer_exporter 0.12 `collector.go`; PgBouncer 1.25 `janitor.c` do_full_maint.
package final class PgBouncerReader: NodeReader {
    package typealias Connect =
        @Sendable (PgBouncerTarget, _ milliseconds: Int64) throws(ServiceError) ->
        any PostgresQuerying

    package let name = "pgbouncer"
    package var job: String { "pgbouncer" }

    /// What one server may take of a reading.
    package static let serverMillisecondsMax: Int64 = 1_500
    /// What all servers together may take.
    package static let readingMillisecondsMax: Int64 = 2_000
    /// Servers that are read.
    package static let serversMax = 16

    private typealias Server = ServiceWays<PgBouncerTarget>

    private let clock: any WorldClock
    private let targets: @Sendable () -> [PgBouncerTarget]
    private let connect: Connect
    /// Held for a reading, of which there is never more than one at a time.
    private let servers = Mutex<[Server]>([])
    private let lastProblems = Mutex<[String]>([])

    /// `targets` is asked at each reading. `connect` logs in within its milliseconds, which the queries share.
    package init(
        clock: any WorldClock, targets: @escaping @Sendable () -> [PgBouncerTarget],
        connect: @escaping Connect
    ) {
        self.clock = clock
        self.targets = targets
        self.connect = connect
    }

    /// Reads live servers, with the passwords in `tree`, read anew for each login.
    package convenience init(
        tree: any WorldFileTree, clock: any WorldClock, random: any RandomSource,
        targets: @escaping @Sendable () -> [PgBouncerTarget]
    ) {
        let keys = ScramKeys()
        self.init(clock: clock, targets: targets) { (target, milliseconds) throws(ServiceError) in
            try PostgresSession(
                target.address, user: target.user, database: "pgbouncer",
                password: try ServiceSecret.read(target.secretPath, tree, for: target.address),
                clock: clock, random: random, keys: keys, milliseconds: milliseconds)
        }
    }

    /// Why each server that could not be read whole was not, with what to do.
    package var problems: [String] { lastProblems.withLock { $0 } }

    /// The ways to the PgBouncer of this host: the socket in its usual folder, and port 6432 where something listens.
    /// None in `/tmp`, where every user could put one: it would get what is meant for PgBouncer.
    package static func discover(
        tree: any WorldFileTree, paths: NodePaths, user: String = PgBouncerTarget.standardUser,
        host: any HostCalls = GlibcHostCalls()
    ) -> [PgBouncerTarget] {
        var addresses: [ServiceAddress] = []
        let socket = paths.rootfs + "/run/postgresql/.s.PGSQL.\(port)"
        if (try? tree.status(socket)) != nil { addresses.append(.unix(path: socket)) }
        if ListeningPorts.read(tree: tree, paths: paths, host: host).contains(port) {
            addresses += ["127.0.0.1", "::1"].map { .tcp(host: $0, port: port) }
        }
        return addresses.map { PgBouncerTarget(address: $0, user: user, isExpected: false) }
    }

    private static let port: UInt16 = 6_432

    /// Never fails: a server that does not answer is `pgbouncer_up` 0.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let given = targets()
        let (metrics, problems) = servers.withLock { servers in
            servers = Server.merged(servers, given, max: Self.serversMax)
            return read(&servers)
        }
        lastProblems.withLock { $0 = problems }
        return metrics.families
    }

    private func read(_ servers: inout [Server]) -> (PgBouncerMetrics, [String]) {
        let end = clock.monotonicNanoseconds + Self.readingMillisecondsMax * 1_000_000
        var metrics = PgBouncerMetrics()
        var problems: [String] = []
        for index in servers.indices {
            let share = millisecondsLeft(until: end) / Int64(servers.count - index)
            let problem = read(
                &servers[index], min(share, Self.serverMillisecondsMax), &metrics)
            if let problem { problems.append(problem) }
        }
        return (metrics, problems)
    }

    /// Adds all of one server, and returns what is wrong with it, if anything is.
    private func read(
        _ server: inout Server, _ milliseconds: Int64, _ metrics: inout PgBouncerMetrics
    ) -> String? {
        let end = clock.monotonicNanoseconds + milliseconds * 1_000_000
        var problem: String?
        for (index, target) in server.targets.enumerated() {
            let share = millisecondsLeft(until: end) / Int64(server.targets.count - index)
            do throws(ServiceError) {
                let session = try connect(target, max(1, share))
                let failures = metrics.read(session, server: server.label)
                metrics.addUp(failures.isEmpty, server: server.label)
                server.wasSeen = true
                // No other way is tried: this one leads to it.
                server.prefer(index)
                return failures.first.map { "pgbouncer: \($0)" }
            } catch {
                // Who refuses is there.
                if case .refused = error { server.wasSeen = true }
                problem = problem ?? Self.problem(error, isKnown: server.isKnown)
            }
        }
        if server.isKnown { metrics.addUp(false, server: server.label) }
        return problem
    }

    private func millisecondsLeft(until end: Int64) -> Int64 {
        max(0, end - clock.monotonicNanoseconds) / 1_000_000
    }

    /// The reason with its remedy; nil where there is nothing to tell, as of a socket that somebody left behind.
    private static func problem(_ error: ServiceError, isKnown: Bool) -> String? {
        let remedy: String
        switch error {
        case .connection where error.isAbsence:
            guard isKnown else { return nil }
            remedy = "start PgBouncer"
        case .connection(_, _, let code) where code == 13:
            remedy = "let the agent's user open the socket: unix_socket_mode in pgbouncer.ini"
        case .refused(_, _, let message) where message.contains("max_client_conn"):
            remedy = "raise max_client_conn"
        case .refused(_, _, PostgresSession.plainRefusal):
            remedy = "set auth_type = scram-sha-256 in pgbouncer.ini"
        case .refused(_, ServiceSecret.failureCode, _): return "pgbouncer: \(error)"
        case .refused: remedy = "run: sudo petrel-agent setup pgbouncer"
        case .connection, .timeout, .closed, .malformed: remedy = "look into PgBouncer's log"
        }
        return "pgbouncer: \(error); \(remedy)"
    }
}
