package import Model

/// A cursor over one mapping of a configuration file: typed reads by key, then `finish()` against unknown keys.
///
/// A key that is absent or null reads as nil (or the default). Every error has file, line and column and says what
/// was expected. Reading a key makes it known; `finish()` lists the known ones.
package struct YAMLMapping: Sendable {
    /// The file's name as errors print it.
    package let file: String
    /// Where the mapping begins.
    package let mark: YAMLMark
    private let pairs: [YAMLPair]
    private var known: [String] = []

    /// The mapping that `node` is; a null node is an empty mapping.
    package init(_ node: YAMLNode, file: String) throws(YAMLError) {
        self.file = file
        mark = node.mark
        switch node.content {
        case .null: pairs = []
        case .mapping(let pairs): self.pairs = pairs
        case .scalar, .sequence:
            throw YAMLError(
                file: file, mark: node.mark, message: "expected a mapping, found \(node.kind)")
        }
    }

    /// The top-level mapping of a file's text; an empty text is an empty mapping.
    package static func parse(_ text: String, file: String) throws(YAMLError) -> YAMLMapping {
        try YAMLMapping(YAMLDocument.parse(text, file: file), file: file)
    }

    /// Keys in the order of the file, read or not.
    package var keys: [String] { pairs.map(\.key) }

    /// The node under `key`; nil where it is absent or null.
    package mutating func node(_ key: String) -> YAMLNode? {
        if !known.contains(key) { known.append(key) }
        guard let node = pairs.first(where: { $0.key == key })?.value else { return nil }
        if case .null = node.content { return nil }
        return node
    }

    /// Whether `key` stands in the file, even with a null value. Makes it known.
    package mutating func has(_ key: String) -> Bool {
        _ = node(key)
        return pairs.contains { $0.key == key }
    }

    /// Where the value of `key` stands, or the mapping itself where it is absent.
    package func mark(of key: String) -> YAMLMark {
        pairs.first { $0.key == key }?.value.mark ?? mark
    }

    /// An error at the value of `key`, or at the mapping where the key is absent.
    package func error(at key: String, _ message: String) -> YAMLError {
        YAMLError(file: file, mark: mark(of: key), message: "`\(key)`: \(message)")
    }

    /// An error at the beginning of the mapping.
    package func error(_ message: String) -> YAMLError {
        YAMLError(file: file, mark: mark, message: message)
    }

    /// Throws where the mapping has a key that was never asked for.
    package func finish() throws(YAMLError) {
        for pair in pairs where !known.contains(pair.key) {
            var message = "unknown key `\(pair.key)`"
            if let near = closest(to: pair.key, in: known) {
                message += ": did you mean `\(near)`?"
            } else {
                message += ";"
            }
            message += " expected one of \(known.joined(separator: ", "))"
            throw YAMLError(file: file, mark: pair.keyMark, message: message)
        }
    }
}

extension YAMLMapping {
    private func expected(_ what: String, _ node: YAMLNode, _ key: String) -> YAMLError {
        let found: String
        if case .scalar(let scalar) = node.content {
            found = "`\(scalar.text.prefix(64))`"
        } else {
            found = node.kind
        }
        return error(at: key, "expected \(what), found \(found)")
    }

    private mutating func scalar(
        _ key: String, _ what: String
    ) throws(YAMLError) -> (YAMLScalar, YAMLNode)? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let scalar) = node.content else { throw expected(what, node, key) }
        return (scalar, node)
    }

    /// The text under `key`; a plain number or truth value reads as its text, as in Go's yaml.v3.
    package mutating func string(_ key: String) throws(YAMLError) -> String? {
        try scalar(key, "a text")?.0.text
    }

    /// As `string(_:)`, with a default.
    package mutating func string(
        _ key: String, default fallback: String
    ) throws(YAMLError) -> String {
        try string(key) ?? fallback
    }

    /// The text under `key`, which must be there and not empty.
    package mutating func requiredString(_ key: String) throws(YAMLError) -> String {
        guard let text = try string(key), !text.isEmpty else {
            throw has(key)
                ? error(at: key, "must not be empty") : error("the key `\(key)` is missing")
        }
        return text
    }

    /// One of `choices`.
    package mutating func choice(
        _ key: String, _ choices: [String], default fallback: String
    ) throws(YAMLError) -> String {
        let what = "one of \(choices.joined(separator: ", "))"
        guard let (scalar, node) = try scalar(key, what) else { return fallback }
        guard choices.contains(scalar.text) else { throw expected(what, node, key) }
        return scalar.text
    }

    /// A whole number within `range` (inclusive); decimal, `0x`, `0o` and `0b` with `_` between digits.
    package mutating func int(
        _ key: String, range: ClosedRange<Int> = .min ... .max
    ) throws(YAMLError) -> Int? {
        let bounds =
            range == (.min ... .max) ? "" : " from \(range.lowerBound) to \(range.upperBound)"
        let what = "a whole number" + bounds
        guard let (scalar, node) = try scalar(key, what) else { return nil }
        guard scalar.style == .plain, let value = integer(scalar.text), range.contains(value)
        else { throw expected(what, node, key) }
        return value
    }

    /// As `int(_:range:)`, with a default.
    package mutating func int(
        _ key: String, default fallback: Int, range: ClosedRange<Int> = .min ... .max
    ) throws(YAMLError) -> Int {
        try int(key, range: range) ?? fallback
    }

    /// A number within `range` (inclusive).
    package mutating func double(
        _ key: String,
        range: ClosedRange<Double> = -Double
            .greatestFiniteMagnitude...Double
            .greatestFiniteMagnitude
    ) throws(YAMLError) -> Double? {
        let what = "a number"
        guard let (scalar, node) = try scalar(key, what) else { return nil }
        guard scalar.style == .plain, let value = Double(scalar.text), range.contains(value)
        else { throw expected(what, node, key) }
        return value
    }

    /// `true` or `false`; the words of YAML 1.1 (`yes`, `on`, `n`, …) count too, as in Go's yaml for a typed field.
    package mutating func bool(_ key: String) throws(YAMLError) -> Bool? {
        let what = "true or false"
        guard let (scalar, node) = try scalar(key, what) else { return nil }
        switch scalar.style == .plain ? scalar.text : "" {
        case "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON": return true
        case "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF":
            return false
        default: throw expected(what, node, key)
        }
    }

    /// As `bool(_:)`, with a default.
    package mutating func bool(
        _ key: String, default fallback: Bool
    ) throws(YAMLError) -> Bool {
        try bool(key) ?? fallback
    }

    /// A span of time as Prometheus writes it, within `range` (inclusive).
    package mutating func duration(
        _ key: String, range: ClosedRange<PrometheusDuration>? = nil
    ) throws(YAMLError) -> PrometheusDuration? {
        var what = "a duration such as 15s, 5m or 1h30m"
        if let range { what += " from \(range.lowerBound) to \(range.upperBound)" }
        guard let (scalar, node) = try scalar(key, what) else { return nil }
        guard let value = PrometheusDuration(scalar.text), range?.contains(value) ?? true
        else { throw expected(what, node, key) }
        return value
    }

    /// As `duration(_:range:)`, with a default.
    package mutating func duration(
        _ key: String, default fallback: PrometheusDuration,
        range: ClosedRange<PrometheusDuration>? = nil
    ) throws(YAMLError) -> PrometheusDuration {
        try duration(key, range: range) ?? fallback
    }

    /// A size in bytes: a whole number, or one with B, KB, KiB, MB, MiB, GB, GiB, TB, TiB; within `range` (inclusive).
    package mutating func byteCount(
        _ key: String, range: ClosedRange<Int> = 0 ... .max
    ) throws(YAMLError) -> Int? {
        let what = "a size such as 512MiB or 10GB"
        guard let (scalar, node) = try scalar(key, what) else { return nil }
        guard let value = YAMLByteCount.parse(scalar.text), range.contains(value) else {
            throw expected(
                range == 0 ... .max
                    ? what : "\(what) from \(range.lowerBound) to \(range.upperBound) bytes",
                node, key)
        }
        return value
    }

    /// As `byteCount(_:range:)`, with a default.
    package mutating func byteCount(
        _ key: String, default fallback: Int, range: ClosedRange<Int> = 0 ... .max
    ) throws(YAMLError) -> Int {
        try byteCount(key, range: range) ?? fallback
    }
}

extension YAMLMapping {
    /// The list under `key`; nil where it is absent.
    package mutating func sequence(_ key: String) throws(YAMLError) -> [YAMLNode]? {
        guard let node = node(key) else { return nil }
        guard case .sequence(let items) = node.content else {
            throw expected("a list", node, key)
        }
        return items
    }

    /// A list of texts; empty where the key is absent.
    package mutating func strings(_ key: String) throws(YAMLError) -> [String] {
        try strings(key, default: [])
    }

    /// A list of texts, with a default for an absent key. A list that is written but empty stays empty.
    package mutating func strings(
        _ key: String, default fallback: [String]
    ) throws(YAMLError) -> [String] {
        guard let items = try sequence(key) else { return fallback }
        var texts: [String] = []
        for item in items {
            guard case .scalar(let scalar) = item.content else {
                throw YAMLError(
                    file: file, mark: item.mark,
                    message: "`\(key)`: expected a text, found \(item.kind)")
            }
            texts.append(scalar.text)
        }
        return texts
    }

    /// The mapping under `key`; nil where it is absent.
    package mutating func mapping(_ key: String) throws(YAMLError) -> YAMLMapping? {
        guard let node = node(key) else { return nil }
        guard case .mapping = node.content else { throw expected("a mapping", node, key) }
        return try YAMLMapping(node, file: file)
    }

    /// The mapping under `key`, or an empty one: for sections whose every key has a default.
    package mutating func section(_ key: String) throws(YAMLError) -> YAMLMapping {
        if let found = try mapping(key) { return found }
        return try YAMLMapping(YAMLNode(.null, at: mark(of: key)), file: file)
    }

    /// A list of mappings; empty where the key is absent.
    package mutating func mappings(_ key: String) throws(YAMLError) -> [YAMLMapping] {
        var found: [YAMLMapping] = []
        for item in try sequence(key) ?? [] { found.append(try YAMLMapping(item, file: file)) }
        return found
    }

    /// A mapping of texts to texts, as labels are; empty where the key is absent. Null reads as the empty text.
    package mutating func stringPairs(_ key: String) throws(YAMLError) -> [YAMLTextPair] {
        guard let node = node(key) else { return [] }
        guard case .mapping(let pairs) = node.content else {
            throw expected("a mapping", node, key)
        }
        var found: [YAMLTextPair] = []
        for pair in pairs {
            let text: String
            switch pair.value.content {
            case .null: text = ""
            case .scalar(let scalar): text = scalar.text
            case .sequence, .mapping:
                throw YAMLError(
                    file: file, mark: pair.value.mark,
                    message: "`\(key).\(pair.key)`: expected a text, found \(pair.value.kind)")
            }
            found.append(
                YAMLTextPair(
                    key: pair.key, value: text, keyMark: pair.keyMark, mark: pair.value.mark))
        }
        return found
    }
}

/// An entry of a mapping of texts, with the places of both.
package struct YAMLTextPair: Hashable, Sendable {
    package var key: String
    package var value: String
    package var keyMark: YAMLMark
    package var mark: YAMLMark

    package init(key: String, value: String, keyMark: YAMLMark, mark: YAMLMark) {
        self.key = key
        self.value = value
        self.keyMark = keyMark
        self.mark = mark
    }
}
