package import Model
import Synchronization
package import World

/// A Valkey or Redis server to read.
package struct ValkeyTarget: Hashable, Sendable {
    package var address: ServiceAddress
    /// Whose password is in `secretPath`; nil: the default user's.
    package var user: String?
    /// A file with the password in its first line, read at each login; without it the agent asks without a login.
    package var secretPath: String?
    /// The label `server` of all its points; nil: none, for a host's only server.
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
    /// Servers of one host; those after them are left out.
    package static let targetsMax = 8
    /// Of one reading of one server.
    package static let defaultMilliseconds: Int64 = 1_500

    private let tree: any WorldFileTree
    private let targets: @Sendable () -> [ValkeyTarget]
    private let milliseconds: Int64
    /// Held for a whole reading: readings never meet.
    private let state: Mutex<State>
    private let lastProblems = Mutex<[String]>([])

    /// `targets` is asked at each reading. `milliseconds` bounds each reading of a server.
    package init(
        tree: any WorldFileTree, clock: any WorldClock,
        targets: @escaping @Sendable () -> [ValkeyTarget],
        milliseconds: Int64 = ValkeyReader.defaultMilliseconds
    ) {
        self.tree = tree
        state = Mutex(State(clock: clock))
        self.targets = targets
        self.milliseconds = milliseconds
    }

    /// What is wrong since the last reading, with what to do about it; for a person, without a secret.
    package var problems: [String] { lastProblems.withLock { $0 } }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let wanted = Self.distinct(targets())
        let (families, problems) = state.withLock {
            $0.read(wanted, now, tree, milliseconds)
        }
        lastProblems.withLock { $0 = problems }
        return families
    }

    /// No two with the same address or label.
    private static func distinct(_ targets: [ValkeyTarget]) -> [ValkeyTarget] {
        var kept: [ValkeyTarget] = []
        for var target in targets where kept.count < targetsMax {
            guard !kept.contains(where: { $0.address == target.address }) else { continue }
            if kept.contains(where: { $0.label == target.label }) {
                target.label = target.address.description
            }
            kept.append(target)
        }
        return kept
    }

    // MARK: - Discovery

    private static let port: UInt16 = 6379

    /// The servers that are there by themselves: one on port 6379 of a loopback, or else on a socket in `/run/valkey`
    /// or `/run/redis`; and those on a socket in `/run/valkey-NAME` or `/run/redis-NAME`, Debian's folders for further
    /// servers, with that name as their label. `keys` is for the first.
    package static func discover(
        tree: any WorldFileTree, paths: NodePaths, keys: [ValkeyKey] = []
    ) -> [ValkeyTarget] {
        let run = paths.rootfs + "/run"
        var main: [ValkeyTarget] = []
        var others: [ValkeyTarget] = []
        if ListeningPorts.read(tree: tree, paths: paths).contains(port) {
            main.append(ValkeyTarget(.tcp(host: "127.0.0.1", port: port), keys: keys))
        }
        for folder in ((try? tree.list(run)) ?? []).sorted(by: { bytesPrecede($1, $0) }) {
            let isMain = folder == "valkey" || folder == "redis"
            guard isMain || folder.hasPrefix("valkey-") || folder.hasPrefix("redis-"),
                let socket = socket(in: run + "/" + folder, tree)
            else { continue }
            if !isMain {
                others.append(ValkeyTarget(.unix(path: socket), label: folder))
            } else if main.isEmpty {
                main.append(ValkeyTarget(.unix(path: socket), keys: keys))
            }
        }
        return main + others.reversed()
    }

    /// The first socket by name in a folder; none where the agent may not look into it.
    private static func socket(in folder: String, _ tree: any WorldFileTree) -> String? {
        ((try? tree.list(folder)) ?? []).filter { $0.hasSuffix(".sock") }
            .min(by: bytesPrecede).map { folder + "/" + $0 }
    }
}

/// What is known of the servers from reading to reading.
private struct State {
    /// Where so many servers took all their time, the others of this reading have less.
    private static let lateMax = 2
    private static let lateMilliseconds: Int64 = 250
    /// For the second try where the server closed a kept connection, as it does when it restarts or has a `timeout`.
    private static let againMilliseconds: Int64 = 500

    /// Those that answered once, or took a connection and let it wait.
    private let clock: any WorldClock
    private var seen: [ValkeyTarget] = []
    private var sessions: [ValkeyTarget: ValkeySession] = [:]

    init(clock: any WorldClock) { self.clock = clock }

    mutating func read(
        _ wanted: [ValkeyTarget], _ now: TimestampNS, _ tree: any WorldFileTree,
        _ milliseconds: Int64
    ) -> ([MetricFamily], [String]) {
        var families = ValkeyFamilies()
        var problems: [String] = []
        // One whose place another took is forgotten.
        seen.removeAll { old in
            wanted.contains { $0 != old && ($0.address == old.address || $0.label == old.label) }
        }
        let all = wanted + seen.filter { !wanted.contains($0) }
        sessions = sessions.filter { all.contains($0.key) }
        var late = 0
        for target in all {
            families.server = target.label
            let time = late < Self.lateMax ? milliseconds : min(milliseconds, Self.lateMilliseconds)
            var found: [String] = []
            let failure = read(target, now, tree, time, &families, &found)
            if case .timeout = failure { late += 1 }
            problems += found.map { "valkey: \(target.address): \($0)" }
        }
        if families.isCut {
            problems.append("valkey: a family has more than \(ValkeyFamilies.pointsMax) points")
        }
        return (families.sorted(), problems)
    }

    /// Adds all of one server, and returns why it did not answer.
    private mutating func read(
        _ target: ValkeyTarget, _ now: TimestampNS, _ tree: any WorldFileTree,
        _ milliseconds: Int64, _ families: inout ValkeyFamilies, _ problems: inout [String]
    ) -> ServiceError? {
        var failure: ServiceError?
        var laterFailure: ServiceError?
        do throws(ServiceError) {
            laterFailure = try ask(target, now, tree, milliseconds, &families, &problems)
            see(target)
        } catch {
            failure = error
            sessions[target] = nil
            if case .timeout = error { see(target) }
            problems.append(Self.text(error))
        }
        guard failure == nil || target.isExpected || seen.contains(target) else { return failure }
        families.add(
            "redis_up", failure == nil ? 1 : 0, help: "Information about the Redis instance")
        families.add(
            "redis_exporter_last_scrape_error", failure == nil ? 0 : 1,
            .one("err", failure.map { "\($0)" } ?? ""), help: "The last scrape error status.")
        guard let laterFailure else { return failure }
        sessions[target] = nil
        problems.append("keys and queues: " + Self.text(laterFailure))
        return laterFailure
    }

    private mutating func see(_ target: ValkeyTarget) {
        guard !seen.contains(target) else { return }
        seen.append(target)
        if seen.count > ValkeyReader.targetsMax { seen.removeFirst() }
    }

    /// Over the kept connection, or over a new one where there is none any more.
    private mutating func ask(
        _ target: ValkeyTarget, _ now: TimestampNS, _ tree: any WorldFileTree,
        _ milliseconds: Int64, _ families: inout ValkeyFamilies, _ problems: inout [String]
    ) throws(ServiceError) -> ServiceError? {
        var milliseconds = milliseconds
        if let session = sessions[target] {
            do throws(ServiceError) {
                session.extend(milliseconds: milliseconds)
                return try session.read(target.keys, now: now, &families, &problems)
            } catch {
                sessions[target] = nil
                switch error {
                case .connection, .closed: milliseconds = min(milliseconds, Self.againMilliseconds)
                case .timeout, .refused, .malformed: throw error
                }
            }
        }
        let socket = try ServiceSocket(
            target.address, clock: clock, milliseconds: milliseconds)
        let session = try ValkeySession(socket, target, tree: tree)
        let failure = try session.read(target.keys, now: now, &families, &problems)
        sessions[target] = session
        return failure
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
