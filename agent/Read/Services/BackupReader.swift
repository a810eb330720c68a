package import Model
package import World

/// Files that are the backups of one thing.
package struct BackupSet: Hashable, Sendable {
    /// The `name` label.
    package var name: String
    /// Where the files are, each with `*`, `?` and `[…]` in any part of the path.
    package var patterns: [String]

    package init(name: String, patterns: [String]) {
        self.name = name
        self.patterns = patterns
    }
}

/// How old and how large the newest backup is, by the files that patterns stand for. Folders are no backups, and a file
/// with several names, as a link to the latest one, is one backup. Looks at the files once a minute.
package struct BackupReader: NodeReader {
    /// Files of one pattern.
    package static let filesMax = 10_000

    package let name = "backups"
    private let tree: any WorldFileTree
    private let sets: [BackupSet]
    private let held = HeldReading()

    /// Of sets with the same name the first counts.
    package init(tree: any WorldFileTree, sets: [BackupSet]) {
        self.tree = tree
        var names: Set<String> = []
        self.sets = sets.filter { !$0.name.isEmpty && names.insert($0.name).inserted }
    }

    /// What kept the last reading from being whole, with what to do; a line each.
    package var problems: [String] { held.problems }

    /// The newest file is the one that was changed last; without a file there is a count of 0 and no more. Throws
    /// nothing: folders and files that can't be looked at are `petrel_backup_read_success` 0 and `problems`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        guard !sets.isEmpty else { return [] }
        return held.families(now: now, survey)
    }

    private struct Findings {
        var count = 0
        var newest: FileStatus?
        var problems: [String] = []
    }

    private func survey() -> (families: [MetricFamily], problems: [String]) {
        var times = MetricFamily(
            "petrel_backup_newest_timestamp_seconds", .gauge,
            help: "When the newest backup file was last changed, in seconds since the epoch.")
        var sizes = MetricFamily(
            "petrel_backup_newest_size_bytes", .gauge, help: "Size of the newest backup file.")
        var counts = MetricFamily(
            "petrel_backup_files", .gauge, help: "Number of backup files that are there.")
        var successes = MetricFamily(
            "petrel_backup_read_success", .gauge,
            help: "Whether every folder and file of the patterns could be looked at.")
        var problems: [String] = []
        for set in sets {
            let labels = Labels.one("name", set.name)
            let findings = findings(of: set)
            if let newest = findings.newest {
                times.points.append(.init(labels, Double(newest.modified.rawValue) / 1e9))
                sizes.points.append(.init(labels, Double(newest.size)))
            }
            counts.points.append(.init(labels, Double(findings.count)))
            successes.points.append(.init(labels, findings.problems.isEmpty ? 1 : 0))
            problems += findings.problems.map { "backups of \(set.name): \($0)" }
        }
        return ([times, sizes, counts, successes].filter { !$0.points.isEmpty }, problems)
    }

    private func findings(of set: BackupSet) -> Findings {
        let glob = FileGlob(tree: tree, countMax: Self.filesMax)
        var findings = Findings()
        var seen: Set<FileIdentity> = []
        for pattern in set.patterns {
            let match = glob.matches(pattern)
            findings.problems += match.problems
            for path in match.paths {
                do throws(FileError) {
                    let status = try tree.status(path)
                    guard !status.isDirectory, seen.insert(status.identity).inserted else {
                        continue
                    }
                    findings.count += 1
                    if let newest = findings.newest, newest.modified >= status.modified { continue }
                    findings.newest = status
                } catch {
                    if !error.isAbsence { findings.problems.append(error.textWithRemedy) }
                }
            }
        }
        return findings
    }
}
