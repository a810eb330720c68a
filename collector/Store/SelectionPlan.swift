import Model
import Storage
import Synchronization

/// Times in (after, through], milliseconds since the epoch.
struct TimeSpan: Hashable, Sendable {
    var after: Int64
    var through: Int64

    /// As far as it can be told.
    var length: Int64 {
        let (length, overflow) = through.subtractingReportingOverflow(after)
        return overflow ? .max : length
    }

    func overlaps(_ other: TimeSpan) -> Bool {
        after < other.through && other.after < through
    }

    /// The shortest span that holds both.
    func union(_ other: TimeSpan) -> TimeSpan {
        TimeSpan(after: min(after, other.after), through: max(through, other.through))
    }

    /// `spans` as spans that don't touch each other, ascending.
    static func merged(_ spans: [TimeSpan]) -> [TimeSpan] {
        if spans.count == 1 { return spans }
        var result: [TimeSpan] = []
        for next in spans.sorted(by: { $0.after < $1.after }) {
            if let last = result.last, next.after <= last.through {
                result[result.count - 1] = last.union(next)
            } else {
                result.append(next)
            }
        }
        return result
    }
}

/// Which series a read wants, at which times, and where each goes.
struct SelectionPlan: Sendable {
    /// A series that any selection selects.
    struct Wanted: Sendable {
        var place: SeriesPlace
        var labels: Labels
        /// The times at which selections want it.
        var spans: [TimeSpan]
    }

    var wanted: [Wanted] = []
    /// Where a series is in `wanted`, by its number.
    var indices: [Int32: Int] = [:]
    /// What chunks still have of a group although it is deleted, by slot; mostly nothing.
    var deletions: [Int32: [(slot: Int, deletion: Deletion)]] = [:]
    /// Retention classes of the groups.
    var classes: Set<Int16> = []
    /// Places in `wanted` of each selection in label order.
    var bySelection: [[Int]] = []

    var groups: Set<Int32> { Set(wanted.map(\.place.group)) }

    /// Wants the series `number` in `span`; where it is new, `find` is asked for its place, its labels and the retention
    /// class of its group.
    mutating func want(
        _ number: Int32, in span: TimeSpan,
        _ find: () -> (place: SeriesPlace, labels: Labels, retentionClass: Int16)?
    ) -> Int? {
        if let index = indices[number] {
            if wanted[index].spans.last != span { wanted[index].spans.append(span) }
            return index
        }
        guard let found = find() else { return nil }
        classes.insert(found.retentionClass)
        indices[number] = wanted.count
        wanted.append(Wanted(place: found.place, labels: found.labels, spans: [span]))
        return wanted.count - 1
    }

    /// What is read together: spans that are nearly the same. Two selections far from each other are two units, so that
    /// nothing between them is read.
    func units() -> [ReadUnit] {
        // Most series have one list of spans in common.
        var known: [[TimeSpan]: [TimeSpan]] = [:]
        let merged = wanted.map { series in
            if let spans = known[series.spans] { return spans }
            let spans = TimeSpan.merged(series.spans)
            known[series.spans] = spans
            return spans
        }
        let distinct = Set(known.values.lazy.flatMap { $0 }).sorted {
            ($0.after, $0.through) < ($1.after, $1.through)
        }
        var units: [(unit: ReadUnit, shortest: Int64)] = []
        var unitOf: [TimeSpan: Int] = [:]
        for span in distinct {
            let shortest = min(units.last?.shortest ?? .max, span.length)
            if let last = units.last?.unit.span, last.overlaps(span),
                last.union(span).length / 2 <= shortest
            {
                units[units.count - 1].unit.span = last.union(span)
                units[units.count - 1].shortest = shortest
            } else {
                units.append((ReadUnit(span: span), span.length))
            }
            unitOf[span] = units.count - 1
        }
        for (index, series) in wanted.enumerated() {
            for span in merged[index] {
                guard let unit = unitOf[span] else { continue }
                units[unit].unit.slotsByGroup[series.place.group, default: []].append(
                    WantedSlot(slot: Int(series.place.slot), index: index, span: span))
                units[unit].unit.wantedCount += 1
            }
        }
        return units.map(\.unit)
    }
}

/// A series' place in its group, in the plan, and the times wanted of it.
struct WantedSlot: Sendable {
    var slot: Int
    var index: Int
    var span: TimeSpan
}

/// Series that are read for about the same times.
struct ReadUnit: Sendable {
    /// Holds those of all slots.
    var span: TimeSpan
    var slotsByGroup: [Int32: [WantedSlot]] = [:]
    var wantedCount = 0

    /// The groups, ascending, in at most `count` runs of about as many wanted series each.
    func runs(_ count: Int) -> [[Int32]] {
        let target = (wantedCount + count - 1) / max(1, count)
        var runs: [[Int32]] = []
        var weight = target
        for group in slotsByGroup.keys.sorted() {
            if weight >= target {
                runs.append([])
                weight = 0
            }
            runs[runs.count - 1].append(group)
            weight += slotsByGroup[group]?.count ?? 0
        }
        return runs
    }
}

/// The samples that one read holds so far, over all tasks that share it.
final class SampleMeter: Sendable {
    private let samplesMax: Int
    private let share: SampleShare
    private let count = Atomic(0)

    init(samplesMax: Int, share: SampleShare) {
        self.samplesMax = samplesMax
        self.share = share
    }

    /// Throws where these are too many for one query, or for all that run.
    func take(_ samples: Int) throws(StorageError) {
        let held = count.add(samples, ordering: .relaxed).newValue
        guard held <= samplesMax else {
            throw .limitExceeded(limit: "limits.query_samples", maximum: samplesMax)
        }
        guard share.grow(to: held) else { throw .crowded }
    }
}
