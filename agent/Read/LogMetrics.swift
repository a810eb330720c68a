import Glibc
import LinearRegex
package import Model
import Synchronization

/// Makes counters and histograms of log lines: the user's own, and those of Authentik's logins and Caddy's access lines.
///
/// Counts begin at 0 with the agent, and a line that is read again after a crash counts again. Labels have at most
/// `LogMetricSeries.valuesMax` values each; those beyond are `_other`. Lines should be redacted before: label values leave
/// the host.
package final class LogMetrics: Sendable {
    private let hasAuthentik: Bool
    private let hasCaddy: Bool
    private let rules: [CompiledRule]
    private let state: Mutex<State>

    private struct State {
        var custom: [LogMetricSeries]
        var caddy = CaddyLogMetrics()
        var authentik = AuthentikLogMetrics()
        var index = LineIndex()
    }

    package init(_ configuration: LogMetricsConfiguration = LogMetricsConfiguration()) {
        hasAuthentik = !configuration.disabled.contains(.authentik)
        hasCaddy = !configuration.disabled.contains(.caddy)
        rules = configuration.rules.map(CompiledRule.init)
        state = Mutex(
            State(
                custom: configuration.rules.map {
                    LogMetricSeries(
                        name: $0.name, help: $0.help, kind: $0.kind, labels: $0.labels.map(\.name))
                }))
    }

    /// Counts what `items` say. O(n) in their bytes for each rule that a line's stream is of.
    package func observe(_ items: [LogReadChunk.Item]) {
        guard hasCaddy || hasAuthentik || !rules.isEmpty else { return }
        state.withLock { state in
            for item in items { observe(item, &state) }
            state.index.removeAll()
        }
    }

    /// The metrics that have been counted since the start, sorted by labels.
    package func families() -> [MetricFamily] {
        state.withLock { state in
            state.custom.compactMap { $0.family() } + state.caddy.families()
                + state.authentik.families()
        }
    }

    private func observe(_ item: LogReadChunk.Item, _ state: inout State) {
        var isRead = false
        func read(_ state: inout State) {
            if !isRead { state.index.read(item.entry.line) }
            isRead = true
        }
        let line = item.entry.line
        if line.first == UInt8(ascii: "{") {
            if hasCaddy, Self.contains(line, "http.log.access") {
                read(&state)
                state.caddy.observe(state.index)
            } else if hasAuthentik, Self.contains(line, "Created Event") {
                read(&state)
                state.authentik.observe(state.index)
            }
        }
        for (number, rule) in rules.enumerated() where rule.isOfStream(item) {
            read(&state)
            guard let (value, labels) = rule.result(item.entry, state.index) else { continue }
            state.custom[number].add(value, labels)
        }
    }

    /// Whether the text stands in what is read of a line. O(n) in the line.
    private static func contains(_ line: [UInt8], _ text: StaticString) -> Bool {
        line.withUnsafeBytes { bytes in
            let count = text.utf8CodeUnitCount
            guard var place = bytes.baseAddress else { return false }
            var left = min(bytes.count, FieldExtractor.lineBytesMax)
            while left >= count,
                let found = memchr(place, Int32(text.utf8Start[0]), left - count + 1)
            {
                if memcmp(found, text.utf8Start, count) == 0 { return true }
                left -= UnsafeRawPointer(found) - place + 1
                place = UnsafeRawPointer(found) + 1
            }
            return false
        }
    }
}

/// A rule with its names looked up.
private struct CompiledRule: Sendable {
    private enum Source {
        case level
        case group(String)
        case field(name: String, path: FieldPath)
    }

    private let rule: LogMetricRule
    private let conditions: [(Source, String)]
    private let labels: [Source]
    private let value: Source?
    private let needsGroups: Bool

    init(_ rule: LogMetricRule) {
        self.rule = rule
        let groups = Set(rule.match.regex?.groupNames.compactMap { $0 } ?? [])
        func source(_ name: String, isOfLine: Bool = false) -> Source {
            if !isOfLine, groups.contains(name) { return .group(name) }
            return name == "level" ? .level : .field(name: name, path: FieldPath(name))
        }
        conditions = rule.match.fields.map { (source($0.name, isOfLine: true), $0.value) }
        labels = rule.labels.map { source($0.value) }
        value = rule.value.map { source($0) }
        needsGroups = (labels + [value].compactMap { $0 }).contains {
            if case .group = $0 { true } else { false }
        }
    }

    func isOfStream(_ item: LogReadChunk.Item) -> Bool {
        let match = rule.match
        func has(_ label: String, _ wanted: String?) -> Bool {
            guard let wanted else { return true }
            return item.stream[label] == wanted
        }
        return has("source", match.source) && has("service_name", match.service)
            && has("unit", match.unit) && has("container", match.container)
            && has("filename", match.filename)
            && (match.level == nil || match.level == item.entry.level)
    }

    /// The number to add and the labels' values; nil where the line does not count.
    func result(_ entry: LogEntry, _ index: LineIndex) -> (Double, [String])? {
        for (source, wanted) in conditions
        where text(source, entry, index, nil) != wanted { return nil }
        var match: RegexMatch?
        if let regex = rule.match.regex {
            if needsGroups {
                guard let found = regex.firstMatch(inBytes: entry.line) else { return nil }
                match = found
            } else if !regex.matches(bytes: entry.line) {
                return nil
            }
        }
        var number = 1.0
        if let value {
            guard let text = text(value, entry, index, match), let parsed = LogNumber.parse(text)
            else { return nil }
            number = parsed
        }
        if case .counter = rule.kind, number < 0 { return nil }
        return (number, labels.map { text($0, entry, index, match) ?? "" })
    }

    private func text(
        _ source: Source, _ entry: LogEntry, _ index: LineIndex, _ match: RegexMatch?
    ) -> String? {
        switch source {
        case .level: return entry.level
        case .group(let name): return match?.text(named: name)
        case .field(let name, let path):
            let lifted = entry.metadata[name]
            return lifted.isEmpty ? index.text(path) : lifted
        }
    }
}

/// Numbers in lines.
enum LogNumber {
    /// A number, or a length of time with a unit in seconds; nil for other texts and for what is not finite.
    static func parse(_ text: String) -> Double? {
        guard text.utf8.count <= 64 else { return nil }
        let number = text.prefix { !$0.isLetter || $0 == "e" || $0 == "E" }
        guard let value = Double(number), value.isFinite else { return nil }
        switch text.dropFirst(number.count) {
        case "", "s": return value
        case "ms": return value / 1e3
        case "us", "µs", "μs": return value / 1e6
        case "ns": return value / 1e9
        case "m", "min": return value * 60
        case "h": return value * 3600
        default: return nil
        }
    }
}
