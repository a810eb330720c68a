import Glibc
import Logging

/// The folders of a private cluster, chosen so that the server's user can enter them and the socket's path fits.
struct ClusterPlace: Sendable {
    /// Data files; mode 0700, owned by the server's user.
    var data: String
    /// Socket, log and settings' folder; mode 0700, owned by the server's user.
    var socket: String
    /// Server log and the tools' outputs; as `socket`.
    var log: String
    /// A file that takes space which a start may need, beside `data`.
    var reserve: String
    /// Owner of all of them.
    var user: uid_t
    var group: gid_t

    /// Where the paths are written down when they are not under the state folder.
    static let noteName = "postgres.location"

    static func prepare(
        _ configuration: PrivateClusterConfiguration, logger: Logger
    ) throws(PostgresError) -> ClusterPlace {
        let state = configuration.stateDirectory
        guard state.hasPrefix("/") else { throw .cluster("\(state): give an absolute --data-dir") }
        try SmallFile.makeDirectory(state, mode: 0o700)
        var user = getuid()
        var group = getgid()
        var home = ""
        if user == 0 {
            guard let entry = getpwnam(configuration.systemUser) else {
                throw .cluster(
                    "root cannot run PostgreSQL and the user \(configuration.systemUser) does not "
                        + "exist: install postgresql, or set database.url")
            }
            user = entry.pointee.pw_uid
            group = entry.pointee.pw_gid
            home = String(cString: entry.pointee.pw_dir)
        }
        let base = try folder(state, user: user, group: group, home: home, logger: logger)
        var place = ClusterPlace(
            data: base + "/data", socket: base + "/socket", log: base + "/log",
            reserve: base + "/reserve", user: user, group: group)
        if (place.socket + "/.s.PGSQL.5432").utf8.count > PrivateCluster.socketPathBytesMax {
            let short = "petrel-\(hexadecimal(hash(base)))"
            place.socket = (access("/run", W_OK) == 0 ? "/run/" : "/tmp/") + short
        }
        for path in [base, place.data, place.socket, place.log] {
            try SmallFile.makeDirectory(path, mode: 0o700)
            try place.own(path)
        }
        return place
    }

    /// The cluster's folder: `<state>/postgres`, or where the server's user can't get there, one in its home.
    private static func folder(
        _ state: String, user: uid_t, group: gid_t, home: String, logger: Logger
    ) throws(PostgresError) -> String {
        let note = state + "/" + noteName
        if let noted = SmallFile.read(note)?.split(separator: "\n").first { return String(noted) }
        let own = state + "/postgres"
        guard user != getuid() else { return own }
        let parts = state.split(separator: "/")
        let ancestors = (1..<max(1, parts.count)).map {
            "/" + parts[..<$0].joined(separator: "/")
        }
        if ancestors.allSatisfy({ canEnter($0, user, group) }) {
            // The folder is ours: others may pass through it, but not list it.
            if !canEnter(state, user, group), let facts = SmallFile.status(state) {
                guard chmod(state, facts.st_mode & 0o7777 | 0o011) == 0 else {
                    throw .cluster("cannot open \(state) to the server: \(errorText(errno))")
                }
            }
            return own
        }
        guard let facts = SmallFile.status(home), facts.st_uid == user else {
            throw .cluster(
                "the server's user cannot enter \(state) and has no home of its own: choose a "
                    + "--data-dir such as /var/lib/petrel/collector")
        }
        let elsewhere = "\(home)/petrel-\(hexadecimal(hash(state)))"
        try SmallFile.write(elsewhere + "\n", to: note)
        logger.notice(
            "the server's user cannot enter the state folder; the database is kept elsewhere",
            metadata: ["folder": "\(elsewhere)", "note": "\(note)"])
        return elsewhere
    }

    private static func canEnter(_ path: String, _ user: uid_t, _ group: gid_t) -> Bool {
        guard let facts = SmallFile.status(path) else { return false }
        if facts.st_uid == user { return facts.st_mode & 0o100 != 0 }
        if facts.st_gid == group { return facts.st_mode & 0o010 != 0 }
        return facts.st_mode & 0o001 != 0
    }

    private func own(_ path: String) throws(PostgresError) {
        guard let facts = SmallFile.status(path) else {
            throw .cluster("\(path) vanished: start again")
        }
        // A folder in /tmp may have been made by somebody else.
        guard facts.st_uid == user || getuid() == 0 else {
            throw .cluster("\(path) belongs to another user: remove it")
        }
        guard chown(path, user, group) == 0, chmod(path, 0o700) == 0 else {
            throw .cluster("cannot give \(path) to the server's user: \(errorText(errno))")
        }
    }

    /// FNV-1a: the same short name for the same folder at every start.
    private static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
