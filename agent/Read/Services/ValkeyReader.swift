package import Model
import Synchronization
package import World

/// A Valkey or Redis server to read.
package struct ValkeyTarget: Hashable, Sendable, ServiceTarget {
    package var address: ServiceAddress
    /// Whose password is in `secretPath`; nil: the default user's.
    package var user: String?
    /// A file with the password in its first line, read at each login; without it the agent asks without a login.
    package var secretPath: String?
    /// The label `server` of all its points; nil: none, for a host's only server. Targets with the same label are ways
    /// to one server: the first that leads to one is read.
    package var label: String?
    /// `redis_up` is 0 even where it has never been seen: the configuration names it.
    package var isExpected: Bool
    /// Keys and queues whose size is told, at most 256.
    package var keys: [ValkeyKey]

    package init(
        _ address: ServiceAddress, user: String? = ValkeyReader.user,
        secretPath: String? = ValkeyReader.secretPath, label: String? = nil,
        isExpected: Bool = false, keys: [ValkeyKey] = []
    ) {
        self.address = address
        self.user = user
        self.secretPath = secretPath
        self.label = label
        self.isExpected = isExpected
        self.keys = keys
    }
}

/// Valkey and Redis with redis_exporter's names: INFO, the slow log's length, latency events, and the sizes of listed
/// keys and queues. It asks for nothing else: no CONFIG, no EVAL, no KEYS or SCAN, no value.
///
/// A server that was seen once and does not answer any more has `redis_up` 0; one that was never seen has no point.
/// Connections are kept from reading to reading.
/// Source: redis_exporter `exporter.go`.
package final class ValkeyReader: NodeReader {
    package let name = "valkey"
    package let job = "redis"

    /// What `petrel-agent setup valkey` writes.
    package static let user = "petrel"
    package static let secretPath = "/etc/petrel/secrets/valkey"
    /// Servers that are read.
    package static let serversMax = 8
    /// What all servers together may take of a reading.
    package static let readingMillisecondsMax: Int64 = 1_500

    private let tree: any WorldFileTree
    private let targets: @Sendable () -> [ValkeyTarget]
    private let milliseconds: Int64
    /// Held for a whole reading: readings never meet.
    private let state: Mutex<State>
    private let lastProblems = Mutex<[String]>([])

    /// `targets` is asked at each reading. `milliseconds` bounds a reading of all servers.
    package init(
        tree: any WorldFileTree, clock: any WorldClock,
        targets: @escaping @Sendable () -> [ValkeyTarget],
        milliseconds: Int64 = ValkeyReader.readingMillisecondsMax
    ) {
        self.tree = tree
        state = Mutex(State(clock: clock))
        self.targets = targets
        self.milliseconds = milliseconds
    }

    /// What is wrong since the last reading, with what to do about it; for a person, without a secret.
    package var problems: [String] { lastProblems.withLock { $0 } }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let given = targets()
        let (families, problems) = state.withLock {
            $0.read(given, now, tree, milliseconds)
        }
        lastProblems.withLock { $0 = problems }
        return families
    }

    // MARK: - Discovery

    private static let port: UInt16 = 6379

    /// The servers that are there by themselves: one on port 6379 of a loopback or a socket in `/run/valkey` or
    /// `/run/redis`, whichever lets the agent in; and those on a socket in `/run/valkey-NAME` or `/run/redis-NAME`,
    /// Debian's folders for further servers, with that name as their label. `keys` is for the first.
    package static func discover(
        tree: any WorldFileTree, paths: NodePaths, keys: [ValkeyKey] = [],
        host: any HostCalls = GlibcHostCalls()
    ) -> [ValkeyTarget] {
        let run = paths.rootfs + "/run"
        var main: [ValkeyTarget] = []
        var others: [ValkeyTarget] = []
        if ListeningPorts.read(tree: tree, paths: paths, host: host).contains(port) {
            main = ["127.0.0.1", "::1"].map {
                ValkeyTarget(.tcp(host: $0, port: port), keys: keys)
            }
        }
        for folder in ((try? tree.list(run)) ?? []).sorted(by: { bytesPrecede($1, $0) }) {
            let isMain = folder == "valkey" || folder == "redis"
            guard isMain || folder.hasPrefix("valkey-") || folder.hasPrefix("redis-"),
                let socket = socket(in: run + "/" + folder, tree)
            else { continue }
            if isMain {
                main.append(ValkeyTarget(.unix(path: socket), keys: keys))
            } else {
                others.append(ValkeyTarget(.unix(path: socket), label: folder))
            }
        }
        return main + others.reversed().prefix(serversMax - 1)
    }

    /// The first socket by name in a folder; none where the agent may not look into it.
    private static func socket(in folder: String, _ tree: any WorldFileTree) -> String? {
        ((try? tree.list(folder)) ?? []).filter { $0.hasSuffix(".sock") }
            .min(by: bytesPrecede).map { folder + "/" + $0 }
    }
}

/// What is known of the servers from reading to reading.
private struct State {
    private let clock: any WorldClock
    private var servers: [ServiceWays<ValkeyTarget>] = []
    private var sessions: [ValkeyTarget: ValkeySession] = [:]

    init(clock: any WorldClock) { self.clock = clock }

    /// Each server has an equal share of the time and what those before it left.
    mutating func read(
        _ given: [ValkeyTarget], _ now: TimestampNS, _ tree: any WorldFileTree,
        _ milliseconds: Int64
    ) -> ([MetricFamily], [String]) {
        var families = ValkeyFamilies()
        var problems: [String] = []
        var servers = ServiceWays.merged(servers, given, max: ValkeyReader.serversMax)
        let ways = Set(servers.flatMap(\.targets))
        sessions = sessions.filter { ways.contains($0.key) }
        let end = clock.monotonicNanoseconds + milliseconds * 1_000_000
        for index in servers.indices {
            families.server = servers[index].label
            let time = clock.monotonicNanoseconds
            let share = max(0, end - time) / Int64(servers.count - index)
            read(&servers[index], now, tree, until: time + share, &families, &problems)
        }
        self.servers = servers
        if families.isCut { problems.append("valkey: more points than the agent takes") }
        return (families.sorted(), problems)
    }

    /// Adds all of one server.
    private mutating func read(
        _ server: inout ServiceWays<ValkeyTarget>, _ now: TimestampNS, _ tree: any WorldFileTree,
        until end: Int64, _ families: inout ValkeyFamilies, _ problems: inout [String]
    ) {
        var failed: (target: ValkeyTarget, error: ServiceError)?
        for (index, target) in server.targets.enumerated() {
            var found: [String] = []
            do throws(ServiceError) {
                let laterError = try ask(target, now, tree, until: end, &families, &found)
                server.wasSeen = true
                // No other way is tried: this one leads to it.
                server.prefer(index)
                Self.addUp(nil, &families)
                if let laterError {
                    sessions[target] = nil
                    found.append("keys and queues: " + Self.text(laterError))
                }
                problems += found.map { "valkey: \(target.address): \($0)" }
                return
            } catch {
                sessions[target] = nil
                if failed == nil || failed?.error.isAbsence == true { failed = (target, error) }
                // It is there, and would take its time another way too.
                if case .timeout = error {
                    server.wasSeen = true
                    break
                }
            }
        }
        guard let failed else { return }
        if server.isKnown { Self.addUp(failed.error, &families) }
        // Of a socket that somebody left behind there is nothing to tell.
        guard server.isKnown || !failed.error.isAbsence else { return }
        problems.append("valkey: \(failed.target.address): \(Self.text(failed.error))")
    }

    private static func addUp(_ failure: ServiceError?, _ families: inout ValkeyFamilies) {
        families.add(
            "redis_up", failure == nil ? 1 : 0, help: "Information about the Redis instance")
        families.add(
            "redis_exporter_last_scrape_error", failure == nil ? 0 : 1,
            .one("err", failure.map { "\($0)" } ?? ""), help: "The last scrape error status.")
    }

    /// Over the kept connection, or over a new one where there is none any more: a server closes it when it restarts,
    /// or has a `timeout`. Returns why the server did not answer what came after INFO.
    private mutating func ask(
        _ target: ValkeyTarget, _ now: TimestampNS, _ tree: any WorldFileTree, until end: Int64,
        _ families: inout ValkeyFamilies, _ problems: inout [String]
    ) throws(ServiceError) -> ServiceError? {
        if let session = sessions[target] {
            do throws(ServiceError) {
                session.extend(milliseconds: millisecondsLeft(until: end))
                return try session.read(target.keys, now: now, &families, &problems)
            } catch {
                sessions[target] = nil
                switch error {
                case .connection, .closed: break
                case .timeout, .refused, .malformed: throw error
                }
            }
        }
        let socket = try ServiceSocket(
            target.address, clock: clock, milliseconds: millisecondsLeft(until: end))
        let session = try ValkeySession(socket, target, tree: tree)
        let failure = try session.read(target.keys, now: now, &families, &problems)
        sessions[target] = session
        return failure
    }

    private func millisecondsLeft(until end: Int64) -> Int64 {
        max(0, end - clock.monotonicNanoseconds) / 1_000_000
    }

    /// The failure without the address, which leads the line, and what to do about it.
    private static func text(_ error: ServiceError) -> String {
        switch error {
        case .refused(_, let code, let message) where ValkeySession.accessCodes.contains(code):
            "\(code): \(message); run `sudo petrel-agent setup valkey`"
        case .refused(_, let code, let message): code.isEmpty ? message : "\(code): \(message)"
        case .connection(.unix, let operation, let errno) where errno == 13:
            "\(operation): errno \(errno); let the server listen on 127.0.0.1 too, or add the "
                + "agent's user to the group of this socket"
        case .connection(_, let operation, let errno):
            "\(operation): errno \(errno); does the server run?"
        case .timeout(_, let operation):
            "\(operation) took too long; is the server busy or stopped?"
        case .closed:
            "closed the connection; where it speaks TLS alone let it listen in plain on 127.0.0.1"
        case .malformed(_, let detail): detail
        }
    }
}
