/// What PostgreSQL says of the server as a whole and of its writing: checkpoints, the background writer, the archiver,
/// WAL files. Source: postgres_exporter 0.20 `pg_stat_bgwriter.go`, `pg_stat_checkpointer.go`, `pg_stat_archiver.go`,
/// `pg_wal.go`, `pg_postmaster.go`.
extension PostgresView {
    /// A time as whole seconds since the epoch, 0 where there is none.
    static func seconds(_ column: String) -> String {
        "COALESCE(floor(extract(epoch FROM \(column))), 0)"
    }

    private static let writeTimeHelp =
        "Total amount of time that has been spent in the portion of checkpoint processing where "
        + "files are written to disk, in milliseconds"
    private static let syncTimeHelp =
        "Total amount of time that has been spent in the portion of checkpoint processing where "
        + "files are synchronized to disk, in milliseconds"
    private static let resetHelp = "Time at which these statistics were last reset"

    /// From 17 on the checkpointer has a view of its own, and what backends wrote is in pg_stat_io: the names that the
    /// counts had before stay.
    static func backgroundWriter(_ version: Int) -> PostgresView {
        let isSplit = version >= 170_000
        func source(_ before: String, _ since: String) -> String { isSplit ? since : before }
        let columns: [PostgresColumn] = [
            .counter(
                "checkpoints_timed_total", source("b.checkpoints_timed", "c.num_timed"),
                "Number of scheduled checkpoints that have been performed"),
            .counter(
                "checkpoints_req_total", source("b.checkpoints_req", "c.num_requested"),
                "Number of requested checkpoints that have been performed"),
            .counter(
                "checkpoint_write_time_total", source("b.checkpoint_write_time", "c.write_time"),
                writeTimeHelp),
            .counter(
                "checkpoint_sync_time_total", source("b.checkpoint_sync_time", "c.sync_time"),
                syncTimeHelp),
            .counter(
                "buffers_checkpoint_total", source("b.buffers_checkpoint", "c.buffers_written"),
                "Number of buffers written during checkpoints"),
            .counter(
                "buffers_clean_total", "b.buffers_clean",
                "Number of buffers written by the background writer"),
            .counter(
                "maxwritten_clean_total", "b.maxwritten_clean",
                "Number of times the background writer stopped a cleaning scan because it had "
                    + "written too many buffers"),
            .counter(
                "buffers_backend_total", source("b.buffers_backend", "i.buffers"),
                "Number of buffers written directly by a backend"),
            .counter(
                "buffers_backend_fsync_total", source("b.buffers_backend_fsync", "i.fsyncs"),
                "Number of times a backend had to execute its own fsync call (normally the "
                    + "background writer handles those even when the backend does its own write)"),
            .counter("buffers_alloc_total", "b.buffers_alloc", "Number of buffers allocated"),
            .counter("stats_reset_total", seconds("b.stats_reset"), resetHelp),
        ]
        let from =
            isSplit
            ? "pg_stat_bgwriter b CROSS JOIN pg_stat_checkpointer c CROSS JOIN "
                + backendWrites(version) + " i" : "pg_stat_bgwriter b"
        return PostgresView("stat_bgwriter", columns, from: from)
    }

    /// Buffers written, new ones among them, and fsyncs of all but the two writers and what made the cluster. It is
    /// what `buffers_backend` counted but for tables that grow by many buffers at once, which counted as one. From 18
    /// on a write may be of several buffers. Source: PostgreSQL 16 `checkpointer.c` `ForwardSyncRequest`.
    private static func backendWrites(_ version: Int) -> String {
        let buffers =
            version >= 180_000
            ? "floor((COALESCE(sum(write_bytes), 0) + COALESCE(sum(extend_bytes), 0)) "
                + "/ current_setting('block_size')::numeric)"
            : "COALESCE(sum(writes), 0) + COALESCE(sum(extends), 0)"
        return "(SELECT \(buffers) AS buffers, COALESCE(sum(fsyncs), 0) AS fsyncs "
            + "FROM pg_stat_io WHERE object = 'relation' "
            + "AND backend_type NOT IN ('checkpointer', 'background writer', "
            + "'standalone backend'))"
    }

    static let checkpointer = PostgresView(
        "stat_checkpointer",
        [
            .counter(
                "num_timed_total", "num_timed", "Number of scheduled checkpoints due to timeout"),
            .counter(
                "num_requested_total", "num_requested",
                "Number of requested checkpoints that have been performed"),
            .counter(
                "restartpoints_timed_total", "restartpoints_timed",
                "Number of scheduled restartpoints due to timeout or after a failed attempt to "
                    + "perform it"),
            .counter(
                "restartpoints_req_total", "restartpoints_req", "Number of requested restartpoints"),
            .counter(
                "restartpoints_done_total", "restartpoints_done",
                "Number of restartpoints that have been performed"),
            .counter(
                "write_time_total", "write_time",
                "Total amount of time that has been spent in the portion of processing checkpoints "
                    + "and restartpoints where files are written to disk, in milliseconds"),
            .counter(
                "sync_time_total", "sync_time",
                "Total amount of time that has been spent in the portion of processing checkpoints "
                    + "and restartpoints where files are synchronized to disk, in milliseconds"),
            .counter(
                "buffers_written_total", "buffers_written",
                "Number of buffers written during checkpoints and restartpoints"),
            .counter("stats_reset_total", seconds("stats_reset"), resetHelp),
        ], from: "pg_stat_checkpointer")

    static let archiver = PostgresView(
        "stat_archiver",
        [
            .counter(
                "archived_count", nil, "Number of WAL files that have been successfully archived"),
            .counter("failed_count", nil, "Number of failed attempts for archiving WAL files"),
            .gauge(
                "last_archive_age", "extract(epoch FROM now() - last_archived_time)",
                "Time in seconds since last WAL segment was successfully archived"),
        ], from: "pg_stat_archiver")

    static let wal = PostgresView(
        "wal",
        [
            .gauge("segments", "count(*)", "Number of WAL segments"),
            .gauge("size_bytes", "sum(size)", "Total size of WAL segments"),
        ], from: "pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")

    static let postmaster = PostgresView(
        "postmaster",
        [
            .gauge(
                "start_time_seconds", "extract(epoch FROM pg_postmaster_start_time())",
                "Time at which postmaster started")
        ], from: nil)

    /// Not of postgres_exporter; rules for it ask for it. The next transaction's number, without using one up.
    static let transactionNumber = PostgresView(
        "txid",
        [
            .gauge(
                "current", "pg_snapshot_xmax(pg_current_snapshot())",
                "Number of the next transaction that has not been assigned yet")
        ], from: nil)

    /// Not of postgres_exporter; rules for it ask for it. 14 dropped compression by TLS.
    static let compression = PostgresView(
        "stat_ssl",
        [
            .gauge(
                "compression", "count(*) FILTER (WHERE compression)",
                "Number of connections that use TLS compression")
        ], from: "pg_stat_ssl")
}
