import LogQL
import LogQLSyntax
import Model
import Storage
import Synchronization

// Metric queries. What counts answer exactly is taken from the store's counts by minute, the rest is read.
extension LogQueryService {
    /// Parts of a selection that alternate between counts and entries; where there would be more, all is read: each part
    /// is a question of its own to the store.
    static let spansMax = 2_000

    /// With `isCut` too many series are cut instead of refused.
    func numbers(
        _ expression: MetricExpression, _ times: MetricTimes, isCut: Bool
    ) async throws(QueryFailure) -> LogAnswer {
        var limits = limits.metric
        limits.isCutAtSeriesMax = isCut
        // Aligned to the step they are up to two more than were judged.
        limits.pointsMax += 2
        let counting = MetricCounting.fitting(expression, at: times)
        let plan: MetricPlan
        do {
            plan = try MetricPlan(
                expression, at: times, limits: limits, counting: counting)
        } catch { throw QueryFailure(error) }
        let grid = LogRateGrid(
            widthNanoseconds: counting.widthNanoseconds,
            phaseNanoseconds: counting.phaseNanoseconds)
        return try await answer { [self] in try await numbers(plan, grid) }
    }

    private func numbers(_ plan: MetricPlan, _ grid: LogRateGrid) async throws -> LogAnswer {
        let evaluation = MetricEvaluation(run: try MetricRun(plan, locations: locations))
        for (index, selection) in plan.selections.enumerated() {
            var spans = evaluation.run.withLock { $0.spans(of: index) }
            if spans.count > Self.spansMax {
                spans = [
                    MetricSpan(
                        after: selection.from.advanced(byNanoseconds: -1),
                        through: selection.to.advanced(byNanoseconds: -1), isCounted: false)
                ]
            }
            try await feed(evaluation, selection, index, spans, grid)
        }
        return try await withTaskExecutorPreference(executor) {
            try evaluation.run.withLock {
                var statistics = LogStatistics()
                statistics.scannedLineCount = $0.scannedLineCount
                statistics.scannedByteCount = $0.scannedByteCount
                statistics.countedLineCount = $0.countedLineCount
                var answer = LogAnswer(.metric(try $0.result()), statistics)
                if $0.isCut {
                    answer.warnings = [
                        "maximum number of series (\(limits.metric.seriesMax)) reached for a single "
                            + "query; returning partial results"
                    ]
                }
                return answer
            }
        }
    }

    /// Everything of a selection, in the order of time.
    private func feed(
        _ evaluation: MetricEvaluation, _ selection: MetricSelection, _ index: Int,
        _ spans: [MetricSpan], _ grid: LogRateGrid
    ) async throws {
        let fields = try await fieldsWanted(selection.metadata, selection.matchers)
        var exactness = CountExactness(service: self, selection: selection)
        var counts = RateSlices(service: self, matchers: selection.matchers, grid: grid)
        let bytesMax = limits.scannedBytesMax
        let horizon = spans.last(where: \.isCounted)?.through ?? selection.to
        for span in spans {
            var after = span.after
            while after < span.through {
                var through = span.through
                if span.isCounted {
                    let slice = try await counts.slice(
                        after: after, through: span.through, horizon: horizon)
                    through = slice.through
                    if try await exactness.holds(slice.page.streams) {
                        try evaluation.accept(slice.page, selection: index)
                        after = through
                        continue
                    }
                }
                var wanted = LogSelection(
                    matchers: selection.matchers, needles: selection.needles,
                    from: after.advanced(byNanoseconds: 1),
                    to: through.advanced(byNanoseconds: 1), direction: .forward)
                wanted.metadata = fields
                try await forEachPage(wanted) { page in
                    try evaluation.accept(page, selection: index, scannedBytesMax: bytesMax)
                    return true
                }
                after = through
            }
        }
    }
}

/// A `MetricRun` that pages flow into, from whatever thread brings them.
private final class MetricEvaluation: Sendable {
    /// Counts that are handed over in one go.
    private static let countsPerRun = 4_096

    let run: Mutex<MetricRun>

    init(run: sending MetricRun) { self.run = Mutex(run) }

    func accept(_ page: LogPage, selection: Int, scannedBytesMax: Int) throws {
        try run.withLock {
            try $0.accept(page.entries, page.streamIndexes, page.streams, selection: selection)
            guard $0.scannedByteCount <= scannedBytesMax else {
                throw LogQLError.limit(.scannedBytes(max: scannedBytesMax))
            }
        }
    }

    func accept(_ page: LogRatePage, selection: Int) throws {
        var rest = page.rates[...]
        while !rest.isEmpty {
            let part = rest.prefix(Self.countsPerRun)
            rest = rest.dropFirst(part.count)
            let counts = part.map {
                LineCount(
                    through: $0.through, lineCount: $0.lineCount, byteCount: $0.byteCount,
                    level: $0.level)
            }
            try run.withLock {
                try $0.accept(counts, part.map(\.streamIndex), page.streams, selection: selection)
            }
        }
    }
}

/// Whether counts by stream and level say by which labels lines are grouped.
private struct CountExactness {
    let service: LogQueryService
    let selection: MetricSelection
    /// Nil before somebody asked.
    private var names: Set<String>??

    init(service: LogQueryService, selection: MetricSelection) {
        self.service = service
        self.selection = selection
    }

    /// Of these streams' counts. A label that a stream has is the label of all its lines; one that it lacks may be a
    /// field beside a line.
    mutating func holds(_ streams: [Labels]) async throws -> Bool {
        if names == nil { names = .some(try await service.fieldNames?(selection.matchers)) }
        let doubtful: Set<String>
        if let known = names ?? nil {
            guard known.isDisjoint(with: PipelineLabelNames.errors) else { return false }
            doubtful = selection.groupingLabels.filter { Self.canBeField($0, known) }
        } else {
            // The level is an entry's own, not a field.
            doubtful = selection.groupingLabels.subtracting([MetricCounting.levelLabel])
        }
        return doubtful.allSatisfy { name in streams.allSatisfy { !$0[name].isEmpty } }
    }

    /// Also by way of the name that a field has beside a stream's label.
    private static func canBeField(_ name: String, _ known: Set<String>) -> Bool {
        let suffix = PipelineLabelNames.extractedSuffix
        return known.contains(name)
            || name.hasSuffix(suffix) && known.contains(String(name.dropLast(suffix.count)))
    }
}
