package import Model
import Synchronization
package import World

/// A PostgreSQL that is read, and how the agent logs in to it.
package struct PostgresTarget: Hashable, Sendable {
    /// What `petrel-agent setup postgresql` makes: it is let in over the socket without a password, by peer.
    package static let standardUser = "petrel-agent"

    package var address: ServiceAddress
    package var user: String
    /// The file whose first line is the password; nil, or a file that can't be read, where none is needed.
    package var secretPath: String?
    /// The database whose session is kept.
    package var database: String
    /// The `server` label of its points; nil for the usual single one.
    package var label: String?
    /// Whether it counts as down before it ever answered: as what somebody configured, not as what was found.
    package var isExpected: Bool

    package init(
        address: ServiceAddress, user: String = Self.standardUser, secretPath: String? = nil,
        database: String = "postgres", label: String? = nil, isExpected: Bool = true
    ) {
        self.address = address
        self.user = user
        self.secretPath = secretPath
        self.database = database
        self.label = label
        self.isExpected = isExpected
    }
}

/// A session with PostgreSQL that is kept, whose time is given to it anew at each reading.
package protocol PostgresConversing: PostgresQuerying {
    /// What follows has `milliseconds` in all.
    func extend(milliseconds: Int64)
}

extension PostgresSession: PostgresConversing {}

/// PostgreSQL's statistics under postgres_exporter's names, of PostgreSQL 13 to 18.
///
/// Beyond it: the old names of what 17 moved to pg_stat_checkpointer and pg_stat_io, the tables of every database that
/// lets the agent in, statistics of indexes with their database as a label, histograms of all idle sessions, the
/// extension for statements wherever it is, and three names that rules for it use (`pg_txid_current`,
/// `pg_stat_ssl_compression`, `pg_general_index_info_pg_relation_size`).
/// Source: postgres_exporter 0.20 `collector/`, `exporter/postgres_exporter.go`.
package final class PostgresReader: NodeReader {
    /// Logs in to a database of a target within `milliseconds`, which what follows has to share until `extend`.
    package typealias Connect =
        @Sendable (PostgresTarget, _ database: String, _ milliseconds: Int64) throws(ServiceError)
        -> any PostgresConversing

    package let name = "postgres"
    package var job: String { "postgres" }

    /// What all servers together may take of a reading.
    package static let readingMillisecondsMax: Int64 = 1_500
    /// Servers that are read; of more, those that are given first.
    package static let serversMax = 16

    private let clock: any WorldClock
    private let targets: @Sendable () -> [PostgresTarget]
    private let connect: Connect
    /// Held for a reading, of which there is never more than one at a time.
    private let servers = Mutex<[PostgresServer]>([])
    private let lastProblems = Mutex<[String]>([])

    /// `targets` is asked at each reading.
    package init(
        clock: any WorldClock, targets: @escaping @Sendable () -> [PostgresTarget],
        connect: @escaping Connect
    ) {
        self.clock = clock
        self.targets = targets
        self.connect = connect
    }

    /// Reads live servers, with the passwords in `tree`, read anew for each login.
    package convenience init(
        tree: any WorldFileTree, clock: any WorldClock, random: any RandomSource,
        targets: @escaping @Sendable () -> [PostgresTarget]
    ) {
        let keys = ScramKeys()
        self.init(clock: clock, targets: targets) {
            (target, database, milliseconds) throws(ServiceError) in
            try PostgresSession(
                target.address, user: target.user, database: database,
                password: try ServiceSecret.read(target.secretPath, tree, for: target.address),
                clock: clock, random: random, keys: keys, milliseconds: milliseconds)
        }
    }

    /// Why what was not read was not, with what to do, as of the last reading.
    package var problems: [String] { lastProblems.withLock { $0 } }

    /// The servers of this host by their sockets in the usual folders; the lock beside a socket tells PostgreSQL from
    /// PgBouncer. The one at port 5432, or else at the lowest, has no label.
    package static func discover(
        tree: any WorldFileTree, paths: NodePaths, user: String = PostgresTarget.standardUser
    ) -> [PostgresTarget] {
        var sockets: [UInt16: String] = [:]
        // The same server may have a socket in several folders: the first counts.
        for folder in ["/var/run/postgresql", "/run/postgresql"] {
            let path = paths.rootfs + folder
            let names = Set((try? tree.list(path)) ?? [])
            for name in names where name.hasPrefix(socketPrefix) && names.contains(name + ".lock") {
                let digits = name.dropFirst(socketPrefix.count)
                guard let port = UInt16(digits), "\(port)" == digits, sockets[port] == nil else {
                    continue
                }
                sockets[port] = path + "/" + name
            }
        }
        let usual: UInt16? = sockets[5_432] == nil ? sockets.keys.min() : 5_432
        return sockets.sorted { $0.key < $1.key }.prefix(serversMax).map { port, path in
            PostgresTarget(
                address: .unix(path: path), user: user,
                label: port == usual ? nil : label(path), isExpected: false)
        }
    }

    /// What tells a server that was found from others: `localhost:` and its port.
    private static func label(_ socket: String) -> String {
        "localhost:" + (socket.split(separator: ".").last ?? "")
    }

    private static let socketPrefix = ".s.PGSQL."

    /// Never fails: a server that does not answer any more is `pg_up` 0.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let given = Array(targets().prefix(Self.serversMax))
        let (families, problems) = servers.withLock { servers in
            update(&servers, given)
            return Self.read(&servers, clock)
        }
        lastProblems.withLock { $0 = problems }
        return families
    }

    /// What is given now, with what is known of it, and what answered once and was found no more.
    private func update(_ servers: inout [PostgresServer], _ targets: [PostgresTarget]) {
        let given = targets.map { Self.settled($0, servers.filter(\.wasSeen).map(\.target)) }
        for index in servers.indices {
            servers[index].isGiven = given.contains(servers[index].target)
        }
        servers.removeAll { server in
            !server.isGiven
                && (!server.wasSeen || server.target.isExpected
                    || given.contains {
                        $0.address == server.target.address || $0.label == server.target.label
                    })
        }
        for target in given where !servers.contains(where: { $0.target == target }) {
            servers.append(PostgresServer(target, clock, connect))
        }
        if servers.count > Self.serversMax {
            servers.removeAll { !$0.isGiven }
        }
    }

    /// A server that was found has the label it had when it answered first, wherever its socket is and whichever others
    /// there are now: that of one that is away for a while is no other's.
    private static func settled(
        _ target: PostgresTarget, _ seen: [PostgresTarget]
    ) -> PostgresTarget {
        guard !target.isExpected, case .unix(let path) = target.address else { return target }
        let own = label(path)
        var target = target
        let known = seen.first {
            guard !$0.isExpected, case .unix(let path) = $0.address else { return false }
            return label(path) == own
        }
        if let known {
            target.label = known.label
        } else if seen.contains(where: { $0.label == nil }) {
            target.label = own
        }
        return target
    }

    /// Each has an equal share of the time and what those before it left: one that keeps silent costs no other its own.
    private static func read(
        _ servers: inout [PostgresServer], _ clock: any WorldClock
    ) -> (families: [MetricFamily], problems: [String]) {
        let end = clock.monotonicNanoseconds + readingMillisecondsMax * 1_000_000
        var lists = Array(repeating: [MetricFamily](), count: servers.count)
        for index in servers.indices {
            let left = max(0, end - clock.monotonicNanoseconds)
            let share = left / Int64(servers.count - index)
            let families = servers[index].read(until: clock.monotonicNanoseconds + share)
            lists[index] = labeled(families, servers[index].target.label)
        }
        return (PostgresServer.merged(lists), servers.flatMap(\.problems))
    }

    private static func labeled(_ families: [MetricFamily], _ label: String?) -> [MetricFamily] {
        guard let label else { return families }
        var families = families
        for family in families.indices {
            for point in families[family].points.indices {
                let labels = families[family].points[point].labels
                families[family].points[point].labels = labels.setting("server", label)
            }
        }
        return families
    }
}
