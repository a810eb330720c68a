import CollectorStore
import Model
import Postgres
import Storage
import Testing

private let names = DatabaseSetupNames()

private func rule(
    _ line: Int, _ databases: [String], _ users: [String], _ method: String,
    type: String = "local", options: [String] = []
) -> HostBasedRule {
    HostBasedRule(
        line: line, type: type, databases: databases, users: users, method: method,
        options: options)
}

@Suite struct PeerAccessTests {
    private let access = PeerAccess(database: "petrel", user: "petrel-collector")

    /// Debian's default lets every system user in; the guide's lets in postgres alone.
    @Test(
        arguments: [
            ([rule(1, ["all"], ["postgres"], "peer"), rule(2, ["all"], ["all"], "peer")], true),
            (
                [
                    rule(1, ["all"], ["postgres"], "peer"),
                    rule(2, ["app"], ["app"], "scram-sha-256", type: "hostssl"),
                ], false
            ),
            ([rule(1, ["petrel"], ["petrel-collector"], "peer")], true),
            (
                [
                    rule(1, ["all"], ["all"], "scram-sha-256"),
                    rule(2, ["petrel"], ["petrel-collector"], "peer"),
                ], false
            ),
            ([rule(1, ["all"], ["all"], "peer", options: ["map=x"])], false),
            ([rule(1, ["all"], ["all"], "reject")], false),
            (
                [
                    rule(1, ["replication"], ["all"], "scram-sha-256"),
                    rule(2, ["all"], ["all"], "peer"),
                ], true
            ),
            // Whether these match can't be told from outside.
            ([rule(1, ["all"], ["+staff"], "reject"), rule(2, ["all"], ["all"], "peer")], false),
            ([rule(1, ["/^p"], ["all"], "reject"), rule(2, ["all"], ["all"], "peer")], false),
            ([rule(1, ["sameuser"], ["all"], "md5"), rule(2, ["all"], ["all"], "peer")], false),
            ([rule(1, ["all"], ["all"], "peer", type: "host")], false),
            ([], false),
        ] as [([HostBasedRule], Bool)])
    func theFirstMatchDecides(_ rules: [HostBasedRule], _ isGranted: Bool) {
        #expect(access.isGranted(by: rules) == isGranted)
    }

    @Test func theLineComesBeforeTheFirstRuleOnce() throws {
        let text = """
            # TYPE  DATABASE  USER  ADDRESS  METHOD

            local   all   postgres   peer
            hostssl app   app  10.0.0.2/32  scram-sha-256

            """
        let changed = try #require(access.inserted(into: text))
        let lines = changed.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[3].split(separator: " ") == ["local", "petrel", "petrel-collector", "peer"])
        #expect(lines[4] == "local   all   postgres   peer")
        #expect(lines.last == "" && lines.count == 7)
        #expect(access.inserted(into: changed) == nil)
        #expect(access.inserted(into: "# nothing\n")?.hasSuffix("peer\n") == true)
        #expect(access.inserted(into: "")?.hasSuffix("peer\n") == true)
    }
}

@Suite struct DatabaseSetupPlanTests {
    private func complete() -> DatabaseSurvey {
        DatabaseSurvey(
            serverVersion: 150_014,
            roles: [
                "petrel_owner": .init(canLogin: false), "petrel_ingest": .init(canLogin: false),
                "petrel_query": .init(canLogin: false),
                "petrel-collector": .init(canLogin: true, inherits: false),
            ], memberships: ["petrel_owner", "petrel_ingest", "petrel_query"],
            database: .init(
                owner: "petrel_owner", isOpen: false,
                connects: ["petrel-collector", "petrel_ingest", "petrel_query"]))
    }

    private func sql(_ survey: DatabaseSurvey) throws -> [String] {
        try DatabaseSetupPlan.steps(survey, names).map(\.sql)
    }

    @Test func whatIsThereIsLeftAlone() throws {
        #expect(try sql(complete()).isEmpty)
    }

    @Test func anEmptyServerGetsAllOfIt() throws {
        let steps = try sql(DatabaseSurvey(serverVersion: 150_014))
        #expect(steps.first == "CREATE ROLE petrel_owner NOLOGIN")
        #expect(
            steps.contains(
                "CREATE ROLE \"petrel-collector\" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE"
            ))
        #expect(
            steps.contains(
                "GRANT petrel_owner, petrel_ingest, petrel_query TO \"petrel-collector\""))
        #expect(steps.contains { $0.hasPrefix("CREATE DATABASE petrel OWNER petrel_owner") })
        #expect(!steps.contains { $0.contains("SCHEMA public") })
        let older = try sql(DatabaseSurvey(serverVersion: 140_020))
        #expect(older.last == "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    }

    @Test func aPowerfulLoginRoleLosesItsPower() throws {
        var survey = complete()
        survey.roles["petrel-collector"]?.isPowerful = true
        let steps = try sql(survey)
        #expect(steps.count == 2)
        #expect(steps[0].hasPrefix("ALTER ROLE \"petrel-collector\" LOGIN NOINHERIT NOSUPERUSER"))
        #expect(steps[1].hasPrefix("GRANT petrel_owner"), "a superuser's memberships say nothing")
    }

    @Test(arguments: ["version", "standby", "superuser", "owner", "encoding", "schema"])
    func aPersonDecides(_ what: String) throws {
        var survey = complete()
        let expected: String
        switch what {
        case "version":
            survey.serverVersion = 130_012
            expected = "14 or newer"
        case "standby":
            survey.isStandby = true
            expected = "primary"
        case "superuser":
            survey.isSuperuser = false
            expected = "run it as root"
        case "owner":
            survey.database?.owner = "somebody"
            expected = "ALTER DATABASE petrel OWNER TO petrel_owner"
        case "encoding":
            survey.database?.encoding = "SQL_ASCII"
            expected = "not UTF8"
        default:
            survey.database?.schemaOwner = "somebody"
            expected = "REASSIGN OWNED BY somebody TO petrel_owner"
        }
        let error = #expect(throws: PostgresError.self) { try sql(survey) }
        #expect("\(try #require(error))".contains(expected))
    }
}

/// The set-up on a real server.
extension StoreTests {
    @Test("what setup-database makes lets a role without any power migrate, write and read")
    func setUp() async throws {
        try await TestCluster.with { cluster in
            // The cluster's superuser is `postgres` whatever user runs it, and it trusts its socket.
            let names = DatabaseSetupNames(database: "beside", login: "petrel-collector")
            let setup = DatabaseSetup(
                socketDirectory: cluster.socketDirectory, port: 5432, superuser: "postgres",
                names: names, logger: TestCluster.quiet)
            // Roles belong to the whole server; the other tests need the private cluster's owner as it was.
            let administrator = PostgresPool(
                PostgresPoolConfiguration(url: cluster.administratorURL, connectionsMax: 1),
                logger: TestCluster.quiet, random: { 1 })
            try await administrator.withSession {
                try $0.execute("DROP DATABASE IF EXISTS beside WITH (FORCE)")
            }
            let before = try await setup.survey()
            #expect(before.isSuperuser && before.database == nil && !before.isStandby)
            #expect(before.rules.first?.method == "trust" && before.accessFile.hasSuffix(".conf"))
            try await setup.apply(try DatabaseSetupPlan.steps(before, names))
            #expect(try DatabaseSetupPlan.steps(try await setup.survey(), names).isEmpty)
            try await setup.reloadAccess()

            let url =
                "host='\(cluster.socketDirectory)' user='petrel-collector' dbname=beside"
            let store = try await CollectorStore.open(
                configuration: StoreConfiguration(database: .url(url)),
                clock: SetClock(TestCluster.start), random: SeededRandom(3),
                logger: TestCluster.quiet)
            try await store.takeOverMetrics()
            let h1 = try host("h1")
            let (session, last) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            #expect(last == 0)
            let id = try #require(
                try await store.intern([definition(["__name__": "m"])], host: h1)[0])
            let outcomes = try await store.store(
                [scrape(1, at: 5, [id], [1])], session: session)
            #expect(outcomes == [.stored])
            await store.close()
            #expect(
                try DatabaseSetupPlan.steps(try await setup.survey(), names).isEmpty,
                "a migrated database needs nothing either")
            // Who owns it, and that the login role by itself may nothing.
            let pool = PostgresPool(
                PostgresPoolConfiguration(url: url, connectionsMax: 1), logger: TestCluster.quiet,
                random: { 1 })
            try await pool.withSession { session in
                let owners = try session.query(
                    """
                    SELECT count(*) FILTER (WHERE tableowner <> 'petrel_owner'), count(*)
                    FROM pg_tables WHERE schemaname = 'petrel'
                    """)
                #expect(try owners.integer(0, 0) == 0 && (try owners.integer(0, 1)) > 10)
                for statement in [
                    "SELECT * FROM petrel.host", "CREATE TABLE public.t (a int)",
                    "CREATE ROLE x", "CREATE TEMP TABLE t (a int)",
                ] {
                    let error = #expect(throws: PostgresError.self) {
                        try session.execute(statement)
                    }
                    #expect(error?.sqlState == "42501", "\(statement)")
                }
            }
            await pool.close()
            try await administrator.withSession { session in
                try session.execute("ALTER ROLE petrel_owner LOGIN CREATEROLE")
                try session.execute("GRANT petrel_ingest, petrel_query TO petrel_owner")
            }
            await administrator.close()
        }
    }
}
