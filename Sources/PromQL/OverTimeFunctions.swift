import QueryMath

/// The functions that need only the samples inside each window.
///
/// Sums and counts of the window are differences of running totals where that is exact (counts, and sums of integers
/// below 2^53); other sums run with compensation inside each window, because differences of rounded totals would lose
/// small values beside large ones. Minimum and maximum keep a queue of candidates. So each is O(samples + steps), but
/// for compensated sums, deviations and quantiles: O(steps × window).
func overTimeColumn(
    _ function: RangeFunction, _ input: RangeSeries, _ windows: Windows
) -> [Double] {
    let values = input.values
    let times = input.timestamps
    switch function {
    case .sum: return sumColumn(input, windows, isMean: false)
    case .avg: return sumColumn(input, windows, isMean: true)
    case .min: return extremeColumn(input, windows) { $0 < $1 }
    case .max: return extremeColumn(input, windows) { $0 > $1 }
    case .count: return slide(input, windows) { lower, upper, _ in Double(upper - lower) }
    case .first: return slide(input, windows) { lower, _, _ in values[lower] }
    case .last: return slide(input, windows) { _, upper, _ in values[upper - 1] }
    case .present, .absent: return slide(input, windows) { _, _, _ in 1 }
    case .timeOfFirst: return slide(input, windows) { lower, _, _ in Double(times[lower]) / 1000 }
    case .timeOfLast:
        return slide(input, windows) { _, upper, _ in Double(times[upper - 1]) / 1000 }
    case .timeOfMin: return timeOfExtremeColumn(input, windows) { $0 <= $1 }
    case .timeOfMax: return timeOfExtremeColumn(input, windows) { $0 >= $1 }
    case .stdvar:
        return slide(input, windows) { lower, upper, _ in variance(values[lower..<upper]) }
    case .stddev:
        return slide(input, windows) { lower, upper, _ in
            variance(values[lower..<upper]).squareRoot()
        }
    case .mad: return slide(input, windows) { lower, upper, _ in deviation(values[lower..<upper]) }
    case .changes:
        return eventColumn(input, windows) { old, new in new != old && !(new.isNaN && old.isNaN) }
    case .resets: return resetColumn(input, windows)
    case .irate, .idelta: return instantRateColumn(input, windows, perSecond: function == .irate)
    case .deriv:
        return slide(input, windows) { lower, upper, _ in
            guard upper - lower > 1 else { return Row.absent }
            return LinearRegression(
                timestamps: times, values: values, in: lower..<upper, interceptAt: times[lower]
            ).slope
        }
    case .rate, .increase, .delta, .quantile, .predictLinear, .doubleExponentialSmoothing:
        preconditionFailure("\(function.rawValue) has a kernel of its own")
    }
}

/// `predict_linear`: the regression line's value `ahead` seconds after each step.
func predictColumn(
    _ input: RangeSeries, _ windows: Windows, _ grid: StepGrid, ahead: [Double]
) -> [Double] {
    slide(input, windows) { lower, upper, step in
        guard upper - lower > 1 else { return Row.absent }
        let line = LinearRegression(
            timestamps: input.timestamps, values: input.values, in: lower..<upper,
            interceptAt: grid.time(step))
        return line.slope * ahead[step] + line.intercept
    }
}

/// `quantile_over_time`; `invalid` is told of quantiles outside 0...1.
func quantileColumn(
    _ input: RangeSeries, _ windows: Windows, _ quantiles: [Double], invalid: (Double) -> Void
) -> [Double] {
    slide(input, windows) { lower, upper, step in
        let wanted = quantiles[step]
        if !(wanted >= 0 && wanted <= 1) { invalid(wanted) }
        return quantile(wanted, sorted: input.values[lower..<upper].sorted(by: nanFirst))
    }
}

private func sumColumn(_ input: RangeSeries, _ windows: Windows, isMean: Bool) -> [Double] {
    let values = input.values
    if windows.grid.count > 1, let totals = exactTotals(values) {
        return slide(input, windows) { lower, upper, _ in
            let sum = totals[upper] - totals[lower]
            return isMean ? sum / Double(upper - lower) : sum
        }
    }
    if let sums = slidingSums(input, windows, isMean: isMean) { return sums }
    if isMean {
        return slide(input, windows) { lower, upper, _ in
            var mean = KahanMean()
            for index in lower..<upper { mean.add(values[index]) }
            return mean.value
        }
    }
    return slide(input, windows) { lower, upper, _ in
        var sum = KahanSum()
        for index in lower..<upper { sum.add(values[index]) }
        return sum.value
    }
}

/// Compensated sums of long overlapping windows in O(samples + steps); nil where windows are short.
///
/// The window is kept as two halves: sums of the older half from each sample to its end, and one running sum of the
/// newer. Nothing is ever subtracted, so no precision is lost. Overflowing means are computed directly.
private func slidingSums(
    _ input: RangeSeries, _ windows: Windows, isMean: Bool
) -> [Double]? {
    let values = input.values
    guard let first = input.timestamps.first, let last = input.timestamps.last else { return nil }
    let share = Double(windows.duration) / Double(max(1, last - first))
    let terms = Double(values.count) * min(1, share) * Double(windows.grid.count)
    guard terms > 32 * Double(values.count), terms > 100_000 else { return nil }
    var older: [KahanSum] = []
    var olderEnd = 0
    var newer = KahanSum()
    var newerEnd = 0
    return slide(input, windows) { lower, upper, _ in
        if lower >= olderEnd {
            older.removeAll(keepingCapacity: true)
            var sum = KahanSum()
            for index in stride(from: upper - 1, through: lower, by: -1) {
                sum.add(values[index])
                older.append(sum)
            }
            olderEnd = upper
            newer = KahanSum()
            newerEnd = upper
        }
        while newerEnd < upper {
            newer.add(values[newerEnd])
            newerEnd += 1
        }
        var sum = older[olderEnd - 1 - lower]
        sum.add(newer.sum)
        sum.compensation += newer.compensation
        guard isMean else { return sum.value }
        guard sum.value.isFinite else {
            var mean = KahanMean()
            for index in lower..<upper { mean.add(values[index]) }
            return mean.value
        }
        return sum.value / Double(upper - lower)
    }
}

/// Running totals before each value, where all are exact: integers whose magnitudes sum to less than 2^53.
private func exactTotals(_ values: [Double]) -> [Double]? {
    var totals = [Double](repeating: 0, count: values.count + 1)
    var size = 0.0
    for index in values.indices {
        let value = values[index]
        size += value.magnitude
        guard value == value.rounded(.towardZero), size < 0x1p53 else { return nil }
        totals[index + 1] = totals[index] + value
    }
    return totals
}

/// The window's extreme by a queue of candidates: each is better than all after it. NaN counts only beside no number.
private func extremeColumn(
    _ input: RangeSeries, _ windows: Windows, isBetter: (Double, Double) -> Bool
) -> [Double] {
    let values = input.values
    var queue: [Int] = []
    var head = 0
    var seen = 0
    return slide(input, windows) { lower, upper, _ in
        seen = max(seen, lower)
        while seen < upper {
            let value = values[seen]
            if !value.isNaN {
                while queue.count > head, !isBetter(values[queue[queue.count - 1]], value) {
                    queue.removeLast()
                }
                queue.append(seen)
            }
            seen += 1
        }
        while head < queue.count, queue[head] < lower { head += 1 }
        if head > 1024 {
            queue.removeFirst(head)
            head = 0
        }
        return head < queue.count ? values[queue[head]] : .nan
    }
}

private func timeOfExtremeColumn(
    _ input: RangeSeries, _ windows: Windows, replaces: (Double, Double) -> Bool
) -> [Double] {
    slide(input, windows) { lower, upper, _ in
        var best = lower
        for index in lower..<upper
        where replaces(input.values[index], input.values[best]) || input.values[best].isNaN {
            best = index
        }
        return Double(input.timestamps[best]) / 1000
    }
}

/// How often `isEvent` holds between neighbours inside the window.
private func eventColumn(
    _ input: RangeSeries, _ windows: Windows, isEvent: (Double, Double) -> Bool
) -> [Double] {
    var counts = [Int](repeating: 0, count: input.values.count)
    for index in input.values.indices.dropFirst() {
        let event = isEvent(input.values[index - 1], input.values[index])
        counts[index] = counts[index - 1] + (event ? 1 : 0)
    }
    return slide(input, windows) { lower, upper, _ in Double(counts[upper - 1] - counts[lower]) }
}

/// `resets`, where start timestamps tell of counters that were reset and have caught up since.
private func resetColumn(_ input: RangeSeries, _ windows: Windows) -> [Double] {
    if input.startTimestamps.isEmpty {
        return eventColumn(input, windows) { old, new in new < old }
    }
    let totals = runningTotals(startedResets(input))
    return slide(input, windows) { lower, upper, _ in Double(totals[upper - 1] - totals[lower]) }
}

/// From the last two samples of the window. Source: Prometheus 3.14 `instantValue`.
private func instantRateColumn(
    _ input: RangeSeries, _ windows: Windows, perSecond: Bool
) -> [Double] {
    slide(input, windows) { lower, upper, _ in
        guard upper - lower > 1 else { return Row.absent }
        let new = input.values[upper - 1]
        let old = input.values[upper - 2]
        let interval = input.timestamps[upper - 1] - input.timestamps[upper - 2]
        guard interval != 0 else { return Row.absent }
        guard perSecond else { return new - old }
        let isReset =
            new < old
            || !input.startTimestamps.isEmpty
                && isReset(
                    input.startTimestamps[upper - 2], input.timestamps[upper - 2],
                    input.startTimestamps[upper - 1], input.timestamps[upper - 1])
        return (isReset ? new : new - old) / (Double(interval) / 1000)
    }
}

/// The population variance by Welford's method with compensation. Source: Prometheus 3.14 `varianceOverTime`.
private func variance(_ values: ArraySlice<Double>) -> Double {
    var count = 0.0
    var mean = KahanSum()
    var squares = KahanSum()
    for value in values {
        count += 1
        let delta = value - mean.value
        mean.add(delta / count)
        squares.add(delta * (value - mean.value))
    }
    return squares.value / count
}

/// The median of the distances to the median; NaN where a value is. Source: Prometheus 3.14 `mad_over_time`.
private func deviation(_ values: ArraySlice<Double>) -> Double {
    guard !values.contains(where: \.isNaN) else { return .nan }
    let median = quantile(0.5, sorted: values.sorted())
    return quantile(0.5, sorted: values.map { ($0 - median).magnitude }.sorted(by: nanFirst))
}
