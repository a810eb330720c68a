/// Tells the regular expressions that Loki answers by looking for plain texts: literals, `.*` around one, and
/// alternatives of those. Only the canonical text of a label filter depends on it. Source: Loki 3.6 and Go's
/// `regexp/syntax`, which draws the common beginnings of alternatives together: `foo|bar` is simple, `bar|baz` is
/// `ba[rz]` and is not.
enum SimpleRegex {
    private enum Atom: Hashable {
        case letter(Unicode.Scalar)
        case anything
    }

    /// Whether `pattern` is simple. Doubtful ones are not. O(n · depth), at most `depthMax` deep.
    static func isSimple(_ pattern: String) -> Bool {
        var scalars = Array(pattern.unicodeScalars)[...]
        if scalars.starts(with: "(?i)".unicodeScalars) { scalars = scalars.dropFirst(4) }
        if scalars.elementsEqual(".+".unicodeScalars) { return true }
        while let inner = withoutGroup(scalars) { scalars = inner }
        guard let alternatives = alternatives(scalars) else { return false }
        return isSimple(alternatives.map { $0[...] }, depth: 0)
    }

    private static let depthMax = 64

    /// What stands in the one group that is all of `scalars`.
    private static func withoutGroup(
        _ scalars: ArraySlice<Unicode.Scalar>
    ) -> ArraySlice<Unicode.Scalar>? {
        guard scalars.first == "(", scalars.last == ")", scalars.count > 1 else { return nil }
        var inner = scalars.dropFirst().dropLast()
        if inner.starts(with: "?:".unicodeScalars) { inner = inner.dropFirst(2) }
        guard !inner.contains(where: { "()\\[".unicodeScalars.contains($0) }) else { return nil }
        return inner
    }

    /// The alternatives as texts and `.*`; nil where there is anything else.
    private static func alternatives(_ scalars: ArraySlice<Unicode.Scalar>) -> [[Atom]]? {
        let special = #".+*?()[]{}^$|\"#.unicodeScalars
        var alternatives: [[Atom]] = [[]]
        var rest = scalars
        while let first = rest.popFirst() {
            switch first {
            case "|": alternatives.append([])
            case ".":
                guard rest.popFirst() == "*", rest.first != "?" else { return nil }
                alternatives[alternatives.count - 1].append(.anything)
            case "\\":
                guard let escaped = rest.popFirst(), escaped.isASCII,
                    !LogQLLexer.isLetter(escaped), !LogQLLexer.isDigit(escaped)
                else { return nil }
                alternatives[alternatives.count - 1].append(.letter(escaped))
            default:
                guard !special.contains(first) else { return nil }
                alternatives[alternatives.count - 1].append(.letter(first))
            }
            if let next = rest.first, "+*?{".unicodeScalars.contains(next), first != "|" {
                return nil
            }
        }
        return alternatives
    }

    private static func isSimple(
        _ alternatives: [ArraySlice<Atom>], depth: Int
    ) -> Bool {
        guard depth < depthMax else { return false }
        guard alternatives.count > 1 else { return isSimple(alternatives[0]) }
        var start = 0
        var followsLetter = false
        while start < alternatives.count {
            let prefix = commonPrefix(alternatives, from: start)
            if prefix.end - start > 1 {
                // Such a group is a text with alternatives, which may not stand after another text's.
                let rests = alternatives[start..<prefix.end].map { $0.dropFirst(prefix.count) }
                guard isSimple(Array(rests), depth: depth + 1) else { return false }
                followsLetter = false
            } else {
                guard isSimple(alternatives[start]) else { return false }
                let isLetter =
                    alternatives[start].count == 1 && alternatives[start].first != .anything
                // Two letters beside each other become a class.
                if isLetter && followsLetter { return false }
                followsLetter = isLetter
            }
            start = prefix.end
        }
        return true
    }

    /// How many letters the alternatives from `start` to `end` begin with in common.
    private static func commonPrefix(
        _ alternatives: [ArraySlice<Atom>], from start: Int
    ) -> (count: Int, end: Int) {
        var common = letters(alternatives[start])
        var end = start + 1
        while end < alternatives.count {
            let next = letters(alternatives[end])
            let shared = zip(common, next).prefix { $0 == $1 }.count
            guard shared > 0 else { break }
            common = common.prefix(shared)
            end += 1
        }
        return (common.count, end)
    }

    private static func letters(_ atoms: ArraySlice<Atom>) -> ArraySlice<Atom> {
        atoms.prefix { $0 != .anything }
    }

    /// One alternative: a text with `.*` around it, `.*` alone, or nothing.
    private static func isSimple(_ atoms: ArraySlice<Atom>) -> Bool {
        var rest = atoms
        if rest.first == .anything { rest = rest.dropFirst() }
        if rest.isEmpty { return true }
        rest = rest.dropFirst(letters(rest).count)
        return rest.isEmpty || rest.elementsEqual([.anything])
    }
}
