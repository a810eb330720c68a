/// What PostgreSQL says of the tables and indexes of the database that a session is in, and of the statements of all.
/// Source: postgres_exporter 0.20 `pg_stat_user_tables.go`, `pg_statio_user_tables.go`, `pg_statio_user_indexes.go`,
/// `pg_stat_statements.go`.
extension PostgresView {
    /// Tables of one database with series of their own, the largest first; as many indexes.
    static let tablesMax = 500
    /// Statements with series of their own, those that took the most time first.
    static let statementsMax = 100

    /// The views of the session's database; `tables` bounds tables and indexes each.
    static func tables(_ tables: Int) -> [PostgresView] {
        [tableStatistics(tables), tableReads(tables), indexReads(tables)]
    }

    /// The largest relations of some kinds as the server last counted their pages, which costs no look at their files.
    /// Temporary ones come and go with their sessions.
    private static func largest(_ count: Int, kinds: String, first: String = "") -> String {
        "ANY (ARRAY(SELECT c.oid FROM pg_class c WHERE c.relkind IN (\(kinds)) "
            + "AND c.relpersistence <> 't' AND c.relnamespace NOT IN (SELECT n.oid "
            + "FROM pg_namespace n WHERE n.nspname IN ('pg_catalog', 'information_schema', "
            + "'pg_toast')) ORDER BY \(first)c.relpages DESC, c.oid LIMIT \(count)))"
    }

    /// Relations whose size can't be asked for without waiting for who holds them alone, as VACUUM FULL and REINDEX do:
    /// they, the tables of such indexes, and those whose TOAST table is one.
    private static let held =
        "(WITH h AS MATERIALIZED (SELECT relation FROM pg_locks WHERE locktype = 'relation' "
        + "AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database "
        + "WHERE datname = current_database())) SELECT relation FROM h "
        + "UNION SELECT i.indrelid FROM h JOIN pg_index i ON i.indexrelid = h.relation "
        + "UNION SELECT c.oid FROM h JOIN pg_class c ON c.reltoastrelid = h.relation)"

    private static let tableLabels: [PostgresColumn] = [
        .label("datname", "current_database()"), .label("schemaname"), .label("relname"),
    ]

    private static func size(_ function: String, _ relation: String) -> String {
        "CASE WHEN h.relation IS NULL THEN \(function)(s.\(relation)) END"
    }

    private static func orZero(_ column: String) -> String { "COALESCE(\(column), 0)" }

    private static func count(_ name: String, _ help: String) -> PostgresColumn {
        .counter(name, orZero(name), help)
    }

    private static func time(_ name: String, _ help: String) -> PostgresColumn {
        .gauge(name, seconds(name), help)
    }

    private static func tableStatistics(_ tables: Int) -> PostgresView {
        let columns: [PostgresColumn] = [
            count("seq_scan", "Number of sequential scans initiated on this table"),
            count("seq_tup_read", "Number of live rows fetched by sequential scans"),
            count("idx_scan", "Number of index scans initiated on this table"),
            count("idx_tup_fetch", "Number of live rows fetched by index scans"),
            count("n_tup_ins", "Number of rows inserted"),
            count("n_tup_upd", "Number of rows updated"),
            count("n_tup_del", "Number of rows deleted"),
            count(
                "n_tup_hot_upd",
                "Number of rows HOT updated (i.e., with no separate index update required)"),
            .gauge("n_live_tup", orZero("n_live_tup"), "Estimated number of live rows"),
            .gauge("n_dead_tup", orZero("n_dead_tup"), "Estimated number of dead rows"),
            .gauge(
                "n_mod_since_analyze", orZero("n_mod_since_analyze"),
                "Estimated number of rows changed since last analyze"),
            time(
                "last_vacuum",
                "Last time at which this table was manually vacuumed (not counting VACUUM FULL)"),
            time(
                "last_autovacuum",
                "Last time at which this table was vacuumed by the autovacuum daemon"),
            time("last_analyze", "Last time at which this table was manually analyzed"),
            time(
                "last_autoanalyze",
                "Last time at which this table was analyzed by the autovacuum daemon"),
            count(
                "vacuum_count",
                "Number of times this table has been manually vacuumed (not counting VACUUM FULL)"),
            count(
                "autovacuum_count",
                "Number of times this table has been vacuumed by the autovacuum daemon"),
            count("analyze_count", "Number of times this table has been manually analyzed"),
            count(
                "autoanalyze_count",
                "Number of times this table has been analyzed by the autovacuum daemon"),
            .gauge(
                "index_size_bytes", size("pg_indexes_size", "relid"),
                "Total disk space used by this index, in bytes"),
            .gauge(
                "table_size_bytes", size("pg_table_size", "relid"),
                "Total disk space used by this table, in bytes"),
        ]
        return PostgresView(
            "stat_user_tables", tableLabels + columns,
            from: "pg_stat_user_tables s LEFT JOIN \(held) h ON h.relation = s.relid "
                + "WHERE s.relid = \(largest(tables, kinds: "'r', 'm', 'p'"))")
    }

    private static func tableReads(_ tables: Int) -> PostgresView {
        let parts = [
            ("heap", "this table"), ("idx", "all indexes on this table"),
            ("toast", "this table's TOAST table (if any)"),
            ("tidx", "this table's TOAST table indexes (if any)"),
        ]
        let columns = parts.flatMap { part, words in
            [
                PostgresColumn.counter(
                    "\(part)_blocks_read", orZero("\(part)_blks_read"),
                    "Number of disk blocks read from \(words)"),
                .counter(
                    "\(part)_blocks_hit", orZero("\(part)_blks_hit"),
                    "Number of buffer hits in \(words)"),
            ]
        }
        return PostgresView(
            "statio_user_tables", tableLabels + columns,
            from: "pg_statio_user_tables s "
                + "WHERE s.relid = \(largest(tables, kinds: "'r', 'm', 'p'"))")
    }

    /// The database's name is a label as well: postgres_exporter reads one database only. What REINDEX CONCURRENTLY
    /// left behind comes first, which a rule asks for by the size's name.
    private static func indexReads(_ indexes: Int) -> PostgresView {
        PostgresView(
            "statio_user_indexes",
            tableLabels + [
                .label("indexrelname"),
                .counter(
                    "idx_blks_read_total", orZero("idx_blks_read"),
                    "Number of disk blocks read from this index"),
                .counter(
                    "idx_blks_hit_total", orZero("idx_blks_hit"),
                    "Number of buffer hits in this index"),
                .whole(
                    "pg_general_index_info_pg_relation_size",
                    size("pg_relation_size", "indexrelid"),
                    "Disk space used by this index, in bytes"),
            ],
            from: "pg_statio_user_indexes s LEFT JOIN \(held) h ON h.relation = s.indexrelid "
                + "WHERE s.indexrelid = "
                + largest(indexes, kinds: "'i'", first: "(c.relname LIKE '%ccnew%') DESC, "))
    }

    // MARK: - Statements

    /// Where the extension is, as an identifier of SQL, and the number after the point of its version; no row where
    /// it is not, or where the server does not load its library. An update of the server leaves the extension as it
    /// was.
    static let statementsQuestion =
        "SELECT quote_ident(n.nspname), split_part(e.extversion, '.', 2) FROM pg_extension e "
        + "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements' "
        + "AND split_part(e.extversion, '.', 1) = '1' "
        + "AND EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max')"

    /// The statements of all databases, without their text.
    static func statements(schema: String, minor: Int) -> PostgresView {
        let time = minor >= 8 ? "total_exec_time" : "total_time"
        let blocks = minor >= 11 ? "shared_blk" : "blk"
        return PostgresView(
            "stat_statements",
            [
                .label("user", "pg_get_userbyid(s.userid)"), .label("datname", "d.datname"),
                .label("queryid", "s.queryid"),
                .counter("calls_total", "sum(s.calls)", "Number of times executed"),
                .counter(
                    "seconds_total", "sum(s.\(time)) / 1000.0",
                    "Total time spent in the statement, in seconds"),
                .counter(
                    "rows_total", "sum(s.rows)",
                    "Total number of rows retrieved or affected by the statement"),
                .counter(
                    "block_read_seconds_total", "sum(s.\(blocks)_read_time) / 1000.0",
                    "Total time the statement spent reading blocks, in seconds"),
                .counter(
                    "block_write_seconds_total", "sum(s.\(blocks)_write_time) / 1000.0",
                    "Total time the statement spent writing blocks, in seconds"),
            ],
            from: "\(schema).pg_stat_statements(false) s JOIN pg_database d ON d.oid = s.dbid "
                + "GROUP BY s.userid, d.datname, s.queryid "
                + "ORDER BY sum(s.\(time)) DESC LIMIT \(statementsMax)")
    }
}
