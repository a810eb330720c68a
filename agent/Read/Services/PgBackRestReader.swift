import JSONReading
package import Model
import Synchronization
package import World

/// pgBackRest's stanzas and backups, under the names of pgbackrest_exporter, from a file that holds what `pgbackrest
/// info --output=json` printed: the repository is for postgres alone, so `petrel-pgbackrest-helper.service`, which runs
/// as postgres, writes the file every ten minutes, beside its place and renamed.
///
/// Other than the exporter: of single backups there is `pgbackrest_backup_info` alone; segments of the WAL are no
/// labels; `pgbackrest_version_info` is the version that made the last backup; and `pgbackrest_exporter_status` is 0
/// also where the file is old. A host that has never had the file gives nothing.
/// Source: pgbackrest_exporter 0.23 `backrest/backrest_*_metrics.go`.
package struct PgBackRestReader: NodeReader {
    /// Where the unit writes unless told otherwise.
    package static let standardPath = "/var/lib/petrel/pgbackrest/info.json"
    /// Bytes of the file.
    package static let fileBytesMax = 4 << 20
    /// Three turns of the unit.
    package static let ageMaxNanoseconds: Int64 = 1_800_000_000_000

    package let name = "pgbackrest"
    package let job = "pgbackrest"
    private let tree: any WorldFileTree
    private let path: String
    private let memory = PgBackRestMemory()

    package init(tree: any WorldFileTree, path: String = PgBackRestReader.standardPath) {
        self.tree = tree
        self.path = path
    }

    /// What is wrong with the file, with what to do.
    package var problems: [String] { memory.state.withLock { $0.problem.map { [$0] } ?? [] } }

    /// Throws nothing: a file that is gone, old or broken is `pgbackrest_exporter_status` 0 and a problem.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let content: PgBackRestMemory.Content
        do throws(FileError) {
            content = try self.content()
        } catch {
            let isSeen = memory.state.withLock { $0.isSeen }
            guard isSeen || !error.isAbsence else { return [] }
            return [status(false, problem: error.textWithRemedy)]
        }
        let stanzas: [PgBackRestStanza]
        switch content.stanzas {
        case .success(let list): stanzas = list
        case .failure(let error): return [status(false, problem: "\(path): \(error)")]
        }
        let modified = content.status.modified
        // A tree without times has the epoch.
        let isOld =
            modified.rawValue > 0
            && modified.advanced(byNanoseconds: Self.ageMaxNanoseconds) < now
        let first = status(
            !isOld, problem: isOld ? "\(path) was not written for half an hour" : nil)
        var families = PgBackRestFamilies()
        for stanza in stanzas { families.add(stanza, now: now) }
        return [first] + families.all
    }

    /// What the file holds, read anew where it is another file or has changed.
    private func content() throws(FileError) -> PgBackRestMemory.Content {
        let file = try tree.open(path, .read)
        defer { file.close() }
        let status = try file.status()
        if let known = memory.state.withLock({ $0.content }), known.status == status {
            return known
        }
        let bytes = try file.contents(path, bytesMax: Self.fileBytesMax)
        let stanzas = Result { () throws(JSONError) in try PgBackRestStanza.list(bytes) }
        let content = PgBackRestMemory.Content(status: status, stanzas: stanzas)
        memory.state.withLock { $0.content = content }
        return content
    }

    /// The file's state as a metric, and for `problems`.
    private func status(_ isGood: Bool, problem: String?) -> MetricFamily {
        memory.state.withLock {
            $0.isSeen = true
            $0.problem = problem.map {
                "pgbackrest: \($0); see: journalctl -u petrel-pgbackrest-helper.service"
            }
        }
        return MetricFamily(
            "pgbackrest_exporter_status", .gauge, help: "pgBackRest exporter get data status.",
            points: [.init(.one("stanza", "all-stanzas"), isGood ? 1 : 0)])
    }
}

private final class PgBackRestMemory: Sendable {
    struct Content {
        let status: FileStatus
        let stanzas: Result<[PgBackRestStanza], JSONError>
    }

    struct State {
        var content: Content?
        /// Whether the file was there, or something in its place, since the agent started.
        var isSeen = false
        var problem: String?
    }
    let state = Mutex(State())
}

/// The exporter's families, filled stanza by stanza.
private struct PgBackRestFamilies {
    private typealias Backup = PgBackRestStanza.Backup

    /// Names, what they mean, and their points, in the order in which they were met.
    private var families: [MetricFamily] = []
    private var positions: [String: Int] = [:]
    /// The version of the last backup, and when it ended.
    private var version: (value: Double, stop: Int64)?

    var all: [MetricFamily] {
        guard let version else { return families }
        return families + [
            .gauge(
                "pgbackrest_version_info", help: "Information about pgBackRest version.",
                version.value)
        ]
    }

    private mutating func add(
        _ name: String, _ help: String, _ labels: Labels, _ value: Double
    ) {
        let index = positions[name] ?? families.count
        if index == families.count {
            families.append(MetricFamily("pgbackrest_" + name, .gauge, help: help))
            positions[name] = index
        }
        families[index].points.append(.init(labels, value))
    }

    mutating func add(_ stanza: PgBackRestStanza, now: TimestampNS) {
        let labels = Labels.one("stanza", stanza.name)
        add("stanza_status", "Current stanza status.", labels, Double(stanza.status))
        for (kind, lock) in [("backup", stanza.backupLock), ("restore", stanza.restoreLock)] {
            add(
                "stanza_\(kind)_lock_status", "Current stanza \(kind) lock status.", labels,
                lock.isHeld ? 1 : 0)
            add(
                "stanza_\(kind)_total_bytes", "Total size for \(kind) in progress.", labels,
                Double(lock.total ?? 0))
            add(
                "stanza_\(kind)_complete_bytes", "Completed size for \(kind) in progress.", labels,
                Double(lock.complete ?? 0))
        }
        for repository in stanza.repositories {
            add(
                "repo_status", "Current repository status.",
                Labels([
                    Label("cipher", repository.cipher), Label("repo_key", "\(repository.key)"),
                    Label("stanza", stanza.name),
                ]), Double(repository.status))
        }
        for archive in stanza.archives {
            add(
                "wal_archive_status", "Current WAL archive status.",
                Labels([
                    Label("database_id", "\(archive.database.id)"),
                    Label("pg_version", stanza.versions[archive.database] ?? ""),
                    Label("repo_key", "\(archive.database.repositoryKey)"),
                    Label("stanza", stanza.name),
                ]), archive.first.isEmpty || archive.last.isEmpty ? 0 : 1)
        }
        for backup in stanza.backups { addInfo(backup, stanza) }
        addLast(stanza, now: now)
    }

    private mutating func addInfo(_ backup: Backup, _ stanza: PgBackRestStanza) {
        func position(_ text: String) -> String { text.isEmpty ? "-" : text }
        add(
            "backup_info", "Backup info.",
            Labels([
                Label("backrest_ver", backup.version), Label("backup_name", backup.label),
                Label("backup_type", backup.type),
                Label("block_incr", backup.isBlockIncremental ? "y" : "n"),
                Label("database_id", "\(backup.database.id)"),
                Label("lsn_start", position(backup.firstPosition)),
                Label("lsn_stop", position(backup.lastPosition)),
                Label("pg_version", stanza.versions[backup.database] ?? ""),
                Label("prior", backup.prior),
                Label("repo_key", "\(backup.database.repositoryKey)"),
                Label("stanza", stanza.name), Label("wal_start", backup.firstSegment),
                Label("wal_stop", backup.lastSegment),
            ]), 1)
        guard let stop = backup.stop, let value = Self.version(backup.version) else { return }
        if let version, version.stop >= stop { return }
        version = (value, stop)
    }

    /// A full backup stands for a differential one too, and both for an incremental one; without a full one there is
    /// nothing to restore.
    private mutating func addLast(_ stanza: PgBackRestStanza, now: TimestampNS) {
        func last(_ types: Set<String>) -> Backup? {
            var last: Backup?
            for backup in stanza.backups where types.contains(backup.type) {
                if backup.stop ?? 0 > last?.stop ?? 0 { last = backup }
            }
            return last
        }
        guard let full = last(["full"]), let diff = last(["full", "diff"]),
            let incr = last(["full", "diff", "incr"])
        else { return }
        for (type, backup) in [("full", full), ("diff", diff), ("incr", incr)] {
            addLast(backup, as: type, stanza.name, now)
        }
    }

    private mutating func addLast(
        _ backup: Backup, as type: String, _ stanza: String, _ now: TimestampNS
    ) {
        let labels = Labels([
            Label("backup_type", type), Label("block_incr", backup.isBlockIncremental ? "y" : "n"),
            Label("stanza", stanza),
        ])
        let which = "the last full, differential or incremental backup."
        let stop = Double(backup.stop ?? 0)
        add(
            "backup_since_last_completion_seconds",
            "Seconds since the last completed full, differential or incremental backup.", labels,
            Double(now.rawValue / 1_000_000_000) - stop)
        add(
            "backup_last_duration_seconds", "Backup duration for \(which)", labels,
            stop - Double(backup.start ?? backup.stop ?? 0))
        add(
            "backup_last_size_bytes", "Full uncompressed size of the database in \(which)", labels,
            Double(backup.size ?? 0))
        add(
            "backup_last_delta_bytes",
            "Amount of data in the database to actually backup in \(which)", labels,
            Double(backup.delta ?? 0))
        add(
            "backup_last_repo_size_bytes",
            "Full compressed files size to restore the database from \(which)", labels,
            Double(backup.repositorySize ?? 0))
        add(
            "backup_last_repo_size_map_bytes", "Size of block incremental map in \(which)", labels,
            Double(backup.sizeMap ?? 0))
        add(
            "backup_last_repo_delta_bytes", "Compressed files size in \(which)", labels,
            Double(backup.repositoryDelta ?? 0))
        add(
            "backup_last_repo_delta_map_bytes",
            "Size of block incremental delta map in \(which)", labels,
            Double(backup.deltaMap ?? 0))
        add(
            "backup_last_error_status", "Error status in \(which)", labels,
            backup.hasError ? 1 : 0)
    }

    /// `2.57.0` as `pgbackrest version --output=num` prints it: 2057000.
    private static func version(_ text: String) -> Double? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { part in
            Int(part.prefix { ("0"..."9").contains($0) })
        }
        guard (2...3).contains(parts.count), let major = parts[0], let minor = parts[1],
            let patch = parts.count == 3 ? parts[2] : 0, major < 1_000, minor < 1_000, patch < 1_000
        else { return nil }
        return Double((major * 1_000 + minor) * 1_000 + patch)
    }
}
