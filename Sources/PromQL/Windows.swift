/// The windows `(end - duration, end]` of a range function, one a step.
struct Windows {
    let grid: StepGrid
    let duration: Int64
    /// With an anchor all windows are the same.
    private let anchor: Int64?
    private let offset: Int64
    /// Asked now and then; once true the rest is left absent, and the evaluator throws.
    let isCancelled: () -> Bool

    init(_ range: RangePlan, _ grid: StepGrid, isCancelled: @escaping () -> Bool = { false }) {
        self.isCancelled = isCancelled
        self.grid = grid
        duration = range.duration
        anchor = range.selector.anchor
        offset = range.selector.offset
    }

    /// Inclusive.
    func end(_ step: Int) -> Int64 { (anchor ?? grid.time(step)) - offset }
    /// Exclusive.
    func start(_ step: Int) -> Int64 { end(step) - duration }
}

/// One value a step: `kernel` of the samples `lower ..< upper` inside the step's window; absent for an empty window.
///
/// Two cursors walk the samples once: O(samples + steps) beside the kernel.
@inline(__always)
func slide(
    _ series: RangeSeries, _ windows: Windows,
    _ kernel: (_ lower: Int, _ upper: Int, _ step: Int) -> Double
) -> [Double] {
    var result = [Double](repeating: Row.absent, count: windows.grid.count)
    var lower = 0
    var upper = 0
    for step in 0..<windows.grid.count {
        if step & 63 == 63, windows.isCancelled() { break }
        lower = firstIndex(after: windows.start(step), in: series.timestamps, from: lower)
        upper = firstIndex(
            after: windows.end(step), in: series.timestamps, from: max(lower, upper))
        if lower < upper { result[step] = kernel(lower, upper, step) }
    }
    return result
}
