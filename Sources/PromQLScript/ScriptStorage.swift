import LinearRegex
import Model
import PromQLSyntax
import QueryMath
import ScriptReport

/// A line of a load: a series, its samples, and when the counting of each began (relative to it, in milliseconds).
struct ScriptSeries {
    var labels: Labels
    var samples: [ScriptSample]
    /// Nil for samples without one; empty where the script says nothing.
    var startOffsets: [Int64?] = []
}

/// The series that the loads of a script have made: sample i of a line lies at i × step after the epoch.
struct ScriptStorage {
    private struct StoredSample {
        var sample: ScriptSample
        var startTimestamp: Int64
    }

    /// The samples of each series by time.
    private var stored: [Labels: [Int64: StoredSample]] = [:]
    /// Columns in label and time order, made when first asked for.
    private var sorted: [SeriesColumns]?

    mutating func clear() { self = ScriptStorage() }

    /// Adds the samples of one load; of two lines with the same labels the last counts. Throws for a histogram that is
    /// none, and for classic ones (`withHistograms`) that can't be converted to custom buckets.
    mutating func load(
        _ lines: [ScriptSeries], stepMS: Int64, withHistograms: Bool
    ) throws(ScriptFailure) {
        sorted = nil
        var byLabels: [Labels: ScriptSeries] = [:]
        for line in lines { byLabels[line.labels] = line }
        var classic: [Labels: [Int64: ClassicHistogram]] = [:]
        for (labels, line) in byLabels {
            for (index, sample) in line.samples.enumerated() {
                if case .omitted = sample { continue }
                if case .histogram(let histogram, _) = sample, let defect = histogram.defect {
                    throw ScriptFailure("\(labels.metricName): \(defect)")
                }
                let time = Int64(index) * stepMS
                let offset = line.startOffsets.isEmpty ? nil : line.startOffsets[index]
                stored[labels, default: [:]][time] = StoredSample(
                    sample: sample, startTimestamp: offset.map { time + $0 } ?? 0)
                if withHistograms, case .number(let value) = sample {
                    collect(value, labels, time, into: &classic)
                }
            }
        }
        for (labels, histograms) in classic {
            for (time, histogram) in histograms {
                let converted = try histogram.converted()
                stored[labels, default: [:]][time] = StoredSample(
                    sample: .histogram(converted, hint: nil), startTimestamp: 0)
            }
        }
    }

    /// Adds the sample of a classic histogram's series to the histogram it is of.
    private func collect(
        _ value: Double, _ labels: Labels, _ time: Int64,
        into classic: inout [Labels: [Int64: ClassicHistogram]]
    ) {
        let name = labels.metricName
        for suffix in ["_bucket", "_count", "_sum"] where name.hasSuffix(suffix) {
            let base = labels.dropping(["le"]).setting(
                Labels.metricNameLabel, String(name.dropLast(suffix.count)))
            var histogram = classic[base]?[time] ?? ClassicHistogram()
            switch suffix {
            case "_bucket":
                let text = labels["le"]
                let bound = text == "+Inf" ? Double.infinity : Double(text)
                guard let bound, !bound.isNaN else { return }
                histogram.add(value, upTo: bound)
            case "_count": histogram.count = value
            default: histogram.sum = value
            }
            classic[base, default: [:]][time] = histogram
        }
    }

    /// The series that satisfy all `matchers` with samples in `(after, through]`, in label order.
    mutating func select(
        _ matchers: [LabelMatcher], after: TimestampMS, through: TimestampMS
    ) throws(ScriptFailure) -> [SeriesColumns] {
        var tests: [(name: String, matches: (String) -> Bool)] = []
        for matcher in matchers { tests.append((matcher.name, try predicate(matcher))) }
        var result: [SeriesColumns] = []
        for series in sortedColumns() {
            guard tests.allSatisfy({ $0.matches(series.labels[$0.name]) }) else { continue }
            let lower = series.timestamps.firstIndex { $0 > after.rawValue } ?? series.values.count
            let upper =
                series.timestamps.firstIndex { $0 > through.rawValue } ?? series.values.count
            let columns = SeriesColumns(
                labels: series.labels,
                timestamps: Array(series.timestamps[lower..<max(lower, upper)]),
                values: Array(series.values[lower..<max(lower, upper)]),
                startTimestamps: Array(series.startTimestamps[lower..<max(lower, upper)]),
                histograms: series.histograms.filter {
                    $0.timestamp > after.rawValue && $0.timestamp <= through.rawValue
                })
            if !columns.values.isEmpty || !columns.histograms.isEmpty { result.append(columns) }
        }
        return result
    }

    private mutating func sortedColumns() -> [SeriesColumns] {
        if let sorted { return sorted }
        let made = stored.sorted { $0.key < $1.key }.map { labels, samples in
            var columns = SeriesColumns(labels: labels)
            var keeper = HintKeeper()
            for (time, stored) in samples.sorted(by: { $0.key < $1.key }) {
                switch stored.sample {
                case .omitted: continue
                case .number(let value):
                    keeper.interrupt()
                    columns.timestamps.append(time)
                    columns.values.append(value)
                    columns.startTimestamps.append(stored.startTimestamp)
                case .histogram(let histogram, _):
                    let hinted = histogram.hinted(keeper.hint(of: histogram))
                    columns.histograms.append(
                        HistogramSample(time, hinted, startTimestamp: stored.startTimestamp))
                }
            }
            return columns
        }
        sorted = made
        return made
    }

    private func predicate(
        _ matcher: LabelMatcher
    ) throws(ScriptFailure) -> (String) -> Bool {
        let value = matcher.value
        switch matcher.operation {
        case .equal: return { $0 == value }
        case .notEqual: return { $0 != value }
        case .matchesRegex, .notMatchesRegex:
            let wanted = matcher.operation == .matchesRegex
            do {
                let regex = try LinearRegex(value, anchored: true)
                return { regex.matches($0) == wanted }
            } catch {
                throw ScriptFailure("matcher \(value): \(error)")
            }
        }
    }
}
