import Model

/// The steps of a query and the windows that end at them: `(t - range, t]`, moved back by the offset.
///
/// The windows' ends and starts cut time into panes. With `r` the rest of range / step, each interval between two steps
/// has two of them: one up to `r` before its end and one up to its end.
///
/// ```
///      step i-1             step i
/// ───────┼──────────┬─────────┼──────▶      range = 1 step + r
///        │ pane 2i  │ 2i + 1  │
///               (───┼─────────]             the window of step i - 1 + … begins where a pane does
/// ```
///
/// Where `r` is 0 the second one is empty. A window is a run of whole panes, so that what is summed by pane is exact for
/// every window. Numbers may be negative: windows reach back before the first step.
struct WindowGrid: Sendable {
    /// The first step, less the offset. Nanoseconds, as all here.
    let start: Int64
    let step: Int64
    let stepCount: Int
    let range: Int64
    /// Whole steps in the range.
    private let wholeSteps: Int
    /// The rest of range / step.
    private let rest: Int64

    private static let timeMax: Int64 = 1 << 62
    private static let spanMax: Int64 = 1 << 61

    /// Nil where a time is too far away. Ranges and offsets of more than 73 years are as good as 73 years.
    init?(start: Int64, step: Int64, stepCount: Int, range: Int64, offset: Int64) {
        precondition(step > 0 && stepCount > 0 && range >= 0, "no grid")
        guard abs(start) <= Self.timeMax else { return nil }
        let (length, isOverflow) = step.multipliedReportingOverflow(by: Int64(stepCount - 1))
        guard !isOverflow, length <= 2 * (Self.timeMax - 1), start + length <= Self.timeMax else {
            return nil
        }
        self.start = start - min(max(offset, -Self.spanMax), Self.spanMax)
        self.stepCount = stepCount
        self.range = min(range, Self.spanMax)
        // A step alone may be of any length: its window is one pane.
        let step = stepCount == 1 ? max(self.range, 1) : step
        self.step = step
        wholeSteps = Int(self.range / step)
        rest = self.range % step
    }

    /// Entries are later than this …
    var after: Int64 { start - range }
    /// … and no later than this.
    var through: Int64 { end(of: stepCount - 1) }

    /// Whether no window holds the same panes as another: a pane is of one window at most.
    var isDisjoint: Bool { wholeSteps == 0 || wholeSteps == 1 && rest == 0 }

    /// The end of a step's window, inclusive.
    func end(of index: Int) -> Int64 { start + step * Int64(index) }

    /// The interval `(end(i - 1), end(i)]` of a time in `(after, through]`.
    func interval(of time: Int64) -> Int {
        let distance = time - start
        let quotient = distance / step
        return Int(distance > 0 && distance % step != 0 ? quotient + 1 : quotient)
    }

    /// The pane of a time of `interval`.
    func pane(of time: Int64, in interval: Int) -> Int {
        guard rest > 0 else { return 2 * interval }
        return 2 * interval + (time > end(of: interval) - rest ? 1 : 0)
    }

    /// The first pane of a step's window; the last is that of its end.
    func firstPane(of index: Int) -> Int {
        2 * (index - wholeSteps) + (rest > 0 ? 1 : 2)
    }

    /// Whether a pane lies between two windows.
    func isOutside(_ pane: Int, in interval: Int) -> Bool { pane < firstPane(of: max(interval, 0)) }

    /// Whether the times `(after, through]` are all of one pane, or all of none.
    func isWithinPane(after: Int64, through: Int64) -> Bool {
        if through <= self.after || after >= self.through { return true }
        guard after >= self.after, through <= self.through else { return false }
        let first = interval(of: after + 1)
        let last = interval(of: through)
        return first == last && pane(of: after + 1, in: first) == pane(of: through, in: last)
    }
}
