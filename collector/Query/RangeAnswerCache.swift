import Model
import PromQL
import Storage
import Synchronization

/// Answers of range queries that stay true, so that a dashboard which asks again computes its newest steps alone.
///
/// Kept are steps that lie `HistoryChange.settledMilliseconds` and more in the past, of queries that are separable
/// (`PreparedQuery.isSeparable`). An answer serves every later query of the same text, step, lookback delta and phase of
/// steps that begins within it. Source: the cache of Cortex' and Thanos' query frontends. Safe from any thread.
final class RangeAnswerCache: Sendable {
    /// Beyond it the answers that were not used for longest go.
    static let bytesMax = 8 << 20
    static let bytesPerAnswerMax = bytesMax / 4
    /// An answer with more remarks is not kept: they stay while the series that caused them go.
    static let annotationsMax = 16

    struct Key: Hashable {
        /// The query's bytes: texts that Swift takes for the same string may ask for different series.
        var text: [UInt8]
        var stepMS: Int64
        /// The remainder of its times by the step.
        var phase: Int64
        var lookbackDeltaMS: Int64
    }

    struct Answer {
        /// The first and the last step, milliseconds since the epoch.
        var start: Int64
        var end: Int64
        /// In label order.
        var series: [SeriesColumns]
        /// Of one that is kept, none that is about samples.
        var annotations: [Annotation]
        /// Of the history when it was computed.
        var version: UInt64
    }

    private struct Entry {
        var answer: Answer
        var byteCount: Int
        var lastUsed: UInt64
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var byteCount = 0
        var uses: UInt64 = 0
        var counts = Counts()
    }

    struct Counts: Hashable {
        /// Queries of which the cache knew all steps, some, and none.
        var whole = 0
        var partial = 0
        var none = 0
        var byteCount = 0
    }

    private let state = Mutex(State())

    /// What is known for `key`.
    func answer(_ key: Key) -> Answer? {
        state.withLock { state in
            guard let index = state.entries.index(forKey: key) else { return nil }
            state.uses += 1
            state.entries.values[index].lastUsed = state.uses
            return state.entries.values[index].answer
        }
    }

    /// Keeps the steps of `answer` in `start ... end`, as of `version`, in place of what was known for `key`; none where
    /// they are too many. Where it is remarked on for samples what was known stays: nobody could say later whether the
    /// remark is about the steps that are asked for then.
    func keep(
        _ answer: Answer, from start: Int64, through end: Int64, version: UInt64, _ key: Key
    ) {
        guard answer.annotations.count <= Self.annotationsMax,
            !answer.annotations.contains(where: \.isOfSamples)
        else { return }
        // Before a copy of it is made, which may be the greatest part of memory.
        let byteCount = Self.byteCount(answer, start, end, key)
        var kept: Answer?
        if byteCount <= Self.bytesPerAnswerMax {
            kept = answer.cut(start, end)
            kept?.version = version
        }
        state.withLock { state in
            if let old = state.entries.removeValue(forKey: key) { state.byteCount -= old.byteCount }
            guard let kept else { return }
            state.uses += 1
            state.entries[key] = Entry(answer: kept, byteCount: byteCount, lastUsed: state.uses)
            state.byteCount += byteCount
            guard state.byteCount > Self.bytesMax else { return }
            for (key, entry) in state.entries.sorted(by: { $0.value.lastUsed < $1.value.lastUsed })
            {
                guard state.byteCount > Self.bytesMax / 8 * 7 else { break }
                state.entries[key] = nil
                state.byteCount -= entry.byteCount
            }
        }
    }

    func count(_ change: (inout Counts) -> Void) { state.withLock { change(&$0.counts) } }

    var counts: Counts {
        state.withLock { state in
            var counts = state.counts
            counts.byteCount = state.byteCount
            return counts
        }
    }

    /// What its steps in `start ... end` weigh in memory, about.
    private static func byteCount(
        _ answer: Answer, _ start: Int64, _ end: Int64, _ key: Key
    ) -> Int {
        let texts = answer.annotations.reduce(400 + key.text.count) {
            $0 + $1.message.utf8.count + 100
        }
        return answer.series.reduce(texts) { sum, series in
            let numbers = series.places(start, end).count
            let histograms = series.histograms.reduce(0) { sum, sample in
                (start...end).contains(sample.timestamp) ? sum + sample.histogram.weight : sum
            }
            guard numbers + histograms > 0 else { return sum }
            let labels = series.labels.reduce(0) {
                $0 + $1.name.utf8.count + $1.value.utf8.count + 40
            }
            return sum + labels + 160 + 16 * (numbers + histograms)
        }
    }
}

extension RangeAnswerCache.Answer {
    /// Its steps in `start ... end`, which lie within its own.
    func cut(_ start: Int64, _ end: Int64) -> Self {
        var cut = self
        cut.start = start
        cut.end = end
        if start == self.start, end == self.end { return cut }
        cut.series = series.compactMap { $0.cut(start, end) }
        return cut
    }

    /// Takes `later` in behind it, series by series, so that none is in memory twice; no step is in both.
    mutating func append(_ later: inout Self) {
        end = later.end
        version = min(version, later.version)
        annotations = Annotation.joined(annotations, later.annotations)
        var indices: [Labels: Int] = [:]
        for (index, series) in series.enumerated() { indices[series.labels] = index }
        var isNew = false
        while let next = later.series.popLast() {
            guard let index = indices[next.labels] else {
                series.append(next)
                isNew = true
                continue
            }
            series[index].timestamps += next.timestamps
            series[index].values += next.values
            series[index].histograms += next.histograms
        }
        if isNew { series.sort { $0.labels < $1.labels } }
    }
}

extension SeriesColumns {
    /// Where the numbers in `start ... end` are.
    fileprivate func places(_ start: Int64, _ end: Int64) -> Range<Int> {
        let low = timestamps.firstIndex { $0 >= start } ?? timestamps.count
        let past = timestamps.lastIndex { $0 <= end }.map { $0 + 1 } ?? 0
        return low..<max(low, past)
    }

    /// The samples in `start ... end`; nil where there is none.
    fileprivate func cut(_ start: Int64, _ end: Int64) -> SeriesColumns? {
        var cut = SeriesColumns(labels: labels)
        let places = places(start, end)
        cut.timestamps = Array(timestamps[places])
        cut.values = Array(values[places])
        cut.histograms = histograms.filter { $0.timestamp >= start && $0.timestamp <= end }
        return cut.timestamps.isEmpty && cut.histograms.isEmpty ? nil : cut
    }
}
