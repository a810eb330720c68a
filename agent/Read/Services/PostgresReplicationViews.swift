import Model

/// What PostgreSQL says of replication, on either side.
/// Source: postgres_exporter 0.20 `pg_replication.go`, `pg_replication_slots.go`, `pg_stat_replication.go`,
/// `pg_stat_walreceiver.go`.
extension PostgresView {
    /// Standbys and slots of one server with series of their own.
    static let standbysMax = 100

    static let replication = PostgresView(
        "replication",
        [
            .gauge(
                "lag_seconds",
                "CASE WHEN NOT pg_is_in_recovery() THEN 0 "
                    + "WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
                    + "ELSE GREATEST(0, extract(epoch FROM now() "
                    + "- pg_last_xact_replay_timestamp())) END",
                "Replication lag behind master in seconds"),
            .gauge("is_replica", "pg_is_in_recovery()", "Indicates if the server is a replica"),
            .gauge(
                "last_replay_seconds",
                "GREATEST(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp()))",
                "Age of last replay in seconds"),
        ], from: nil)

    /// WAL up to here is there; on a standby what it has received.
    private static let walPosition =
        "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"

    static let replicationSlots = PostgresView(
        "replication_slots",
        [
            .label("slot_name"), .label("database"), .label("slot_type"), .label("wal_status"),
            .gauge("active", nil, "Flag indicating if the slot is active"),
            .gauge(
                "pg_wal_lsn_diff", "pg_wal_lsn_diff(\(walPosition), restart_lsn)",
                "Replication lag in bytes"),
            .gauge("slot_current_wal_lsn", "(\(walPosition)) - '0/0'", "current wal lsn value"),
            .gauge(
                "slot_confirmed_flush_lsn",
                "CASE WHEN active THEN COALESCE(confirmed_flush_lsn, '0/0') - '0/0' END",
                "last lsn confirmed flushed to the replication slot"),
            .gauge("slot_is_active", "active", "whether the replication slot is active or not"),
            .gauge(
                "safe_wal_size_bytes", "safe_wal_size",
                "number of bytes that can be written to WAL such that this slot is not in danger "
                    + "of getting in state lost"),
            .gauge(
                "wal_status", "CASE WHEN wal_status IS NOT NULL THEN 1 END",
                "availability of WAL files claimed by this slot"),
        ],
        from: "(SELECT * FROM pg_replication_slots ORDER BY slot_name LIMIT \(standbysMax)) s"
    ) { rows in
        func labels(_ names: String...) -> [PostgresColumn] {
            names.map { .label($0) }
        }
        return rows.families(
            labels: labels("slot_name", "database"), only: ["active", "pg_wal_lsn_diff"])
            + rows.families(
                labels: labels("slot_name", "slot_type"),
                only: [
                    "slot_current_wal_lsn", "slot_confirmed_flush_lsn", "slot_is_active",
                    "safe_wal_size_bytes",
                ])
            + rows.families(
                labels: labels("slot_name", "slot_type", "wal_status"), only: ["wal_status"])
    }

    static let standbys = PostgresView(
        "stat_replication",
        [
            .label("application_name"), .label("client_addr", "client_addr::text"),
            .label("state"), .label("slot_name", "s.slot_name"), .label("pid", "r.pid"),
            .gauge(
                "pg_current_wal_lsn_bytes", "pg_wal_lsn_diff(\(walPosition), '0/0')",
                "WAL position in bytes"),
            .gauge(
                "pg_wal_lsn_diff", "pg_wal_lsn_diff(\(walPosition), replay_lsn)",
                "Lag in bytes between master and slave"),
        ],
        from: "(SELECT * FROM pg_stat_replication ORDER BY pid LIMIT \(standbysMax)) r "
            + "LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid")

    private static func position(_ column: String) -> String {
        "(\(column) - '0/0') % (2^52)::bigint"
    }

    static let walReceiver = PostgresView(
        "stat_wal_receiver",
        [
            .label(
                "upstream_host",
                "left(COALESCE(trim(both '''' from substring(conninfo from 'host=([^ ]*)')), "
                    + "sender_host), 128)"),
            .label("slot_name"), .label("status"),
            .counter(
                "receive_start_lsn", position("receive_start_lsn"),
                "First write-ahead log location used when WAL receiver is started represented as "
                    + "a decimal"),
            .gauge(
                "receive_start_tli", nil,
                "First timeline number used when WAL receiver is started"),
            .counter(
                "flushed_lsn", position("flushed_lsn"),
                "Last write-ahead log location already received and flushed to disk, the initial "
                    + "value of this field being the first log location used when WAL receiver is "
                    + "started represented as a decimal"),
            .gauge(
                "received_tli", nil,
                "Timeline number of last write-ahead log location received and flushed to disk"),
            .counter(
                "last_msg_send_time", "extract(epoch FROM last_msg_send_time)",
                "Send time of last message received from origin WAL sender"),
            .counter(
                "last_msg_receipt_time", "extract(epoch FROM last_msg_receipt_time)",
                "Send time of last message received from origin WAL sender"),
            .counter(
                "latest_end_lsn", position("latest_end_lsn"),
                "Last write-ahead log location reported to origin WAL sender as integer"),
            .counter(
                "latest_end_time", "extract(epoch FROM latest_end_time)",
                "Time of last write-ahead log location reported to origin WAL sender"),
            .gauge(
                "upstream_node", "substring(slot_name from 'repmgr_slot_([0-9]+)')",
                "Node ID of the upstream node"),
        ], from: "pg_stat_wal_receiver")
}
