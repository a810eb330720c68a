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
    private let state: Mutex<State>

    private struct State {
        var hasAuthentik = false
        var hasCaddy = false
        var rules: [CompiledRule] = []
        /// The series of each rule.
        var custom: [LogMetricSeries] = []
        /// Lines of each rule whose value is no number that it takes.
        var unread: [UInt64] = []
        var caddy = CaddyLogMetrics()
        var authentik = AuthentikLogMetrics()
        var index = LineIndex()

        mutating func change(to configuration: LogMetricsConfiguration) {
            hasAuthentik = !configuration.disabled.contains(.authentik)
            hasCaddy = !configuration.disabled.contains(.caddy)
            if !hasAuthentik { authentik = AuthentikLogMetrics() }
            if !hasCaddy { caddy = CaddyLogMetrics() }
            let before = self
            rules = configuration.rules.map(CompiledRule.init)
            custom = []
            unread = []
            for rule in configuration.rules {
                let old = before.rules.firstIndex { $0.rule.counts(as: rule) }
                custom.append(old.map { before.custom[$0] } ?? LogMetricSeries(rule))
                custom[custom.count - 1].help = rule.help
                unread.append(old.map { before.unread[$0] } ?? 0)
            }
        }
    }

    package init(_ configuration: LogMetricsConfiguration = LogMetricsConfiguration()) {
        var state = State()
        state.change(to: configuration)
        self.state = Mutex(state)
    }

    /// Lines are counted so from now on. Rules that count as before, and groups that stay, go on from where they are.
    package func change(to configuration: LogMetricsConfiguration) {
        state.withLock { $0.change(to: configuration) }
    }

    /// Counts what `items` say. O(n) in their bytes for each rule that a line's stream is of.
    package func observe(_ items: [LogReadChunk.Item]) {
        state.withLock { state in
            guard state.hasCaddy || state.hasAuthentik || !state.rules.isEmpty else { return }
            for item in items { observe(item, &state) }
            state.index.removeAll()
        }
    }

    /// The metrics that have been counted since the start, sorted by labels.
    package func families() -> [MetricFamily] {
        state.withLock { state in
            state.custom.compactMap { $0.family() } + state.caddy.families()
                + state.authentik.families() + unreadFamily(state)
        }
    }

    private func unreadFamily(_ state: State) -> [MetricFamily] {
        let points = zip(state.rules, state.unread).filter { $0.0.hasValue }.map {
            MetricFamily.Point(["rule": $0.0.name], Double($0.1))
        }
        guard !points.isEmpty else { return [] }
        return [
            MetricFamily(
                "petrel_agent_log_metric_unread_total", .counter,
                help: "Lines that a rule matches and whose value is no number it takes, by rule.",
                points: points.sorted { $0.labels < $1.labels })
        ]
    }

    private func observe(_ item: LogReadChunk.Item, _ state: inout State) {
        var isRead = false
        func read(_ state: inout State) {
            if !isRead { state.index.read(item.entry.line) }
            isRead = true
        }
        let line = item.entry.line
        let start = LineText.start(line, to: min(line.count, FieldExtractor.lineBytesMax))
        if start < line.count, line[start] == UInt8(ascii: "{") {
            if state.hasCaddy, Self.contains(line, "http.log.access") {
                read(&state)
                state.caddy.observe(state.index)
            }
            if state.hasAuthentik, Self.contains(line, "Created Event") {
                read(&state)
                state.authentik.observe(state.index)
            }
        }
        for (number, rule) in state.rules.enumerated() where rule.isOfStream(item) {
            read(&state)
            switch rule.result(item.entry, state.index) {
            case .counts(let value, let labels): state.custom[number].add(value, labels)
            case .isUnread: state.unread[number] &+= 1
            case nil: break
            }
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
    enum Result {
        /// The number to add and the labels' values.
        case counts(Double, [String])
        /// The value is there and no number, or of a counter a negative one.
        case isUnread
    }

    private enum Source {
        case level
        case group(String)
        case field(name: String, path: FieldPath)
    }

    let rule: LogMetricRule
    private let conditions: [(Source, String)]
    private let labels: [Source]
    private let value: Source?
    private let needsGroups: Bool

    var name: String { rule.name }
    var hasValue: Bool { value != nil }

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

    /// Nil where the line does not count.
    func result(_ entry: LogEntry, _ index: LineIndex) -> Result? {
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
            guard let text = text(value, entry, index, match) else { return nil }
            guard let parsed = LogNumber.parse(text) else { return .isUnread }
            number = parsed
        }
        if case .counter = rule.kind, number < 0 { return .isUnread }
        return .counts(number, labels.map { text($0, entry, index, match) ?? "" })
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
    /// A number, or a length of time in seconds: a number with a unit, or several as Go's `1m2.5s`; nil for other texts and
    /// for what is not finite. Source: Go 1.24 `time.Duration.String`.
    static func parse(_ text: String) -> Double? {
        guard text.utf8.count <= 64 else { return nil }
        let isNegative = text.hasPrefix("-")
        var rest = text.dropFirst(isNegative ? 1 : 0)
        var sum = 0.0
        var parts = 0
        repeat {
            let number = rest.prefix { !$0.isLetter || $0 == "e" || $0 == "E" }
            rest.removeFirst(number.count)
            let unit = rest.prefix { $0.isLetter }
            rest.removeFirst(unit.count)
            parts += 1
            // A sign before the first alone; a number without a unit is the only part.
            guard !unit.isEmpty || parts == 1 && rest.isEmpty, let value = Double(number),
                value.sign == .plus,
                let part = seconds(value, unit)
            else { return nil }
            sum += part
        } while !rest.isEmpty
        guard sum.isFinite else { return nil }
        return isNegative ? -sum : sum
    }

    private static func seconds(_ value: Double, _ unit: Substring) -> Double? {
        switch unit {
        case "", "s": value
        case "ms": value / 1e3
        case "us", "µs", "μs": value / 1e6
        case "ns": value / 1e9
        case "m", "min": value * 60
        case "h": value * 3600
        default: nil
        }
    }
}
