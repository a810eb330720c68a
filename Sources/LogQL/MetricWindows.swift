import LogQLSyntax
import QueryMath

/// The windows of all series of a range aggregation as time goes on.
///
/// Samples come in the order of time; a step is closed when time has passed it. What a window holds is a state that the
/// samples of a pane share, so that memory goes with series and panes, not with lines. `quantile_over_time` alone needs
/// its samples.
///
/// The functions are closures, each over windows of one kind of state: what is generic and called by way of a class or
/// a protocol would not be compiled for that kind.
struct RangeWindows {
    let grid: WindowGrid
    /// Takes up a sample; `count` stands for that many of them.
    let add: (_ series: Int, _ pane: Int, _ time: Int64, _ value: Double, _ count: Double) -> Void
    /// Appends the results at a step, of series with a sample in its window; every later sample is of a later step.
    let close: (_ index: Int, _ vector: inout StepVector) -> Void
    /// Bytes that the windows hold, about.
    let byteCount: () -> Int

    /// The windows that an operation needs.
    init(_ range: RangeAggregation, grid: WindowGrid) {
        let seconds = Self.seconds(range.rangeNanoseconds)
        switch range.operation {
        case .rate where range.unwrap == nil: self.init(CountState.self, grid, seconds)
        case .rate, .bytesRate: self.init(SumState.self, grid, seconds)
        case .rateCounter: self.init(CounterState.self, grid, seconds)
        case .countOverTime, .absentOverTime: self.init(CountState.self, grid)
        case .bytesOverTime, .sumOverTime: self.init(SumState.self, grid)
        case .avgOverTime: self.init(MeanState.self, grid)
        case .minOverTime: self.init(MinState.self, grid)
        case .maxOverTime: self.init(MaxState.self, grid)
        case .stddevOverTime: self.init(DeviationState.self, grid)
        case .stdvarOverTime: self.init(VarianceState.self, grid)
        case .firstOverTime: self.init(FirstState.self, grid)
        case .lastOverTime: self.init(LastState.self, grid)
        case .quantileOverTime:
            self.init(QuantileWindows(grid: grid, quantile: range.parameter ?? .nan), grid)
        }
    }

    private init(_ windows: QuantileWindows, _ grid: WindowGrid) {
        self.grid = grid
        add = { series, pane, _, value, _ in
            windows.add(series: series, pane: pane, value: value)
        }
        close = { windows.close($0, into: &$1) }
        byteCount = { windows.byteCount }
    }

    /// `divisor` is what each result is divided by: 1, or the seconds of the window for a rate.
    private init<State: WindowState>(
        _ state: State.Type, _ grid: WindowGrid, _ divisor: Double = 1
    ) {
        self.grid = grid
        if grid.isDisjoint {
            let windows = DisjointWindows<State>(grid: grid, divisor: divisor)
            add = { series, _, time, value, count in
                windows.add(series: series, time: time, value: value, count: count)
            }
            close = { windows.close($0, into: &$1) }
            byteCount = { windows.byteCount }
        } else {
            let windows = SlidingWindows<State>(grid: grid, divisor: divisor)
            add = { series, pane, time, value, count in
                windows.add(series: series, pane: pane, time: time, value: value, count: count)
            }
            close = { windows.close($0, into: &$1) }
            byteCount = { windows.byteCount }
        }
    }

    /// Source: Go 1.24 `time.Duration.Seconds`.
    static func seconds(_ nanoseconds: Int64) -> Double {
        let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return Double(whole) + Double(rest) / 1e9
    }
}

/// Windows of which no two share a pane: one state a series, begun anew at every step.
private final class DisjointWindows<State: WindowState> {
    private let grid: WindowGrid
    private let divisor: Double
    /// Series with a sample in the window.
    private var active: [Int32] = []
    private(set) var byteCount = 0
    private var states: [State] = []
    private var isActive: [Bool] = []

    init(grid: WindowGrid, divisor: Double) {
        self.grid = grid
        self.divisor = divisor
    }

    func add(series: Int, time: Int64, value: Double, count: Double) {
        while states.count <= series {
            states.append(State())
            isActive.append(false)
            byteCount += MemoryLayout<State>.stride + 5
        }
        if !isActive[series] {
            isActive[series] = true
            states[series] = State()
            active.append(Int32(series))
        }
        states[series].add(value, count: count, at: time)
    }

    func close(_ index: Int, into vector: inout StepVector) {
        let end = grid.end(of: index)
        for id in active {
            let result = states[Int(id)].value(end: end, range: grid.range)
            vector.append(id, result / divisor)
            isActive[Int(id)] = false
        }
        active.removeAll(keepingCapacity: true)
    }
}

/// Windows that share panes. A series has a queue of the panes in which it has samples; results cost the same for any
/// number of them, by the two stacks of a queue with an aggregate.
private final class SlidingWindows<State: WindowState> {
    private let grid: WindowGrid
    private let divisor: Double
    /// Series with a sample in the window.
    private var active: [Int32] = []
    private(set) var byteCount = 0
    private var queues: [PaneQueue<State>] = []
    private var isActive: [Bool] = []

    init(grid: WindowGrid, divisor: Double) {
        self.grid = grid
        self.divisor = divisor
    }

    func add(series: Int, pane: Int, time: Int64, value: Double, count: Double) {
        while queues.count <= series {
            queues.append(PaneQueue())
            isActive.append(false)
            byteCount += MemoryLayout<PaneQueue<State>>.stride + 5
        }
        if !isActive[series] {
            isActive[series] = true
            active.append(Int32(series))
        }
        if queues[series].add(pane, value, count: count, at: time) {
            byteCount += PaneQueue<State>.paneByteCount
        }
    }

    func close(_ index: Int, into vector: inout StepVector) {
        let end = grid.end(of: index)
        let first = grid.firstPane(of: index)
        var kept = 0
        for id in active {
            let dropped = queues[Int(id)].drop(before: first)
            byteCount -= dropped * PaneQueue<State>.paneByteCount
            guard let state = queues[Int(id)].state() else {
                isActive[Int(id)] = false
                queues[Int(id)] = PaneQueue()
                continue
            }
            vector.append(id, state.value(end: end, range: grid.range) / divisor)
            active[kept] = id
            kept += 1
        }
        active.removeLast(active.count - kept)
    }
}

/// Panes in ascending order with the aggregate of all of them.
///
/// Of the panes `head ..< front` each holds the aggregate of itself and of those up to `front`; `back` is that of
/// `front ..< merged`. When the first part is used up, the second becomes one.
private struct PaneQueue<State: WindowState> {
    private struct Pane {
        var number: Int
        var state: State
    }

    static var paneByteCount: Int { MemoryLayout<Pane>.stride }

    private var panes: [Pane] = []
    private var head = 0
    private var front = 0
    private var merged = 0
    private var back = State()

    /// True where the pane is new.
    mutating func add(_ pane: Int, _ value: Double, count: Double, at time: Int64) -> Bool {
        if panes.count > merged, panes[panes.count - 1].number == pane {
            panes[panes.count - 1].state.add(value, count: count, at: time)
            return false
        }
        var state = State()
        state.add(value, count: count, at: time)
        panes.append(Pane(number: pane, state: state))
        return true
    }

    /// Takes panes before `first` away; returns how many.
    mutating func drop(before first: Int) -> Int {
        var dropped = 0
        while head < panes.count, panes[head].number < first {
            if head >= front { flip() }
            head += 1
            dropped += 1
        }
        if head > 32, head * 2 > panes.count {
            panes.removeSubrange(..<head)
            front = max(front - head, 0)
            merged -= head
            head = 0
        }
        return dropped
    }

    /// The aggregate of all panes; nil where there are none.
    mutating func state() -> State? {
        guard head < panes.count else { return nil }
        while merged < panes.count {
            back.append(panes[merged].state)
            merged += 1
        }
        guard head < front else { return back }
        var state = panes[head].state
        state.append(back)
        return state
    }

    private mutating func flip() {
        var index = panes.count - 2
        while index >= head {
            panes[index].state.append(panes[index + 1].state)
            index -= 1
        }
        front = panes.count
        merged = panes.count
        back = State()
    }
}

/// `quantile_over_time`: the samples of every window are kept, and sorted at every step.
private final class QuantileWindows {
    private struct Ring {
        var panes: [Int] = []
        var values: [Double] = []
        var head = 0
        var isActive = false
    }

    private static let sampleByteCount = 16
    private let grid: WindowGrid
    private let quantile: Double
    /// Series with a sample in the window.
    private var active: [Int32] = []
    private(set) var byteCount = 0
    private var rings: [Ring] = []
    private var scratch: [Double] = []

    init(grid: WindowGrid, quantile: Double) {
        self.grid = grid
        self.quantile = quantile
    }

    func add(series: Int, pane: Int, value: Double) {
        while rings.count <= series {
            rings.append(Ring())
            byteCount += MemoryLayout<Ring>.stride
        }
        if !rings[series].isActive {
            rings[series].isActive = true
            active.append(Int32(series))
        }
        rings[series].panes.append(pane)
        rings[series].values.append(value)
        byteCount += Self.sampleByteCount
    }

    func close(_ index: Int, into vector: inout StepVector) {
        let first = grid.firstPane(of: index)
        var kept = 0
        for id in active {
            drop(before: first, from: Int(id))
            let ring = rings[Int(id)]
            guard ring.head < ring.values.count else {
                rings[Int(id)] = Ring()
                continue
            }
            scratch.removeAll(keepingCapacity: true)
            scratch.append(contentsOf: ring.values[ring.head...])
            scratch.sort(by: nanFirst)
            vector.append(id, QueryMath.quantile(quantile, sorted: scratch))
            active[kept] = id
            kept += 1
        }
        active.removeLast(active.count - kept)
    }

    private func drop(before first: Int, from series: Int) {
        var head = rings[series].head
        let panes = rings[series].panes
        let old = head
        while head < panes.count, panes[head] < first { head += 1 }
        byteCount -= (head - old) * Self.sampleByteCount
        rings[series].head = head
        if head > 32, head * 2 > panes.count {
            rings[series].panes = Array(panes[head...])
            rings[series].values.removeSubrange(..<head)
            rings[series].head = 0
        }
    }
}
