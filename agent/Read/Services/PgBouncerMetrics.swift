import Model

/// What PgBouncer's console tells, as pgbouncer_exporter's families. A column that a version lacks gives no family. The
/// totals have their older names too, `pgbouncer_stats_`, which the exporter's README and all dashboards know.
/// Source: pgbouncer_exporter 0.12 `collector.go`; PgBouncer 1.25 "Admin console".
struct PgBouncerMetrics {
    /// Above this number of clients they are counted, and not looked at each.
    static let clientsMax = 1_000
    /// Groups of clients with an application name of their own; the names of the rest become `_other`.
    static let clientGroupsMax = 200

    /// In the order in which they came.
    private(set) var families: [MetricFamily] = []
    private var places: [String: Int] = [:]

    /// Whether a server was read, whole.
    mutating func addUp(_ isUp: Bool, server: String?) {
        add(
            "pgbouncer_up", .gauge, "The pgbouncer scrape succeeded", Self.labels([], server),
            isUp ? 1 : 0)
    }

    /// Asks for everything. Returns why parts are missing; none where all is there.
    mutating func read(_ session: any PostgresQuerying, server: String?) -> [ServiceError] {
        var failures: [ServiceError] = []
        var clients: Double?
        for part in Part.allCases {
            if part == .clients, (clients ?? .infinity) > Double(Self.clientsMax) { continue }
            do throws(ServiceError) {
                let table = try session.query(part.rawValue)
                switch part {
                case .version: addVersion(table, server)
                case .lists:
                    addSettings(table, key: "list", value: "items", Self.lists, server)
                    clients = Self.number(table, "used_clients", key: "list", value: "items")
                case .config:
                    addSettings(table, key: "key", value: "value", Self.config, server)
                case .clients: addClients(table, server)
                case .databases: addRows(table, Self.databases, server)
                case .totals: addRows(table, Self.totals, server)
                case .pools: addRows(table, Self.pools, server)
                }
            } catch {
                failures.append(error)
                // After another error the session is of no use.
                guard case .refused = error else { return failures }
            }
        }
        return failures
    }

    private enum Part: String, CaseIterable {
        case version = "SHOW VERSION"
        case lists = "SHOW LISTS"
        case config = "SHOW CONFIG"
        case clients = "SHOW CLIENTS"
        case databases = "SHOW DATABASES"
        case totals = "SHOW STATS_TOTALS"
        case pools = "SHOW POOLS"
    }

    // MARK: - Points

    private mutating func add(
        _ name: String, _ type: MetricType, _ help: String, _ labels: Labels, _ value: Double
    ) {
        let place: Int
        if let known = places[name] {
            place = known
        } else {
            place = families.count
            places[name] = place
            families.append(MetricFamily(name, type, help: help))
        }
        families[place].points.append(MetricFamily.Point(labels, value))
    }

    private static func labels(_ labels: [Label], _ server: String?) -> Labels {
        Labels(labels + (server.map { [Label("server", $0)] } ?? []))
    }

    private mutating func addVersion(_ table: PostgresTable, _ server: String?) {
        guard let place = table.index("version"), let version = table.rows.first?[place] else {
            return
        }
        add(
            "pgbouncer_version_info", .gauge, "The pgbouncer version info",
            Self.labels([Label("version", version)], server), 1)
    }

    /// A table of names and values.
    private mutating func addSettings(
        _ table: PostgresTable, key: String, value: String, _ settings: [Setting],
        _ server: String?
    ) {
        for setting in settings {
            guard let number = Self.number(table, setting.key, key: key, value: value) else {
                continue
            }
            add(
                "pgbouncer_" + setting.metric, .gauge, setting.help, Self.labels([], server),
                number)
        }
    }

    private static func number(
        _ table: PostgresTable, _ name: String, key: String, value: String
    ) -> Double? {
        guard let keyPlace = table.index(key), let valuePlace = table.index(value) else {
            return nil
        }
        let row = table.rows.first { $0[keyPlace] == name }
        return row.flatMap { $0[valuePlace] }.flatMap { Double($0) }
    }

    /// A table with a row a thing. Of rows with the same labels the first is taken. NULL is NaN, as with the exporter.
    private mutating func addRows(
        _ table: PostgresTable, _ source: Source, _ server: String?
    ) {
        let names = source.labels.compactMap { name in
            table.index(name).map { (name: name, place: $0) }
        }
        var seen: Set<Labels> = []
        var rows: [(labels: Labels, values: [String?])] = []
        for row in table.rows {
            let labels = Self.labels(
                names.map { Label($0.name, row[$0.place] ?? "") }, server)
            if seen.insert(labels).inserted { rows.append((labels, row)) }
        }
        rows.sort { $0.labels < $1.labels }
        for column in source.columns {
            guard let place = table.index(column.column) else { continue }
            let factor = column.isMicroseconds ? 1e-6 : 1
            var prefixes = [source.prefix]
            if column.hasOldName { prefixes.append("pgbouncer_stats_") }
            for row in rows {
                let value = row.values[place].map { Double($0) } ?? .nan
                guard let value else { continue }
                for prefix in prefixes {
                    add(
                        prefix + column.metric, source.type, column.help, row.labels, value * factor
                    )
                }
            }
        }
    }

    private struct ClientGroup: Hashable {
        var database: String
        var user: String
        var application: String
        var state: String

        var labels: [Label] {
            [
                Label("application_name", application), Label("database", database),
                Label("state", state), Label("user", user),
            ]
        }
    }

    private mutating func addClients(_ table: PostgresTable, _ server: String?) {
        guard let database = table.index("database"), let user = table.index("user"),
            let state = table.index("state")
        else { return }
        let application = table.index("application_name")
        var counts: [ClientGroup: Double] = [:]
        for row in table.rows {
            let group = ClientGroup(
                database: row[database] ?? "", user: row[user] ?? "",
                application: application.flatMap { row[$0] } ?? "", state: row[state] ?? "")
            counts[group, default: 0] += 1
        }
        var points: [Labels: Double] = [:]
        let groups = counts.map { (labels: Labels($0.key.labels), group: $0.key, count: $0.value) }
            .sorted { $0.labels < $1.labels }
        for (index, (_, group, count)) in groups.enumerated() {
            var group = group
            if index >= Self.clientGroupsMax { group.application = "_other" }
            points[Self.labels(group.labels, server), default: 0] += count
        }
        for (labels, count) in points.sorted(by: { $0.key < $1.key }) {
            add(
                "pgbouncer_client_connections", .gauge,
                "Number of client connections grouped by database, user, application "
                    + "name, and state",
                labels, count)
        }
    }
}

// MARK: - Names

extension PgBouncerMetrics {
    private struct Setting {
        var key: String
        /// Without `pgbouncer_`.
        var metric: String
        var help: String

        init(_ key: String, _ metric: String, _ help: String) {
            self.key = key
            self.metric = metric
            self.help = help
        }
    }

    private struct Column {
        var column: String
        var metric: String
        var help: String
        /// The column has microseconds, the metric seconds.
        var isMicroseconds: Bool
        /// Whether the exporter had it before `SHOW STATS_TOTALS`.
        var hasOldName: Bool

        init(
            _ column: String, _ metric: String, isMicroseconds: Bool = false,
            hasOldName: Bool = false, _ help: String
        ) {
            self.column = column
            self.metric = metric
            self.help = help
            self.isMicroseconds = isMicroseconds
            self.hasOldName = hasOldName
        }
    }

    private struct Source {
        /// The part of a family's name before the column's.
        var prefix: String
        var type: MetricType
        var labels: [String]
        var columns: [Column]
    }

    private static var lists: [Setting] {
        [
            Setting("databases", "databases", "Count of databases"),
            Setting("users", "users", "Count of users"),
            Setting("pools", "pools", "Count of pools"),
            Setting("free_clients", "free_clients", "Count of free clients"),
            Setting("used_clients", "used_clients", "Count of used clients"),
            Setting("login_clients", "login_clients", "Count of clients in login state"),
            Setting("free_servers", "free_servers", "Count of free servers"),
            Setting("used_servers", "used_servers", "Count of used servers"),
            Setting("dns_names", "cached_dns_names", "Count of DNS names in the cache"),
            Setting("dns_zones", "cached_dns_zones", "Count of DNS zones in the cache"),
            Setting("dns_queries", "in_flight_dns_queries", "Count of in-flight DNS queries"),
        ]
    }

    private static var config: [Setting] {
        [
            Setting(
                "max_client_conn", "config_max_client_connections",
                "Config maximum number of client connections"),
            Setting(
                "max_user_connections", "config_max_user_connections",
                "Config maximum number of server connections per user"),
        ]
    }

    private static var databases: Source {
        let reserve = "Maximum number of additional connections for this database"
        return Source(
            prefix: "pgbouncer_databases_", type: .gauge,
            labels: ["name", "host", "port", "database", "force_user", "pool_mode"],
            columns: [
                Column("pool_size", "pool_size", "Maximum number of server connections"),
                // Before PgBouncer 1.24, and since.
                Column("reserve_pool", "reserve_pool", reserve),
                Column("reserve_pool_size", "reserve_pool", reserve),
                Column(
                    "max_connections", "max_connections",
                    "Maximum number of allowed connections for this database"),
                Column(
                    "current_connections", "current_connections",
                    "Current number of connections for this database"),
                Column("paused", "paused", "1 if this database is currently paused, else 0"),
                Column("disabled", "disabled", "1 if this database is currently disabled, else 0"),
            ])
    }

    private static var totals: Source {
        Source(
            prefix: "pgbouncer_stats_totals_", type: .counter, labels: ["database"],
            columns: [
                Column(
                    "query_count", "queries_pooled_total", hasOldName: true,
                    "Total number of SQL queries pooled"),
                Column(
                    "query_time", "queries_duration_seconds_total", isMicroseconds: true,
                    hasOldName: true,
                    "Total number of seconds spent by pgbouncer when actively connected to "
                        + "PostgreSQL, "
                        + "executing queries"),
                Column(
                    "bytes_received", "received_bytes_total", hasOldName: true,
                    "Total volume in bytes of network traffic received by pgbouncer, shown as bytes"
                ),
                Column(
                    "requests", "queries_total", hasOldName: true,
                    "Total number of SQL requests pooled by pgbouncer, shown as requests"),
                Column(
                    "bytes_sent", "sent_bytes_total", hasOldName: true,
                    "Total volume in bytes of network traffic sent by pgbouncer, shown as bytes"),
                Column(
                    "wait_time", "client_wait_seconds_total", isMicroseconds: true,
                    hasOldName: true,
                    "Time spent by clients waiting for a server in seconds"),
                Column(
                    "xact_count", "sql_transactions_pooled_total", hasOldName: true,
                    "Total number of SQL transactions pooled"),
                Column(
                    "xact_time", "server_in_transaction_seconds_total", isMicroseconds: true,
                    hasOldName: true,
                    "Total number of seconds spent by pgbouncer when connected to PostgreSQL in a "
                        + "transaction, either idle in transaction or executing queries"),
                Column(
                    "client_parse_count", "client_parses_total",
                    "Total number of prepared statement Parse messages received from clients"),
                Column(
                    "server_parse_count", "server_parses_total",
                    "Total number of prepared statement Parse messages sent by pgbouncer "
                        + "to PostgreSQL"
                ),
                Column(
                    "bind_count", "binds_total",
                    "Total number of prepared statements readied for execution with a Bind "
                        + "message"),
                Column(
                    "server_assignment_count", "server_assignments_total",
                    "Total number of client connections which have been served since "
                        + "process start"),
            ])
    }

    private static var pools: Source {
        Source(
            prefix: "pgbouncer_pools_", type: .gauge, labels: ["database", "user"],
            columns: [
                Column(
                    "cl_active", "client_active_connections",
                    "Client connections linked to server connection and able to process queries, "
                        + "shown as connection"),
                Column(
                    "cl_active_cancel_req", "client_active_cancel_connections",
                    "Client connections that have forwarded query cancellations to the "
                        + "server and are "
                        + "waiting for the server response"),
                Column(
                    "cl_waiting", "client_waiting_connections",
                    "Client connections waiting on a server connection, shown as connection"),
                Column(
                    "cl_waiting_cancel_req", "client_waiting_cancel_connections",
                    "Client connections that have not forwarded query cancellations to the "
                        + "server yet"
                ),
                Column(
                    "sv_active", "server_active_connections",
                    "Server connections linked to a client connection, shown as connection"),
                Column(
                    "sv_active_cancel", "server_active_cancel_connections",
                    "Server connections that are currently forwarding a cancel request."),
                Column(
                    "sv_being_canceled", "server_being_canceled_connections",
                    "Servers that normally could become idle but are waiting to do so until all "
                        + "in-flight cancel requests have completed that were sent to cancel a "
                        + "query "
                        + "on this server."),
                Column(
                    "sv_idle", "server_idle_connections",
                    "Server connections idle and ready for a client query, shown as connection"),
                Column(
                    "sv_used", "server_used_connections",
                    "Server connections idle more than server_check_delay, needing "
                        + "server_check_query, shown as connection"),
                Column(
                    "sv_tested", "server_testing_connections",
                    "Server connections currently running either server_reset_query or "
                        + "server_check_query, shown as connection"),
                Column(
                    "sv_login", "server_login_connections",
                    "Server connections currently in the process of logging in, shown as connection"
                ),
                Column(
                    "maxwait", "client_maxwait_seconds",
                    "Age of oldest unserved client connection, shown as second"),
            ])
    }
}
