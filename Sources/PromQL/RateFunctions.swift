/// `rate`, `increase` and `delta`: the difference of the window's last and first sample, plus what counter resets
/// hid, stretched to the whole window.
///
/// The stretch reaches the window's edge where a sample would be due before it (within 1.1 average intervals), else
/// half an interval; a counter is never taken below zero. Resets are found once a series, and two cursors sum those
/// inside each window. Source: Prometheus 3.14 `extrapolatedRate`.
func rateColumn(
    _ input: RangeSeries, _ windows: Windows, counter: Bool, perSecond: Bool
) -> [Double] {
    let resets = counter ? resetIndices(input.values) : []
    var firstReset = 0
    var pastReset = 0
    return slide(input, windows) { lower, upper, step in
        guard upper - lower > 1 else { return Row.absent }
        var change = input.values[upper - 1] - input.values[lower]
        while firstReset < resets.count, resets[firstReset] <= lower { firstReset += 1 }
        pastReset = max(pastReset, firstReset)
        while pastReset < resets.count, resets[pastReset] < upper { pastReset += 1 }
        for index in firstReset..<pastReset { change += input.values[resets[index] - 1] }
        let stretch = stretchFactor(
            start: windows.start(step), end: windows.end(step),
            first: input.timestamps[lower], last: input.timestamps[upper - 1],
            intervals: upper - lower - 1,
            zeroShare: counter && change > 0 && input.values[lower] >= 0
                ? input.values[lower] / change : nil)
        guard let stretch else { return Row.absent }
        return change * (perSecond ? stretch / (Double(windows.duration) / 1000) : stretch)
    }
}

/// The indices of values that are less than the one before.
private func resetIndices(_ values: [Double]) -> [Int] {
    var resets: [Int] = []
    var before = values.first ?? 0
    for (index, value) in values.enumerated() {
        if value < before { resets.append(index) }
        before = value
    }
    return resets
}

/// How much longer than the sampled interval the window is taken to be covered; nil where one sample alone says nothing.
///
/// `zeroShare` is the part of the sampled interval before its start at which a counter would have been zero. `since` is
/// when the counter was zero, inside the window: then nothing has to be guessed before the first sample.
func stretchFactor(
    start: Int64, end: Int64, first: Int64, last: Int64, intervals: Int, zeroShare: Double?,
    since: Int64? = nil
) -> Double? {
    var toStart = Double(first - start) / 1000
    var toEnd = Double(end - last) / 1000
    var sampled = Double(last - first) / 1000
    let average = intervals > 0 ? sampled / Double(intervals) : 0
    let threshold = average * 1.1
    if let since {
        toStart = 0
        sampled = Double(last - since) / 1000
    } else {
        if intervals == 0 { return nil }
        if toStart >= threshold { toStart = average / 2 }
        if let zeroShare { toStart = min(toStart, sampled * zeroShare) }
    }
    if toEnd >= threshold { toEnd = average / 2 }
    return sampled == 0 ? 1 : (sampled + toStart + toEnd) / sampled
}
