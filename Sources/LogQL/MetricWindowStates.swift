import Glibc

/// What is known of the samples of a pane. Samples come in the order of time, and so do panes.
protocol WindowState {
    init()
    /// Takes up a sample; `count` stands for several of them that have `value` together.
    mutating func add(_ value: Double, count: Double, at time: Int64)
    /// Takes up what came later.
    mutating func append(_ later: Self)
    /// The result for a window that ends at `end` and is `range` nanoseconds long.
    func value(end: Int64, range: Int64) -> Double
}

/// `count_over_time`, `rate`, and whether there is any: `absent_over_time`.
struct CountState: WindowState {
    private var count = 0.0

    mutating func add(_ value: Double, count: Double, at time: Int64) { self.count += count }
    mutating func append(_ later: CountState) { count += later.count }
    func value(end: Int64, range: Int64) -> Double { count }
}

/// `sum_over_time`, `bytes_over_time`, `bytes_rate`, `rate` of values.
struct SumState: WindowState {
    private var sum = 0.0

    mutating func add(_ value: Double, count: Double, at time: Int64) { sum += value }
    mutating func append(_ later: SumState) { sum += later.sum }
    func value(end: Int64, range: Int64) -> Double { sum }
}

/// `avg_over_time`: the mean never overflows, and an infinite one stays as it is until its opposite or NaN comes.
/// Source: Loki 3.6 `AvgOverTime`.
struct MeanState: WindowState {
    private var mean = 0.0
    private var count = 0.0

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        self.count += 1
        if mean.isInfinite, isAbsorbed(value) { return }
        mean += value / self.count - mean / self.count
    }

    mutating func append(_ later: MeanState) {
        guard later.count > 0 else { return }
        guard count > 0 else {
            self = later
            return
        }
        count += later.count
        if mean.isInfinite, isAbsorbed(later.mean) { return }
        if later.mean.isInfinite, mean.isFinite {
            mean = later.mean
            return
        }
        let weight = later.count / count
        mean += later.mean * weight - mean * weight
    }

    func value(end: Int64, range: Int64) -> Double { mean }

    /// Whether an infinite mean is the same after `value`.
    private func isAbsorbed(_ value: Double) -> Bool {
        value.isFinite || value.isInfinite && (mean > 0) == (value > 0)
    }
}

/// `max_over_time`; NaN only where there is nothing else.
struct MaxState: WindowState {
    private var max = Double.nan

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        if value > max || max.isNaN { max = value }
    }
    mutating func append(_ later: MaxState) { add(later.max, count: 1, at: 0) }
    func value(end: Int64, range: Int64) -> Double { max }
}

/// `min_over_time`; NaN only where there is nothing else.
struct MinState: WindowState {
    private var min = Double.nan

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        if value < min || min.isNaN { min = value }
    }
    mutating func append(_ later: MinState) { add(later.min, count: 1, at: 0) }
    func value(end: Int64, range: Int64) -> Double { min }
}

/// The variance by Welford's method, those of panes put together by Chan's.
struct Moments {
    private(set) var count = 0.0
    private var mean = 0.0
    private var squares = 0.0

    mutating func add(_ value: Double) {
        count += 1
        let delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    }

    mutating func append(_ later: Moments) {
        guard later.count > 0 else { return }
        guard count > 0 else {
            self = later
            return
        }
        let total = count + later.count
        let delta = later.mean - mean
        squares += later.squares + delta * delta * (count * later.count / total)
        mean += delta * (later.count / total)
        count = total
    }

    var variance: Double { squares / count }
}

/// `stdvar_over_time`.
struct VarianceState: WindowState {
    private var moments = Moments()

    mutating func add(_ value: Double, count: Double, at time: Int64) { moments.add(value) }
    mutating func append(_ later: VarianceState) { moments.append(later.moments) }
    func value(end: Int64, range: Int64) -> Double { moments.variance }
}

/// `stddev_over_time`.
struct DeviationState: WindowState {
    private var moments = Moments()

    mutating func add(_ value: Double, count: Double, at time: Int64) { moments.add(value) }
    mutating func append(_ later: DeviationState) { moments.append(later.moments) }
    func value(end: Int64, range: Int64) -> Double { moments.variance.squareRoot() }
}

/// `first_over_time`.
struct FirstState: WindowState {
    private var first = Double.nan
    private var isEmpty = true

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        guard isEmpty else { return }
        first = value
        isEmpty = false
    }
    mutating func append(_ later: FirstState) { if isEmpty { self = later } }
    func value(end: Int64, range: Int64) -> Double { first }
}

/// `last_over_time`.
struct LastState: WindowState {
    private var last = Double.nan
    private var isEmpty = true

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        last = value
        isEmpty = false
    }
    mutating func append(_ later: LastState) { if !later.isEmpty { self = later } }
    func value(end: Int64, range: Int64) -> Double { last }
}

/// `rate_counter`: the rise of a counter, resets put right, extrapolated to the ends of the window as Prometheus does.
/// Source: Loki 3.6 `extrapolatedRate`, after that of Prometheus.
struct CounterState: WindowState {
    private var count = 0.0
    private var first = 0.0
    private var last = 0.0
    private var firstTime: Int64 = 0
    private var lastTime: Int64 = 0
    /// What the counter had reached each time it fell.
    private var lost = 0.0

    mutating func add(_ value: Double, count: Double, at time: Int64) {
        if self.count == 0 {
            first = value
            firstTime = time
        } else if value < last {
            lost += last
        }
        self.count += 1
        last = value
        lastTime = time
    }

    mutating func append(_ later: CounterState) {
        guard later.count > 0 else { return }
        guard count > 0 else {
            self = later
            return
        }
        if later.first < last { lost += last }
        lost += later.lost
        last = later.last
        lastTime = later.lastTime
        count += later.count
    }

    func value(end: Int64, range: Int64) -> Double {
        guard count >= 2 else { return 0 }
        let rise = last - first + lost
        let covered = Self.seconds(lastTime - firstTime)
        let spacing = covered / (count - 1)
        var toStart = Self.seconds(firstTime - (end - range))
        var toEnd = Self.seconds(end - lastTime)
        // A sample as near to an end of the window as samples are to each other: the series goes on there.
        let nearness = spacing * 1.1
        if toStart >= nearness { toStart = spacing / 2 }
        if rise > 0, first >= 0 {
            // Counters begin at zero: do not reach back beyond that.
            toStart = min(toStart, covered * (first / rise))
        }
        if toEnd >= nearness { toEnd = spacing / 2 }
        return rise * ((covered + toStart + toEnd) / covered)
    }

    private static func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }
}
