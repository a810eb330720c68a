import Model
import PromQLSyntax
import QueryMath
import ScriptReport

/// A sample of a script's line.
enum ScriptSample: Hashable {
    case omitted
    case number(Double)
    /// `hint` is nil where the script doesn't say.
    case histogram(FloatHistogram, hint: FloatHistogram.CounterResetHint?)
}

extension SeriesDescription {
    /// The samples that the values stand for; `a+bxN` adds repeatedly, so that rounding is as in Prometheus.
    ///
    /// Throws for histograms whose buckets can't be, and for those that can't be added.
    func samples() throws(ScriptFailure) -> [ScriptSample] {
        var result: [ScriptSample] = []
        result.reserveCapacity(values.count)
        var current = FloatHistogram()
        for value in values {
            switch value {
            case .omitted: result.append(.omitted)
            case .float(let number): result.append(.number(number))
            case .histogram(let base, let increment, let increments):
                if let increment, increments != 0 {
                    current = try next(current, increment, isAddition: increments > 0)
                } else {
                    current = try base.histogram()
                }
                let hint = increment.map(\.counterResetHint) ?? base.counterResetHint
                result.append(.histogram(current, hint: hint.map(\.hint)))
            }
        }
        return result
    }

    private func next(
        _ current: FloatHistogram, _ increment: HistogramDescription, isAddition: Bool
    ) throws(ScriptFailure) -> FloatHistogram {
        var merge = HistogramMerge()
        let increment = try increment.histogram()
        do {
            return isAddition
                ? try current.adding(increment, noting: &merge)
                : try current.subtracting(increment, noting: &merge)
        } catch {
            throw ScriptFailure("an exponential histogram plus one with custom buckets")
        }
    }
}

extension HistogramDescription {
    /// Throws where such buckets can't be; counts are not looked at.
    fileprivate func histogram() throws(ScriptFailure) -> FloatHistogram {
        let histogram = FloatHistogram(
            schema: Int32(clamping: schema), count: count, sum: sum,
            zeroThreshold: zeroBucketWidth, zeroCount: zeroBucket,
            positive: FloatHistogram.Buckets(first: Int32(clamping: offset), counts: buckets),
            negative: FloatHistogram.Buckets(
                first: Int32(clamping: negativeOffset), counts: negativeBuckets),
            customBounds: customValues, counterResetHint: counterResetHint?.hint ?? .unknown)
        if let defect = histogram.layoutDefect { throw ScriptFailure(defect) }
        return histogram
    }
}

extension HistogramDescription.CounterResetHint {
    fileprivate var hint: FloatHistogram.CounterResetHint {
        switch self {
        case .unknown: .unknown
        case .reset: .reset
        case .notReset: .notReset
        case .gauge: .gauge
        }
    }
}

/// Gives the histograms of a series the hints that Prometheus' store gives back.
///
/// It keeps runs of histograms that only ever grow in one chunk, and knows of each but the first of a chunk that it
/// follows no reset. An explicit `reset` begins a chunk, and so does a number between two histograms, or the end of a
/// series. Source: Prometheus 3.14 `FloatHistogramAppender.appendable`, `counterResetHint`.
struct HintKeeper {
    private var last: FloatHistogram?

    /// A number or the end of the series comes between.
    mutating func interrupt() { last = nil }

    /// The hint of the next histogram.
    mutating func hint(of histogram: FloatHistogram) -> FloatHistogram.CounterResetHint {
        defer { last = histogram }
        if histogram.counterResetHint == .gauge { return .gauge }
        guard let last, last.counterResetHint != .gauge, histogram.counterResetHint != .reset,
            histogram.schema == last.schema, histogram.zeroThreshold == last.zeroThreshold,
            histogram.customBounds == last.customBounds
        else { return .unknown }
        return histogram.hinted(.unknown).isReset(since: last) ? .unknown : .notReset
    }
}

/// One classic histogram at one time, on its way to one with custom buckets.
/// Source: Prometheus 3.14 `util/convertnhcb`.
struct ClassicHistogram {
    /// Cumulative counts by upper bound.
    private var buckets: [Double: Double] = [:]
    var count: Double?
    var sum = 0.0

    /// Of two buckets with the same bound the first counts.
    mutating func add(_ count: Double, upTo bound: Double) {
        if buckets[bound] == nil { buckets[bound] = count }
    }

    /// Throws where the counts are no histogram.
    func converted() throws(ScriptFailure) -> FloatHistogram {
        var bounds = buckets.keys.sorted()
        var counts = bounds.map { buckets[$0] ?? 0 }
        let total = count ?? counts.last ?? 0
        if bounds.last != .infinity {
            bounds.append(.infinity)
            counts.append(total)
        }
        guard counts.last == total else { throw ScriptFailure("count and +Inf bucket differ") }
        var previous = 0.0
        for index in counts.indices {
            guard counts[index] >= previous else {
                throw ScriptFailure("buckets aren't cumulative")
            }
            let own = counts[index] - previous
            previous = counts[index]
            counts[index] = own
        }
        let histogram = FloatHistogram(
            schema: FloatHistogram.customSchema, count: total, sum: sum,
            positive: FloatHistogram.Buckets(first: 0, counts: counts),
            customBounds: bounds.dropLast())
        return histogram.compacted()
    }
}
