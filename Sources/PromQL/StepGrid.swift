/// The times at which an expression is evaluated: `start`, `start + step`, …, `count` of them.
struct StepGrid: Hashable, Sendable {
    var start: Int64
    /// Milliseconds, at least 1.
    var step: Int64
    /// 0 where the end lies before the start.
    var count: Int

    /// All times from `start` through `end`.
    init(start: Int64, end: Int64, step: Int64) {
        precondition(step > 0, "a grid needs a positive step")
        self.start = start
        self.step = step
        count = end < start ? 0 : Int((end - start) / step) + 1
    }

    /// The last time; `start` where there is none.
    var last: Int64 { count == 0 ? start : start + Int64(count - 1) * step }

    /// The first time alone.
    var first: StepGrid { StepGrid(start: start, end: start, step: step) }

    func time(_ index: Int) -> Int64 { start + Int64(index) * step }
}
