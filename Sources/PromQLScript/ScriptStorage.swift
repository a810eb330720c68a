import LinearRegex
import Model
import PromQLSyntax

/// The series that the loads of a script have made: sample i of a line lies at i × step after the epoch.
struct ScriptStorage {
    private struct Column {
        var values: [Int64: Double] = [:]
        /// Times of native histogram samples, which are remembered but not kept.
        var histogramTimes: Set<Int64> = []
    }

    private var columns: [Labels: Column] = [:]
    /// Columns in label and time order, made when first asked for.
    private var sorted: [(series: SeriesColumns, histogramTimes: Set<Int64>)]?

    mutating func clear() { self = ScriptStorage() }

    /// Adds the samples of one load; of two lines with the same labels the last counts.
    mutating func load(_ lines: [SeriesDescription], stepMS: Int64, withHistograms: Bool) {
        sorted = nil
        var byLabels: [Labels: [SequenceValue]] = [:]
        for line in lines { byLabels[line.labels] = line.values }
        for (labels, values) in byLabels {
            for (index, value) in values.enumerated() {
                let time = Int64(index) * stepMS
                switch value {
                case .omitted: continue
                case .float(let number):
                    columns[labels, default: Column()].values[time] = number
                    guard withHistograms, let base = histogramBase(labels) else { continue }
                    columns[base, default: Column()].histogramTimes.insert(time)
                case .histogram:
                    columns[labels, default: Column()].histogramTimes.insert(time)
                }
            }
        }
    }

    /// The series that satisfy all `matchers` with samples in `(after, through]`, in label order.
    ///
    /// Throws where one of them has a native histogram there.
    mutating func select(
        _ matchers: [LabelMatcher], after: TimestampMS, through: TimestampMS
    ) throws(ScriptFailure) -> [SeriesColumns] {
        var tests: [(name: String, matches: (String) -> Bool)] = []
        for matcher in matchers { tests.append((matcher.name, try predicate(matcher))) }
        let range = after.rawValue + 1...max(after.rawValue + 1, through.rawValue)
        var result: [SeriesColumns] = []
        for (series, histogramTimes) in sortedColumns() {
            guard tests.allSatisfy({ $0.matches(series.labels[$0.name]) }) else { continue }
            if histogramTimes.contains(where: range.contains) { throw .nativeHistograms }
            let lower = series.timestamps.firstIndex { $0 > after.rawValue }
            guard let lower, series.timestamps[lower] <= through.rawValue else { continue }
            let upper =
                series.timestamps.firstIndex { $0 > through.rawValue } ?? series.timestamps.count
            result.append(
                SeriesColumns(
                    labels: series.labels, timestamps: Array(series.timestamps[lower..<upper]),
                    values: Array(series.values[lower..<upper])))
        }
        return result
    }

    private mutating func sortedColumns() -> [(
        series: SeriesColumns, histogramTimes: Set<Int64>
    )] {
        if let sorted { return sorted }
        let made = columns.sorted { $0.key < $1.key }.map { labels, column in
            let times = column.values.keys.sorted()
            let series = SeriesColumns(
                labels: labels, timestamps: times, values: times.map { column.values[$0] ?? .nan })
            return (series: series, histogramTimes: column.histogramTimes)
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

    /// The labels of the custom-bucket histogram that a classic series belongs to; nil for other series.
    private func histogramBase(_ labels: Labels) -> Labels? {
        for suffix in ["_bucket", "_count", "_sum"] where labels.metricName.hasSuffix(suffix) {
            return labels.dropping(["le"]).setting(
                Labels.metricNameLabel, String(labels.metricName.dropLast(suffix.count)))
        }
        return nil
    }
}
