import Model

/// What PostgreSQL says of each database.
/// Source: postgres_exporter 0.20 `pg_database.go`, `pg_database_wraparound.go`, `pg_stat_database.go`, `pg_roles.go`
/// and `postgres_exporter.go` (conflicts).
extension PostgresView {
    /// Databases of one server with series of their own: those that have been there longest.
    static let databasesMax = 100
    /// Roles with a series of their own.
    static let rolesMax = 200

    /// The databases that have series, as a table.
    static let databases = "(SELECT * FROM pg_database ORDER BY oid LIMIT \(databasesMax))"

    static let connectionLimits = PostgresView(
        "database",
        [
            .label("datname"),
            .gauge("connection_limit", "datconnlimit", "Connection limit set for the database"),
        ], from: databases + " d")

    /// The server looks at every file for it, so it is asked once a minute.
    static let databaseSizes = PostgresView(
        "database",
        [
            .label("datname"),
            .gauge(
                "size_bytes",
                "CASE WHEN has_database_privilege(d.oid, 'CONNECT') "
                    + "OR pg_has_role('pg_read_all_stats', 'USAGE') "
                    + "THEN pg_database_size(d.oid) END",
                "Disk space used by the database"),
        ], from: databases + " d", refreshSeconds: 60)

    static let wraparound = PostgresView(
        "database_wraparound",
        [
            .label("datname"),
            .gauge(
                "age_datfrozenxid_seconds", "age(datfrozenxid)",
                "Age of the oldest transaction ID that has not been frozen."),
            .gauge(
                "age_datminmxid_seconds", "mxid_age(datminmxid)",
                "Age of the oldest multi-transaction ID that has been replaced with a "
                    + "transaction ID."),
        ], from: databases + " d WHERE datallowconn")

    static let roles = PostgresView(
        "roles",
        [
            .label("rolname"),
            .gauge("connection_limit", "rolconnlimit", "Connection limit set for the role"),
        ], from: "(SELECT * FROM pg_roles ORDER BY oid LIMIT \(rolesMax)) r", refreshSeconds: 60)

    static func databaseStatistics(_ version: Int) -> PostgresView {
        var columns: [PostgresColumn] = [.label("datid"), .label("datname")]
        columns += databaseWork + databaseTrouble
        if version >= 140_000 {
            columns.append(
                .counter(
                    "active_time_seconds_total", "active_time / 1000.0",
                    "Time spent executing SQL statements in this database, in seconds"))
        }
        return PostgresView("stat_database", columns, from: statisticsOf("pg_stat_database"))
    }

    private static func statisticsOf(_ view: String) -> String {
        "(SELECT * FROM \(view) WHERE datid <> 0 AND datname IS NOT NULL "
            + "ORDER BY datid LIMIT \(databasesMax)) s"
    }

    private static let databaseWork: [PostgresColumn] = [
        .gauge(
            "numbackends", nil,
            "Number of backends currently connected to this database. This is the only column in "
                + "this view that returns a value reflecting current state; all other columns "
                + "return the accumulated values since the last reset."),
        .counter(
            "xact_commit", nil, "Number of transactions in this database that have been committed"),
        .counter(
            "xact_rollback", nil,
            "Number of transactions in this database that have been rolled back"),
        .counter("blks_read", nil, "Number of disk blocks read in this database"),
        .counter(
            "blks_hit", nil,
            "Number of times disk blocks were found already in the buffer cache, so that a read "
                + "was not necessary (this only includes hits in the PostgreSQL buffer cache, not "
                + "the operating system's file system cache)"),
        .counter("tup_returned", nil, "Number of rows returned by queries in this database"),
        .counter("tup_fetched", nil, "Number of rows fetched by queries in this database"),
        .counter("tup_inserted", nil, "Number of rows inserted by queries in this database"),
        .counter("tup_updated", nil, "Number of rows updated by queries in this database"),
        .counter("tup_deleted", nil, "Number of rows deleted by queries in this database"),
    ]

    private static let databaseTrouble: [PostgresColumn] = [
        .counter(
            "conflicts", nil,
            "Number of queries canceled due to conflicts with recovery in this database. "
                + "(Conflicts occur only on standby servers; see pg_stat_database_conflicts for "
                + "details.)"),
        .counter(
            "temp_files", nil,
            "Number of temporary files created by queries in this database. All temporary files "
                + "are counted, regardless of why the temporary file was created (e.g., sorting "
                + "or hashing), and regardless of the log_temp_files setting."),
        .counter(
            "temp_bytes", nil,
            "Total amount of data written to temporary files by queries in this database. All "
                + "temporary files are counted, regardless of why the temporary file was created, "
                + "and regardless of the log_temp_files setting."),
        .counter("deadlocks", nil, "Number of deadlocks detected in this database"),
        .counter(
            "blk_read_time", nil,
            "Time spent reading data file blocks by backends in this database, in milliseconds"),
        .counter(
            "blk_write_time", nil,
            "Time spent writing data file blocks by backends in this database, in milliseconds"),
        .counter(
            "stats_reset", seconds("stats_reset"), "Time at which these statistics were last reset"),
    ]

    static func conflicts(_ version: Int) -> PostgresView {
        let canceled = "Number of queries in this database that have been canceled due to "
        var columns: [PostgresColumn] = [
            .label("datid"), .label("datname"),
            .counter("confl_tablespace", nil, canceled + "dropped tablespaces"),
            .counter("confl_lock", nil, canceled + "lock timeouts"),
            .counter("confl_snapshot", nil, canceled + "old snapshots"),
            .counter("confl_bufferpin", nil, canceled + "pinned buffers"),
            .counter("confl_deadlock", nil, canceled + "deadlocks"),
        ]
        if version >= 160_000 {
            // postgres_exporter knows no more of it.
            let help = "Unknown metric from pg_stat_database_conflicts"
            columns.append(
                PostgresColumn(
                    name: "confl_active_logicalslot", expression: "confl_active_logicalslot",
                    use: .metric(.unknown, help: help)))
        }
        return PostgresView(
            "stat_database_conflicts", columns, from: statisticsOf("pg_stat_database_conflicts"))
    }
}
