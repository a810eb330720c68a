import Model
import PromQLSyntax

/// Range functions and selectors with edges: `anchored` takes the last sample before the range as its left edge,
/// `smoothed` interpolates the values at both edges.
///
/// Source: Prometheus 3.14 `extendedRate`, `pickFirstSampleIndices`, `smoothSeries`.
extension Evaluator {
    func extendedColumn(
        _ call: RangeCallPlan, _ input: RangeSeries, _ grid: StepGrid
    ) -> [Double] {
        var windows = EdgedWindows(
            Windows(call.range, grid), isSmoothed: call.range.selector.edges == .smoothed,
            lookback: parameters.lookbackDeltaMS)
        var result = [Double](repeating: Row.absent, count: grid.count)
        for step in 0..<grid.count {
            guard let window = windows.samples(of: input, step) else { continue }
            switch call.function {
            case .rate, .increase:
                guard let change = edgedChange(input, window, counter: true) else { continue }
                result[step] =
                    call.function == .rate ? change / (Double(call.range.duration) / 1000) : change
            case .delta:
                guard let change = edgedChange(input, window, counter: false) else { continue }
                result[step] = change
            default:
                guard let count = edgedEvents(call.function, input, window) else { continue }
                result[step] = Double(count)
            }
        }
        return result
    }

    /// A smoothed instant selector: the value between the neighbours of each step, the last value after the end.
    func smooth(
        _ columns: SeriesColumns, _ selector: SelectorPlan, _ grid: StepGrid, into row: inout Row
    ) throws(QueryError) {
        let kept = columns.values.indices.filter { !StalenessMarker.isMarker(columns.values[$0]) }
        let times = kept.map { columns.timestamps[$0] }
        let values = kept.map { columns.values[$0] }
        let lookback = parameters.lookbackDeltaMS
        var result = [Double](repeating: Row.absent, count: grid.count)
        for step in 0..<grid.count {
            let reference = selector.reference(at: grid.time(step))
            let next = firstIndex(after: reference - 1, in: times, from: 0)
            if next < times.count, times[next] == reference {
                result[step] = values[next]
                continue
            }
            guard next > 0, times[next - 1] > reference - lookback else { continue }
            let hasNext = next < times.count && times[next] <= reference + lookback
            result[step] =
                hasNext
                ? interpolated(times, values, next - 1, at: reference, counter: false)
                : values[next - 1]
        }
        row.values = result
        if !columns.histograms.isEmpty {
            try smoothHistograms(columns, selector, grid, into: &row)
        }
    }

    /// The samples of one edged range, those at its edges included. Source: Prometheus 3.14 `extendFloats`.
    func edgedSamples(
        _ input: RangeSeries, _ range: RangePlan, _ windows: Windows
    ) throws(QueryError) -> [Sample] {
        let isSmoothed = range.selector.edges == .smoothed
        let lookback = parameters.lookbackDeltaMS
        let start = windows.start(0)
        let end = windows.end(0)
        let through = isSmoothed ? end + lookback : end
        if input.histogramTimestamps.contains(where: { $0 > start - lookback && $0 <= through }) {
            throw .edgesWithHistograms(keyword: range.selector.edges.rawValue)
        }
        var edged = EdgedWindows(windows, isSmoothed: isSmoothed, lookback: lookback)
        guard let window = edged.samples(of: input, 0), input.timestamps[window.last] > start else {
            return []
        }
        let (left, right) = edges(input, window, counter: false)
        var samples = [Sample(TimestampMS(start), left)]
        for index in window.first...window.last
        where input.timestamps[index] > start && input.timestamps[index] < end {
            samples.append(Sample(TimestampMS(input.timestamps[index]), input.values[index]))
        }
        samples.append(Sample(TimestampMS(end), right))
        return samples
    }
}

/// The samples around one window: those inside and, within the lookback delta, beside it.
private struct EdgedWindow {
    var start: Int64
    var end: Int64
    var isSmoothed: Bool
    /// The first sample that counts: the last at or before the start, or the first there is.
    var first: Int
    /// The last sample that counts: smoothed, the first at or after the end, or the last there is.
    var last: Int
    /// Past the last sample read.
    var upper: Int
}

private struct EdgedWindows {
    private let windows: Windows
    private let isSmoothed: Bool
    private let lookback: Int64
    private var lower = 0
    private var upper = 0

    init(_ windows: Windows, isSmoothed: Bool, lookback: Int64) {
        self.windows = windows
        self.isSmoothed = isSmoothed
        self.lookback = lookback
    }

    mutating func samples(of input: RangeSeries, _ step: Int) -> EdgedWindow? {
        let start = windows.start(step)
        let end = windows.end(step)
        let times = input.timestamps
        lower = firstIndex(after: start - lookback, in: times, from: lower)
        upper = firstIndex(
            after: isSmoothed ? end + lookback : end, in: times, from: max(lower, upper))
        guard lower < upper else { return nil }
        let inside = min(firstIndex(after: start, in: times, from: lower), upper - 1)
        let first = max(lower, inside - 1)
        var last = upper - 1
        if isSmoothed {
            last = min(firstIndex(after: end - 1, in: times, from: lower), upper - 1)
        }
        return EdgedWindow(
            start: start, end: end, isSmoothed: isSmoothed, first: first, last: last, upper: upper)
    }
}

private func edgedChange(
    _ input: RangeSeries, _ window: EdgedWindow, counter: Bool
) -> Double? {
    let times = input.timestamps
    let values = input.values
    if times[window.last] <= window.start { return nil }
    if window.isSmoothed, times[window.first] > window.end { return nil }
    let (left, right) = edges(input, window, counter: counter)
    guard counter else { return right - left }
    let from = times[window.first] <= window.start ? window.first + 1 : window.first
    let to = times[window.last] >= window.end ? window.last - 1 : window.last
    var hidden = 0.0
    var previous = left
    for index in stride(from: from, through: to, by: 1) {
        if values[index] < previous { hidden += previous }
        previous = values[index]
    }
    if right < previous { hidden += previous }
    return right - left + hidden
}

/// The values at the edges of the window.
private func edges(
    _ input: RangeSeries, _ window: EdgedWindow, counter: Bool
) -> (left: Double, right: Double) {
    let times = input.timestamps
    let values = input.values
    var left = values[window.first]
    if window.isSmoothed, times[window.first] < window.start {
        left = interpolated(times, values, window.first, at: window.start, counter: counter)
    }
    var right = values[window.last]
    if window.isSmoothed, window.last > window.first, times[window.last] > window.end {
        right = interpolated(times, values, window.last - 1, at: window.end, counter: counter)
    }
    return (left, right)
}

/// `changes` or `resets` from the anchor on.
private func edgedEvents(
    _ function: RangeFunction, _ input: RangeSeries, _ window: EdgedWindow
) -> Int? {
    guard input.timestamps[window.last] > window.start else { return nil }
    var count = 0
    for index in (window.first + 1)..<max(window.first + 1, window.upper) {
        let old = input.values[index - 1]
        let new = input.values[index]
        let isEvent =
            function == .resets ? new < old : new != old && !(new.isNaN && old.isNaN)
        if isEvent { count += 1 }
    }
    return count
}

/// The value at `time` on the line from sample `index` to the next; a counter that fell is taken to rise from zero.
private func interpolated(
    _ times: [Int64], _ values: [Double], _ index: Int, at time: Int64, counter: Bool
) -> Double {
    let next = index + 1
    var from = values[index]
    let to = values[next]
    if counter, to < from { from = 0 }
    return from + (to - from) * Double(time - times[index]) / Double(times[next] - times[index])
}
