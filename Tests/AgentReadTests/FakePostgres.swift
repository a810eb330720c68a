import AgentRead
import Synchronization

/// A PostgreSQL that answers by what stands in a query, knows what its version has, and does what a
/// test says.
final class FakePostgres: Sendable {
    static let address = ServiceAddress.unix(path: "/run/postgresql/.s.PGSQL.5432")

    /// What a query that holds the key meets.
    enum Fault {
        case refusal(code: String)
        /// The session ends without an answer.
        case end
    }

    struct State {
        var version: Int
        var monitors = true
        var isStopped = false
        /// Why nobody can connect.
        var loginError: ServiceError?
        /// Of the databases that let nobody in.
        var closedDatabases: Set<String> = []
        var databases: [String] = []
        /// Databases with the extension for statements, and its version.
        var extensions: [String: String] = [:]
        /// By what stands in the query; of several the first counts.
        var faults: [(fragment: String, fault: Fault)] = []
        /// How long a query takes in a database, by what stands in it; of several the first counts.
        var delays: [(database: String, fragment: String, milliseconds: Int64)] = []
        /// Rows by what stands in the query; of several the first counts. `datname` of tables is the
        /// session's database.
        var rows: [(fragment: String, rows: [[String: String]])] = []
        /// Queries with their database, since the last `takeQueries`.
        var queries: [(database: String, sql: String)] = []
        var logins: [String] = []
        var openCount = 0
        var openMax = 0
        /// Sessions before this one have ended.
        var generation = 0
    }
    private let state: Mutex<State>
    let clock = ManualClock()

    init(version: Int = 180_001) {
        state = Mutex(State(version: version))
    }

    func set(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }
    func get<Value: Sendable>(_ body: (State) -> Value) -> Value { state.withLock { body($0) } }

    /// The server starts anew: kept sessions find out at their next query.
    func restart() { set { $0.generation += 1 } }

    func takeQueries() -> [(database: String, sql: String)] {
        state.withLock { state in
            defer { state.queries = [] }
            return state.queries
        }
    }

    /// Names of the databases that were logged in to since the last call.
    func takeLogins() -> [String] {
        state.withLock { state in
            defer { state.logins = [] }
            return state.logins
        }
    }

    func reader(_ targets: @escaping @Sendable () -> [PostgresTarget]) -> PostgresReader {
        PostgresReader(clock: clock, targets: targets) {
            [self] (target, database, milliseconds) throws(ServiceError) in
            try connect(target, database, milliseconds)
        }
    }

    /// Reads the one server, which is expected to be there.
    func reader() -> PostgresReader { reader { [PostgresTarget(address: Self.address)] } }

    func connect(
        _ target: PostgresTarget, _ database: String, _ milliseconds: Int64
    ) throws(ServiceError) -> FakePostgresSession {
        let generation = try state.withLock { (state) throws(ServiceError) in
            state.logins.append(database)
            if let error = state.loginError { throw error }
            guard !state.isStopped else {
                clock.advance(milliseconds * 1_000_000)
                throw .timeout(target.address, operation: "the answer")
            }
            guard !state.closedDatabases.contains(database) else {
                throw .refused(target.address, code: "28000", message: "no entry in pg_hba.conf")
            }
            state.openCount += 1
            state.openMax = max(state.openMax, state.openCount)
            return state.generation
        }
        return FakePostgresSession(self, database, generation, milliseconds)
    }

    fileprivate func closed() { set { $0.openCount -= 1 } }

    fileprivate func answer(
        _ sql: String, _ session: FakePostgresSession
    ) throws(ServiceError) -> PostgresTable {
        try state.withLock { (state) throws(ServiceError) in
            state.queries.append((session.database, sql))
            guard !session.hasEnded, session.generation == state.generation else {
                throw .closed(Self.address)
            }
            guard !state.isStopped else {
                session.hasEnded = true
                clock.advance(session.milliseconds * 1_000_000)
                throw .timeout(Self.address, operation: "the answer")
            }
            let asked = try session.planned(sql)
            try wait(asked, session, state)
            return try Self.table(asked, session, state)
        }
    }

    /// Lets time pass up to the server's statement_timeout and the session's deadline.
    private func wait(
        _ sql: String, _ session: FakePostgresSession, _ state: State
    ) throws(ServiceError) {
        let delay = state.delays.first {
            $0.database == session.database && sql.contains($0.fragment)
        }
        guard let delay else { return }
        let spent = min(delay.milliseconds, 500, session.milliseconds)
        clock.advance(spent * 1_000_000)
        session.milliseconds -= spent
        guard session.milliseconds > 0 else {
            session.hasEnded = true
            throw .timeout(Self.address, operation: "the answer")
        }
        guard delay.milliseconds < 500 else {
            throw .refused(Self.address, code: "57014", message: "statement timeout")
        }
    }

    // MARK: - Answers

    private static func table(
        _ sql: String, _ session: FakePostgresSession, _ state: State
    ) throws(ServiceError) -> PostgresTable {
        for (fragment, fault) in state.faults where sql.contains(fragment) {
            switch fault {
            case .refusal(let code): throw .refused(address, code: code, message: "no")
            case .end:
                session.hasEnded = true
                throw .closed(address)
            }
        }
        for word in missing(state.version) where sql.contains(word) {
            throw .refused(address, code: "42703", message: "there is no \(word)")
        }
        if sql.contains("AS monitors") {
            return PostgresTable(
                columns: ["version", "monitors"],
                rows: [["PostgreSQL \(state.version) on a fake", state.monitors ? "t" : "f"]])
        }
        if sql.hasPrefix("SELECT datname FROM pg_database") {
            return PostgresTable(columns: ["datname"], rows: state.databases.map { [$0] })
        }
        if sql.contains("e.extname = 'pg_stat_statements'") {
            return PostgresTable(
                columns: ["quote_ident", "split_part"],
                rows: state.extensions[session.database].map { [["ext", $0]] } ?? [])
        }
        let arms = sql.split(separator: "\nUNION ALL\n").map(String.init)
        let isBatch = sql.hasPrefix("SELECT 0::text")
        var rows: [[String?]] = []
        for (position, arm) in arms.enumerated() {
            let columns = columns(arm)
            let limit = arm.split(separator: "LIMIT ").last.flatMap { text in
                Int(text.prefix { $0.isWholeNumber })
            }
            let found = (state.rows.first { arm.contains($0.fragment) }?.rows ?? [])
                .prefix(limit ?? .max)
            let tag: [String?] = isBatch ? ["\(position)"] : []
            let isOfDatabase = arm.contains("current_database() AS \"datname\"")
            for row in found {
                let values: [String?] = columns.map { column in
                    column == "datname" && isOfDatabase ? session.database : row[column]
                }
                rows.append(tag + values)
            }
        }
        return PostgresTable(columns: isBatch ? [] : columns(sql), rows: rows)
    }

    /// The names after `AS` in quotation marks.
    private static func columns(_ sql: String) -> [String] {
        sql.split(separator: " AS \"").dropFirst().map { String($0.prefix { $0 != "\"" }) }
    }

    /// What a query for another version might ask for. Source: PostgreSQL's documentation, "The Cumulative Statistics
    /// System", of 13 to 18.
    private static func missing(_ version: Int) -> [String] {
        var words: [String] = []
        if version < 140_000 { words += ["active_time", "idle_session_timeout"] }
        if version >= 140_000 { words += ["WHERE compression"] }
        if version < 160_000 { words += ["confl_active_logicalslot", "pg_stat_io"] }
        if version < 170_000 {
            words += ["pg_stat_checkpointer", "num_dead_item_ids", "dead_tuple_bytes"]
        } else {
            words += [
                "max_dead_tuples AS", "num_dead_tuples AS", "b.checkpoints_timed",
                "b.checkpoints_req", "b.checkpoint_write_time", "b.checkpoint_sync_time",
                "b.buffers_checkpoint", "b.buffers_backend",
            ]
        }
        words += version < 180_000 ? ["write_bytes", "extend_bytes"] : ["op_bytes"]
        return words
    }
}

/// A session with a `FakePostgres`.
final class FakePostgresSession: PostgresConversing {
    let database: String
    let generation: Int
    fileprivate var milliseconds: Int64
    fileprivate var hasEnded = false
    private let server: FakePostgres
    private var plans: [String: String] = [:]

    init(_ server: FakePostgres, _ database: String, _ generation: Int, _ milliseconds: Int64) {
        self.server = server
        self.database = database
        self.generation = generation
        self.milliseconds = milliseconds
    }

    deinit { server.closed() }

    var serverVersion: Int { server.get { $0.version } }
    func extend(milliseconds: Int64) { self.milliseconds = milliseconds }
    func query(_ sql: String) throws(ServiceError) -> PostgresTable {
        try server.answer(sql, self)
    }

    /// What is asked for, after PREPARE, EXECUTE and DEALLOCATE were seen to.
    fileprivate func planned(_ sql: String) throws(ServiceError) -> String {
        var rest = sql[...]
        if rest.hasPrefix("DEALLOCATE ALL; ") {
            plans = [:]
            rest = rest.dropFirst(16)
        }
        if rest.hasPrefix("PREPARE ") {
            let name = String(rest.dropFirst(8).prefix { $0 != " " })
            let body = rest.dropFirst(8 + name.count + 4)
            let suffix = "; EXECUTE \(name)"
            guard plans[name] == nil, body.hasSuffix(suffix) else {
                throw .refused(FakePostgres.address, code: "42P05", message: "exists")
            }
            plans[name] = String(body.dropLast(suffix.count))
            return String(body.dropLast(suffix.count))
        }
        guard rest.hasPrefix("EXECUTE ") else { return String(rest) }
        guard let plan = plans[String(rest.dropFirst(8))] else {
            throw .refused(FakePostgres.address, code: "26000", message: "no such statement")
        }
        return plan
    }
}
