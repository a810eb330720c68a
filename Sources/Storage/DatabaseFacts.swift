package import Model

/// What a database is and how it is set, for a check-up.
package struct DatabaseFacts: Hashable, Sendable {
    /// What stands between the collector and the server.
    package enum Pooler: Hashable, Sendable {
        case none
        /// A client keeps its server connection.
        case session
        /// Transactions of one client run on different server connections: session state breaks.
        case transaction
    }

    /// A role that the collector becomes.
    package struct Role: Hashable, Sendable {
        package var name: String
        package var exists: Bool
        /// Whether the connecting user may become it.
        package var isMember: Bool

        package init(name: String, exists: Bool, isMember: Bool) {
            self.name = name
            self.exists = exists
            self.isMember = isMember
        }
    }

    /// A host with the newest certificate that is not revoked.
    package struct Host: Hashable, Sendable {
        package var name: String
        package var isRevoked: Bool
        package var lastSeenAt: TimestampMS?
        package var notAfter: TimestampMS?

        package init(
            name: String, isRevoked: Bool, lastSeenAt: TimestampMS?, notAfter: TimestampMS?
        ) {
            self.name = name
            self.isRevoked = isRevoked
            self.lastSeenAt = lastSeenAt
            self.notAfter = notAfter
        }
    }

    /// As `server_version_num`: 150004.
    package var version: Int
    package var user: String
    package var database: String
    package var isSuperuser: Bool
    package var pooler: Pooler
    /// Numbers of the migrations applied, ascending; empty where the schema does not exist.
    package var applied: [Int]
    /// Numbers that this build carries, ascending.
    package var known: [Int]
    package var roles: [Role]
    /// `fsync`, `full_page_writes`, `synchronous_commit` (as a new session has it), `autovacuum`.
    package var settings: [String: String]
    /// Folder of the server's files; nil where this user may not know it or the server is on another machine.
    package var localDataDirectory: String?
    /// Bytes.
    package var size: Int64
    package var hosts: [Host]

    package init(
        version: Int, user: String, database: String, isSuperuser: Bool, pooler: Pooler,
        applied: [Int], known: [Int], roles: [Role], settings: [String: String],
        localDataDirectory: String?, size: Int64, hosts: [Host]
    ) {
        self.version = version
        self.user = user
        self.database = database
        self.isSuperuser = isSuperuser
        self.pooler = pooler
        self.applied = applied
        self.known = known
        self.roles = roles
        self.settings = settings
        self.localDataDirectory = localDataDirectory
        self.size = size
        self.hosts = hosts
    }
}
