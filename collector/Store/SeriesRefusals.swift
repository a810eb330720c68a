import Model
import Storage

/// Which limits were reached lately, and by what. A value: the store keeps it behind a lock.
struct SeriesRefusals: Sendable {
    /// Limits that are told of at most; a further one takes the place of that which refused longest ago.
    static let entriesMax = 20
    /// Metrics of a limit whose refusals are counted apart; further ones are left out of the comparison.
    static let metricsMax = 100
    /// How long after its last refusal a limit counts as reached, milliseconds.
    static let rememberedMilliseconds: Int64 = 10 * 60_000
    /// How often it is found out what a limit made grow, and logged, milliseconds; of all limits `entriesMax` times in
    /// that time, for each look may be at all series.
    static let diagnosisMilliseconds: Int64 = 60_000

    /// One limit of one metric or host.
    struct Key: Hashable, Sendable {
        var scope: SeriesRefusal.Scope
        /// Of the scopes metric and host: the sender; nil where it is no host.
        var host: Int32?
        /// Of the scope metric.
        var metric: ExactText?
    }

    /// What grew.
    struct Diagnosis: Hashable, Sendable {
        var metric = ""
        var label = ""
        var labelValueCount = 0
    }

    /// Refusals of one call by limit and by metric.
    struct Tally: Sendable {
        fileprivate(set) var counts: [Key: [ExactText: Int]] = [:]

        var isEmpty: Bool { counts.isEmpty }

        mutating func add(_ scope: SeriesRefusal.Scope, host: Int32?, metric: ExactText) {
            let isOfHost = scope == .host || scope == .metric
            let key = Key(
                scope: scope, host: isOfHost ? host : nil, metric: scope == .metric ? metric : nil)
            counts[key, default: [:]][metric, default: 0] += 1
        }
    }

    private struct Entry {
        var host: String
        var refusedCount: UInt64 = 0
        var byMetric: [ExactText: UInt64] = [:]
        var firstAt: Int64
        var lastAt: Int64
        var diagnosis: Diagnosis
    }

    private var entries: [Key: Entry] = [:]
    /// The looks of the last `diagnosisMilliseconds`, and what they found: also of limits that had to make room.
    private var diagnoses: [Key: (at: Int64, found: Diagnosis)] = [:]
    private(set) var totals: [SeriesRefusal.Scope: UInt64] = [:]

    /// Counts refusals; answers with the limits of which it is to be found out what grew. `host` is the sender's name, empty
    /// where it is no host. Times are milliseconds since the epoch.
    mutating func note(_ tally: Tally, host: String, now: Int64) -> [Key] {
        expire(now)
        diagnoses = diagnoses.filter {
            (0..<Self.diagnosisMilliseconds).contains(now - $0.value.at)
        }
        var due: [Key] = []
        for (key, counts) in tally.counts {
            let count = UInt64(counts.values.reduce(0, +))
            totals[key.scope, default: 0] += count
            if entries[key] == nil { makeRoom() }
            let isOfHost = key.host != nil || key.scope == .metric
            var entry =
                entries[key]
                ?? Entry(
                    host: isOfHost ? host : "", firstAt: now, lastAt: now,
                    diagnosis: diagnoses[key]?.found
                        ?? Diagnosis(metric: key.metric?.text ?? ""))
            entry.refusedCount += count
            entry.lastAt = max(entry.lastAt, now)
            for (metric, count) in counts
            where entry.byMetric[metric] != nil || entry.byMetric.count < Self.metricsMax {
                entry.byMetric[metric, default: 0] += UInt64(count)
            }
            if diagnoses[key] == nil, diagnoses.count < Self.entriesMax {
                diagnoses[key] = (now, entry.diagnosis)
                due.append(key)
            }
            entries[key] = entry
        }
        return due
    }

    /// How often series of each metric were refused by a limit.
    func refusedByMetric(_ key: Key) -> [ExactText: UInt64] { entries[key]?.byMetric ?? [:] }

    mutating func set(_ diagnosis: Diagnosis, of key: Key) {
        entries[key]?.diagnosis = diagnosis
        diagnoses[key]?.found = diagnosis
    }

    /// The limits that refused within the time remembered, the most refusals first.
    func snapshot(_ maxima: SeriesBudget.Maxima, now: Int64) -> [SeriesRefusal] {
        entries.filter { now - $0.value.lastAt < Self.rememberedMilliseconds }.map { key, entry in
            SeriesRefusal(
                scope: key.scope, metric: entry.diagnosis.metric, label: entry.diagnosis.label,
                labelValueCount: entry.diagnosis.labelValueCount, host: entry.host,
                maximum: maxima[key.scope], refusedCount: entry.refusedCount,
                firstAt: TimestampMS(entry.firstAt), lastAt: TimestampMS(entry.lastAt))
        }.sorted {
            ($1.refusedCount, $0.scope.rawValue, $0.metric, $0.host)
                < ($0.refusedCount, $1.scope.rawValue, $1.metric, $1.host)
        }
    }

    private mutating func expire(_ now: Int64) {
        entries = entries.filter { now - $0.value.lastAt < Self.rememberedMilliseconds }
    }

    private mutating func makeRoom() {
        guard entries.count >= Self.entriesMax,
            let oldest = entries.min(by: { $0.value.lastAt < $1.value.lastAt })
        else { return }
        entries[oldest.key] = nil
    }
}

extension SeriesRefusals.Diagnosis {
    /// Series of the metric that are looked at, the first of them.
    static let seriesMax = 100_000

    /// The label of these series with most values; `sets` are of one metric.
    init(metric: String, _ sets: [Labels]) {
        self.init(metric: metric)
        var values: [String: Set<String>] = [:]
        for labels in sets {
            for label in labels where label.name != Labels.metricNameLabel {
                values[label.name, default: []].insert(label.value)
            }
        }
        let grown = values.filter { $0.value.count > 1 }.max {
            ($0.value.count, $1.key) < ($1.value.count, $0.key)
        }
        label = grown?.key ?? ""
        labelValueCount = grown?.value.count ?? 0
    }
}

extension Catalogue.SeriesState {
    /// What has grown most of what a limit counts: a metric and some of its label sets; no metric where there are more
    /// metrics than series of any. O(series) where the limit is a host's.
    func largest(
        _ key: SeriesRefusals.Key, refused: [ExactText: UInt64]
    ) -> (metric: ExactText?, sets: [Labels], metricCount: Int) {
        var metric = key.metric
        var metricCount = 0
        if metric == nil {
            var counts = budget.active.byMetric
            if let host = key.host {
                counts = index.counts(ofValuesOf: Labels.metricNameLabel) { number in
                    lives[number].map { $0.isActive && $0.host == host } ?? false
                }
            }
            for (metric, count) in refused {
                counts[metric, default: 0] += Int(clamping: count)
            }
            let most = counts.max { ($0.value, $1.key.text) < ($1.value, $0.key.text) }
            metricCount = counts.count
            guard let most, most.value >= metricCount else { return (nil, [], metricCount) }
            metric = most.key
        }
        guard let metric else { return (nil, [], 0) }
        var sets: [Labels] = []
        for number in index.numbers(with: Labels.metricNameLabel, metric) {
            guard sets.count < SeriesRefusals.Diagnosis.seriesMax else { break }
            if let host = key.host, key.scope == .host, lives[number]?.host != host { continue }
            if let labels = index.labels(of: number) { sets.append(labels) }
        }
        return (metric, sets, metricCount)
    }
}
