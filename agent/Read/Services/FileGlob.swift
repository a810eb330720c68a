import Model
import World

/// The files that a shell's pattern stands for, patterns in any part of the path. A folder that is not there stands for
/// none; one that can't be listed is a fault.
struct FileGlob {
    let tree: any WorldFileTree
    /// Of one pattern, folders on the way included: those that are first by their bytes.
    let countMax: Int

    /// What a pattern stands for, sorted by bytes.
    struct Match {
        var paths: [String] = []
        /// What could not be listed, and what was left out; a line each.
        var problems: [String] = []
        /// Whether a folder is there that could not be listed.
        var hasClosed = false
    }

    /// The paths that fit; of a pattern as in `PathPattern`. One without special characters stands for itself, whether
    /// it is there or not.
    func matches(_ pattern: String) -> Match {
        var match = Match(paths: [""])
        for part in pattern.split(separator: "/").map(String.init) {
            guard PathPattern(part).hasWildcards else {
                match.paths = match.paths.map { $0 + "/" + part }
                continue
            }
            var found: [String] = []
            for folder in match.paths {
                found += list(folder, Array(part.utf8), &match)
                // An upper bound of what is held, before it is cut by order.
                guard found.count <= 2 * countMax else { break }
            }
            if found.count > countMax {
                match.problems.append(
                    "\(pattern): more than \(countMax) fit; the first by name are looked at")
            }
            match.paths = Array(found.prefix(countMax))
        }
        return match
    }

    private func list(_ folder: String, _ pattern: [UInt8], _ match: inout Match) -> [String] {
        do throws(FileError) {
            return try tree.list(folder.isEmpty ? "/" : folder)
                .filter { PathPattern.matches(pattern, Array($0.utf8)) }
                .sorted(by: bytesPrecede).map { folder + "/" + $0 }
        } catch {
            if !error.isAbsence {
                match.hasClosed = true
                match.problems.append(error.textWithRemedy)
            }
            return []
        }
    }
}

extension FileError {
    /// ENOENT or ENOTDIR: nothing is there.
    var isAbsence: Bool { errno == 2 || errno == 20 }

    /// What happened; where rights are missing (EACCES, EPERM), with what to do.
    var textWithRemedy: String {
        guard errno == 13 || errno == 1 else { return "\(self)" }
        let folder = "/etc/letsencrypt/"
        // Certbot's files are links from the one folder into the other, and it closes both.
        let places = path.hasPrefix(folder) ? "\(folder)live \(folder)archive" : path
        return
            "\(path): the user petrel-agent may not look at it (see: namei -l \(path)); "
            + "sudo setfacl -m u:petrel-agent:rX \(places)"
    }
}
