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
    }

    /// The paths that fit. One without a pattern in its name stands for itself, whether it is there or not.
    func matches(_ pattern: String) -> Match {
        let path = TextFileFolders.cleaned(pattern)
        var match = Match(paths: [path.hasPrefix("/") ? "/" : "."])
        for part in path.split(separator: "/") {
            guard NamePattern.isPattern(part) else {
                match.paths = match.paths.map { TextFileFolders.joined($0, String(part)) }
                continue
            }
            guard let names = NamePattern(part) else {
                return Match(problems: ["\(pattern): a pattern with a bracket that does not close"])
            }
            var found: [String] = []
            for folder in match.paths {
                found += list(folder, names, isHiddenMeant: part.hasPrefix("."), &match.problems)
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

    /// Hidden names fit a pattern that begins with a point alone, as in a shell.
    private func list(
        _ folder: String, _ pattern: NamePattern, isHiddenMeant: Bool, _ problems: inout [String]
    ) -> [String] {
        do throws(FileError) {
            return try tree.list(folder).filter {
                (isHiddenMeant || !$0.hasPrefix(".")) && pattern.matches($0)
            }
            .sorted(by: bytesPrecede).map { TextFileFolders.joined(folder, $0) }
        } catch {
            if !error.isAbsence { problems.append(error.textWithRemedy) }
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
        return
            "\(path): the user petrel-agent may not look at it; see: namei -l \(path), and let it in "
            + "with setfacl -m u:petrel-agent:rX"
    }
}
