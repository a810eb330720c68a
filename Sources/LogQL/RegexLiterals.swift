/// What a regular expression says in plain texts, found without running it: texts that every match contains, and
/// whether it asks for nothing else.
///
/// Only the syntax that log queries use is understood; whatever is not makes a piece `opaque` or the whole nil, and
/// then RE2 alone decides. So a wrong answer would be a text that a match may lack; when in doubt there is none.
indirect enum RegexLiterals: Hashable, Sendable {
    /// UTF-8, without U+FFFD, which also stands for bytes that are none.
    case literal([UInt8], isFolded: Bool)
    /// `.*`, with `.` for line ends as well.
    case anything
    /// Something that nothing is known of, at least not where it begins and ends.
    case opaque
    case sequence([RegexLiterals])
    case choice([RegexLiterals])

    static let depthMax = 128

    /// Of a text in RE2's syntax; nil where it has something that is not understood.
    static func parse(_ pattern: String) -> RegexLiterals? {
        var parser = RegexLiteralParser(Array(pattern.unicodeScalars))
        guard let found = parser.choice(depth: 0), parser.isAtEnd else { return nil }
        return found
    }

    struct Text: Hashable {
        var bytes: [UInt8]
        var isFolded: Bool
    }

    /// Texts that all matches contain.
    var required: [Text] {
        switch self {
        case .literal(let bytes, let isFolded):
            bytes.isEmpty ? [] : [Text(bytes: bytes, isFolded: isFolded)]
        case .anything, .opaque, .choice: []
        case .sequence(let parts): parts.flatMap(\.required)
        }
    }

    /// The texts of which a line has to contain one for a match anywhere in it, and nothing else is asked. Nil where
    /// more is asked; an empty text is in every line.
    var alternatives: [Text]? {
        switch self {
        case .literal(let bytes, let isFolded): return [Text(bytes: bytes, isFolded: isFolded)]
        case .anything: return [Text(bytes: [], isFolded: false)]
        case .opaque: return nil
        case .sequence(let parts):
            let rest = parts.filter { $0 != .anything }
            guard rest.count < 2 else { return nil }
            return rest.first.map(\.alternatives) ?? [Text(bytes: [], isFolded: false)]
        case .choice(let branches):
            var found: [Text] = []
            for branch in branches {
                guard let texts = branch.alternatives else { return nil }
                found += texts
            }
            return found
        }
    }
}

private struct RegexLiteralParser {
    private let scalars: [Unicode.Scalar]
    private var at = 0
    private var isFolded = false
    /// Whether `.` stands for a line end too.
    private var isDotAll = true

    init(_ scalars: [Unicode.Scalar]) { self.scalars = scalars }

    var isAtEnd: Bool { at == scalars.count }

    private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

    private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        at += 1
        return true
    }

    mutating func choice(depth: Int) -> RegexLiterals? {
        guard depth <= RegexLiterals.depthMax else { return nil }
        var branches: [RegexLiterals] = []
        repeat {
            guard let branch = sequence(depth: depth) else { return nil }
            branches.append(branch)
        } while skip("|")
        return branches.count == 1 ? branches[0] : .choice(branches)
    }

    private mutating func sequence(depth: Int) -> RegexLiterals? {
        var parts: [RegexLiterals] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            guard let part = piece(depth: depth), let repeated = repetition(of: part) else {
                return nil
            }
            append(repeated, to: &parts)
        }
        return parts.count == 1 ? parts[0] : .sequence(parts)
    }

    /// Joins literals that follow each other, and flattens.
    private func append(_ part: RegexLiterals, to parts: inout [RegexLiterals]) {
        switch part {
        case .sequence(let inner): for piece in inner { append(piece, to: &parts) }
        case .literal(let bytes, let isFolded):
            if case .literal(let before, isFolded)? = parts.last {
                parts[parts.count - 1] = .literal(before + bytes, isFolded: isFolded)
            } else {
                parts.append(part)
            }
        case .anything, .opaque, .choice: parts.append(part)
        }
    }

    private mutating func piece(depth: Int) -> RegexLiterals? {
        guard let scalar = next else { return nil }
        at += 1
        switch scalar {
        case "(": return group(depth: depth)
        case "[": return skipClass() ? .opaque : nil
        case "\\": return escape()
        case "*", "+", "?", "{", "}": return nil
        case ".", "^", "$": return .opaque
        default: return literal(scalar)
        }
    }

    private func literal(_ scalar: Unicode.Scalar) -> RegexLiterals {
        if scalar == "\u{fffd}" || (isFolded && !scalar.isASCII) { return .opaque }
        return .literal(Array(String(scalar).utf8), isFolded: isFolded)
    }

    private mutating func escape() -> RegexLiterals? {
        guard let scalar = next else { return nil }
        at += 1
        switch scalar {
        case "d", "D", "w", "W", "s", "S", "b", "B", "A", "z": return .opaque
        case "n": return literal("\n")
        case "t": return literal("\t")
        case "r": return literal("\r")
        case "f": return literal("\u{c}")
        case "v": return literal("\u{b}")
        case "a": return literal("\u{7}")
        default:
            let isWord =
                scalar == "_" || (48...57).contains(scalar.value)
                || (65...90).contains(scalar.value & 0xdf)
            return scalar.isASCII && !isWord ? literal(scalar) : nil
        }
    }

    /// What stands behind a piece: a literal is one character here.
    private mutating func repetition(of part: RegexLiterals) -> RegexLiterals? {
        let isDot = isDotAll && at > 0 && scalars[at - 1] == "." && part == .opaque && !isEscaped
        var result = part
        var isFirst = true
        while let scalar = next {
            let minimum: Int
            switch scalar {
            case "*", "?": minimum = 0
            case "+": minimum = 1
            case "{":
                guard let count = countedRepetition() else { return nil }
                minimum = count
                at -= 1
            default: return result
            }
            at += 1
            _ = skip("?")
            if scalar == "*", isDot, isFirst {
                result = .anything
            } else if minimum == 0 {
                result = .opaque
            } else {
                result = .sequence([result, .opaque])
            }
            isFirst = false
        }
        return result
    }

    /// Whether the scalar before `at` was escaped; `\.` is a literal, so that this only matters for what is opaque.
    private var isEscaped: Bool { at > 1 && scalars[at - 2] == "\\" }

    /// The minimum of `{n}`, `{n,}` and `{n,m}`; nil where it is none of them.
    private mutating func countedRepetition() -> Int? {
        at += 1
        var minimum: Int?
        while let digit = next, (48...57).contains(digit.value) {
            guard let value = Int(exactly: digit.value - 48), (minimum ?? 0) < 10_000 else {
                return nil
            }
            minimum = (minimum ?? 0) * 10 + value
            at += 1
        }
        if skip(",") { while let digit = next, (48...57).contains(digit.value) { at += 1 } }
        return skip("}") ? minimum : nil
    }

    private mutating func group(depth: Int) -> RegexLiterals? {
        let before = (isFolded, isDotAll)
        if skip("?") {
            if skip("P") {
                guard skip("<"), skipName() else { return nil }
            } else if skip("<") {
                guard skipName() else { return nil }
            } else {
                guard let hasBody = flags() else { return nil }
                // `(?i)` is for the rest of the group that it stands in.
                if !hasBody { return .sequence([]) }
            }
        }
        let body = choice(depth: depth + 1)
        guard skip(")") else { return nil }
        (isFolded, isDotAll) = before
        // A repetition of a group is of all of it.
        return body
    }

    private mutating func skipName() -> Bool {
        while let scalar = next {
            at += 1
            if scalar == ">" { return true }
        }
        return false
    }

    /// Reads `i)`, `i-s:` and the like; whether a body follows. Nil for flags that change more than cases and dots.
    private mutating func flags() -> Bool? {
        var isOn = true
        while let scalar = next {
            at += 1
            switch scalar {
            case "i": isFolded = isOn
            case "s": isDotAll = isOn
            case "-": isOn = false
            case ":": return true
            case ")": return false
            default: return nil
            }
        }
        return nil
    }

    /// Steps over a class whose bracket was read.
    private mutating func skipClass() -> Bool {
        _ = skip("^")
        _ = skip("]")
        while let scalar = next {
            at += 1
            switch scalar {
            case "]": return true
            case "\\": at += 1
            case "[":
                guard skip(":") else { break }
                while let inner = next, inner != ":" { at += inner == "\\" ? 2 : 1 }
                guard skip(":"), skip("]") else { return false }
            default: break
            }
        }
        return false
    }
}
