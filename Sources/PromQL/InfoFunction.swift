import LinearRegex
import Model
import PromQLSyntax

/// What `info(vector, {selector})` reads and keeps.
struct InfoPlan: Sendable {
    var operand: Plan
    /// The info series.
    var selector: SelectorPlan
    /// Which of their labels are copied, all where this is empty; conditions on the metric name aside.
    var dataMatchers: [LabelMatcher]
    /// Which metrics are info metrics.
    var nameMatchers: [LabelMatcher]
}

extension InfoPlan {
    private static let targetInfo = LabelMatcher(
        Labels.metricNameLabel, .equal, "target_info")

    /// The conditions on the names of info metrics: those written, restricted to `.+_info` where they only exclude, and
    /// `target_info` where there are none. Source: Prometheus 3.14 `effectiveInfoNameMatchers`.
    static func nameMatchers(_ written: [LabelMatcher]) -> [LabelMatcher] {
        if written.isEmpty { return [targetInfo] }
        if written.contains(where: { $0.operation == .equal || $0.operation == .matchesRegex }) {
            return written
        }
        let any = LabelMatcher(Labels.metricNameLabel, .matchesRegex, ".+_info")
        return [any] + written
    }
}

/// `info`: adds the labels of info series, found by `instance` and `job`, to other series.
/// Source: Prometheus 3.14 `promql/info.go`.
extension Evaluator {
    func evaluate(_ plan: InfoPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let base = try rows(plan.operand, grid)
        let isInfo = try predicate(plan.nameMatchers)
        let enriched = base.filter { !isInfo($0.labels.metricName) }
        var infos = try infoRows(plan, grid, for: enriched)
        let infoCount = infos.values.reduce(0) { $0 + $1.count }
        if enriched.allSatisfy({ InfoKey($0.labels).isEmpty }) { infos = [:] }
        var needsInfo = false
        for matcher in plan.dataMatchers where try !predicate([matcher])("") { needsInfo = true }
        let wanted = Set(plan.dataMatchers.map(\.name))
        var result: [Row] = []
        for (number, row) in base.enumerated() {
            if number & 255 == 0 { try checkCancelled() }
            if isInfo(row.labels.metricName) {
                try hold(rowAfter: result.count, grid)
                result.append(row)
                continue
            }
            let sources = infos[InfoKey(row.labels)] ?? []
            try enrich(row, sources, wanted, grid, needsInfo: needsInfo, into: &result)
        }
        release(series: base.count + infoCount, grid)
        return try joined(result)
    }

    /// Splits `row` by the info series in force at each step.
    private func enrich(
        _ row: Row, _ sources: [InfoMetric], _ wanted: Set<String>, _ grid: StepGrid,
        needsInfo: Bool, into result: inout [Row]
    ) throws(QueryError) {
        var parts: [[Int]: Int] = [:]
        for step in row.values.indices where row.isPresent(step) {
            let key = sources.map { $0.newest[step] }
            if needsInfo, key.allSatisfy({ $0 < 0 }) { continue }
            if parts[key] == nil {
                try hold(rowAfter: result.count, grid)
                // The buckets are those of the row.
                try hold(row.histograms.count * Row.histogramCellWeight)
                var part = Row(
                    labels: row.labels, dropsName: row.dropsName,
                    values: [Double](repeating: Row.absent, count: row.values.count))
                let infos = zip(sources, key).compactMap { $1 < 0 ? nil : $0.series[$1] }
                part.labels = try labels(row.labels, infos, wanted)
                parts[key] = result.count
                result.append(part)
            }
            guard let index = parts[key], let element = row.element(step) else { continue }
            result[index].set(element, step)
        }
    }

    private func labels(
        _ base: Labels, _ infos: [Labels], _ wanted: Set<String>
    ) throws(QueryError) -> Labels {
        var added: [String: String] = [:]
        for label in infos.joined() where label.name != Labels.metricNameLabel {
            if !wanted.isEmpty, !wanted.contains(label.name) { continue }
            if let other = added[label.name], other != label.value {
                throw .conflictingInfoLabel(label.name)
            }
            if base[label.name].isEmpty { added[label.name] = label.value }
        }
        return added.reduce(base) { $0.setting($1.key, $1.value) }
    }

    /// The info series by their identifying labels and metric.
    private func infoRows(
        _ plan: InfoPlan, _ grid: StepGrid, for base: [Row]
    ) throws(QueryError) -> [InfoKey: [InfoMetric]] {
        let instances = Set(base.map { $0.labels["instance"] }).subtracting([""])
        let jobs = Set(base.map { $0.labels["job"] }).subtracting([""])
        var result: [InfoKey: [InfoMetric]] = [:]
        for columns in try selected(plan.selector) {
            let key = InfoKey(columns.labels)
            guard instances.isEmpty || instances.contains(key.instance),
                jobs.isEmpty || jobs.contains(key.job)
            else { continue }
            guard columns.histograms.isEmpty else {
                throw .histogramInfo(columns.labels.bracedText)
            }
            let name = columns.labels.metricName
            var metrics = result[key] ?? []
            let index = metrics.firstIndex { $0.name == name } ?? metrics.count
            if index == metrics.count {
                try hold(grid.count)
                metrics.append(InfoMetric(name: name, steps: grid.count))
            }
            try metrics[index].add(columns, grid, lookback: parameters.lookbackDeltaMS)
            result[key] = metrics
        }
        return result
    }

    /// Whether all `matchers` hold.
    private func predicate(
        _ matchers: [LabelMatcher]
    ) throws(QueryError) -> (String) -> Bool {
        var tests: [(String) -> Bool] = []
        for matcher in matchers {
            let value = matcher.value
            switch matcher.operation {
            case .equal: tests.append { $0 == value }
            case .notEqual: tests.append { $0 != value }
            case .matchesRegex, .notMatchesRegex:
                let wanted = matcher.operation == .matchesRegex
                do {
                    let regex = try LinearRegex(value, anchored: true)
                    tests.append { regex.matches($0) == wanted }
                } catch {
                    throw .invalidRegex(value, reason: error.description)
                }
            }
        }
        return { text in tests.allSatisfy { $0(text) } }
    }
}

/// The labels by which a series and its info series find each other.
private struct InfoKey: Hashable {
    let instance: String
    let job: String

    init(_ labels: Labels) {
        instance = labels["instance"]
        job = labels["job"]
    }

    var isEmpty: Bool { instance.isEmpty && job.isEmpty }
}

/// The series of one info metric that share their identifying labels; at each step the one with the newest sample counts.
private struct InfoMetric {
    let name: String
    private(set) var series: [Labels] = []
    /// The series in force at each step, -1 for none.
    private(set) var newest: [Int]
    private var times: [Int64]

    init(name: String, steps: Int) {
        self.name = name
        newest = [Int](repeating: -1, count: steps)
        times = [Int64](repeating: .min, count: steps)
    }

    mutating func add(
        _ columns: SeriesColumns, _ grid: StepGrid, lookback: Int64
    ) throws(QueryError) {
        let number = series.count
        series.append(columns.labels)
        var next = 0
        for step in 0..<grid.count {
            next = firstIndex(after: grid.time(step), in: columns.timestamps, from: next)
            guard next > 0 else { continue }
            let time = columns.timestamps[next - 1]
            guard time > grid.time(step) - lookback,
                !StalenessMarker.isMarker(columns.values[next - 1])
            else { continue }
            if newest[step] >= 0, times[step] == time {
                throw .duplicateInfo(
                    series[newest[step]].bracedText, columns.labels.bracedText, time)
            }
            if newest[step] < 0 || times[step] < time {
                newest[step] = number
                times[step] = time
            }
        }
    }
}
