import Model
import PromQLSyntax
import QueryMath

/// The samples of one window of a series with histograms, by their places in the columns.
struct MixedWindow {
    var numbers: Range<Int>
    var histograms: Range<Int>
    var step: Int
}

/// Calls `body` for each window that has a sample. Two cursors for each column: O(samples + steps).
func slideMixed(
    _ input: RangeSeries, _ windows: Windows, _ body: (MixedWindow) -> Void
) {
    var lower = 0
    var upper = 0
    var lowerHistogram = 0
    var upperHistogram = 0
    for step in 0..<windows.grid.count {
        if step & 63 == 63, windows.isCancelled() { break }
        let start = windows.start(step)
        let end = windows.end(step)
        lower = firstIndex(after: start, in: input.timestamps, from: lower)
        upper = firstIndex(after: end, in: input.timestamps, from: max(lower, upper))
        lowerHistogram = firstIndex(
            after: start, in: input.histogramTimestamps, from: lowerHistogram)
        upperHistogram = firstIndex(
            after: end, in: input.histogramTimestamps, from: max(lowerHistogram, upperHistogram))
        if lower == upper, lowerHistogram == upperHistogram { continue }
        body(
            MixedWindow(
                numbers: lower..<upper, histograms: lowerHistogram..<upperHistogram, step: step))
    }
}

/// Range functions of series that have histograms.
extension Evaluator {
    /// Corrects `row`, the result over the numbers alone, at each step whose window has histograms.
    func overlayHistograms(
        _ call: RangeCallPlan, _ input: RangeSeries, _ grid: StepGrid, on row: inout Row
    ) {
        if call.range.selector.edges != .plain {
            return overlayEdgedHistograms(call, input, grid, on: &row)
        }
        let windows = Windows(call.range, grid, isCancelled: isCancelled)
        let resets = call.function.looksForResets ? histogramResets(input) : []
        let events = EventTotals(call.function, input, parameters.usesStartTimestamps)
        slideMixed(input, windows) { window in
            guard !window.histograms.isEmpty else { return }
            if let events {
                let count = events.count(window.numbers, window.histograms)
                row.values[window.step] = Double(count)
                return
            }
            switch result(call, input, window, windows, resets) {
            case .kept: break
            case .nothing: row.clear(window.step)
            case .number(let value): row.values[window.step] = value
            case .histogram(let histogram): row.set(histogram, window.step)
            }
        }
    }

    /// Where each histogram is known or found to follow a counter reset.
    private func histogramResets(_ input: RangeSeries) -> [Bool] {
        let samples = input.histograms
        return samples.indices.map { index in
            guard index > 0 else { return false }
            return parameters.usesStartTimestamps
                && isReset(
                    samples[index - 1].startTimestamp, samples[index - 1].timestamp,
                    samples[index].startTimestamp, samples[index].timestamp)
                || samples[index].histogram.isReset(since: samples[index - 1].histogram)
        }
    }

    /// What `call` makes of a window with histograms; `.kept` leaves what it makes of the numbers.
    private func result(
        _ call: RangeCallPlan, _ input: RangeSeries, _ window: MixedWindow, _ windows: Windows,
        _ resets: [Bool]
    ) -> WindowResult {
        let metric = input.labels.metricName
        let firstNumber = window.numbers.first.map { input.timestamps[$0] }
        let lastNumber = window.numbers.last.map { input.timestamps[$0] }
        let samples = input.histograms[window.histograms]
        let first = samples[samples.startIndex]
        let last = samples[samples.endIndex - 1]
        switch call.function {
        case .rate, .increase, .delta:
            guard window.numbers.isEmpty else {
                remark(.mixedRange(metric: metric), at: call.position)
                return .nothing
            }
            return change(call, input, window, windows, resets)
        case .sum, .avg:
            guard window.numbers.isEmpty else {
                remark(.mixedRange(metric: metric), at: call.position)
                return .nothing
            }
            return total(call, samples, metric)
        case .count: return .number(Double(window.numbers.count + samples.count))
        case .present, .absent: return .number(1)
        case .first:
            return firstNumber.map { $0 < first.timestamp } ?? false
                ? .kept : .histogram(first.histogram)
        case .last:
            return lastNumber.map { $0 > last.timestamp } ?? false
                ? .kept : .histogram(last.histogram)
        case .timeOfFirst:
            return .number(Double(min(firstNumber ?? .max, first.timestamp)) / 1000)
        case .timeOfLast:
            return .number(Double(max(lastNumber ?? .min, last.timestamp)) / 1000)
        case .min, .max, .timeOfMin, .timeOfMax, .stddev, .stdvar, .quantile, .mad, .deriv,
            .predictLinear, .doubleExponentialSmoothing:
            if !window.numbers.isEmpty {
                remark(.ignoredInMixedRange(metric: metric), at: call.position)
            }
            return .kept
        case .changes, .resets: preconditionFailure("events are counted by their totals")
        case .irate, .idelta: return instantRate(call, input, window)
        }
    }

    /// `sum_over_time` or `avg_over_time`.
    private func total(
        _ call: RangeCallPlan, _ samples: ArraySlice<HistogramSample>, _ metric: String
    ) -> WindowResult {
        let first = samples[samples.startIndex].histogram
        do {
            if call.function == .sum {
                var sum = HistogramSum(first)
                for sample in samples.dropFirst() { try sum.add(sample.histogram) }
                remark(sum.merge, in: .aggregation, at: call.position)
                return .histogram(sum.value)
            }
            var mean = HistogramMean(first)
            for sample in samples.dropFirst() { try mean.add(sample.histogram) }
            remark(mean.merge, in: .aggregation, at: call.position)
            return .histogram(mean.value)
        } catch {
            remark(.mixedBuckets(metric: metric), at: call.position)
            return .nothing
        }
    }

    /// From the last two samples of the window. Source: Prometheus 3.14 `instantValue`.
    private func instantRate(
        _ call: RangeCallPlan, _ input: RangeSeries, _ window: MixedWindow
    ) -> WindowResult {
        let metric = input.labels.metricName
        let samples = input.histograms[window.histograms].suffix(2)
        let last = samples[samples.endIndex - 1]
        let numberTimes = window.numbers.suffix(2).map { input.timestamps[$0] }
        // The last two of both kinds.
        let newerNumbers = numberTimes.filter { $0 > last.timestamp }
        if newerNumbers.count == 2 { return .kept }
        let before = samples.count == 2 ? samples[samples.startIndex].timestamp : .min
        let isMixed =
            newerNumbers.count == 1
            || (numberTimes.filter { $0 < last.timestamp }.max() ?? .min) > before
        if isMixed {
            remark(.mixedRange(metric: metric), at: call.position)
            return .nothing
        }
        guard samples.count == 2 else { return .nothing }
        let old = samples[samples.startIndex]
        let isRate = call.function == .irate
        let areGauges = [old, last].map { $0.histogram.counterResetHint == .gauge }
        if isRate, areGauges.contains(true) {
            remark(.notCounter(metric: metric), at: call.position)
        }
        if !isRate, areGauges.contains(false) {
            remark(.notGauge(metric: metric), at: call.position)
        }
        var change = last.histogram
        let isStarted =
            parameters.usesStartTimestamps
            && isReset(
                old.startTimestamp, old.timestamp, last.startTimestamp, last.timestamp)
        if !isRate || !isStarted && !last.histogram.isReset(since: old.histogram) {
            var merge = HistogramMerge()
            do { change = try change.subtracting(old.histogram, noting: &merge) } catch {
                remark(.mixedBuckets(metric: metric), at: call.position)
                return .nothing
            }
            remarkBounds(merge, in: .subtraction, at: call.position)
        }
        change = change.hinted(.gauge).compacted()
        guard isRate else { return .histogram(change) }
        return .histogram(
            change.divided(by: Double(last.timestamp - old.timestamp) / 1000))
    }
}

/// What a window with histograms yields.
enum WindowResult {
    /// What the numbers alone yield.
    case kept
    case nothing
    case number(Double)
    case histogram(FloatHistogram)
}

extension RangeFunction {
    /// Whether it corrects for counter resets over the whole window.
    fileprivate var looksForResets: Bool { self == .rate || self == .increase }
}

/// `changes` or `resets` over the numbers and histograms of a series in time order; a change of kind counts as both.
///
/// Events are counted up once, so that those of a window are a difference: O(samples + steps).
/// Source: Prometheus 3.14 `funcChanges`, `funcResets`.
struct EventTotals {
    /// The events up to each sample in time order.
    private var totals: [Int] = []

    /// Nil for another function.
    init?(_ function: RangeFunction, _ input: RangeSeries, _ usesStartTimestamps: Bool) {
        guard function == .changes || function == .resets else { return nil }
        let places = inTimeOrder(input)
        totals.reserveCapacity(places.count)
        for place in places.indices {
            guard place > 0 else {
                totals.append(0)
                continue
            }
            let isEvent =
                function == .changes
                ? isChange(input, places[place - 1], places[place])
                : isReset(input, places[place - 1], places[place], usesStartTimestamps)
            totals.append(totals[place - 1] + (isEvent ? 1 : 0))
        }
    }

    /// The events between the samples of a window, all samples of a stretch of time.
    func count(_ numbers: Range<Int>, _ histograms: Range<Int>) -> Int {
        let first = numbers.lowerBound + histograms.lowerBound
        let end = numbers.upperBound + histograms.upperBound
        return first < end ? totals[end - 1] - totals[first] : 0
    }
}

private func isChange(_ input: RangeSeries, _ old: SamplePlace, _ new: SamplePlace) -> Bool {
    switch (old, new) {
    case (.number(let a), .number(let b)):
        let from = input.values[a]
        let to = input.values[b]
        return to != from && !(to.isNaN && from.isNaN)
    case (.histogram(let a), .histogram(let b)):
        let from = input.histograms[a].histogram.compacted()
        return !input.histograms[b].histogram.compacted().hasSameData(as: from)
    case (.number, .histogram), (.histogram, .number): return true
    }
}

private func isReset(
    _ input: RangeSeries, _ old: SamplePlace, _ new: SamplePlace, _ usesStartTimestamps: Bool
) -> Bool {
    switch (old, new) {
    case (.number(let a), .number(let b)):
        return input.values[b] < input.values[a]
            || !input.startTimestamps.isEmpty
                && isReset(
                    input.startTimestamps[a], input.timestamps[a], input.startTimestamps[b],
                    input.timestamps[b])
    case (.histogram(let a), .histogram(let b)):
        let from = input.histograms[a]
        let to = input.histograms[b]
        return usesStartTimestamps
            && isReset(from.startTimestamp, from.timestamp, to.startTimestamp, to.timestamp)
            || to.histogram.isReset(since: from.histogram)
    case (.number, .histogram), (.histogram, .number): return true
    }
}

/// A sample by its kind and place.
private enum SamplePlace {
    case number(Int)
    case histogram(Int)
}

/// Of two samples of one time the histogram comes first.
private func inTimeOrder(_ input: RangeSeries) -> [SamplePlace] {
    let numbers = input.timestamps.count
    let histograms = input.histogramTimestamps.count
    var places: [SamplePlace] = []
    places.reserveCapacity(numbers + histograms)
    var number = 0
    var histogram = 0
    while number < numbers || histogram < histograms {
        let isNumber =
            histogram == histograms
            || number < numbers
                && input.timestamps[number] < input.histogramTimestamps[histogram]
        if isNumber {
            places.append(.number(number))
            number += 1
        } else {
            places.append(.histogram(histogram))
            histogram += 1
        }
    }
    return places
}
