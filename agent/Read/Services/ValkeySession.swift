import Model
import World

/// A connection to one server, and what it was found to take. One thread at a time.
final class ValkeySession {
    /// Codes by which a server says that the agent may not ask.
    static let accessCodes: Set<String> = ["NOAUTH", "WRONGPASS", "NOPERM"]

    private let client: RESPClient
    private var queues = ValkeyQueues()
    /// Why the agent is not logged in.
    private var refusal: ServiceError?
    /// Servers before 6 have no section `everything`.
    private var sections = ["everything", "all"]
    /// Beside INFO. Those that the server refuses are not asked for again.
    private var counts = [["SLOWLOG", "LEN"], ["LATENCY", "LATEST"]]
    private var countsRefused: [String] = []

    /// Logs in. A refused login is no error yet: a server that asks nobody for a password answers all the same.
    init(
        _ socket: ServiceSocket, _ target: ValkeyTarget, tree: any WorldFileTree
    ) throws(ServiceError) {
        client = RESPClient(socket)
        let password: String?
        do throws(ServiceError) {
            password = try ServiceSecret.read(target.secretPath, tree, for: target.address)
        } catch {
            password = nil
            refusal = error
        }
        if let password { refusal = try Self.logIn(client, target.user, password) }
        _ = try client.ask("CLIENT", "SETNAME", "petrel-agent")
    }

    /// Nil where the server lets the agent in. The server's message is left out: it may repeat the
    /// command's arguments.
    private static func logIn(
        _ client: RESPClient, _ user: String?, _ password: String
    ) throws(ServiceError) -> ServiceError? {
        let words = ["AUTH"] + (user.map { [$0] } ?? []) + [password]
        guard case .failure(let code, _) = try client.ask([words]).first else { return nil }
        return .refused(
            client.address, code: accessCodes.contains(code) ? code : "NOAUTH",
            message: "the server does not let \(user.map { "the user \($0)" } ?? "the agent") in")
    }

    /// Adds what the server tells of itself and of `keys` to `families`, and what it refuses to `problems`. Throws
    /// where it does not answer INFO; returns why it did not answer what came after that. The session is over in both
    /// cases.
    func read(
        _ keys: [ValkeyKey], now: TimestampNS, _ families: inout ValkeyFamilies,
        _ problems: inout [String]
    ) throws(ServiceError) -> ServiceError? {
        let asked = counts
        let replies = try client.ask([["INFO"] + sections.prefix(1)] + asked)
        var own = families
        guard let reply = replies.first,
            ValkeyInfo.add(try text(reply), now: now, to: &own)
        else { throw .malformed(client.address, detail: "INFO without a version") }
        families = own
        for (command, reply) in zip(asked, replies.dropFirst()) { add(command, reply, &families) }
        problems += countsRefused
        do throws(ServiceError) {
            try queues.read(keys, client, &families, &problems)
        } catch { return error }
        return nil
    }

    func extend(milliseconds: Int64) { client.extend(milliseconds: milliseconds) }

    /// INFO's text, of the largest set of sections that the server knows.
    private func text(_ first: RESPReply) throws(ServiceError) -> [UInt8] {
        var reply = first
        while true {
            switch reply {
            case .text(let bytes) where !bytes.isEmpty: return bytes
            case .failure(let code, let message):
                if Self.accessCodes.contains(code) {
                    throw refusal ?? .refused(client.address, code: code, message: message)
                }
                guard !sections.isEmpty else {
                    throw .refused(client.address, code: code, message: message)
                }
            case .text, .integer, .null, .array:
                guard !sections.isEmpty else {
                    throw .malformed(client.address, detail: "INFO without a text")
                }
            }
            sections.removeFirst()
            reply = try client.ask([["INFO"] + sections.prefix(1)]).first ?? .null
        }
    }

    private func add(
        _ command: [String], _ reply: RESPReply, _ families: inout ValkeyFamilies
    ) {
        switch reply {
        case .integer(let length):
            families.add("redis_slowlog_length", Double(length), help: "Total slowlog")
        case .array(let events): for event in events { Self.addEvent(event, &families) }
        case .failure(let code, let message):
            counts.removeAll { $0 == command }
            countsRefused.append("\(command.joined(separator: " ")): \(code) \(message)")
        case .text, .null: break
        }
    }

    /// An event's name, the time of its last spike, that one's milliseconds and the most of all.
    private static func addEvent(_ event: RESPReply, _ families: inout ValkeyFamilies) {
        guard let items = event.items, items.count >= 3, let name = items[0].string,
            let last = items[1].number, let duration = items[2].number
        else { return }
        let labels = Labels.one("event_name", name)
        families.add(
            "redis_latency_spike_last", Double(last), labels,
            help: "When the latency spike last occurred")
        families.add(
            "redis_latency_spike_duration_seconds", Double(duration) / 1e3, labels,
            help: "Length of the last latency spike in seconds")
    }
}
