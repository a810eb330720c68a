import Model

/// What PostgreSQL says of its sessions, their locks and their vacuums.
/// Source: postgres_exporter 0.20 `pg_stat_activity.go`, `pg_locks.go`, `pg_long_running_transactions.go`,
/// `pg_process_idle.go`, `pg_stat_activity_autovacuum.go`, `pg_stat_progress_vacuum.go`.
extension PostgresView {
    /// Kinds of sessions with series of their own, the largest first; of more, database and state stay.
    static let activitiesMax = 200
    /// Kinds of sessions that the server is asked for.
    private static let activitiesAskedMax = 1000
    /// States and applications of idle sessions with a histogram.
    private static let idleMax = 20
    /// Vacuums that run.
    private static let vacuumsMax = 100

    /// Without those that the agent's own query needs.
    static let locks = PostgresView(
        "locks",
        [
            .label("datname", "d.datname"), .label("mode", "m.mode"),
            .gauge("count", "COALESCE(l.count, 0)", "Number of locks"),
        ],
        from: "(VALUES ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'), "
            + "('shareupdateexclusivelock'), ('sharelock'), ('sharerowexclusivelock'), "
            + "('exclusivelock'), ('accessexclusivelock'), ('sireadlock')) AS m(mode) "
            + "CROSS JOIN \(databases) d "
            + "LEFT JOIN (SELECT database, lower(mode) AS mode, count(*) AS count FROM pg_locks "
            + "WHERE database IS NOT NULL AND pid IS DISTINCT FROM pg_backend_pid() "
            + "GROUP BY database, lower(mode)) l "
            + "ON l.mode = m.mode AND l.database = d.oid")

    private static let activityLabels: [PostgresColumn] = [
        .label("datname", "d.datname"), .label("state", "s.state"), .label("usename"),
        .label("application_name"), .label("backend_type"), .label("wait_event_type"),
        .label("wait_event"),
    ]

    static let activity = PostgresView(
        "stat_activity",
        activityLabels + [
            .gauge("count", "COALESCE(a.count, 0)", "number of connections in this state"),
            .gauge(
                "max_tx_duration", "COALESCE(a.seconds, 0)",
                "max duration in seconds any active transaction has been running"),
        ],
        from: "(VALUES ('active'), ('idle'), ('idle in transaction'), "
            + "('idle in transaction (aborted)'), ('fastpath function call'), ('disabled')) "
            + "AS s(state) CROSS JOIN \(databases) d "
            + "LEFT JOIN (SELECT datname, state, usename, application_name, backend_type, "
            + "wait_event_type, wait_event, count(*) AS count, "
            + "max(extract(epoch FROM now() - xact_start))::float AS seconds "
            + "FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            + "GROUP BY datname, state, usename, application_name, backend_type, wait_event_type, "
            + "wait_event ORDER BY count(*) DESC LIMIT \(activitiesAskedMax)) a "
            + "ON a.state = s.state AND a.datname = d.datname"
    ) { activities($0) }

    /// The largest kinds of sessions and those that sum up the others.
    private static func activities(_ rows: PostgresRows) -> [MetricFamily] {
        let count = rows.place("count")
        let duration = rows.place("max_tx_duration")
        func size(_ row: [String?]) -> Double { PostgresRows.number(row[count]) ?? 0 }
        let inUse = rows.rows.filter { size($0) > 0 }
        guard inUse.count > activitiesMax else { return rows.families() }
        let sorted = inUse.enumerated().sorted {
            let (first, second) = (size($0.element), size($1.element))
            return first != second ? first > second : $0.offset < $1.offset
        }.map(\.element)
        let kept = rows.rows.filter { size($0) == 0 } + sorted.prefix(activitiesMax)
        let (database, state) = (rows.place("datname"), rows.place("state"))
        var rest: [[String?]: [String?]] = [:]
        for row in sorted.dropFirst(activitiesMax) {
            let key = [row[database], row[state]]
            var sum = rest[key] ?? row
            for label in activityLabels where label.name != "datname" && label.name != "state" {
                sum[rows.place(label.name)] = nil
            }
            let before = rest[key].map { size($0) } ?? 0
            let longest = max(
                PostgresRows.number(sum[duration]) ?? 0, PostgresRows.number(row[duration]) ?? 0)
            sum[count] = "\(before + size(row))"
            sum[duration] = "\(longest)"
            rest[key] = sum
        }
        return PostgresRows(
            collector: rows.collector, columns: rows.columns, rows: rest.values + kept,
            offset: rows.offset
        ).families()
    }

    static let longTransactions = PostgresView(
        "long_running_transactions",
        [
            .whole(
                "pg_long_running_transactions", "count(*)",
                "Current number of long running transactions"),
            .gauge(
                "oldest_timestamp_seconds",
                "COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)",
                "The current maximum transaction age in seconds"),
        ],
        from: "pg_stat_activity WHERE state IS DISTINCT FROM 'idle' "
            + "AND query NOT LIKE 'autovacuum:%' AND xact_start IS NOT NULL "
            + "AND pid <> pg_backend_pid()")

    static let autovacuums = PostgresView(
        "stat_activity_autovacuum",
        [
            .label("relname", "relname"),
            .gauge(
                "timestamp_seconds", "max(seconds)",
                "Start timestamp of the vacuum process in seconds"),
        ],
        from: "(SELECT left(split_part(query, '.', 2), 128) AS relname, "
            + "extract(epoch FROM xact_start) AS seconds FROM pg_stat_activity "
            + "WHERE query LIKE 'autovacuum:%' LIMIT \(vacuumsMax)) v GROUP BY relname")

    // MARK: - Idle sessions

    private static let idleSeconds = [1, 2, 5, 15, 30, 60, 90, 120, 300]

    /// A histogram of each state and application; postgres_exporter has it of one of them.
    static let idle: PostgresView = {
        let age = "extract(epoch FROM now() - state_change)"
        let buckets = idleSeconds.map {
            PostgresColumn.other("le\($0)", "count(*) FILTER (WHERE \(age) <= \($0))")
        }
        return PostgresView(
            "process_idle",
            [
                .label("state"), .label("application_name"),
                .other("sum", "COALESCE(sum(\(age)::bigint), 0)"), .other("count", "count(*)"),
            ] + buckets,
            from: "pg_stat_activity WHERE state LIKE 'idle%' AND pid <> pg_backend_pid() "
                + "GROUP BY state, application_name "
                + "ORDER BY count(*) DESC, state, application_name LIMIT \(idleMax)"
        ) { histograms($0) }
    }()

    private static func histograms(_ rows: PostgresRows) -> [MetricFamily] {
        var family = MetricFamily(
            "pg_process_idle_seconds", .histogram, help: "Idle time of server processes")
        let (sum, count) = (rows.place("sum"), rows.place("count"))
        let buckets = idleSeconds.map { ("\($0)", rows.place("le\($0)")) } + [("+Inf", count)]
        for line in rows.lines(labels: [.label("state"), .label("application_name")]) {
            func add(_ suffix: String, _ labels: Labels, _ place: Int) {
                guard let value = PostgresRows.number(line.row[place]) else { return }
                let named = labels.setting(Labels.metricNameLabel, family.name + suffix)
                family.points.append(.init(named, value))
            }
            for (bound, place) in buckets {
                add("_bucket", line.labels.setting("le", bound), place)
            }
            add("_sum", line.labels, sum)
            add("_count", line.labels, count)
        }
        return family.points.isEmpty ? [] : [family]
    }

    // MARK: - Vacuums

    private static let vacuumPhases = [
        "initializing", "scanning heap", "vacuuming indexes", "vacuuming heap",
        "cleaning up indexes", "truncating heap", "performing final cleanup",
    ]

    /// From 17 on the server counts bytes of dead tuples where it counted tuples before.
    static func vacuums(_ version: Int) -> PostgresView {
        var columns: [PostgresColumn] = [
            .label("datname", "p.datname"), .label("relname", vacuumedRelation), .other("phase"),
            .gauge(
                "heap_blks", "heap_blks_total",
                "Total number of heap blocks in the table being vacuumed."),
            .gauge("heap_blks_scanned", nil, "Number of heap blocks scanned so far."),
            .gauge("heap_blks_vacuumed", nil, "Number of heap blocks vacuumed so far."),
            .gauge(
                "index_vacuums", "index_vacuum_count", "Number of completed index vacuum cycles."),
        ]
        let numberHelp = "Current number of dead tuples found so far."
        if version >= 170_000 {
            columns += [
                .gauge("num_dead_tuples", "num_dead_item_ids", numberHelp),
                .gauge(
                    "max_dead_tuple_bytes", nil,
                    "Bytes of dead tuples that can be stored before cleanup is performed."),
                .gauge("dead_tuple_bytes", nil, "Bytes of dead tuples found so far."),
            ]
        } else {
            columns += [
                .gauge(
                    "max_dead_tuples", nil,
                    "Maximum number of dead tuples that can be stored before cleanup is performed."),
                .gauge("num_dead_tuples", nil, numberHelp),
            ]
        }
        return PostgresView(
            "stat_progress_vacuum", columns,
            from: "(SELECT * FROM pg_stat_progress_vacuum ORDER BY pid LIMIT \(vacuumsMax)) p "
                + "LEFT JOIN pg_class c ON c.oid = p.relid AND p.datname = current_database() "
                + "LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"
        ) { rows in [phases(rows)].filter { !$0.points.isEmpty } + rows.families() }
    }

    /// As a `regclass` reads with the usual search path; a number where the table is of another database.
    private static let vacuumedRelation =
        "COALESCE(CASE WHEN n.nspname NOT IN ('public', 'pg_catalog') "
        + "THEN quote_ident(n.nspname) || '.' ELSE '' END || quote_ident(c.relname), "
        + "p.relid::text)"

    private static func phases(_ rows: PostgresRows) -> MetricFamily {
        var family = MetricFamily(
            "pg_stat_progress_vacuum_phase", .gauge,
            help: "Current vacuum phase (1 = active, 0 = inactive). Label 'phase' is "
                + "human-readable.")
        let phase = rows.place("phase")
        for line in rows.lines(labels: [.label("datname"), .label("relname")]) {
            family.points += vacuumPhases.map {
                .init(line.labels.setting("phase", $0), line.row[phase] == $0 ? 1 : 0)
            }
        }
        return family
    }
}
