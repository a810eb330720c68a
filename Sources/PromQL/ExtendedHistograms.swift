import Model
import PromQLSyntax
import QueryMath

/// `anchored` and `smoothed` ranges and selectors of series with histograms.
///
/// Source: Prometheus 3.14 `extendedHistogramRate`, `correctForCounterResetsHistogram`, `smoothSeries`.
extension Evaluator {
    /// Corrects `row`, the result over the numbers alone, at each step whose window has histograms.
    func overlayEdgedHistograms(
        _ call: RangeCallPlan, _ input: RangeSeries, _ grid: StepGrid, on row: inout Row
    ) {
        let windows = Windows(call.range, grid, isCancelled: isCancelled)
        let isSmoothed = call.range.selector.edges == .smoothed
        let lookback = parameters.lookbackDeltaMS
        let events = EventTotals(call.function, input, parameters.usesStartTimestamps)
        for step in 0..<grid.count {
            if step & 63 == 63, isCancelled() { break }
            let start = windows.start(step)
            let end = windows.end(step)
            let after = start - lookback
            let through = isSmoothed ? end + lookback : end
            let histograms = places(input.histogramTimestamps, after, through)
            if histograms.isEmpty { continue }
            let numbers = places(input.timestamps, after, through)
            row.clear(step)
            if let events {
                let count = anchoredEvents(events, input, numbers, histograms, start)
                if let count { row.values[step] = Double(count) }
                continue
            }
            guard numbers.isEmpty else {
                remark(.mixedRange(metric: input.labels.metricName), at: call.position)
                continue
            }
            let window = EdgedHistograms(
                input.histograms[histograms], start: start, end: end, isSmoothed: isSmoothed)
            guard let window, let change = edgedChange(call, input, window) else { continue }
            row.set(change, step)
        }
    }

    private func places(_ times: [Int64], _ after: Int64, _ through: Int64) -> Range<Int> {
        let lower = firstIndex(after: after, in: times, from: 0)
        return lower..<firstIndex(after: through, in: times, from: lower)
    }

    /// `changes` or `resets` from the last sample at or before the start on; nil without a sample behind it.
    /// Source: Prometheus 3.14 `pickFirstSampleIndices`.
    private func anchoredEvents(
        _ events: EventTotals, _ input: RangeSeries, _ numbers: Range<Int>,
        _ histograms: Range<Int>, _ start: Int64
    ) -> Int? {
        var number = firstIndex(after: start, in: input.timestamps, from: numbers.lowerBound)
        var histogram = firstIndex(
            after: start, in: input.histogramTimestamps, from: histograms.lowerBound)
        number = min(number, numbers.upperBound)
        histogram = min(histogram, histograms.upperBound)
        if number == numbers.upperBound, histogram == histograms.upperBound { return nil }
        let numberBefore =
            number > numbers.lowerBound ? input.timestamps[number - 1] : Int64.min
        let histogramBefore =
            histogram > histograms.lowerBound
            ? input.histogramTimestamps[histogram - 1] : Int64.min
        if numberBefore != .min, numberBefore >= histogramBefore {
            number -= 1
        } else if histogramBefore != .min {
            histogram -= 1
        }
        return events.count(number..<numbers.upperBound, histogram..<histograms.upperBound)
    }

    private func edgedChange(
        _ call: RangeCallPlan, _ input: RangeSeries, _ window: EdgedHistograms
    ) -> FloatHistogram? {
        let isCounter = call.function != .delta
        let metric = input.labels.metricName
        let isCustom = window.samples[window.first].histogram.hasCustomBuckets
        for sample in window.samples[window.first...window.last] {
            guard sample.histogram.hasCustomBuckets == isCustom else {
                remark(.mixedBuckets(metric: metric), at: call.position)
                return nil
            }
            if isCounter, sample.histogram.counterResetHint == .gauge {
                remark(.notCounter(metric: metric), at: call.position)
            }
        }
        var notes = MergeNotes()
        defer { remark(notes, at: call.position) }
        do throws(MixedBucketSchemas) {
            let left = try window.left(isCounter: isCounter, &notes)
            let right = try window.right(isCounter: isCounter, &notes)
            if !isCounter, left.counterResetHint != .gauge || right.counterResetHint != .gauge {
                remark(.notGauge(metric: metric), at: call.position)
            }
            var change = try right.subtracting(left, noting: &notes.subtraction)
            if isCounter, let hidden = try window.hidden(left, right, &notes) {
                change = try change.adding(hidden, noting: &notes.addition)
            }
            if call.function == .rate {
                change = change.divided(by: Double(call.range.duration) / 1000)
            }
            return change.hinted(.gauge).compacted()
        } catch {
            remark(.mixedBuckets(metric: metric), at: call.position)
            return nil
        }
    }

    private func remark(_ notes: MergeNotes, at position: Int) {
        remarkBounds(notes.subtraction, in: .subtraction, at: position)
        remarkBounds(notes.addition, in: .addition, at: position)
    }

    /// The smoothed instant selector over a series with histograms: numbers and histograms near one step don't mix.
    func smoothHistograms(
        _ columns: SeriesColumns, _ selector: SelectorPlan, _ grid: StepGrid, into row: inout Row
    ) throws(QueryError) {
        let samples = columns.histograms
        let times = samples.map(\.timestamp)
        let lookback = parameters.lookbackDeltaMS
        let numberTimes = columns.timestamps.indices.filter {
            !StalenessMarker.isMarker(columns.values[$0])
        }.map { columns.timestamps[$0] }
        for step in 0..<grid.count {
            if step & 63 == 63 { try checkCancelled() }
            let reference = selector.reference(at: grid.time(step))
            let near = places(times, reference - lookback, reference + lookback)
            if near.isEmpty { continue }
            row.clear(step)
            let metric = columns.labels.metricName
            guard places(numberTimes, reference - lookback, reference + lookback).isEmpty else {
                remark(.mixedRange(metric: metric), at: selector.position)
                continue
            }
            let next = firstIndex(after: reference - 1, in: times, from: near.lowerBound)
            if next < near.upperBound, times[next] == reference {
                row.set(samples[next].histogram, step)
            } else if next > near.lowerBound, next < near.upperBound {
                let pair = (samples[next - 1], samples[next])
                if let histogram = between(pair, reference, metric, selector.position) {
                    row.set(histogram, step)
                }
            } else if next > near.lowerBound {
                // The hint tells of the sample before, not of the value.
                row.set(samples[next - 1].histogram.hinted(.unknown), step)
            }
        }
    }

    private func between(
        _ pair: (HistogramSample, HistogramSample), _ time: Int64, _ metric: String,
        _ position: Int
    ) -> FloatHistogram? {
        let areGauges =
            pair.0.histogram.counterResetHint == .gauge
            && pair.1.histogram.counterResetHint == .gauge
        guard pair.0.histogram.hasCustomBuckets == pair.1.histogram.hasCustomBuckets else {
            remark(.mixedBuckets(metric: metric), at: position)
            return nil
        }
        var notes = MergeNotes()
        defer { remark(notes, at: position) }
        do {
            return try interpolated(
                pair.0, pair.1, at: time, isCounter: !areGauges, &notes)
        } catch {
            remark(.mixedBuckets(metric: metric), at: position)
            return nil
        }
    }
}

private struct MergeNotes {
    var addition = HistogramMerge()
    var subtraction = HistogramMerge()
}

/// The histograms around one window: those inside and, within the lookback delta, beside it.
private struct EdgedHistograms {
    let samples: ArraySlice<HistogramSample>
    let start: Int64
    let end: Int64
    let isSmoothed: Bool
    /// The first sample that counts: the last at or before the start, or the first there is.
    let first: Int
    /// The last sample that counts: smoothed, the first at or after the end, or the last there is.
    let last: Int

    /// Nil where the window has no sample. `samples` isn't empty.
    init?(
        _ samples: ArraySlice<HistogramSample>, start: Int64, end: Int64, isSmoothed: Bool
    ) {
        self.samples = samples
        self.start = start
        self.end = end
        self.isSmoothed = isSmoothed
        let final = samples.endIndex - 1
        let inside = samples[..<final].firstIndex { $0.timestamp > start } ?? final
        first = max(samples.startIndex, inside - 1)
        last = isSmoothed ? samples[..<final].firstIndex { $0.timestamp >= end } ?? final : final
        if samples[last].timestamp <= start { return nil }
        if isSmoothed, samples[first].timestamp > end { return nil }
    }

    private var cutsLeft: Bool { isSmoothed && samples[first].timestamp < start }

    /// The histogram at the start of the window.
    func left(
        isCounter: Bool, _ notes: inout MergeNotes
    ) throws(MixedBucketSchemas) -> FloatHistogram {
        guard cutsLeft else { return samples[first].histogram }
        return try interpolated(
            samples[first], samples[first + 1], at: start, isCounter: isCounter, &notes)
    }

    /// The histogram at the end of the window.
    func right(
        isCounter: Bool, _ notes: inout MergeNotes
    ) throws(MixedBucketSchemas) -> FloatHistogram {
        guard isSmoothed, last > samples.startIndex, samples[last].timestamp > end else {
            return samples[last].histogram
        }
        return try interpolated(
            samples[last - 1], samples[last], at: end, isCounter: isCounter, &notes)
    }

    /// What counter resets between the edges hid; nil where there are none.
    func hidden(
        _ left: FloatHistogram, _ right: FloatHistogram, _ notes: inout MergeNotes
    ) throws(MixedBucketSchemas) -> FloatHistogram? {
        var next = first + 1
        var previous = left
        if cutsLeft,
            samples[first + 1].histogram.isReset(since: samples[first].histogram)
        {
            // The interpolation at the left edge has dealt with this reset.
            previous = samples[first + 1].histogram
            next += 1
        }
        // `right` stands for the last sample.
        guard next <= last else { return nil }
        var sum: FloatHistogram?
        for histogram in samples[next..<last].map(\.histogram) + [right] {
            if histogram.isReset(since: previous) {
                sum = try sum?.adding(previous, noting: &notes.addition) ?? previous
            }
            previous = histogram
        }
        return sum
    }
}

/// The histogram at `time` on the line from `old` to `new`; a counter that was reset is taken to rise from zero.
/// Source: Prometheus 3.14 `interpolateHistograms`.
private func interpolated(
    _ old: HistogramSample, _ new: HistogramSample, at time: Int64, isCounter: Bool,
    _ notes: inout MergeNotes
) throws(MixedBucketSchemas) -> FloatHistogram {
    if time == old.timestamp { return old.histogram }
    if time == new.timestamp { return new.histogram }
    let share = Double(time - old.timestamp) / Double(new.timestamp - old.timestamp)
    if isCounter, new.histogram.isReset(since: old.histogram) {
        return new.histogram.multiplied(by: share)
    }
    let rise = try new.histogram.subtracting(old.histogram, noting: &notes.subtraction)
    return try rise.multiplied(by: share).adding(old.histogram, noting: &notes.addition)
}
