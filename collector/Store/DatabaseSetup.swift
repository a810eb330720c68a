package import Logging
package import Postgres

/// The names that a database of the collector is set up with.
package struct DatabaseSetupNames: Hashable, Sendable {
    package var database: String
    /// The role that the collector logs in as: the name of its system user.
    package var login: String

    package init(database: String = "petrel", login: String = "petrel-collector") {
        self.database = database
        self.login = login
    }

    static let owner = "petrel_owner"
    static let ingest = "petrel_ingest"
    static let query = "petrel_query"
    static let groups = [owner, ingest, query]
}

/// What a server has of it already.
package struct DatabaseSurvey: Hashable, Sendable {
    /// A role's attributes that matter.
    package struct Role: Hashable, Sendable {
        package var canLogin: Bool
        package var inherits: Bool
        /// Superuser, may create roles or databases.
        package var isPowerful: Bool

        package init(canLogin: Bool, inherits: Bool = true, isPowerful: Bool = false) {
            self.canLogin = canLogin
            self.inherits = inherits
            self.isPowerful = isPowerful
        }
    }

    /// The database of that name.
    package struct Database: Hashable, Sendable {
        package var owner: String
        package var encoding: String
        /// Whether everybody may connect or make temporary tables.
        package var isOpen: Bool
        /// Roles among ours that have been given CONNECT by name.
        package var connects: Set<String>
        /// Whether everybody may create in the schema `public`.
        package var isPublicSchemaOpen: Bool
        /// Owner of the schema `petrel`; nil where it is not there yet.
        package var schemaOwner: String?

        package init(
            owner: String, encoding: String = "UTF8", isOpen: Bool = true,
            connects: Set<String> = [], isPublicSchemaOpen: Bool = false,
            schemaOwner: String? = nil
        ) {
            self.owner = owner
            self.encoding = encoding
            self.isOpen = isOpen
            self.connects = connects
            self.isPublicSchemaOpen = isPublicSchemaOpen
            self.schemaOwner = schemaOwner
        }
    }

    /// As `server_version_num`: 150_014.
    package var serverVersion: Int
    package var isSuperuser: Bool
    package var isStandby: Bool
    package var roles: [String: Role]
    /// Groups that the login role may become.
    package var memberships: Set<String>
    package var database: Database?
    package var rules: [HostBasedRule]
    /// Path of pg_hba.conf.
    package var accessFile: String

    package init(
        serverVersion: Int, isSuperuser: Bool = true, isStandby: Bool = false,
        roles: [String: Role] = [:], memberships: Set<String> = [], database: Database? = nil,
        rules: [HostBasedRule] = [], accessFile: String = ""
    ) {
        self.serverVersion = serverVersion
        self.isSuperuser = isSuperuser
        self.isStandby = isStandby
        self.roles = roles
        self.memberships = memberships
        self.database = database
        self.rules = rules
        self.accessFile = accessFile
    }
}

/// A statement of the set-up, and in which database it runs.
package struct DatabaseSetupStep: Hashable, Sendable {
    package var isInDatabase: Bool
    package var sql: String

    package init(isInDatabase: Bool = false, _ sql: String) {
        self.isInDatabase = isInDatabase
        self.sql = sql
    }
}

/// What is missing on a server for a collector beside it, as statements. Pure: a survey in, statements out; a server
/// that has all of it gives none.
///
/// The login role owns nothing and inherits nothing: the collector becomes `petrel_owner` to migrate, `petrel_ingest` to
/// write and `petrel_query` to read. None of them is a superuser.
package enum DatabaseSetupPlan {
    /// Statements in order. Throws `cluster` with the remedy where a person must decide.
    package static func steps(
        _ survey: DatabaseSurvey, _ names: DatabaseSetupNames
    ) throws(PostgresError) -> [DatabaseSetupStep] {
        try refuse(survey, names)
        var steps: [DatabaseSetupStep] = []
        for group in DatabaseSetupNames.groups {
            if let role = survey.roles[group] {
                guard role.isPowerful else { continue }
                steps.append(.init("ALTER ROLE \(quoted(group)) \(powerless)"))
                continue
            }
            steps.append(.init("CREATE ROLE \(quoted(group)) NOLOGIN"))
            guard group == DatabaseSetupNames.query else { continue }
            steps.append(.init("ALTER ROLE \(quoted(group)) SET statement_timeout = '30s'"))
            steps.append(
                .init("ALTER ROLE \(quoted(group)) SET default_transaction_read_only = on"))
        }
        steps += login(survey, names)
        return steps + database(survey, names)
    }

    private static let powerless = "NOSUPERUSER NOCREATEDB NOCREATEROLE"

    private static func refuse(
        _ survey: DatabaseSurvey, _ names: DatabaseSetupNames
    ) throws(PostgresError) {
        guard survey.serverVersion >= 140_000 else {
            throw .cluster(
                "PostgreSQL \(survey.serverVersion / 10_000) is too old: 14 or newer is needed; "
                    + "choose another cluster with --cluster VERSION/NAME")
        }
        guard !survey.isStandby else {
            throw .cluster(
                "this server is a standby and takes no changes: run it where the primary is")
        }
        guard survey.isSuperuser else {
            throw .cluster(
                "the role it connects as is no superuser: run it as root, or as the system user "
                    + "that the server runs as (postgres)")
        }
        guard let database = survey.database else { return }
        let (name, owner) = (names.database, DatabaseSetupNames.owner)
        guard database.owner == owner else {
            throw .cluster(
                "the database \(name) is there and belongs to \(database.owner): if it is "
                    + "Petrel's, ALTER DATABASE \(quoted(name)) OWNER TO \(owner) (CREATE ROLE "
                    + "\(owner) before, where it is missing), else choose another with --database")
        }
        guard database.encoding == "UTF8" else {
            throw .cluster(
                "the database \(name) is encoded in \(database.encoding), not UTF8: drop it if "
                    + "it is empty, or choose another with --database")
        }
        if let schemaOwner = database.schemaOwner, schemaOwner != owner {
            throw .cluster(
                "the schema petrel of \(name) belongs to \(schemaOwner): as superuser, connected "
                    + "to \(name), REASSIGN OWNED BY \(quoted(schemaOwner)) TO \(owner)")
        }
    }

    private static func login(
        _ survey: DatabaseSurvey, _ names: DatabaseSetupNames
    ) -> [DatabaseSetupStep] {
        var steps: [DatabaseSetupStep] = []
        let wanted = "LOGIN NOINHERIT \(powerless)"
        if let role = survey.roles[names.login] {
            if !role.canLogin || role.inherits || role.isPowerful {
                steps.append(.init("ALTER ROLE \(quoted(names.login)) \(wanted)"))
            }
        } else {
            steps.append(.init("CREATE ROLE \(quoted(names.login)) \(wanted)"))
        }
        // A superuser may become anybody; without that right it needs its memberships.
        let isDemoted = survey.roles[names.login]?.isPowerful ?? false
        let missing = DatabaseSetupNames.groups.filter {
            isDemoted || !survey.memberships.contains($0)
        }
        if !missing.isEmpty {
            let groups = missing.map(quoted).joined(separator: ", ")
            steps.append(.init("GRANT \(groups) TO \(quoted(names.login))"))
        }
        return steps
    }

    private static func database(
        _ survey: DatabaseSurvey, _ names: DatabaseSetupNames
    ) -> [DatabaseSetupStep] {
        let name = quoted(names.database)
        var steps: [DatabaseSetupStep] = []
        if survey.database == nil {
            steps.append(
                .init(
                    "CREATE DATABASE \(name) OWNER \(DatabaseSetupNames.owner) TEMPLATE template0 "
                        + "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"))
        }
        if survey.database?.isOpen ?? true {
            steps.append(.init("REVOKE ALL ON DATABASE \(name) FROM PUBLIC"))
        }
        let connecting = [names.login, DatabaseSetupNames.ingest, DatabaseSetupNames.query]
            .filter { !(survey.database?.connects.contains($0) ?? false) }
        if !connecting.isEmpty {
            let roles = connecting.map(quoted).joined(separator: ", ")
            steps.append(.init("GRANT CONNECT ON DATABASE \(name) TO \(roles)"))
        }
        // The default of PostgreSQL 14; since 15 only the database's owner may.
        let isPublicSchemaOpen =
            survey.database?.isPublicSchemaOpen ?? (survey.serverVersion < 150_000)
        if isPublicSchemaOpen {
            steps.append(
                .init(isInDatabase: true, "REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        }
        return steps
    }

    private static func quoted(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy { (97...122).contains($0) || $0 == 95 }
        guard !isPlain else { return name }
        return "\""
            + name.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }
}

/// A server that is being set up, asked and changed as its superuser.
package struct DatabaseSetup: Sendable {
    private let socketDirectory: String
    private let port: Int
    private let superuser: String
    private let names: DatabaseSetupNames
    private let logger: Logger

    /// Connects as `superuser` over the socket in `socketDirectory`; nothing is asked before `survey`.
    package init(
        socketDirectory: String, port: Int, superuser: String, names: DatabaseSetupNames,
        logger: Logger
    ) {
        self.socketDirectory = socketDirectory
        self.port = port
        self.superuser = superuser
        self.names = names
        self.logger = logger
    }

    /// Runs the statements in order; each is a transaction of its own, and all may be run again.
    package func apply(_ steps: [DatabaseSetupStep]) async throws {
        for isInDatabase in [false, true] {
            let some = steps.filter { $0.isInDatabase == isInDatabase }.map(\.sql)
            guard !some.isEmpty else { continue }
            try await asked(isInDatabase ? names.database : "postgres") { session in
                for sql in some { try session.execute(sql) }
            }
        }
    }

    /// Has the server read pg_hba.conf again; throws `cluster` where it does not like what it reads.
    package func reloadAccess() async throws {
        try await asked("postgres") { session in
            // A `hostssl` line on a server without TLS is reported too, but keeps nothing from being read.
            let faults = try session.query(
                """
                SELECT line_number, error FROM pg_hba_file_rules
                WHERE error IS NOT NULL AND error NOT LIKE '%cannot match because%'
                """)
            guard faults.count == 0 else {
                throw PostgresError.cluster(
                    "pg_hba.conf has an error in line \(try faults.int4(0, 0)) "
                        + "(\(faults.text(0, 1))): mend it, then SELECT pg_reload_conf()")
            }
            try session.execute("SELECT pg_reload_conf()")
        }
    }

    /// What the server has.
    package func survey() async throws -> DatabaseSurvey {
        let names = names
        var survey = try await asked("postgres") { try Self.survey($0, names) }
        guard survey.database != nil else { return survey }
        let inside = try await asked(names.database) { session in
            let rows = try session.query(
                """
                SELECT coalesce(has_schema_privilege('public', to_regnamespace('public')::oid,
                        'CREATE'), false),
                    (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'petrel')
                """)
            return (rows.bool(0, 0), rows.isNull(0, 1) ? nil : rows.text(0, 1))
        }
        survey.database?.isPublicSchemaOpen = inside.0
        survey.database?.schemaOwner = inside.1
        return survey
    }

    private func asked<T: Sendable>(
        _ database: String, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        try await PostgresPool.once(
            PostgresPoolConfiguration(
                url: "host='\(socketDirectory)' port=\(port) user='\(superuser)' "
                    + "dbname='\(database)'", applicationName: "petrel-collector setup-database",
                waitMilliseconds: 2_000), logger: logger
        ) { try await $0.withSession(body) }
    }

    private static func survey(
        _ session: PostgresSession, _ names: DatabaseSetupNames
    ) throws -> DatabaseSurvey {
        let ours = DatabaseSetupNames.groups + [names.login]
        let facts = try session.query(
            """
            SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                pg_is_in_recovery(), current_setting('hba_file')
            """)
        var survey = DatabaseSurvey(
            serverVersion: session.serverVersion, isSuperuser: facts.bool(0, 0),
            isStandby: facts.bool(0, 1), accessFile: facts.text(0, 2))
        guard survey.isSuperuser else { return survey }
        let roles = try session.query(
            """
            SELECT rolname::text, rolcanlogin, rolinherit, rolsuper OR rolcreaterole OR rolcreatedb
            FROM pg_roles WHERE rolname = ANY ($1::text[])
            """, [.textArray(ours)])
        for row in 0..<roles.count {
            survey.roles[roles.text(row, 0)] = DatabaseSurvey.Role(
                canLogin: roles.bool(row, 1), inherits: roles.bool(row, 2),
                isPowerful: roles.bool(row, 3))
        }
        // Since 16 a membership may come without the right to become the role.
        let right = session.serverVersion >= 160_000 ? "SET" : "MEMBER"
        let memberships = try session.query(
            """
            SELECT g.rolname::text FROM pg_roles g, pg_roles l
            WHERE g.rolname = ANY ($1::text[]) AND l.rolname = $2
                AND pg_has_role(l.oid, g.oid, '\(right)')
            """, [.textArray(DatabaseSetupNames.groups), .text(names.login)])
        survey.memberships = Set((0..<memberships.count).map { memberships.text($0, 0) })
        survey.database = try database(session, names)
        survey.rules = try rules(session)
        return survey
    }

    private static func database(
        _ session: PostgresSession, _ names: DatabaseSetupNames
    ) throws -> DatabaseSurvey.Database? {
        let rows = try session.query(
            """
            SELECT pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text,
                EXISTS (SELECT 1 FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
                    WHERE grantee = 0),
                ARRAY(SELECT pg_get_userbyid(grantee)::text FROM aclexplode(datacl)
                    WHERE privilege_type = 'CONNECT' AND grantee <> 0)::text
            FROM pg_database WHERE datname = $1
            """, [.text(names.database)])
        guard rows.count == 1 else { return nil }
        return DatabaseSurvey.Database(
            owner: rows.text(0, 0), encoding: rows.text(0, 1), isOpen: rows.bool(0, 2),
            connects: Set(items(of: rows.text(0, 3))))
    }

    private static func rules(_ session: PostgresSession) throws -> [HostBasedRule] {
        let rows = try session.query(
            """
            SELECT line_number, type, database::text, user_name::text, auth_method,
                coalesce(options, '{}')::text
            FROM pg_hba_file_rules WHERE error IS NULL
            """)
        return try (0..<rows.count).map { row in
            HostBasedRule(
                line: Int(try rows.int4(row, 0)), type: rows.text(row, 1),
                databases: items(of: rows.text(row, 2)), users: items(of: rows.text(row, 3)),
                method: rows.text(row, 4), options: items(of: rows.text(row, 5)))
        }
    }

    /// The items of an array in PostgreSQL's text form; names with commas are none of ours.
    private static func items(of array: String) -> [String] {
        array.dropFirst().dropLast().split(separator: ",").map { item in
            String(item.drop { $0 == "\"" }.prefix { $0 != "\"" })
        }
    }
}
