import Model
import PromQL
import Storage

/// A range query over the steps that the cache knows and those that it does not.
struct CachedRange {
    private let text: String
    private let key: RangeAnswerCache.Key
    /// The first and the last step.
    private let start: Int64
    private let end: Int64
    private let stepMS: Int64
    /// The last step that may be kept.
    private let settled: Int64
    private let version: UInt64
    /// Steps from `start` on that are known.
    let known: RangeAnswerCache.Answer?

    /// Nil where none of the steps may be kept. `text` is the query; `now` in milliseconds since the epoch.
    init?(
        _ text: String, _ parameters: QueryParameters, now: Int64, cache: RangeAnswerCache,
        history: (UInt64) -> HistoryChange
    ) {
        self.text = text
        stepMS = parameters.stepMS
        start = parameters.start.rawValue
        let span = parameters.end.rawValue - start
        guard stepMS > 0, span >= 0 else { return nil }
        end = start + span / stepMS * stepMS
        let old = now - HistoryChange.settledMilliseconds
        guard start <= old, start >= 0 else { return nil }
        settled = min(end, start + (old - start) / stepMS * stepMS)
        key = RangeAnswerCache.Key(
            text: Array(text.utf8), stepMS: stepMS, phase: start % stepMS,
            lookbackDeltaMS: parameters.lookbackDeltaMS)
        let entry = cache.answer(key)
        // Before anything is read: what changes from here on is told next time.
        let change = history(entry?.version ?? 0)
        version = change.version
        guard let entry, entry.start <= start else {
            known = nil
            return
        }
        var last = min(entry.end, end)
        if let earliest = change.earliest?.rawValue {
            guard earliest > start else {
                known = nil
                return
            }
            last = min(last, start + (earliest - 1 - start) / stepMS * stepMS)
        }
        known = last >= start ? entry.cut(start, last) : nil
    }

    /// The first step that has to be computed; nil: all are known.
    var firstUnknown: Int64? {
        guard let known else { return start }
        return known.end < end ? known.end + stepMS : nil
    }

    /// What is known and `computed`, the answer from `firstUnknown` on, which is taken; keeps what of it is settled.
    func joined(
        _ computed: inout MetricAnswer?, keepingIn cache: RangeAnswerCache
    ) -> MetricAnswer {
        var answer = computed ?? MetricAnswer(value: .matrix([]))
        computed = nil
        guard let first = firstUnknown, let series = answer.takeSeries() else {
            cache.count { $0.whole += 1 }
            guard let known else { return answer }
            answer.value = .matrix(known.series)
            answer.note(known.annotations, on: text)
            return answer
        }
        var whole = RangeAnswerCache.Answer(
            start: first, end: end, series: series, annotations: answer.annotations,
            version: version)
        if var joined = known {
            cache.count { $0.partial += 1 }
            joined.append(&whole)
            whole = joined
        } else {
            cache.count { $0.none += 1 }
        }
        cache.keep(whole, from: start, through: settled, version: version, key)
        answer.value = .matrix(whole.series)
        answer.note(whole.annotations, on: text)
        return answer
    }
}

extension MetricAnswer {
    /// Takes the series out of it, so that they are in memory once whatever is made of them; nil where it has none.
    fileprivate mutating func takeSeries() -> [SeriesColumns]? {
        guard case .matrix(let series) = value else { return nil }
        value = .matrix([])
        return series
    }
}
