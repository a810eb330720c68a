/// Holt-Winters without seasons of each window; absent where a window has fewer than two values.
///
/// Each value waits for the one before it through six operations, so that a window by itself leaves the processor idle most
/// of the time: eight of them advance together. Source: Prometheus 3.14 `double_exponential_smoothing`.
func smoothedColumn(
    _ input: RangeSeries, _ windows: Windows, _ factors: [Double], _ trends: [Double]
) -> [Double] {
    var pending: [(lower: Int, upper: Int, step: Int)] = []
    pending.reserveCapacity(Lanes.scalarCount)
    var results: [(step: Int, value: Double)] = []
    func advance() {
        let values = smoothed(pending, input.values, factors, trends)
        for (lane, window) in pending.enumerated() { results.append((window.step, values[lane])) }
        pending.removeAll(keepingCapacity: true)
    }
    var column = slide(input, windows) { lower, upper, step in
        if upper - lower > 1 { pending.append((lower, upper, step)) }
        if pending.count == Lanes.scalarCount { advance() }
        return Row.absent
    }
    advance()
    for (step, value) in results { column[step] = value }
    return column
}

private typealias Lanes = SIMD8<Double>

/// The last smoothed value of each window, of at least two values each and at most one window a lane.
private func smoothed(
    _ windows: [(lower: Int, upper: Int, step: Int)], _ values: [Double], _ factors: [Double],
    _ trends: [Double]
) -> Lanes {
    var factor = Lanes(repeating: 0.5)
    var trend = factor
    var level = Lanes()
    var second = Lanes()
    for (lane, window) in windows.enumerated() {
        factor[lane] = factors[window.step]
        trend[lane] = trends[window.step]
        level[lane] = values[window.lower]
        second[lane] = values[window.lower + 1]
    }
    var older = Lanes()
    var slope = second - level
    let longest = windows.reduce(0) { max($0, $1.upper - $1.lower) }
    let shortest = windows.reduce(longest) { min($0, $1.upper - $1.lower) }
    var result = Lanes()
    for place in 1..<max(1, longest) {
        var value = Lanes()
        for (lane, window) in windows.enumerated() where window.lower + place < window.upper {
            value[lane] = values[window.lower + place]
        }
        if place > 1 { slope = trend * (level - older) + (1 - trend) * slope }
        older = level
        level = factor * value + (1 - factor) * (level + slope)
        guard place + 1 >= shortest else { continue }
        // What a lane computes behind its window's end is of no use.
        for (lane, window) in windows.enumerated() where window.upper - window.lower == place + 1 {
            result[lane] = level[lane]
        }
    }
    return result
}
