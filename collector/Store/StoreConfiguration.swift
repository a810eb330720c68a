package import Postgres

/// Where the collector's database is and what it may hold.
package struct StoreConfiguration: Sendable {
    /// Which database the collector uses.
    package enum Database: Sendable {
        /// A server of the collector's own, started and stopped with it.
        case privateCluster(PrivateClusterConfiguration)
        /// A libpq URL or keyword string (`database.url`), PostgreSQL 14 or newer.
        case url(String)
    }

    package var database: Database
    /// For a server that asks for one; beside `database` so that no URL carries it.
    package var password: PostgresPassword?
    /// Connections for writing, for alerts and for the registry.
    package var writeConnectionsMax: Int
    /// Connections for queries.
    package var readConnectionsMax: Int
    /// Tasks, and so connections, that one long query reads on.
    package var readTasksMax = 2
    /// How long work waits for a connection, a restarting server included, milliseconds.
    package var waitMilliseconds: Int
    /// Longest run of one query's statement, milliseconds.
    package var queryMillisecondsMax: Int
    /// `limits.series_max`: active series; new ones past it are refused.
    package var seriesMax: Int
    /// `limits.series_per_host_max`: active series of one host.
    package var seriesPerHostMax: Int
    /// `limits.series_per_metric_max`: active series of one metric name.
    package var seriesPerMetricMax: Int
    /// `limits.log_streams_max`: log streams known at all.
    package var logStreamsMax: Int
    /// Samples that stay in memory before they are sealed at once; twice as many are the most.
    package var headSamplesMax: Int
    /// Age at which samples are dropped, hours; whole days of theirs at a time.
    package var metricRetentionHours: Int
    /// Exemplars of a series in a minute of their times; further ones are left out.
    package var exemplarsPerSeriesMinuteMax = 10
    /// `limits.exemplars_per_minute`: new exemplars of all series in a minute of the clock; further ones are left out.
    package var exemplarsPerMinuteMax = 200
    /// Which series are kept for another time; the first that fits counts. At most `RetentionRule.countMax`.
    package var retentionRules: [RetentionRule] = []
    /// What metrics may take, bytes on disk with indexes; beyond it the oldest days go. Nil: no bound.
    package var metricBytesMax: Int?
    /// The same of logs.
    package var logBytesMax: Int?
    /// Age at which the lines of a day are packed for half the disk, days; nil: never. SQL users don't see packed lines.
    package var logPackDays: Int? = 7
    /// Tries to put a packed day in its place while somebody holds it, half a second apart.
    package var logPackTriesMax = 20
    /// Age at which a day of log entries is dropped, days since its receipt.
    package var logRetentionDays: Int

    package init(
        database: Database, password: PostgresPassword? = nil, writeConnectionsMax: Int = 6,
        readConnectionsMax: Int = 6,
        waitMilliseconds: Int = 10_000, queryMillisecondsMax: Int = 30_000,
        seriesMax: Int = 1_000_000, seriesPerHostMax: Int = 100_000,
        seriesPerMetricMax: Int = 50_000, logStreamsMax: Int = 100_000,
        headSamplesMax: Int = 12_000_000,
        metricRetentionHours: Int = 15 * 24, logRetentionDays: Int = 15
    ) {
        self.database = database
        self.password = password
        self.writeConnectionsMax = writeConnectionsMax
        self.readConnectionsMax = readConnectionsMax
        self.waitMilliseconds = waitMilliseconds
        self.queryMillisecondsMax = queryMillisecondsMax
        self.seriesMax = seriesMax
        self.seriesPerHostMax = seriesPerHostMax
        self.seriesPerMetricMax = seriesPerMetricMax
        self.logStreamsMax = logStreamsMax
        self.headSamplesMax = headSamplesMax
        self.metricRetentionHours = metricRetentionHours
        self.logRetentionDays = logRetentionDays
    }
}
