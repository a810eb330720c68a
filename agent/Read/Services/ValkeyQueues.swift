import Model

/// A key of Valkey or Redis, or a queue of several keys, whose size the agent tells.
package struct ValkeyKey: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// A list, set, sorted set or stream, whichever it is: `redis_key_size`, and for a stream its length and the
        /// lag of its consumer groups.
        case key
        /// A queue of BullMQ or Bull: `petrel_queue_jobs` by state. Its keys are `prefix:name:state`.
        case bullMQ(prefix: String = ValkeyKey.bullMQPrefix)
        /// A queue of Celery: `petrel_queue_jobs`.
        case celery
    }

    /// BullMQ's own, where its option `prefix` says nothing else.
    package static let bullMQPrefix = "bull"

    package var kind: Kind
    /// The key's, or the queue's, without prefix or state.
    package var name: String
    /// The number that SELECT takes.
    package var database: Int

    package init(_ kind: Kind, _ name: String, database: Int = 0) {
        self.kind = kind
        self.name = name
        self.database = database
    }

    var isQueue: Bool { kind != .key }
}

/// Sizes of keys and queues over one connection: by commands that count and read no value, which are all that the user
/// `petrel` may call (`docs/setup.md`). So the age of a waiting job and the duration of a done one are not here: BullMQ
/// has them in the job's hash and in scores, Celery in the message.
/// Source: BullMQ 5 `queue-keys.ts`; kombu 5 `transport/redis.py` (`sep`, `priority_steps`, `unacked_index_key`);
/// redis_exporter `keys.go`, `streams.go`.
struct ValkeyQueues {
    /// Keys and queues of one server; what comes after them is left out.
    static let keysMax = 256
    /// Consumer groups of one stream, the first by name.
    static let groupsMax = 256

    private static let sizeCommands = ["LLEN", "ZCARD", "SCARD", "XLEN"]
    private static let streamCommand = 3
    private static let bullMQStates: [(command: String, state: String)] = [
        ("LLEN", "wait"), ("LLEN", "active"), ("LLEN", "paused"), ("ZCARD", "prioritized"),
        ("ZCARD", "delayed"), ("ZCARD", "waiting-children"), ("ZCARD", "completed"),
        ("ZCARD", "failed"),
    ]
    /// A queue of Celery with priorities is a list for each, of these names after its own.
    private static let celeryPriorities = ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"]
    private static let celeryUnacknowledged = "unacked_index"

    private struct Question {
        var command: [String]
        var system: String
        var queue: String
        var state: String
    }

    /// Which of `sizeCommands` a key takes; their count for none. An agent that may not ask for a key's type learns it
    /// by the server's refusals, which the server counts, so it remembers.
    private var commandIndexes: [ValkeyKey: Int] = [:]
    private var database = 0

    /// Adds the sizes of `keys` to `families` and what the server refuses to `problems`.
    mutating func read(
        _ keys: [ValkeyKey], _ client: RESPClient, _ families: inout ValkeyFamilies,
        _ problems: inout [String]
    ) throws(ServiceError) {
        // One that is listed twice is one.
        var known: Set<ValkeyKey> = []
        var keys = keys.filter { known.insert($0).inserted }
        if keys.count > Self.keysMax {
            problems.append("more than \(Self.keysMax) keys and queues; the rest is left out")
            keys.removeSubrange(Self.keysMax...)
        }
        for number in Set(keys.map(\.database)).sorted() {
            guard try select(number, client, &problems) else { continue }
            let own = keys.filter { $0.database == number }
            try readQueues(own.filter(\.isQueue), client, &families, &problems)
            try readKeys(own.filter { !$0.isQueue }, client, &families, &problems)
        }
    }

    private mutating func select(
        _ number: Int, _ client: RESPClient, _ problems: inout [String]
    ) throws(ServiceError) -> Bool {
        guard number != database else { return true }
        if case .failure(let code, let message) = try client.ask("SELECT", "\(number)") {
            problems.append("database \(number): \(code) \(message)")
            return false
        }
        database = number
        return true
    }

    // MARK: - Queues

    private func readQueues(
        _ queues: [ValkeyKey], _ client: RESPClient, _ families: inout ValkeyFamilies,
        _ problems: inout [String]
    ) throws(ServiceError) {
        var questions = queues.flatMap(Self.questions)
        if queues.contains(where: { $0.kind == .celery }) {
            // What workers hold is in one set for all queues of a database.
            questions.append(
                Question(
                    command: ["ZCARD", Self.celeryUnacknowledged], system: "celery", queue: "",
                    state: "active"))
        }
        let replies = try client.ask(questions.map(\.command))
        var sizes: [Labels: Int64] = [:]
        var order: [Labels] = []
        for (question, reply) in zip(questions, replies) {
            guard let size = Self.size(reply, question.command[1], &problems) else { continue }
            let labels = Labels([
                Label("db", "db\(database)"), Label("queue", question.queue),
                Label("state", question.state), Label("system", question.system),
            ])
            if sizes[labels] == nil { order.append(labels) }
            sizes[labels, default: 0] &+= size
        }
        for labels in order {
            families.add(
                "petrel_queue_jobs", Double(sizes[labels] ?? 0), labels,
                help: "Jobs of a queue by state.")
        }
    }

    private static func questions(_ queue: ValkeyKey) -> [Question] {
        switch queue.kind {
        case .key: return []
        case .bullMQ(let prefix):
            let name = prefix == ValkeyKey.bullMQPrefix ? queue.name : "\(prefix):\(queue.name)"
            return bullMQStates.map {
                Question(
                    command: [$0.command, "\(prefix):\(queue.name):\($0.state)"],
                    system: "bullmq", queue: name, state: $0.state)
            }
        case .celery:
            return celeryPriorities.map {
                Question(
                    command: ["LLEN", queue.name + $0], system: "celery", queue: queue.name,
                    state: "wait")
            }
        }
    }

    private static func size(
        _ reply: RESPReply, _ key: String, _ problems: inout [String]
    ) -> Int64? {
        if let size = reply.number { return size }
        if case .failure(let code, let message) = reply {
            problems.append("key \(key): \(code) \(message)")
        } else {
            problems.append("key \(key): no number")
        }
        return nil
    }

    // MARK: - Keys

    private mutating func readKeys(
        _ keys: [ValkeyKey], _ client: RESPClient, _ families: inout ValkeyFamilies,
        _ problems: inout [String]
    ) throws(ServiceError) {
        let commands = Self.sizeCommands
        var open = keys.filter { commandIndexes[$0, default: 0] < commands.count }
        var streams: [(key: ValkeyKey, length: Int64)] = []
        for _ in commands where !open.isEmpty {
            let replies = try client.ask(
                open.map { [commands[commandIndexes[$0, default: 0]], $0.name] })
            var others: [ValkeyKey] = []
            for (key, reply) in zip(open, replies) {
                let index = commandIndexes[key, default: 0]
                if case .failure("WRONGTYPE", _) = reply {
                    commandIndexes[key] = (index + 1) % commands.count
                    others.append(key)
                } else if let size = Self.size(reply, key.name, &problems) {
                    families.add(
                        "redis_key_size", Double(size), labels("key", key),
                        help: "The length or size of \"key\"")
                    if index == Self.streamCommand { streams.append((key, size)) }
                }
            }
            open = others
        }
        for key in open { commandIndexes[key] = commands.count }
        for key in keys where commandIndexes[key] == commands.count {
            problems.append(
                "key \(key.name): no list, set, sorted set or stream; the agent counts no other")
        }
        try readStreams(streams, client, &families)
    }

    private func labels(_ name: String, _ key: ValkeyKey) -> Labels {
        Labels([Label("db", "db\(database)"), Label(name, key.name)])
    }

    private func readStreams(
        _ streams: [(key: ValkeyKey, length: Int64)], _ client: RESPClient,
        _ families: inout ValkeyFamilies
    ) throws(ServiceError) {
        let replies = try client.ask(streams.map { ["XINFO", "GROUPS", $0.key.name] })
        for (stream, reply) in zip(streams, replies) {
            let labels = labels("stream", stream.key)
            families.add(
                "redis_stream_length", Double(stream.length), labels,
                help: "The number of elements of the stream")
            // A stream that went away meanwhile has none.
            guard let groups = reply.items else { continue }
            families.add(
                "redis_stream_groups", Double(groups.count), labels,
                help: "Groups count of stream")
            for group in groups.prefix(Self.groupsMax) {
                Self.addGroup(group, labels, &families)
            }
        }
    }

    private static let groupFields: [(field: String, name: String, help: String)] = [
        ("consumers", "consumers", "Consumers count of stream group"),
        ("pending", "messages_pending", "Pending number of messages in that stream group"),
        (
            "last-delivered-id", "last_delivered_id",
            "The epoch timestamp (ms) of the last delivered message"
        ),
        (
            "entries-read", "entries_read",
            "Total number of entries read from the stream group"
        ),
        (
            "lag", "lag",
            "The number of messages waiting to be delivered to the stream group's consumers"
        ),
    ]

    /// Fields and values in turn. A lag that the server does not know is null and has no point.
    private static func addGroup(
        _ group: RESPReply, _ labels: Labels, _ families: inout ValkeyFamilies
    ) {
        guard let items = group.items else { return }
        var fields: [String: RESPReply] = [:]
        for index in stride(from: 0, to: items.count - 1, by: 2) {
            guard let field = items[index].string else { continue }
            fields[field] = items[index + 1]
        }
        guard let name = fields["name"]?.string else { return }
        for (field, family, help) in groupFields {
            guard let value = fields[field].flatMap(number) else { continue }
            families.add(
                "redis_stream_group_" + family, value, labels.setting("group", name), help: help)
        }
    }

    /// A number, or the time of an entry's id: `1700000000000-0`.
    private static func number(_ reply: RESPReply) -> Double? {
        reply.number.map { Double($0) }
            ?? reply.string.flatMap { Double($0.prefix { $0 != "-" }) }
    }
}
