import Model
import World

/// One PostgreSQL: its session, which is kept, and what was read through it.
///
/// A session in the database `postgres` stays open and is asked for the server's statistics at each reading.
/// Statistics of tables are each database's own: the one read longest ago is visited at each reading, with a session
/// of its own that ends at once, as an idle one would hold up DROP DATABASE and a new one costs the server some ten
/// milliseconds. What was read of the others stays until their turn. So the agent has two sessions at a time.
struct PostgresServer {
    /// Databases that one reading visits besides that of the kept session: one of those that were read before, and some
    /// that never were.
    static let visitsMax = 4
    /// Tables of all databases together with series of their own, and as many indexes.
    static let tablesMax = 2_000
    /// A visit is begun only where this much is left, and takes no more than the other.
    private static let visitMillisecondsMin: Int64 = 400
    private static let visitMillisecondsMax: Int64 = 1_000
    /// A visit is followed by a rest of this many times as long, also one that failed: with thousands of tables it
    /// costs the server something.
    private static let restFactor: Int64 = 100
    /// How long a database that does not let the agent in is left alone.
    private static let mutedNanoseconds: Int64 = 600_000_000_000
    /// How long the lists of databases and extensions are good for.
    private static let listNanoseconds: Int64 = 60_000_000_000
    private static let problemsMax = 32

    let target: PostgresTarget
    /// Whether the target is still given.
    var isGiven = true
    /// Whether it has answered since the agent started.
    private(set) var wasSeen = false
    private(set) var problems: [String] = []

    private let clock: any WorldClock
    private let connect: PostgresReader.Connect
    private var asker: PostgresAsker
    private var life: Life?
    private var readings = 0.0
    private var answered = false
    private var failures = 0

    init(
        _ target: PostgresTarget, _ clock: any WorldClock,
        _ connect: @escaping PostgresReader.Connect
    ) {
        self.target = target
        self.clock = clock
        self.connect = connect
        asker = PostgresAsker(target.address, clock)
    }

    /// The last answer of a view.
    private struct Kept {
        let collector: String
        var answer: PostgresAsker.Answer
        var readAt: Int64
    }

    /// A database's own views.
    private struct Database {
        let name: String
        /// As `PostgresView.tables`; empty where they were not read.
        var tables: [Kept] = []
        var statements: Kept?
        var readAt = Int64.min
        var restsUntil = Int64.min
        /// Why its last turn brought nothing.
        var failure: ServiceError?

        /// Its turn has passed. What was read before stays for one turn more, unless the next will fail as well.
        mutating func fail(_ error: ServiceError, at now: Int64) {
            if failure != nil || error.isLasting { (tables, statements) = ([], nil) }
            failure = error
            readAt = now
        }

        /// Series of tables, or of indexes where there are more.
        var tableCount: Int {
            tables.map { $0.answer.families.first?.points.count ?? 0 }.max() ?? 0
        }

        var all: [Kept] { tables + (statements.map { [$0] } ?? []) }

        /// `answers` are in the order of the views: those of tables, and that of statements.
        mutating func keep(
            _ tableViews: [PostgresView], _ statementsView: PostgresView?,
            _ answers: [PostgresAsker.Answer], at now: Int64
        ) {
            tables = zip(tableViews, answers).map {
                Kept(collector: $0.collector, answer: $1, readAt: now)
            }
            statements = statementsView.flatMap { view in
                answers.dropFirst(tableViews.count).first.map {
                    Kept(collector: view.collector, answer: $0, readAt: now)
                }
            }
            readAt = now
        }
    }

    /// What lasts as long as the session.
    private struct Life {
        let session: any PostgresConversing
        let versionText: String
        let monitors: Bool
        let views: [PostgresView]
        /// As `views`.
        var kept: [Kept?]
        var own: Database
        var others: [Database] = []
        var statements: PostgresView?
        var listedAt: Int64?
        var listFailure: ServiceError?
    }

    // MARK: - A reading

    /// The families; none for a server that was found and never let the agent in. Returns at about `end`, in
    /// nanoseconds of the monotonic clock.
    mutating func read(until end: Int64) -> [MetricFamily] {
        let start = clock.monotonicNanoseconds
        answered = false
        readings += 1
        var ended: ServiceError?
        do throws(ServiceError) {
            ended = try readServerOrAgain(until: end)
            if ended == nil { visitDatabases(until: end) }
        } catch {
            life = nil
            ended = error
        }
        takeStock(ended)
        wasSeen = wasSeen || answered
        guard wasSeen || target.isExpected else { return [] }
        let seconds = Double(clock.monotonicNanoseconds - start) / 1e9
        let families = ownFamilies(seconds) + (answered ? viewFamilies() : [])
        if ended != nil { life = nil }
        return families
    }

    /// A session that was kept may have ended long ago: then it is begun anew. One that waits in vain would do so
    /// again.
    private mutating func readServerOrAgain(
        until end: Int64
    ) throws(ServiceError) -> ServiceError? {
        let wasKept = life != nil
        do throws(ServiceError) {
            return try readServer(until: end)
        } catch {
            life = nil
            guard wasKept, !answered, !error.isTimeout else { throw error }
            return try readServer(until: end)
        }
    }

    /// Asks what is due through the kept session. What ended the session after it answered; throws what ended it
    /// before.
    private mutating func readServer(until end: Int64) throws(ServiceError) -> ServiceError? {
        var life: Life
        if let known = self.life { life = known } else { life = try begin(until: end) }
        // No second reference, so that what follows changes it in place; whoever throws has no session any more.
        self.life = nil
        life.session.extend(milliseconds: max(1, millisecondsLeft(until: end)))
        try list(&life)
        let now = clock.monotonicNanoseconds
        let due = life.views.indices.filter { index in
            guard let kept = life.kept[index] else { return true }
            let refresh = life.views[index].refreshSeconds * 1_000_000_000
            return now - kept.readAt >= refresh
        }
        let others = life.others.reduce(0) { $0 + $1.tableCount }
        let tables = Self.tables(sparing: others)
        let statements = life.statements.map { [$0] } ?? []
        let asked = due.map { life.views[$0] } + tables + statements
        let result = asker.ask(asked, of: nil, life.session, until: end)
        if !result.isHeard, let failure = result.end { throw failure }
        answered = true
        var answers = result.views[...]
        for index in due {
            guard let answer = answers.popFirst() else { break }
            life.kept[index] = Kept(
                collector: life.views[index].collector, answer: answer, readAt: now)
        }
        life.own.keep(tables, statements.first, Array(answers), at: now)
        self.life = life
        return result.end
    }

    /// Logs in and learns what the server is.
    private mutating func begin(until end: Int64) throws(ServiceError) -> Life {
        asker.forgetPlans()
        let session = try connect(
            target, target.database, max(1, millisecondsLeft(until: end)))
        let version = session.serverVersion
        guard version > 0 else {
            throw .malformed(target.address, detail: "not a PostgreSQL: it tells no version")
        }
        let facts = try session.query(Self.preparation(version))
        answered = true
        func fact(_ column: String) -> String {
            facts.index(column).flatMap { place in
                facts.rows.first.flatMap { $0.indices.contains(place) ? $0[place] : nil }
            } ?? ""
        }
        let views = PostgresView.server(version)
        return Life(
            session: session, versionText: fact("version"),
            monitors: PostgresRows.number(fact("monitors")) == 1, views: views,
            kept: Array(repeating: nil, count: views.count),
            own: Database(name: target.database))
    }

    /// Bounds what the agent's queries may cost, and makes names mean the server's own whatever a database holds.
    static func preparation(_ version: Int) -> String {
        "SET search_path = pg_catalog; SET statement_timeout = 500; SET lock_timeout = 100; "
            + "SET default_transaction_read_only = on; SET jit = off; "
            + "SET max_parallel_workers_per_gather = 0; "
            + (version >= 140_000 ? "SET idle_session_timeout = 0; " : "")
            + "SELECT version() AS version, pg_has_role('pg_monitor', 'USAGE') AS monitors"
    }

    static let databasesQuestion =
        "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate "
        + "AND datname <> current_database() AND has_database_privilege(oid, 'CONNECT') "
        + "ORDER BY oid LIMIT \(PostgresView.databasesMax)"

    /// Looks once a minute what databases there are, and whether the extension for statements is in this one.
    private mutating func list(_ life: inout Life) throws(ServiceError) {
        let now = clock.monotonicNanoseconds
        if let listedAt = life.listedAt, now - listedAt < Self.listNanoseconds { return }
        life.listFailure = nil
        do throws(ServiceError) {
            let names = try life.session.query(Self.databasesQuestion).rows
                .compactMap { $0.first ?? nil }.sorted(by: bytesPrecede)
            let known = life.others
            life.others = names.map { name in
                known.first { bytesEqual($0.name, name) } ?? Database(name: name)
            }
            life.statements = try statementsView(life.session)
        } catch {
            guard !error.endsSession else { throw error }
            life.listFailure = error
        }
        life.listedAt = now
    }

    private func statementsView(
        _ session: any PostgresQuerying
    ) throws(ServiceError) -> PostgresView? {
        let table = try session.query(PostgresView.statementsQuestion)
        guard let row = table.rows.first, row.count >= 2, let schema = row[0],
            let minor = row[1].flatMap({ Int($0) })
        else { return nil }
        return .statements(schema: schema, minor: minor)
    }

    // MARK: - Databases

    /// Reads the tables of the databases that were read longest ago. A visit that fails costs its database only.
    private mutating func visitDatabases(until end: Int64) {
        guard var life else { return }
        let now = clock.monotonicNanoseconds
        let turns = life.others.indices.filter { life.others[$0].restsUntil <= now }
            .sorted {
                let (first, second) = (life.others[$0].readAt, life.others[$1].readAt)
                return first != second ? first < second : $0 < $1
            }
        // Statements are those of all databases: the first that has the extension tells them.
        var teller = life.others.firstIndex { $0.statements != nil }
        for (turn, index) in turns.prefix(Self.visitsMax).enumerated() {
            guard turn == 0 || life.others[index].readAt == .min,
                millisecondsLeft(until: end) >= Self.visitMillisecondsMin
            else { break }
            var database = life.others[index]
            let spared =
                life.others.reduce(life.own.tableCount) { $0 + $1.tableCount } - database.tableCount
            let tellsStatements =
                life.statements == nil && (teller == nil || teller == index)
            let start = clock.monotonicNanoseconds
            var isTimeout = false
            do throws(ServiceError) {
                try visit(
                    &database, sparing: spared, version: life.session.serverVersion,
                    tellsStatements: tellsStatements,
                    milliseconds: min(millisecondsLeft(until: end), Self.visitMillisecondsMax))
                if database.statements != nil { teller = index }
                database.failure = nil
            } catch {
                database.fail(error, at: now)
                isTimeout = error.isTimeout
            }
            let left = clock.monotonicNanoseconds
            let rest =
                database.failure?.isLasting == true
                ? Self.mutedNanoseconds : (left - start) * Self.restFactor
            database.restsUntil = left + rest
            life.others[index] = database
            guard !isTimeout else { break }
        }
        self.life = life
    }

    private mutating func visit(
        _ database: inout Database, sparing spared: Int, version: Int, tellsStatements: Bool,
        milliseconds: Int64
    ) throws(ServiceError) {
        let start = clock.monotonicNanoseconds
        let session = try connect(target, database.name, milliseconds)
        _ = try session.query(Self.preparation(version))
        let tables = Self.tables(sparing: spared)
        let statements = tellsStatements ? try statementsView(session) : nil
        let now = clock.monotonicNanoseconds
        let answers = asker.ask(
            tables + (statements.map { [$0] } ?? []), of: database.name, session,
            until: start + milliseconds * 1_000_000)
        // What answered before the session ended is kept.
        if let failure = answers.end, answers.views.allSatisfy({ $0.error != nil }) {
            throw failure
        }
        database.keep(tables, statements, answers.views, at: now)
    }

    /// The views of tables for a database where the others have `spared` tables; none where that is all there may be.
    private static func tables(sparing spared: Int) -> [PostgresView] {
        let count = min(PostgresView.tablesMax, tablesMax - spared)
        return count > 0 ? PostgresView.tables(count) : []
    }

    private func millisecondsLeft(until end: Int64) -> Int64 {
        (end - clock.monotonicNanoseconds) / 1_000_000
    }

    // MARK: - Problems

    private static let remedy = "sudo petrel-agent setup postgresql"

    /// Sums up what is wrong with the last answers, those that were kept among them. `ended` is why the server did not
    /// answer, where there is no `life`.
    private mutating func takeStock(_ ended: ServiceError?) {
        (problems, failures) = ([], 0)
        guard let life else {
            // Of a socket that somebody left behind there is nothing to tell.
            guard let ended, wasSeen || target.isExpected || !ended.isAbsence else { return }
            failures += 1
            note(ended, "")
            return
        }
        if !life.monitors {
            problems.append(
                "postgresql \(target.address): \"\(target.user)\" is not in pg_monitor, so much is "
                    + "hidden from it; \(Self.remedy)")
        }
        if let failure = life.listFailure {
            failures += 1
            note(failure, "databases")
        }
        for kept in life.kept + life.own.all { note(kept, "") }
        for database in life.others {
            let place = "\"\(database.name)\""
            guard let failure = database.failure else {
                for kept in database.all { note(kept, " of " + place) }
                continue
            }
            // Who is not let in on purpose is no failure.
            if !failure.isLasting { failures += 1 }
            note(failure, "database " + place)
        }
    }

    private mutating func note(_ kept: Kept?, _ place: String) {
        guard let kept, let error = kept.answer.error else { return }
        failures += 1
        note(error, kept.collector + place)
    }

    /// Keeps why, with what to do where a right is missing.
    private mutating func note(_ error: ServiceError, _ place: String) {
        guard problems.count < Self.problemsMax else { return }
        var text = "postgresql " + (place.isEmpty ? "" : "\(place): ") + error.description
        if case .refused(_, let code, _) = error, code.hasPrefix("28") || code == "42501" {
            text += "; \(Self.remedy)"
        }
        problems.append(text)
    }

    // MARK: - Families

    private func ownFamilies(_ seconds: Double) -> [MetricFamily] {
        [
            .gauge(
                "pg_up",
                help: "Whether the last scrape of metrics from PostgreSQL was able to connect to "
                    + "the server (1 for yes, 0 for no).", answered ? 1 : 0),
            .gauge(
                "pg_exporter_last_scrape_error",
                help: "Whether the last scrape of metrics from PostgreSQL resulted in an error "
                    + "(1 for error, 0 for success).", failures == 0 ? 0 : 1),
            .gauge(
                "pg_exporter_last_scrape_duration_seconds",
                help: "Duration of the last scrape of metrics from PostgreSQL.", seconds),
            .counter(
                "pg_exporter_scrapes_total",
                help: "Total number of times PostgreSQL was scraped for metrics.", readings),
        ]
    }

    private func viewFamilies() -> [MetricFamily] {
        guard let life else { return [] }
        let databases = [life.own] + life.others
        let statements = databases.lazy.compactMap(\.statements).first
        let families =
            life.kept.map { $0?.answer.families ?? [] }
            + databases.flatMap { $0.tables.map(\.answer.families) }
            + [statements?.answer.families ?? []]
        return [version(life)] + Self.merged(families) + scores(life, databases, statements)
    }

    private func version(_ life: Life) -> MetricFamily {
        let number = life.session.serverVersion
        let short = "\(number / 10_000).\(number % 10_000).0"
        return MetricFamily(
            "pg_static", .unknown, help: "Version string as reported by postgres",
            points: [
                .init(.two("short_version", short, "version", life.versionText), 1)
            ])
    }

    /// Families with the same name become one, in the order of their first.
    static func merged(_ lists: [[MetricFamily]]) -> [MetricFamily] {
        var places: [String: Int] = [:]
        var merged: [MetricFamily] = []
        for family in lists.joined() {
            if let place = places[family.name] {
                merged[place].points += family.points
            } else {
                places[family.name] = merged.count
                merged.append(family)
            }
        }
        return merged
    }

    /// Whether the last query of each collector's views answered, and how long they took in all.
    private func scores(
        _ life: Life, _ databases: [Database], _ statements: Kept?
    ) -> [MetricFamily] {
        var scores: [String: (success: Bool, nanoseconds: Int64)] = [:]
        for kept in life.kept.compactMap(\.self) + databases.flatMap(\.tables)
            + [statements].compactMap(\.self)
        {
            var score = scores[kept.collector] ?? (true, 0)
            score.success = score.success && kept.answer.error == nil
            score.nanoseconds &+= kept.answer.nanoseconds
            scores[kept.collector] = score
        }
        var duration = MetricFamily(
            "pg_scrape_collector_duration_seconds", .gauge,
            help: "postgres_exporter: Duration of a collector scrape.")
        var success = MetricFamily(
            "pg_scrape_collector_success", .gauge,
            help: "postgres_exporter: Whether a collector succeeded.")
        for (collector, score) in scores.sorted(by: { bytesPrecede($0.key, $1.key) }) {
            let labels = Labels.one("collector", collector)
            duration.points.append(.init(labels, Double(score.nanoseconds) / 1e9))
            success.points.append(.init(labels, score.success ? 1 : 0))
        }
        return [duration, success]
    }
}

extension ServiceError {
    /// Whether the next reading will meet it as well: a refusal other than for want of resources or of a running
    /// server.
    fileprivate var isLasting: Bool {
        guard case .refused(_, let code, _) = self else { return false }
        return !code.hasPrefix("53") && !code.hasPrefix("57")
    }

    fileprivate var isTimeout: Bool {
        if case .timeout = self { true } else { false }
    }
}

extension PostgresView {
    /// The views of a server as a whole. `version` is as `server_version_num`.
    static func server(_ version: Int) -> [PostgresView] {
        var views = [
            connectionLimits, databaseSizes, wraparound, databaseStatistics(version),
            conflicts(version), activity, locks, longTransactions, idle, autovacuums,
            vacuums(version), replication, replicationSlots, standbys, walReceiver, archiver,
            backgroundWriter(version),
        ]
        if version >= 170_000 { views.append(checkpointer) }
        if version < 140_000 { views.append(compression) }
        return views + [wal, postmaster, transactionNumber, roles, settings]
    }
}
