import Model

/// What start timestamps tell of counters: when the counting of each sample began.
///
/// A start behind the sample before means that the counter was reset in between, however high it is again; and a counter
/// that began inside a window was zero then, so that its first sample is an increase as well.

/// Whether the counter was reset between two samples, by their start timestamps.
///
/// 0 is an unknown start, and so is one at or behind its own sample. A start at the sample before is a reset (a delta)
/// only where that sample's own start is known. Source: Prometheus 3.14 `isStartTimestampReset`.
func isReset(_ oldStart: Int64, _ oldTime: Int64, _ newStart: Int64, _ newTime: Int64) -> Bool {
    if newStart == 0 || newStart >= newTime || newStart < oldTime { return false }
    if newStart > oldTime { return true }
    return oldStart != 0 && oldStart < oldTime
}

/// Whether the counting of a sample began before the sample before it, but not with that one's counting.
/// Source: Prometheus 3.14 `checkStartTimeOverlap`.
func overlaps(_ oldStart: Int64, _ oldTime: Int64, _ newStart: Int64) -> Bool {
    newStart != 0 && newStart < oldTime && newStart != oldStart
}

/// When the counter was zero, where that lies inside the window before its first sample.
func startInside(_ start: Int64, of firstTime: Int64, after windowStart: Int64) -> Int64? {
    start != 0 && start > windowStart && start < firstTime ? start : nil
}

/// For each sample whether the counter was reset before it, by value or by start timestamp.
func startedResets(_ input: RangeSeries) -> [Bool] {
    var resets = [Bool](repeating: false, count: input.values.count)
    for index in input.values.indices.dropFirst() {
        resets[index] =
            input.values[index] < input.values[index - 1]
            || isReset(
                input.startTimestamps[index - 1], input.timestamps[index - 1],
                input.startTimestamps[index], input.timestamps[index])
    }
    return resets
}

/// How many flags are set up to and including each.
func runningTotals(_ flags: [Bool]) -> [Int] {
    var total = 0
    return flags.map { flag in
        if flag { total += 1 }
        return total
    }
}

/// `rate` and `increase` of a counter with start timestamps; `overlap` is told of starts that contradict the sample
/// before. Source: Prometheus 3.14 `extrapolatedRate`.
func startedRateColumn(
    _ input: RangeSeries, _ windows: Windows, perSecond: Bool, overlap: () -> Void
) -> [Double] {
    let starts = input.startTimestamps
    let times = input.timestamps
    let values = input.values
    let resets = startedResets(input)
    let overlapping = values.indices.map { index in
        index > 0 && overlaps(starts[index - 1], times[index - 1], starts[index])
    }
    let overlapTotals = runningTotals(overlapping)
    return slide(input, windows) { lower, upper, step in
        if overlapTotals[upper - 1] > overlapTotals[lower] { overlap() }
        var change = values[upper - 1] - values[lower]
        for index in lower + 1..<max(lower + 1, upper) where resets[index] {
            change += values[index - 1]
        }
        let since = startInside(starts[lower], of: times[lower], after: windows.start(step))
        let zeroShare = change > 0 && values[lower] >= 0 ? values[lower] / change : nil
        let stretch = stretchFactor(
            start: windows.start(step), end: windows.end(step), first: times[lower],
            last: times[upper - 1], intervals: upper - lower - 1, zeroShare: zeroShare,
            since: since)
        guard let stretch else { return Row.absent }
        if since != nil { change += values[lower] }
        return change * (perSecond ? stretch / (Double(windows.duration) / 1000) : stretch)
    }
}
