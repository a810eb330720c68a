import Model
import World

/// A name's pattern as a shell's: `*`, `?`, `[a-z]`, `[^a-z]`, `\` before what is meant as it stands.
/// Source: Go 1.25 `filepath.Match`.
struct NamePattern {
    private enum Token {
        case anything
        case one
        case literal(Unicode.Scalar)
        case set([(low: Unicode.Scalar, high: Unicode.Scalar)], isNegated: Bool)

        func matches(_ scalar: Unicode.Scalar) -> Bool {
            switch self {
            case .anything, .one: true
            case .literal(let own): own == scalar
            case .set(let ranges, let isNegated):
                ranges.contains { $0.low <= scalar && scalar <= $0.high } != isNegated
            }
        }

        var isAnything: Bool {
            guard case .anything = self else { return false }
            return true
        }
    }

    private let tokens: [Token]

    /// Nil where the pattern is broken: a bracket that does not close, a `\` at the end.
    init?(_ text: some StringProtocol) {
        var rest = Array(text.unicodeScalars)[...]
        var tokens: [Token] = []
        while let scalar = rest.popFirst() {
            switch scalar {
            case "*": tokens.append(.anything)
            case "?": tokens.append(.one)
            case "[":
                guard let set = Self.set(&rest) else { return nil }
                tokens.append(set)
            case "\\":
                guard let next = rest.popFirst() else { return nil }
                tokens.append(.literal(next))
            default: tokens.append(.literal(scalar))
            }
        }
        self.tokens = tokens
    }

    static func isPattern(_ text: some StringProtocol) -> Bool {
        text.unicodeScalars.contains { $0 == "*" || $0 == "?" || $0 == "[" || $0 == "\\" }
    }

    /// Whether all of `name` fits. O(pattern × name).
    func matches(_ name: String) -> Bool {
        let scalars = Array(name.unicodeScalars)
        var (token, at) = (0, 0)
        // Where the last `*` stands, and how far it has come.
        var star: (token: Int, at: Int)?
        while at < scalars.count {
            if token < tokens.count, tokens[token].isAnything {
                star = (token, at)
                token += 1
            } else if token < tokens.count, tokens[token].matches(scalars[at]) {
                token += 1
                at += 1
            } else if let last = star {
                star = (last.token, last.at + 1)
                token = last.token + 1
                at = last.at + 1
            } else {
                return false
            }
        }
        return tokens[token...].allSatisfy(\.isAnything)
    }

    private static func set(_ rest: inout ArraySlice<Unicode.Scalar>) -> Token? {
        var ranges: [(low: Unicode.Scalar, high: Unicode.Scalar)] = []
        let isNegated = rest.first == "^"
        if isNegated { rest.removeFirst() }
        while ranges.isEmpty || rest.first != "]" {
            guard let low = member(&rest) else { return nil }
            var high = low
            if rest.first == "-" {
                rest.removeFirst()
                guard let last = member(&rest) else { return nil }
                high = last
            }
            ranges.append((low, high))
        }
        rest.removeFirst()
        return .set(ranges, isNegated: isNegated)
    }

    private static func member(_ rest: inout ArraySlice<Unicode.Scalar>) -> Unicode.Scalar? {
        guard let scalar = rest.popFirst(), scalar != "-", scalar != "]" else { return nil }
        return scalar == "\\" ? rest.popFirst() : scalar
    }
}

/// The folders that `--collector.textfile.directory` names, patterns among them.
struct TextFileFolders {
    let tree: any WorldFileTree
    /// Of one pattern.
    let countMax: Int

    /// The folders of a name: those that a pattern fits, by their bytes, or the name itself where there are none or it is
    /// no pattern. At most `countMax` and one more.
    func matching(_ name: String) -> [String] {
        let path = Self.cleaned(name)
        guard NamePattern.isPattern(path) else { return [path] }
        let found = expanded(path)
        return found.isEmpty ? [path] : found
    }

    private func expanded(_ path: String) -> [String] {
        guard NamePattern.isPattern(path) else { return [path] }
        let cut = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let parent = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard
            let pattern = NamePattern(cut.map { path[path.utf8.index(after: $0)...] } ?? path[...])
        else { return [] }
        var found: [String] = []
        for folder in expanded(parent) {
            let names = ((try? tree.list(folder)) ?? []).filter(pattern.matches)
            found += names.sorted(by: bytesPrecede).map { Self.joined(folder, $0) }
            if found.count > countMax { break }
        }
        return Array(found.prefix(countMax + 1))
    }

    /// A name in a folder.
    static func joined(_ folder: String, _ name: String) -> String {
        switch folder {
        case ".": name
        case "/": "/" + name
        default: folder + "/" + name
        }
    }

    /// Without `//`, `/.`, `/..` and a slash at the end, by the text alone. Source: Go 1.25 `filepath.Clean`.
    static func cleaned(_ path: String) -> String {
        let isRooted = path.utf8.first == UInt8(ascii: "/")
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            guard part == ".." else {
                parts.append(part)
                continue
            }
            if let last = parts.last, last != ".." {
                parts.removeLast()
            } else if !isRooted {
                parts.append(part)
            }
        }
        let joined = parts.joined(separator: "/")
        return isRooted ? "/" + joined : joined.isEmpty ? "." : joined
    }
}
