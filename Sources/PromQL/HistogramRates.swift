import Model
import QueryMath

/// `rate`, `increase` and `delta` of histograms. Source: Prometheus 3.14 `histogramRate`, `extrapolatedRate`.
extension Evaluator {
    /// The change over a window of histograms alone, stretched to the whole window.
    func change(
        _ call: RangeCallPlan, _ input: RangeSeries, _ window: MixedWindow, _ windows: Windows,
        _ resets: [Bool]
    ) -> WindowResult {
        let isCounter = call.function != .delta
        let samples = input.histograms[window.histograms]
        let first = samples[samples.startIndex]
        let last = samples[samples.endIndex - 1]
        var change: FloatHistogram?
        if samples.count > 1 {
            change = sampledChange(call, input, samples, resets, isCounter: isCounter)
            if change == nil { return .nothing }
        }
        var since: Int64?
        if isCounter, parameters.usesStartTimestamps {
            since = startInside(
                first.startTimestamp, of: first.timestamp, after: windows.start(window.step))
        }
        var zeroShare: Double?
        if isCounter, let change, change.count > 0, first.histogram.count >= 0 {
            zeroShare = first.histogram.count / change.count
        }
        let stretch = stretchFactor(
            start: windows.start(window.step), end: windows.end(window.step),
            first: first.timestamp, last: last.timestamp, intervals: samples.count - 1,
            zeroShare: zeroShare, since: since)
        guard var factor = stretch else { return .nothing }
        if since != nil {
            guard let whole = added(first.histogram, to: change, call, input) else {
                return .nothing
            }
            change = whole
        }
        if call.function == .rate { factor /= Double(windows.duration) / 1000 }
        guard let change else { return .nothing }
        return .histogram(change.multiplied(by: factor))
    }

    /// `histogram` more than `change`; nil where they don't fit together.
    private func added(
        _ histogram: FloatHistogram, to change: FloatHistogram?, _ call: RangeCallPlan,
        _ input: RangeSeries
    ) -> FloatHistogram? {
        guard let change else { return histogram }
        var merge = HistogramMerge()
        do {
            let sum = try change.adding(histogram, noting: &merge)
            remarkBounds(merge, in: .addition, at: call.position)
            return sum
        } catch {
            remark(.mixedBuckets(metric: input.labels.metricName), at: call.position)
            return nil
        }
    }

    /// The last histogram less the first, and what counter resets hid between them; nil where their kinds of buckets
    /// differ. At least two samples.
    private func sampledChange(
        _ call: RangeCallPlan, _ input: RangeSeries, _ samples: ArraySlice<HistogramSample>,
        _ resets: [Bool], isCounter: Bool
    ) -> FloatHistogram? {
        let metric = input.labels.metricName
        let start = samples.startIndex
        let last = samples[samples.endIndex - 1].histogram
        let areGauges = [samples[start].histogram, last].map { $0.counterResetHint == .gauge }
        var remarks: [Remark] = []
        if isCounter, areGauges.contains(true) { remarks.append(.notCounter(metric: metric)) }
        var base = samples[start].histogram
        // Before a reset right behind it the first sample doesn't count, whatever its buckets.
        let isNulled = isCounter && resets[start + 1]
        if isNulled {
            let second = samples[start + 1].histogram
            base = FloatHistogram(schema: second.schema, customBounds: second.customBounds)
        }
        var isMixed = last.hasCustomBuckets != base.hasCustomBuckets
        var coarsest = min(last.schema, base.schema)
        if isCounter, !isMixed {
            for sample in samples.dropFirst().dropLast() {
                let histogram = sample.histogram
                if histogram.counterResetHint == .gauge {
                    remarks.append(.notCounter(metric: metric))
                }
                coarsest = min(coarsest, histogram.schema)
                if histogram.hasCustomBuckets != base.hasCustomBuckets {
                    isMixed = true
                    remarks = []
                    break
                }
            }
        }
        if isMixed { remarks.append(.mixedBuckets(metric: metric)) }
        if !isCounter, !isMixed, areGauges.contains(false) {
            remarks.append(.notGauge(metric: metric))
        }
        for remark in remarks { self.remark(remark, at: call.position) }
        if isMixed { return nil }
        if isCounter { remarkOverlap(call, input, samples) }
        let hidden =
            isCounter ? samples.indices.dropFirst(isNulled ? 2 : 1).filter { resets[$0] } : []
        return difference(
            call, last.reduced(to: coarsest), base,
            hidden.map { input.histograms[$0 - 1].histogram })
    }

    /// `last` less `base`, more each of `hidden`; all have the same kind of buckets.
    private func difference(
        _ call: RangeCallPlan, _ last: FloatHistogram, _ base: FloatHistogram,
        _ hidden: [FloatHistogram]
    ) -> FloatHistogram? {
        var subtraction = HistogramMerge()
        var addition = HistogramMerge()
        do {
            var change = try last.subtracting(base, noting: &subtraction)
            for histogram in hidden { change = try change.adding(histogram, noting: &addition) }
            remarkBounds(subtraction, in: .subtraction, at: call.position)
            remarkBounds(addition, in: .addition, at: call.position)
            return change.hinted(.gauge).compacted()
        } catch {
            return nil
        }
    }

    private func remarkOverlap(
        _ call: RangeCallPlan, _ input: RangeSeries, _ samples: ArraySlice<HistogramSample>
    ) {
        guard parameters.usesStartTimestamps else { return }
        let hasOverlap = zip(samples, samples.dropFirst()).contains { old, new in
            overlaps(old.startTimestamp, old.timestamp, new.startTimestamp)
        }
        if hasOverlap {
            remark(.overlappingStartTime(metric: input.labels.metricName), at: call.position)
        }
    }
}
