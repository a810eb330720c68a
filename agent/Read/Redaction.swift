package import LinearRegex
package import Model
import Synchronization
package import YAMLDocument

/// What is taken out of log lines unless it is turned off.
package enum BuiltInRedaction: Int, CaseIterable, Hashable, Sendable {
    /// The token behind `Bearer` or `Basic`.
    case bearer
    /// JSON web tokens, wherever they stand.
    case jwt
    /// Tokens known by their prefix: GitHub's, GitLab's, Slack's, Stripe's, OpenAI's.
    case apiKey
    /// The password of `scheme://user:password@host`.
    case urlPassword
    /// Numbers of payment cards whose check digit is right.
    case card
    /// Values of keys such as `password`, `passwd`, `pwd`, `passphrase`.
    case password
    /// Values of keys such as `secret`, `token`, `api_key`, `access_key`, `authorization`, `cookie`.
    case secret

    /// As `logs.redact.disable` and the mark in a line have it.
    package var name: String {
        switch self {
        case .bearer: "bearer"
        case .jwt: "jwt"
        case .apiKey: "api_key"
        case .urlPassword: "url_password"
        case .card: "card"
        case .password: "password"
        case .secret: "secret"
        }
    }
}

/// A rule of the user's own: what `regex` matches is taken out, or of it what its groups matched.
package struct RedactionRule: Sendable {
    package let name: String
    package let regex: LinearRegex

    package init(name: String, regex: LinearRegex) {
        self.name = name
        self.regex = regex
    }
}

/// Which redaction rules run: `logs.redact`.
package struct RedactionConfiguration: Sendable {
    package var isEnabled = true
    package var disabled: Set<BuiltInRedaction> = []
    /// At most `rulesMax`.
    package var rules: [RedactionRule] = []

    package static let rulesMax = 32

    package init() {}

    /// The key `redact` of the section `logs`: `enabled`, `disable` and `rules`, a list of `name` and `regex`.
    package mutating func read(_ logs: inout YAMLMapping) throws(YAMLError) {
        var section = try logs.section("redact")
        isEnabled = try section.bool("enabled", default: isEnabled)
        let builtIn = BuiltInRedaction.allCases
        for name in try section.strings("disable") {
            guard let rule = builtIn.first(where: { $0.name == name }) else {
                throw section.error(
                    at: "disable",
                    "no rule `\(name)`; there are \(builtIn.map(\.name).joined(separator: ", "))")
            }
            disabled.insert(rule)
        }
        let entries = try section.mappings("rules")
        guard entries.count <= Self.rulesMax else {
            throw section.error(at: "rules", "at most \(Self.rulesMax), found \(entries.count)")
        }
        for var entry in entries {
            let name = try entry.requiredString("name")
            guard Self.isName(name) else {
                throw entry.error(
                    at: "name", "expected up to 40 of a-z, 0-9 and _, found `\(name)`")
            }
            guard !rules.contains(where: { $0.name == name }),
                !builtIn.contains(where: { $0.name == name })
            else { throw entry.error(at: "name", "there is a rule `\(name)` already") }
            let pattern = try entry.requiredString("regex")
            let regex: LinearRegex
            do throws(LinearRegexError) {
                regex = try LinearRegex(pattern, anchored: false)
            } catch { throw entry.error(at: "regex", "\(error)") }
            guard !regex.matches(""), regex.firstMatch(in: "a")?.range.isEmpty != true else {
                throw entry.error(
                    at: "regex", "`\(pattern)` matches an empty text: every line has many of them")
            }
            rules.append(RedactionRule(name: name, regex: regex))
            try entry.finish()
        }
        try section.finish()
    }

    private static func isName(_ name: String) -> Bool {
        name.utf8.count <= 40
            && name.utf8.allSatisfy {
                (97...122).contains($0) || (48...57).contains($0) || $0 == 95
            }
    }
}

/// Takes secrets out of log lines before they leave the host: each match becomes `[redacted:NAME]`.
///
/// A line without a match is left as it is, byte for byte. What stands bare as a value of JSON becomes a text, so that the
/// line stays JSON. Matches that overlap are one, under the name of the first. Linear in the line, in memory too.
package final class LineRedactor: Sendable {
    /// Marks in one line. Secrets behind the last are taken out without one, and a bare value of JSON becomes 0: a line
    /// grows by no more than these marks, and what stands behind the secrets stays.
    package static let marksMax = 100
    /// Matches of one rule of the user's own in a line; the last reaches to the end of a line that has more.
    package static let ruleMatchesMax = 100

    private let isOn: [Bool]
    private let scans: Bool
    private let rules: [RedactionRule]
    /// Names of all rules, the built-in ones first.
    private let names: [String]
    private let marks: [[UInt8]]
    private let counts: RedactionCounts

    package convenience init(_ configuration: RedactionConfiguration = RedactionConfiguration()) {
        self.init(configuration, counts: RedactionCounts())
    }

    /// Goes on counting where `other` has got to, which may still be in use.
    package convenience init(_ configuration: RedactionConfiguration, after other: LineRedactor) {
        self.init(configuration, counts: other.counts)
    }

    private init(_ configuration: RedactionConfiguration, counts: RedactionCounts) {
        let builtIn = BuiltInRedaction.allCases
        let isOn = builtIn.map {
            configuration.isEnabled && !configuration.disabled.contains($0)
        }
        self.isOn = isOn
        scans = isOn.contains(true)
        rules = configuration.isEnabled ? configuration.rules : []
        names = builtIn.map(\.name) + rules.map(\.name)
        marks = names.map { Array("[redacted:\($0)]".utf8) }
        self.counts = counts
        counts.keep(names)
    }

    /// Takes secrets out of `line`; false where it has none and is as it was.
    package func redact(_ line: inout [UInt8]) -> Bool { redact(&line, marks: Self.marksMax) }

    private func redact(_ line: inout [UInt8], marks: Int) -> Bool {
        let matches = matches(in: line)
        guard !matches.isEmpty else { return false }
        line = replacing(matches, in: line, marks: marks)
        return true
    }

    /// Takes secrets out of an entry: its line, and its metadata. A field that was lifted out of the line becomes what it
    /// is in the line now. A line that grows past `LogEntry.lineBytesMax` is cut there and marked `petrel_cut`.
    ///
    /// Returns by how many bytes the entry has grown. Where `isTight` that is one mark and `petrel_cut` at most: secrets
    /// behind the first, and those of fields, are taken out without a mark.
    @discardableResult
    package func redact(_ entry: inout LogEntry, isTight: Bool = false) -> Int {
        guard scans || !rules.isEmpty else { return 0 }
        var grown = 0
        let old = entry.line
        if redact(&entry.line, marks: isTight ? 1 : Self.marksMax) {
            if entry.line.count > LogEntry.lineBytesMax {
                entry.line.removeSubrange(LogEntry.lineBytesMax...)
                if entry.metadata["petrel_cut"].isEmpty {
                    Self.set("petrel_cut", "\(old.count)", &entry, &grown)
                }
            }
            grown += entry.line.count - old.count
            takeOver(old, &entry, &grown)
        }
        redactMetadata(&entry, isTight: isTight, &grown)
        return grown
    }

    private static func set(
        _ name: String, _ value: String, _ entry: inout LogEntry, _ grown: inout Int
    ) {
        grown += value.utf8.count - entry.metadata[name].utf8.count
        entry.metadata = entry.metadata.setting(name, value)
    }

    /// Fields of the line that hold what they held in `old` are read from the line anew. A `result` stays where a rule has
    /// taken out more than its value: a failed login must not go unseen because of what was typed.
    private func takeOver(_ old: [UInt8], _ entry: inout LogEntry, _ grown: inout Int) {
        let before = FieldExtractor.extract(old).fields
        guard !before.isEmpty else { return }
        let now = FieldExtractor.extract(entry.line).fields
        for field in before where !now.contains(field) {
            guard bytesEqual(entry.metadata[field.name], field.value) else { continue }
            let value = now.first { $0.name == field.name }?.value
            if value == nil, field.name == "result" { continue }
            Self.set(field.name, value ?? "", &entry, &grown)
        }
    }

    private func redactMetadata(_ entry: inout LogEntry, isTight: Bool, _ grown: inout Int) {
        for label in entry.metadata where !Self.isReaders(label.name) {
            // Shorter texts hold no secret that a built-in rule finds by itself.
            guard label.value.utf8.count >= Self.metadataBytesMin || !rules.isEmpty else {
                continue
            }
            var bytes = Array(label.value.utf8)
            guard redact(&bytes, marks: isTight ? 0 : Self.marksMax) else { continue }
            Self.set(label.name, String(decoding: bytes, as: UTF8.self), &entry, &grown)
        }
    }

    /// Whether a field is the reader's own, not the line's.
    private static func isReaders(_ name: String) -> Bool {
        name == "_PID" || name == "priority" || name.hasPrefix("petrel_")
    }

    private static let metadataBytesMin = 8

    // MARK: - Matching

    /// Sorted, none overlapping another.
    private func matches(in line: [UInt8]) -> [RedactionScan.Match] {
        var found: [RedactionScan.Match] = []
        if scans {
            var scan = RedactionScan(line, isOn: isOn)
            scan.run()
            found = scan.matches
        }
        for (index, rule) in rules.enumerated() where rule.regex.matches(bytes: line) {
            var places = JSONPlaces()
            found += Self.ranges(of: rule.regex, in: line).map { range in
                let (whole, isValue) = places.whole(line, range)
                return RedactionScan.Match(
                    range: whole, rule: BuiltInRedaction.allCases.count + index,
                    isBareJSON: isValue)
            }
        }
        guard found.count > 1 else { return found }
        return merged(found)
    }

    private func merged(_ matches: [RedactionScan.Match]) -> [RedactionScan.Match] {
        var merged: [RedactionScan.Match] = []
        for match in matches.sorted(by: Self.precedes) {
            if let last = merged.last, match.range.lowerBound < last.range.upperBound {
                let end = max(last.range.upperBound, match.range.upperBound)
                let grows = end > last.range.upperBound
                merged[merged.count - 1].range = last.range.lowerBound..<end
                if grows { merged[merged.count - 1].isBareJSON = false }
            } else {
                merged.append(match)
            }
        }
        return merged
    }

    private static func precedes(_ a: RedactionScan.Match, _ b: RedactionScan.Match) -> Bool {
        (a.range.lowerBound, b.range.upperBound, a.rule)
            < (b.range.lowerBound, a.range.upperBound, b.rule)
    }

    /// What a user's rule matches, ascending: of patterns with groups the groups, else the whole. Bytes that are no UTF-8
    /// are matched as control characters, so that places stay.
    private static func ranges(of regex: LinearRegex, in line: [UInt8]) -> [Range<Int>] {
        let text = String(decoding: withoutInvalidBytes(line), as: UTF8.self)
        let matches = regex.allMatches(in: text, max: ruleMatchesMax + 1)
        var ranges: [Range<Int>] = []
        for match in matches {
            let groups = match.groups.dropFirst().compactMap { $0 }
            ranges += (groups.isEmpty ? [match.range] : groups).filter { !$0.isEmpty }
        }
        if matches.count > ruleMatchesMax, let last = matches.last,
            last.range.lowerBound < line.count
        {
            ranges.append(last.range.lowerBound..<line.count)
        }
        return ranges.sorted { $0.lowerBound < $1.lowerBound }
    }

    /// Each byte that is no part of a UTF-8 character as 0x1A.
    private static func withoutInvalidBytes(_ line: [UInt8]) -> [UInt8] {
        guard line.contains(where: { $0 >= 0x80 }), String(validating: line, as: UTF8.self) == nil
        else { return line }
        var result: [UInt8] = []
        result.reserveCapacity(line.count)
        var index = 0
        while index < line.count {
            let length = characterLength(line, index)
            if length == 0 {
                result.append(0x1a)
                index += 1
            } else {
                result += line[index..<(index + length)]
                index += length
            }
        }
        return result
    }

    /// The bytes of the UTF-8 character at `index`; 0 where there is none. Source: RFC 3629, 4.
    private static func characterLength(_ line: [UInt8], _ index: Int) -> Int {
        let first = line[index]
        let length: Int
        switch first {
        case 0..<0x80: return 1
        case 0xc2...0xdf: length = 2
        case 0xe0...0xef: length = 3
        case 0xf0...0xf4: length = 4
        default: return 0
        }
        guard index + length <= line.count,
            String(validating: line[index..<(index + length)], as: UTF8.self) != nil
        else { return 0 }
        return length
    }

    // MARK: - Replacing

    /// With a mark for each of the first `marksMax` matches.
    private func replacing(
        _ matches: [RedactionScan.Match], in line: [UInt8], marks marksMax: Int
    ) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(line.count + 24 * min(matches.count, marksMax))
        var position = 0
        for (number, match) in matches.enumerated() {
            result += line[position..<match.range.lowerBound]
            if number < marksMax {
                if match.isBareJSON { result.append(UInt8(ascii: "\"")) }
                result += marks[match.rule]
                if match.isBareJSON { result.append(UInt8(ascii: "\"")) }
            } else if match.isBareJSON {
                result.append(UInt8(ascii: "0"))
            }
            position = match.range.upperBound
        }
        result += line[position...]
        counts.add(matches.lazy.map { [names] in names[$0.rule] })
        return result
    }

    /// How many secrets each rule has taken out since the start.
    package func families() -> [MetricFamily] {
        let counts = counts.all
        return [
            MetricFamily(
                "petrel_agent_log_redactions_total", .counter,
                help: "Secrets taken out of log lines and their fields, by rule.",
                points: names.indices
                    .filter { $0 >= isOn.count || isOn[$0] }
                    .map { MetricFamily.Point(["rule": names[$0]], Double(counts[names[$0]] ?? 0)) }
                    .sorted { $0.labels < $1.labels })
        ]
    }
}

/// How many secrets the rules have taken out, by their names: redactors that follow one another share it.
private final class RedactionCounts: Sendable {
    private let counts = Mutex<[String: UInt64]>([:])

    var all: [String: UInt64] { counts.withLock { $0 } }

    /// Forgets the rules that are not among `names`.
    func keep(_ names: [String]) {
        let names = Set(names)
        counts.withLock { $0 = $0.filter { names.contains($0.key) } }
    }

    func add(_ rules: some Sequence<String>) {
        counts.withLock { counts in
            for rule in rules { counts[rule, default: 0] &+= 1 }
        }
    }
}
