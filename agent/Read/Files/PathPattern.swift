import Model
import World

/// A path with `*`, `?` and `[a-z]` in its parts, none of which crosses a `/`. A name that begins with a dot is matched
/// only where the pattern has the dot. Source: glob(7).
package struct PathPattern: Hashable, Sendable {
    package let text: String
    private let parts: [[UInt8]]

    /// Any text is a pattern; one without a special character names one file.
    package init(_ text: String) {
        self.text = text
        parts = text.split(separator: "/").map { Array($0.utf8) }
    }

    /// Whether it may stand for several files.
    package var hasWildcards: Bool { parts.contains(where: Self.isWild) }

    /// Whether `path` is one of its files. A pattern without `/` is compared with the last part alone. O(n·m).
    package func matches(_ path: String) -> Bool {
        let names = path.split(separator: "/").map { Array($0.utf8) }
        guard text.contains("/") else {
            guard let name = names.last, let part = parts.first else { return false }
            return Self.matches(part, name)
        }
        return names.count == parts.count
            && zip(parts, names).allSatisfy { Self.matches($0, $1) }
    }

    /// The folder beneath which all of its files are: what comes before the first part with special characters.
    var baseFolder: String {
        "/"
            + parts.prefix { !Self.isWild($0) }.map { String(decoding: $0, as: UTF8.self) }
            .joined(separator: "/")
    }

    /// The folder in which all of its files are, where only the last part has special characters; nil otherwise.
    var singleFolder: String? {
        parts.dropLast().contains(where: Self.isWild) ? nil : baseFolder
    }

    /// What there is of a pattern.
    struct Found: Sendable {
        /// Sorted.
        var paths: [String] = []
        /// How many names were not looked at, as there are too many.
        var leftOut = 0
        /// Folders that are there and can't be listed; the first `refusedMax`.
        var refused: [FileError] = []
    }

    /// Paths of what is there now: of each folder, and of all folders of one level, `namesMax` names are looked at.
    func find(in tree: any WorldFileTree, namesMax: Int = 20_000) -> Found {
        var result = Found()
        var found = [""]
        for part in parts {
            var next: [String] = []
            for (index, folder) in found.enumerated() {
                if !Self.isWild(part) {
                    let name = String(decoding: part, as: UTF8.self)
                    next.append(folder + "/" + name)
                } else {
                    let names = list(folder.isEmpty ? "/" : folder, tree, &result)
                    next += names.prefix(namesMax).filter { Self.matches(part, Array($0.utf8)) }
                        .map { folder + "/" + $0 }
                    result.leftOut += max(0, names.count - namesMax)
                }
                // Too many: the folders that are looked at stay the same from look to look.
                if next.count > namesMax {
                    result.leftOut += found.count - index - 1
                    break
                }
            }
            next.sort(by: bytesPrecede)
            found = Array(next.prefix(namesMax))
            result.leftOut += next.count - found.count
        }
        result.paths = parts.isEmpty ? [] : found
        return result
    }

    private func list(
        _ folder: String, _ tree: any WorldFileTree, _ result: inout Found
    ) -> [String] {
        do throws(FileError) {
            return try tree.list(folder)
        } catch {
            let isThere = error.errno != Self.noEntry && error.errno != Self.notFolder
            if isThere, result.refused.count < Self.refusedMax { result.refused.append(error) }
            return []
        }
    }

    static let refusedMax = 8
    private static let noEntry: Int32 = 2
    private static let notFolder: Int32 = 20

    private static func isWild(_ part: [UInt8]) -> Bool {
        part.contains {
            $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "[")
        }
    }

    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        let dot = UInt8(ascii: ".")
        if name.first == dot, pattern.first != dot { return false }
        var (p, n) = (0, 0)
        // Where the last star was, and up to where of the name it stands.
        var star: (pattern: Int, name: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, n)
                p += 1
            } else if p < pattern.count, let after = matchOne(pattern, p, name[n]) {
                p = after
                n += 1
            } else if let last = star {
                star = (last.pattern, last.name + 1)
                p = last.pattern + 1
                n = last.name + 1
            } else {
                return false
            }
        }
        while p < pattern.count, pattern[p] == UInt8(ascii: "*") { p += 1 }
        return p == pattern.count
    }

    /// Where the pattern goes on after the element at `index`, if that stands for `byte`.
    private static func matchOne(_ pattern: [UInt8], _ index: Int, _ byte: UInt8) -> Int? {
        switch pattern[index] {
        case UInt8(ascii: "?"): return index + 1
        case UInt8(ascii: "["):
            guard let (isIn, after) = matchClass(pattern, index, byte) else { break }
            return isIn ? after : nil
        case UInt8(ascii: "\\") where index + 1 < pattern.count:
            return pattern[index + 1] == byte ? index + 2 : nil
        default: break
        }
        return pattern[index] == byte ? index + 1 : nil
    }

    /// Nil where no bracket closes the class: then `[` stands for itself.
    private static func matchClass(
        _ pattern: [UInt8], _ index: Int, _ byte: UInt8
    ) -> (isIn: Bool, after: Int)? {
        var at = index + 1
        let isNegated =
            at < pattern.count
            && (pattern[at] == UInt8(ascii: "!") || pattern[at] == UInt8(ascii: "^"))
        if isNegated { at += 1 }
        let start = at
        var isIn = false
        while at < pattern.count {
            if pattern[at] == UInt8(ascii: "]"), at > start { return (isIn != isNegated, at + 1) }
            if at + 2 < pattern.count, pattern[at + 1] == UInt8(ascii: "-"),
                pattern[at + 2] != UInt8(ascii: "]")
            {
                if pattern[at] <= byte, byte <= pattern[at + 2] { isIn = true }
                at += 3
            } else {
                if pattern[at] == byte { isIn = true }
                at += 1
            }
        }
        return nil
    }
}
