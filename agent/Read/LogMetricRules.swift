import Exposition
package import LinearRegex
package import Model
package import YAMLDocument

/// What lines count for a metric.
package struct LogMetricMatch: Sendable {
    /// Each that is not nil must be equal: labels of the stream, and the entry's level.
    package var source: String?
    package var unit: String?
    package var service: String?
    package var container: String?
    package var filename: String?
    package var level: String?
    /// Fields that must be equal.
    package var fields: [Label] = []
    /// Must match anywhere in the line; its groups have names.
    package var regex: LinearRegex?

    package init() {}

    func isSame(as other: LogMetricMatch) -> Bool {
        source == other.source && unit == other.unit && service == other.service
            && container == other.container && filename == other.filename && level == other.level
            && fields == other.fields && regex?.pattern == other.regex?.pattern
    }
}

/// A metric made of log lines.
package struct LogMetricRule: Sendable {
    package enum Kind: Hashable, Sendable {
        /// Adds 1, or what `value` names.
        case counter
        /// Observes what `value` names, into buckets with these upper bounds: ascending, without the infinite one.
        case histogram(buckets: [Double])
    }

    package var name: String
    package var help: String
    package var kind: Kind
    package var match: LogMetricMatch
    /// Labels of the metric: name, and the field or the group of `match.regex` that has the value.
    package var labels: [Label]
    /// The field or group with the number; a length of time with its unit is taken in seconds.
    package var value: String?

    package init(
        name: String, help: String, kind: Kind, match: LogMetricMatch = LogMetricMatch(),
        labels: [Label] = [], value: String? = nil
    ) {
        self.name = name
        self.help = help
        self.kind = kind
        self.match = match
        self.labels = labels
        self.value = value
    }

    /// Whether the one counts as the other does: their series can be one.
    func counts(as other: LogMetricRule) -> Bool {
        name == other.name && kind == other.kind && match.isSame(as: other.match)
            && labels == other.labels && value == other.value
    }

    /// The name, and those that the series of a histogram have.
    var seriesNames: [String] {
        switch kind {
        case .counter: [name]
        case .histogram: [name, name + "_bucket", name + "_sum", name + "_count"]
        }
    }
}

/// Groups of metrics that the agent makes by itself.
package enum BuiltInLogMetrics: String, CaseIterable, Hashable, Sendable {
    case authentik, caddy
}

/// Which metrics are made of log lines: `logs.metrics`.
package struct LogMetricsConfiguration: Sendable {
    package var disabled: Set<BuiltInLogMetrics> = []
    /// At most `rulesMax`.
    package var rules: [LogMetricRule] = []

    package static let rulesMax = 50
    package static let labelsMax = 8
    package static let bucketsMax = 30
    /// Source: client_golang 1.23 `DefBuckets`.
    package static let standardBuckets: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    package init() {}

    /// The key `metrics` of the section `logs`: `disable` and `rules`.
    package mutating func read(_ logs: inout YAMLMapping) throws(YAMLError) {
        var section = try logs.section("metrics")
        for name in try section.strings("disable") {
            guard let group = BuiltInLogMetrics(rawValue: name) else {
                let known = BuiltInLogMetrics.allCases.map(\.rawValue).joined(separator: ", ")
                throw section.error(at: "disable", "no group `\(name)`; there are \(known)")
            }
            disabled.insert(group)
        }
        let entries = try section.mappings("rules")
        guard entries.count <= Self.rulesMax else {
            throw section.error(at: "rules", "at most \(Self.rulesMax), found \(entries.count)")
        }
        for var entry in entries {
            let rule = try Self.rule(&entry)
            let taken = Set(rules.flatMap(\.seriesNames))
            if let name = rule.seriesNames.first(where: taken.contains) {
                throw entry.error(at: "name", "there is a metric `\(name)` already")
            }
            rules.append(rule)
        }
        try section.finish()
    }

    private static func rule(_ entry: inout YAMLMapping) throws(YAMLError) -> LogMetricRule {
        let name = try entry.requiredString("name")
        guard isName(name, colonAllowed: true) else {
            throw entry.error(at: "name", "expected the name of a metric, found `\(name)`")
        }
        guard name != "up", !reservedPrefixes.contains(where: { name.hasPrefix($0) }) else {
            throw entry.error(at: "name", "`\(name)` is a name that the agent itself may have")
        }
        let type = try entry.choice("type", ["counter", "histogram"], default: "counter")
        var rule = LogMetricRule(
            name: name, help: try entry.string("help", default: "From log lines."), kind: .counter,
            match: try match(&entry))
        rule.value = try entry.string("value")
        let groups = Set(rule.match.regex?.groupNames.compactMap { $0 } ?? [])
        if type == "histogram" {
            guard rule.value != nil else {
                throw entry.error("a histogram needs `value`: the field or group that it observes")
            }
            rule.kind = .histogram(buckets: try buckets(&entry))
        } else if entry.has("buckets") {
            throw entry.error(
                at: "buckets", "a counter has no buckets; is `type: histogram` meant?")
        }
        for pair in try entry.stringPairs("labels") {
            guard isName(pair.key, colonAllowed: false), !pair.key.hasPrefix("__"),
                !reservedLabels.contains(pair.key)
            else { throw entry.error(at: "labels", "no label can be called `\(pair.key)`") }
            guard !pair.value.isEmpty else {
                throw entry.error(at: "labels", "`\(pair.key)` needs a field or a group")
            }
            rule.labels.append(Label(pair.key, pair.value))
        }
        rule.labels.sort()
        guard rule.labels.count <= labelsMax else {
            throw entry.error(at: "labels", "at most \(labelsMax), found \(rule.labels.count)")
        }
        if let regex = rule.match.regex, groups.count != regex.groupCount {
            throw entry.error(at: "regex", "each group needs a name: `(?P<name>…)` or `(?:…)`")
        }
        try entry.finish()
        return rule
    }

    private static func match(_ entry: inout YAMLMapping) throws(YAMLError) -> LogMetricMatch {
        var match = LogMetricMatch()
        var section = try entry.section("match")
        match.source = try section.string("source")
        match.unit = try section.string("unit")
        match.service = try section.string("service")
        match.container = try section.string("container")
        match.filename = try section.string("filename")
        match.level = try section.string("level")
        if let level = match.level, !levels.contains(level) {
            throw section.error(
                at: "level", "expected one of \(levels.joined(separator: ", ")), found `\(level)`")
        }
        match.fields = try section.stringPairs("fields").map { Label($0.key, $0.value) }
        try section.finish()
        if let pattern = try entry.string("regex") {
            do throws(LinearRegexError) {
                match.regex = try LinearRegex(pattern, anchored: false)
            } catch { throw entry.error(at: "regex", "\(error)") }
        }
        return match
    }

    private static func buckets(_ entry: inout YAMLMapping) throws(YAMLError) -> [Double] {
        guard entry.has("buckets") else { return standardBuckets }
        var buckets: [Double] = []
        for text in try entry.strings("buckets") {
            guard let bound = Double(text), bound.isFinite, bound > buckets.last ?? -.infinity
            else {
                throw entry.error(at: "buckets", "expected ascending numbers, found `\(text)`")
            }
            buckets.append(bound)
        }
        guard (1...bucketsMax).contains(buckets.count) else {
            throw entry.error(
                at: "buckets", "expected 1 to \(bucketsMax) bounds, found \(buckets.count)")
        }
        return buckets
    }

    private static func isName(_ name: String, colonAllowed: Bool) -> Bool {
        guard name.utf8.count <= 128, let first = name.utf8.first, !(48...57).contains(first)
        else { return false }
        return name.utf8.allSatisfy { byte in
            RedactionText.isAlphanumeric(byte) || byte == UInt8(ascii: "_")
                || (colonAllowed && byte == UInt8(ascii: ":"))
        }
    }

    private static let levels = [
        "trace", "debug", "info", "warn", "error", "critical", "fatal",
    ]
    private static let reservedPrefixes = [
        "petrel_", "node_", "process_", "scrape_", "caddy_log_", "authentik_log_", "pg_", "redis_",
        "pgbouncer_",
    ]
    private static let reservedLabels: Set<String> = [
        "host", "role", "job", "instance", "nodename", "le",
    ]
}

/// The series of one metric, and the bounds that they keep.
struct LogMetricSeries {
    /// Values of one label that are told apart; later ones are counted under `other`.
    static let valuesMax = 100
    /// Series of a counter, and of a histogram.
    static let countersMax = 1000
    static let histogramsMax = 200
    /// Longer values are counted under `other`. Bytes.
    static let valueBytesMax = 128
    /// What values beyond the bounds become. Source: Caddy's own metrics of unknown hosts.
    static let other = "_other"

    private struct Series {
        var sum: Double = 0
        var count: UInt64 = 0
        /// Of each bucket alone; the last is the infinite one.
        var buckets: [UInt64] = []
    }

    let name: String
    var help: String
    let kind: LogMetricRule.Kind
    private let labelNames: [String]
    private var known: [Set<String>]
    private var series: [[String]: Series] = [:]

    init(name: String, help: String, kind: LogMetricRule.Kind, labels: [String]) {
        self.name = name
        self.help = help
        self.kind = kind
        labelNames = labels
        known = labels.map { _ in [] }
    }

    init(_ rule: LogMetricRule) {
        self.init(
            name: rule.name, help: rule.help, kind: rule.kind, labels: rule.labels.map(\.name))
    }

    /// Adds `value` to the counter, or observes it. `values` are those of the labels, empty where one is missing. Of the
    /// labels at the places `closed`, values that were not seen before count under `other`.
    mutating func add(_ value: Double, _ values: [String], closed: [Int] = []) {
        var key = values
        for index in key.indices where !key[index].isEmpty && !known[index].contains(key[index]) {
            if !closed.contains(index), known[index].count < Self.valuesMax,
                key[index].utf8.count <= Self.valueBytesMax
            {
                known[index].insert(key[index])
            } else {
                key[index] = Self.other
            }
        }
        if series[key] == nil, series.count >= seriesMax { key = key.map { _ in Self.other } }
        update(&series[key, default: Series()], value)
    }

    private var seriesMax: Int {
        switch kind {
        case .counter: Self.countersMax
        case .histogram: Self.histogramsMax
        }
    }

    private func update(_ series: inout Series, _ value: Double) {
        series.sum += value
        series.count &+= 1
        guard case .histogram(let bounds) = kind else { return }
        if series.buckets.isEmpty {
            series.buckets = Array(repeating: 0, count: bounds.count + 1)
        }
        series.buckets[bounds.firstIndex { value <= $0 } ?? bounds.count] &+= 1
    }

    /// Sorted by labels; nil while there is no series.
    func family() -> MetricFamily? {
        guard !series.isEmpty else { return nil }
        let sorted = series.map { values, series in
            (Labels(zip(labelNames, values).map { Label($0, $1) }), series)
        }.sorted { $0.0 < $1.0 }
        switch kind {
        case .counter:
            return MetricFamily(
                name, .counter, help: help,
                points: sorted.map { MetricFamily.Point($0.0, $0.1.sum) })
        case .histogram(let bounds):
            return MetricFamily(
                name, .histogram, help: help,
                points: sorted.flatMap { points($0.0, $0.1, bounds) })
        }
    }

    private func points(
        _ labels: Labels, _ series: Series, _ bounds: [Double]
    ) -> [MetricFamily.Point] {
        let bucket = labels.setting(Labels.metricNameLabel, name + "_bucket")
        var points: [MetricFamily.Point] = []
        var count: UInt64 = 0
        for (index, bound) in (bounds + [.infinity]).enumerated() {
            count &+= series.buckets[index]
            let text = bound.isInfinite ? "+Inf" : GoFloat.text(bound)
            points.append(.init(bucket.setting("le", text), Double(count)))
        }
        points.append(
            .init(labels.setting(Labels.metricNameLabel, name + "_sum"), series.sum))
        points.append(
            .init(labels.setting(Labels.metricNameLabel, name + "_count"), Double(series.count)))
        return points
    }
}
