import Model

/// The families of all servers of one reading.
struct ValkeyFamilies {
    /// Points of one family; what comes after them is left out, as with the bounds below.
    static let pointsMax = 4_096
    /// Families; those that are known are some 300.
    static let familiesMax = 1_024
    /// Points of all families.
    static let allPointsMax = 65_536

    private var families: [String: MetricFamily] = [:]
    private var pointCount = 0
    /// The label `server` of the server that is being read; nil: none.
    var server: String?
    /// Something reached its bound.
    private(set) var isCut = false

    init() {}

    /// Adds a point. Without `help` the family has redis_exporter's for what it has no words for, its name.
    mutating func add(
        _ name: String, _ value: Double, _ labels: Labels = .empty, type: MetricType = .gauge,
        help: String? = nil
    ) {
        let count = families[name]?.points.count
        guard pointCount < Self.allPointsMax, count ?? 0 < Self.pointsMax,
            count != nil || families.count < Self.familiesMax
        else {
            isCut = true
            return
        }
        pointCount += 1
        var labels = labels
        if let server { labels = labels.setting("server", server) }
        // Metric names of Redis begin with `redis_`, which is not a part of that text.
        families[
            name,
            default: MetricFamily(name, type, help: help ?? "\(name.dropFirst(6)) metric")
        ].points.append(.init(labels, value))
    }

    func sorted() -> [MetricFamily] {
        families.values.sorted { bytesPrecede($0.name, $1.name) }
    }
}

/// INFO's text as families with redis_exporter's names, labels and values. Where that one takes parts of a line by
/// their place this takes them by their name, which newer servers ask for: the fourth part of a database's line is
/// `cached_keys` in KeyDB and `subexpiry` in Redis 7.4.
/// Source: redis_exporter `info.go`, `metrics.go`, `sentinels.go`, `modules.go`.
struct ValkeyInfo {
    private enum Section {
        case server, replication, commands, latencies, errors, databases, sentinel, modules, other

        init(_ title: ArraySlice<UInt8>) {
            switch ProcText.string(title) {
            case "Server": self = .server
            case "Replication": self = .replication
            case "Commandstats": self = .commands
            case "Latencystats": self = .latencies
            case "Errorstats": self = .errors
            case "Keyspace": self = .databases
            case "Sentinel": self = .sentinel
            case "Modules": self = .modules
            default: self = .other
            }
        }
    }

    private struct Latency {
        var command: String
        var quantiles: [(quantile: String, value: Double)]
    }

    private let now: TimestampNS
    private var section = Section.other
    private var facts: [String: String] = [:]
    /// Of the line's master: KeyDB has several, one after the other.
    private var master = (host: "", port: "")
    private var latencies: [Latency] = []
    private var commands: [String: (calls: Double, microseconds: Double)] = [:]
    private var databases: Set<String> = []

    /// Adds the families of `text`, what INFO answered. False where it tells no version: it is no INFO then.
    static func add(
        _ text: [UInt8], now: TimestampNS, to families: inout ValkeyFamilies
    ) -> Bool {
        var info = ValkeyInfo(now: now)
        ProcText.forEachLine(text) { line in
            info.addLine(line.last == 13 ? line.dropLast() : line, &families)
        }
        guard info.facts["redis_version"] != nil || info.facts["valkey_version"] != nil else {
            return false
        }
        info.addLatencies(&families)
        info.addEmptyDatabases(&families)
        info.addIdentity(&families)
        return true
    }

    private init(now: TimestampNS) { self.now = now }

    /// Fields that become labels, or that others depend on.
    private static let factNames: Set<String> = Set(identityNames + optionalNames).union([
        "master_host", "master_port", "slave_read_only", "cluster_enabled",
    ])
    private static let identityNames = [
        "role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy",
        "tcp_port", "run_id", "process_id", "master_replid",
    ]
    /// Valkey's own.
    private static let optionalNames = ["valkey_version", "valkey_release_stage"]

    private mutating func addLine(
        _ line: ArraySlice<UInt8>, _ families: inout ValkeyFamilies
    ) {
        if ProcText.hasPrefix(line, "# ") {
            section = Section(line.dropFirst(2))
            return
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
        let key = ProcText.string(line[..<colon])
        let value = ProcText.string(line[(colon + 1)...])
        if Self.factNames.contains(key) { facts[key] = value }
        switch section {
        case .server: addServer(key, value, &families)
        case .replication: if addReplication(key, value, &families) { return }
        case .commands: return addCommand(key, value, &families)
        case .latencies: return addLatency(key, value)
        case .errors: return addError(key, value, &families)
        case .databases: return addDatabase(key, value, &families)
        case .sentinel: addSentinel(key, value, &families)
        case .modules where key == "module": return addModule(value, &families)
        case .modules, .other: break
        }
        addField(key, value, &families)
    }

    // MARK: - Plain fields

    private func addField(_ key: String, _ value: String, _ families: inout ValkeyFamilies) {
        if let name = ValkeyFields.gauges[key] {
            guard let number = Self.number(value) else { return }
            families.add(name, key == "latest_fork_usec" ? number / 1e6 : number)
            if let alias = ValkeyFields.aliases[key] { families.add(alias, number) }
        } else if let name = ValkeyFields.counters[key] {
            guard let number = Self.number(value) else { return }
            families.add(name, number, type: .counter)
        } else if key.utf8.starts(with: "cluster_".utf8) {
            guard let number = Self.number(value), Self.isName(key) else { return }
            families.add("redis_" + key, number)
        } else if let thread = Self.suffix(of: key, after: "used_active_time_io_thread_") {
            guard let number = Self.number(value), Int(thread) != nil else { return }
            families.add(
                "redis_active_time_io_thread_seconds_total", number, .one("thread", thread),
                type: .counter)
        }
    }

    private func addServer(_ key: String, _ value: String, _ families: inout ValkeyFamilies) {
        guard ["uptime_in_seconds", "configured_hz", "hz"].contains(key),
            let number = Self.number(value)
        else { return }
        guard key == "uptime_in_seconds" else { return families.add("redis_" + key, number) }
        let seconds = Double(now.rawValue / 1_000_000_000)
        families.add(
            "redis_start_time_seconds", seconds - number,
            help: "Start time of the Redis instance since unix epoch in seconds.")
    }

    /// `ok` and `true` count 1, their opposites 0.
    private static func number(_ text: String) -> Double? {
        switch text {
        case "ok", "true": 1
        case "err", "fail", "false": 0
        default: Double(text)
        }
    }

    private static func isName(_ text: String) -> Bool {
        text.utf8.allSatisfy {
            (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || $0 == 95
        }
    }

    private static func suffix(of text: String, after prefix: String) -> String? {
        guard text.utf8.starts(with: prefix.utf8) else { return nil }
        return String(text.dropFirst(prefix.count))
    }

    /// `a=1,b=2` by name; of equal ones the first.
    private static func parts(_ text: String) -> [Substring: Substring] {
        var parts: [Substring: Substring] = [:]
        for part in text.split(separator: ",") {
            guard let equals = part.firstIndex(of: "=") else { continue }
            let name = part[..<equals]
            if parts[name] == nil { parts[name] = part[part.index(after: equals)...] }
        }
        return parts
    }

    // MARK: - Replication

    /// Whether the line is dealt with.
    private mutating func addReplication(
        _ key: String, _ value: String, _ families: inout ValkeyFamilies
    ) -> Bool {
        let field = Self.masterField(key)
        switch field {
        case "host": master.host = value
        case "port": master.port = value
        case "link_status":
            families.add(
                "redis_master_link_up", value == "up" ? 1 : 0, masterLabels,
                help: "Master link status on Redis slave")
            return true
        case "last_io_seconds_ago":
            addMaster(
                "redis_master_last_io_seconds_ago", value, "Master last io seconds ago", &families)
            return true
        case "sync_in_progress":
            addMaster("redis_master_sync_in_progress", value, "Master sync in progress", &families)
            return true
        default: break
        }
        if key == "slave_repl_offset" {
            addMaster("redis_slave_repl_offset", value, "Slave replication offset", &families)
            return true
        }
        return addReplica(key, value, &families)
    }

    private var masterLabels: Labels {
        Labels([Label("master_host", master.host), Label("master_port", master.port)])
    }

    private func addMaster(
        _ name: String, _ value: String, _ help: String, _ families: inout ValkeyFamilies
    ) {
        guard let number = Double(value) else { return }
        families.add(name, number, masterLabels, help: help)
    }

    /// `master_host` and KeyDB's `master_1_host` → `host`.
    private static func masterField(_ key: String) -> Substring? {
        guard key.utf8.starts(with: "master_".utf8) else { return nil }
        let rest = key.dropFirst(7)
        let digits = rest.prefix { ("0"..."9").contains($0) }
        guard !digits.isEmpty, rest.dropFirst(digits.count).first == "_" else { return rest }
        return rest.dropFirst(digits.count + 1)
    }

    /// `slave0:ip=10.0.0.1,port=6379,state=online,offset=1,lag=0`
    private func addReplica(
        _ key: String, _ value: String, _ families: inout ValkeyFamilies
    ) -> Bool {
        guard let number = Self.suffix(of: key, after: "slave"),
            number.first.map({ ("0"..."9").contains($0) }) == true
        else { return false }
        let parts = Self.parts(value)
        guard let offset = parts["offset"].flatMap({ Double($0) }) else { return false }
        let labels = Labels([
            Label("slave_ip", String(parts["ip"] ?? "")),
            Label("slave_port", String(parts["port"] ?? "")),
            Label("slave_state", String(parts["state"] ?? "")),
        ])
        families.add(
            "redis_connected_slave_offset_bytes", offset, labels, help: "Offset of connected slave")
        if let lag = parts["lag"].flatMap({ Double($0) }), lag > -1 {
            families.add(
                "redis_connected_slave_lag_seconds", lag, labels, help: "Lag of connected slave")
        }
        return true
    }

    // MARK: - Commands and errors

    /// `cmdstat_get:calls=21,usec=175,usec_per_call=8.33,rejected_calls=0,failed_calls=0`
    private mutating func addCommand(
        _ key: String, _ value: String, _ families: inout ValkeyFamilies
    ) {
        let parts = Self.parts(value)
        guard let command = Self.suffix(of: key, after: "cmdstat_"),
            let calls = parts["calls"].flatMap({ Double($0) }),
            let microseconds = parts["usec"].flatMap({ Double($0) })
        else { return }
        commands[command] = (calls, microseconds)
        let labels = Labels.one("cmd", command)
        families.add(
            "redis_commands_total", calls, labels, type: .counter,
            help: "Total number of calls per command")
        families.add(
            "redis_commands_duration_seconds_total", microseconds / 1e6, labels, type: .counter,
            help: "Total amount of time in seconds spent per command")
        // Since 6.2.
        guard let rejected = parts["rejected_calls"].flatMap({ Double($0) }),
            let failed = parts["failed_calls"].flatMap({ Double($0) })
        else { return }
        families.add(
            "redis_commands_rejected_calls_total", rejected, labels, type: .counter,
            help: "Total number of errors within command execution per command")
        families.add(
            "redis_commands_failed_calls_total", failed, labels, type: .counter,
            help: "Total number of errors prior command execution per command")
    }

    /// `latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=2.007`
    private mutating func addLatency(_ key: String, _ value: String) {
        guard let command = Self.suffix(of: key, after: "latency_percentiles_usec_") else { return }
        var latency = Latency(command: command, quantiles: [])
        for part in value.split(separator: ",") {
            guard let equals = part.firstIndex(of: "="), part.first == "p",
                let number = Double(part[part.index(after: equals)...])
            else { continue }
            latency.quantiles.append((String(part[..<equals].dropFirst()), number))
        }
        latencies.append(latency)
    }

    /// The percentiles with the sum and the count of the same commands, from another section.
    private func addLatencies(_ families: inout ValkeyFamilies) {
        let name = "redis_latency_percentiles_usec"
        func add(_ value: Double, _ labels: Labels) {
            families.add(
                name, value, labels, type: .summary,
                help: "A summary of latency percentile distribution per command")
        }
        for latency in latencies {
            guard let sums = commands[latency.command] else { continue }
            let labels = Labels.one("cmd", latency.command)
            for (quantile, value) in latency.quantiles {
                add(value, labels.setting("quantile", quantile))
            }
            add(sums.microseconds, labels.setting(Labels.metricNameLabel, name + "_sum"))
            add(sums.calls, labels.setting(Labels.metricNameLabel, name + "_count"))
        }
    }

    /// `errorstat_WRONGTYPE:count=2`
    private func addError(_ key: String, _ value: String, _ families: inout ValkeyFamilies) {
        guard let code = Self.suffix(of: key, after: "errorstat_"),
            let count = Self.parts(value)["count"].flatMap({ Double($0) })
        else { return }
        families.add(
            "redis_errors_total", count, .one("err", code), type: .counter,
            help: "Total number of errors per error type")
    }

    // MARK: - Databases

    /// Databases of a server whose setting says nothing else; the setting itself is CONFIG's.
    private static let databaseCount = 16
    private static let keysHelp = "Total number of keys by DB"
    private static let expiringHelp = "Total number of expiring keys by DB"

    /// `db0:keys=13,expires=1,avg_ttl=9999540`
    private mutating func addDatabase(
        _ key: String, _ value: String, _ families: inout ValkeyFamilies
    ) {
        let parts = Self.parts(value)
        guard key.utf8.starts(with: "db".utf8), let keys = parts["keys"].flatMap({ Double($0) }),
            let expiring = parts["expires"].flatMap({ Double($0) })
        else { return }
        databases.insert(key)
        let labels = Labels.one("db", key)
        families.add("redis_db_keys", keys, labels, help: Self.keysHelp)
        families.add("redis_db_keys_expiring", expiring, labels, help: Self.expiringHelp)
        if let cached = parts["cached_keys"].flatMap({ Double($0) }) {
            families.add(
                "redis_db_keys_cached", cached, labels, help: "Total number of cached keys by DB")
        }
        if let age = parts["avg_ttl"].flatMap({ Double($0) }) {
            families.add(
                "redis_db_avg_ttl_seconds", age / 1_000, labels, help: "Avg TTL in seconds")
        }
    }

    /// INFO leaves databases without a key out; a cluster has one alone.
    private func addEmptyDatabases(_ families: inout ValkeyFamilies) {
        guard facts["role"] != "sentinel", facts["redis_mode"] != "sentinel" else { return }
        for number in 0..<(facts["cluster_enabled"] == "1" ? 1 : Self.databaseCount) {
            let name = "db\(number)"
            guard !databases.contains(name) else { continue }
            families.add("redis_db_keys", 0, .one("db", name), help: Self.keysHelp)
            families.add("redis_db_keys_expiring", 0, .one("db", name), help: Self.expiringHelp)
        }
    }

    // MARK: - Sentinels, modules, identity

    private static let sentinelHelp = [
        "sentinel_masters": "The number of masters this sentinel is watching",
        "sentinel_tilt": "Sentinel is in TILT mode",
        "sentinel_running_scripts": "Number of scripts in execution right now",
        "sentinel_scripts_queue_length": "Queue of user scripts to execute",
        "sentinel_simulate_failure_flags": "Failures simulations",
    ]

    /// `master0:name=main,status=ok,address=10.0.0.1:6379,slaves=2,sentinels=3`
    private func addSentinel(_ key: String, _ value: String, _ families: inout ValkeyFamilies) {
        if let help = Self.sentinelHelp[key] {
            if let number = Double(value) { families.add("redis_" + key, number, help: help) }
            return
        }
        let parts = Self.parts(value)
        guard key.utf8.starts(with: "master".utf8), let name = parts["name"],
            let replicas = parts["slaves"].flatMap({ Double($0) }),
            let sentinels = parts["sentinels"].flatMap({ Double($0) })
        else { return }
        let status = String(parts["status"] ?? "")
        let labels = Labels([
            Label("master_address", String(parts["address"] ?? "")),
            Label("master_name", String(name)),
        ])
        families.add(
            "redis_sentinel_master_status", status == "ok" ? 1 : 0,
            labels.setting("master_status", status), help: "Master status on Sentinel")
        families.add(
            "redis_sentinel_master_slaves", replicas, labels,
            help: "The number of slaves of the master")
        families.add(
            "redis_sentinel_master_sentinels", sentinels, labels,
            help: "The number of sentinels monitoring this master")
    }

    /// `name=search,ver=21005,api=1,filters=0,usedby=[],using=[],options=[]`
    private func addModule(_ value: String, _ families: inout ValkeyFamilies) {
        let parts = Self.parts(value)
        guard parts["name"] != nil else { return }
        let names = ["name", "ver", "api", "filters", "usedby", "using"]
        families.add(
            "redis_module_info", 1,
            Labels(names.map { Label($0, String(parts[Substring($0)] ?? "")) }),
            help: "Information about loaded Redis module")
    }

    private func addIdentity(_ families: inout ValkeyFamilies) {
        let names = Self.identityNames + Self.optionalNames
        families.add(
            "redis_instance_info", 1, Labels(names.map { Label($0, facts[$0] ?? "") }))
        guard facts["role"] == "slave" else { return }
        families.add(
            "redis_slave_info", 1,
            Labels([
                Label("master_host", facts["master_host"] ?? ""),
                Label("master_port", facts["master_port"] ?? ""),
                Label("read_only", facts["slave_read_only"] ?? ""),
            ]), help: "Information about the Redis slave")
    }
}
