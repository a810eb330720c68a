import JSONReading

/// What `pgbackrest info --output=json` says of a stanza; what it doesn't say is 0 or empty.
/// Source: pgBackRest 2.57 `src/command/info/info.c`.
struct PgBackRestStanza {
    /// Of one file.
    static let countMax = 64
    /// Of one stanza; pgBackRest names them in the order of time, so the last are kept.
    static let backupsMax = 1_000

    struct Lock {
        var isHeld = false
        /// Bytes of what is under way.
        var total, complete: Int64?
    }

    struct Repository {
        var key: Int64 = 0
        var cipher = ""
        var status: Int64 = 0
    }

    /// A cluster in a repository: a number that counts its versions, and the repository's key.
    struct Database: Hashable {
        var id: Int64 = 0
        var repositoryKey: Int64 = 0
    }

    struct Archive {
        var database = Database()
        /// The first and last segment that is there.
        var first = ""
        var last = ""
    }

    struct Backup {
        var label = ""
        /// `full`, `diff` or `incr`.
        var type = ""
        var prior = ""
        var version = ""
        var database = Database()
        /// Seconds since the epoch.
        var start, stop: Int64?
        var firstPosition = ""
        var lastPosition = ""
        var firstSegment = ""
        var lastSegment = ""
        var hasError = false
        /// Bytes.
        var size, delta, repositorySize, repositoryDelta: Int64?
        /// Bytes of the maps of block-incremental backups, which other ones have not.
        var sizeMap, deltaMap: Int64?

        var isBlockIncremental: Bool { sizeMap != nil && deltaMap != nil }
    }

    var name = ""
    var status: Int64 = 0
    var backupLock = Lock()
    var restoreLock = Lock()
    var repositories: [Repository] = []
    var archives: [Archive] = []
    var versions: [Database: String] = [:]
    var backups: [Backup] = []

    /// The stanzas of a file. Throws where it is no JSON, or no list.
    static func list(_ bytes: [UInt8]) throws(JSONError) -> [PgBackRestStanza] {
        var reader = JSONReader(bytes)
        var stanzas: [PgBackRestStanza] = []
        guard try reader.kind() == .array else { throw .unexpectedShape }
        try reader.forEachElement { (reader) throws(JSONError) in
            let stanza = try PgBackRestStanza(&reader)
            if stanzas.count < countMax, !stanza.name.isEmpty { stanzas.append(stanza) }
        }
        try reader.end()
        return stanzas
    }

    private init(_ reader: inout JSONReader) throws(JSONError) {
        var (name, status): (String, Int64) = ("", 0)
        var (backupLock, restoreLock) = (Lock(), Lock())
        var repositories: [Repository] = []
        var archives: [Archive] = []
        var versions: [Database: String] = [:]
        var backups: [Backup] = []
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "name": name = try reader.text() ?? ""
            case "status":
                try reader.forEachMember { (key, reader) throws(JSONError) in
                    switch key {
                    case "code": status = try reader.whole() ?? 0
                    case "lock": (backupLock, restoreLock) = try Self.locks(&reader)
                    default: try reader.skip()
                    }
                }
            case "repo":
                try reader.forEachElement { (reader) throws(JSONError) in
                    repositories.append(try Repository(&reader))
                }
            case "archive":
                try reader.forEachElement { (reader) throws(JSONError) in
                    archives.append(try Archive(&reader))
                }
            case "db":
                try reader.forEachElement { (reader) throws(JSONError) in
                    let (database, version) = try Database.versioned(&reader)
                    versions[database] = versions[database] ?? version
                }
            case "backup":
                try reader.forEachElement { (reader) throws(JSONError) in
                    backups.append(try Backup(&reader))
                }
            default: try reader.skip()
            }
        }
        self.name = name
        self.status = status
        (self.backupLock, self.restoreLock) = (backupLock, restoreLock)
        self.repositories = repositories
        self.archives = archives
        self.versions = versions
        self.backups = backups.suffix(Self.backupsMax)
    }

    private static func locks(
        _ reader: inout JSONReader
    ) throws(JSONError) -> (backup: Lock, restore: Lock) {
        var locks = (backup: Lock(), restore: Lock())
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "backup": locks.backup = try Lock(&reader)
            case "restore": locks.restore = try Lock(&reader)
            default: try reader.skip()
            }
        }
        return locks
    }
}

extension PgBackRestStanza.Lock {
    fileprivate init(_ reader: inout JSONReader) throws(JSONError) {
        var lock = Self()
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "held": lock.isHeld = try reader.truth() ?? false
            case "size": lock.total = try reader.whole()
            case "size-cplt": lock.complete = try reader.whole()
            default: try reader.skip()
            }
        }
        self = lock
    }
}

extension PgBackRestStanza.Repository {
    fileprivate init(_ reader: inout JSONReader) throws(JSONError) {
        var repository = Self()
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "key": repository.key = try reader.whole() ?? 0
            case "cipher": repository.cipher = try reader.text() ?? ""
            case "status":
                try reader.forEachMember { (key, reader) throws(JSONError) in
                    guard key == "code" else { return try reader.skip() }
                    repository.status = try reader.whole() ?? 0
                }
            default: try reader.skip()
            }
        }
        self = repository
    }
}

extension PgBackRestStanza.Database {
    fileprivate init(_ reader: inout JSONReader) throws(JSONError) {
        self = try Self.versioned(&reader).database
    }

    /// With PostgreSQL's version, where that is said.
    fileprivate static func versioned(
        _ reader: inout JSONReader
    ) throws(JSONError) -> (database: Self, version: String) {
        var (database, version) = (Self(), "")
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "id": database.id = try reader.whole() ?? 0
            case "repo-key": database.repositoryKey = try reader.whole() ?? 0
            case "version": version = try reader.text() ?? ""
            default: try reader.skip()
            }
        }
        return (database, version)
    }
}

extension PgBackRestStanza.Archive {
    fileprivate init(_ reader: inout JSONReader) throws(JSONError) {
        var archive = Self()
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "database": archive.database = try .init(&reader)
            case "min": archive.first = try reader.text() ?? ""
            case "max": archive.last = try reader.text() ?? ""
            default: try reader.skip()
            }
        }
        self = archive
    }
}

extension PgBackRestStanza.Backup {
    fileprivate init(_ reader: inout JSONReader) throws(JSONError) {
        var backup = Self()
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "label": backup.label = try reader.text() ?? ""
            case "type": backup.type = try reader.text() ?? ""
            case "prior": backup.prior = try reader.text() ?? ""
            case "error": backup.hasError = try reader.truth() ?? false
            case "database": backup.database = try .init(&reader)
            case "backrest":
                try reader.forEachMember { (key, reader) throws(JSONError) in
                    guard key == "version" else { return try reader.skip() }
                    backup.version = try reader.text() ?? ""
                }
            case "timestamp":
                try reader.forEachMember { (key, reader) throws(JSONError) in
                    switch key {
                    case "start": backup.start = try reader.whole()
                    case "stop": backup.stop = try reader.whole()
                    default: try reader.skip()
                    }
                }
            case "lsn":
                (backup.firstPosition, backup.lastPosition) = try Self.ends(&reader)
            case "archive":
                (backup.firstSegment, backup.lastSegment) = try Self.ends(&reader)
            case "info": try backup.readSizes(&reader)
            default: try reader.skip()
            }
        }
        self = backup
    }

    /// `start` and `stop`, texts.
    private static func ends(
        _ reader: inout JSONReader
    ) throws(JSONError) -> (start: String, stop: String) {
        var ends = (start: "", stop: "")
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "start": ends.start = try reader.text() ?? ""
            case "stop": ends.stop = try reader.text() ?? ""
            default: try reader.skip()
            }
        }
        return ends
    }

    private mutating func readSizes(_ reader: inout JSONReader) throws(JSONError) {
        var backup = self
        try reader.forEachMember { (key, reader) throws(JSONError) in
            switch key {
            case "size": backup.size = try reader.whole()
            case "delta": backup.delta = try reader.whole()
            case "repository":
                try reader.forEachMember { (key, reader) throws(JSONError) in
                    switch key {
                    case "size": backup.repositorySize = try reader.whole()
                    case "delta": backup.repositoryDelta = try reader.whole()
                    case "size-map": backup.sizeMap = try reader.whole()
                    case "delta-map": backup.deltaMap = try reader.whole()
                    default: try reader.skip()
                    }
                }
            default: try reader.skip()
            }
        }
        self = backup
    }
}
