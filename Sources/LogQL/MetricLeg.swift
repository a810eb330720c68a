import LogQLSyntax
import Model

/// The samples of a range aggregation at a step, as its windows gave them.
final class RangeNode: MetricNode {
    private let run: PipelineRun

    init(_ run: PipelineRun) { self.run = run }

    /// `MetricLeg` has filled `vector`.
    override func evaluate(_ index: Int) {}
    override func labels(of id: Int32) -> Labels { run.groupLabels(Int(id)) }
}

/// The vectors of a leg at all steps, kept until all legs are there.
final class StoredNode: MetricNode {
    private static let sampleByteCount = 12
    fileprivate var top: MetricNode
    private let memory: MemoryMeter
    private var ids: [Int32] = []
    private var values: [Double] = []
    /// Where each step begins.
    private var starts: [Int] = [0]

    init(_ top: MetricNode, _ memory: MemoryMeter) {
        self.top = top
        self.memory = memory
    }

    fileprivate func store() throws(MetricError) {
        try memory.charge(top.vector.count * Self.sampleByteCount)
        ids.append(contentsOf: top.vector.ids)
        values.append(contentsOf: top.vector.values)
        starts.append(ids.count)
    }

    override func evaluate(_ index: Int) {
        let range = starts[index]..<starts[index + 1]
        vector.removeAll()
        vector.ids.append(contentsOf: ids[range])
        vector.values.append(contentsOf: values[range])
    }

    override func labels(of id: Int32) -> Labels { top.labels(of: id) }
}

/// A range aggregation with what is done to its vectors before they meet others: what a selection's entries flow into.
final class MetricLeg {
    private let windows: RangeWindows
    private let grid: WindowGrid
    private let reader: SampleReader
    private let memory: MemoryMeter
    private let source: RangeNode
    private let top: MetricNode
    /// Where vectors go: kept, or straight into the result.
    private let stored: StoredNode?
    private let output: MetricOutput?

    private var stepNext = 0
    private var lastTime = Int64.min
    private var chargedWindows = 0
    private var chargedGroups = 0

    /// The interval of the entry before.
    private var interval = Int.min
    private var intervalAfter: Int64 = 0
    private var intervalThrough: Int64 = 0

    /// `top` is the node that ends the leg, over `source`.
    init(
        windows: RangeWindows, reader: SampleReader, memory: MemoryMeter, source: RangeNode,
        top: MetricNode, stored: StoredNode?, output: MetricOutput?
    ) {
        self.windows = windows
        grid = windows.grid
        self.reader = reader
        self.memory = memory
        self.source = source
        self.top = top
        self.stored = stored
        self.output = output
    }

    /// Makes known the next stream.
    func add(stream: Labels) { reader.add(stream: stream) }

    /// Takes up entries in the order of time; `numbers[i]` is the stream of `entries[i]`.
    func accept(_ entries: [LogEntry], _ numbers: [Int]) throws(MetricError) {
        for (index, entry) in entries.enumerated() {
            guard let pane = try pane(at: entry.timestamp.rawValue) else { continue }
            guard let value = try reader.sample(entry, of: numbers[index]) else {
                continue
            }
            windows.add(try group(), pane, entry.timestamp.rawValue, value, 1)
        }
        try chargeWindows()
    }

    /// Takes up lines that are only counted.
    func accept(_ counts: [LineCount], _ numbers: [Int]) throws(MetricError) {
        for (index, count) in counts.enumerated() where count.lineCount > 0 {
            guard let pane = try pane(at: count.through.rawValue) else { continue }
            // The stream and the level say the group of counted lines; it does not hang on other fields.
            let entry = LogEntry(timestamp: count.through, line: [], level: count.level)
            guard try reader.sample(entry, of: numbers[index]) != nil else { continue }
            windows.add(
                try group(), pane, count.through.rawValue,
                Double(reader.countsBytes ? count.byteCount : count.lineCount),
                Double(count.lineCount))
        }
        try chargeWindows()
    }

    /// Closes the steps that are left.
    func finish() throws(MetricError) {
        while stepNext < grid.stepCount { try closeStep() }
    }

    /// The pane of a time, nil for one in no window. Closes the steps before it.
    private func pane(at time: Int64) throws(MetricError) -> Int? {
        guard time >= lastTime else { throw .outOfOrder }
        lastTime = time
        guard time > grid.after, time <= grid.through else { return nil }
        if interval == .min || time <= intervalAfter || time > intervalThrough {
            interval = grid.interval(of: time)
            intervalThrough = grid.end(of: interval)
            intervalAfter = intervalThrough - grid.step
        }
        let pane = grid.pane(of: time, in: interval)
        guard !grid.isOutside(pane, in: interval) else { return nil }
        while stepNext < interval { try closeStep() }
        return pane
    }

    private func group() throws(MetricError) -> Int {
        if reader.run.groupCount > chargedGroups {
            for number in chargedGroups..<reader.run.groupCount {
                try memory.charge(2 * reader.run.groupLabels(number).byteCount)
            }
            chargedGroups = reader.run.groupCount
        }
        return reader.group
    }

    private func closeStep() throws(MetricError) {
        let index = stepNext
        stepNext += 1
        source.vector.removeAll()
        windows.close(index, &source.vector)
        try top.evaluate(index)
        try stored?.store()
        try output?.add(top, at: index)
    }

    private func chargeWindows() throws(MetricError) {
        let used = windows.byteCount()
        try memory.charge(used - chargedWindows)
        chargedWindows = used
    }
}

/// The answer as it grows, step by step.
final class MetricOutput {
    private static let pointByteCount = 16
    private let times: MetricTimes
    private let limits: MetricLimits
    private let isSorted: Bool
    private let memory: MemoryMeter

    /// Whether series were left out.
    private(set) var isCut = false
    private var columns: [SeriesColumns] = []
    private var number = NumberMap()
    private var elements: [MetricElement] = []

    init(_ times: MetricTimes, _ limits: MetricLimits, isSorted: Bool, _ memory: MemoryMeter) {
        self.times = times
        self.limits = limits
        self.isSorted = isSorted
        self.memory = memory
    }

    /// Adds the vector that `node` has at a step.
    func add(_ node: MetricNode, at index: Int) throws(MetricError) {
        guard case .range(let start, _, let step) = times else {
            let count = min(node.vector.count, limits.seriesMax)
            if count < node.vector.count { try cut() }
            for (id, value) in zip(node.vector.ids, node.vector.values).prefix(count) {
                elements.append(MetricElement(labels: node.labels(of: id), value: value))
            }
            return
        }
        let time = start.advanced(byNanoseconds: step * Int64(index)).milliseconds.rawValue
        try memory.charge(node.vector.count * Self.pointByteCount)
        for (id, value) in zip(node.vector.ids, node.vector.values) {
            var column = number[id]
            if column < 0 {
                guard columns.count < limits.seriesMax else {
                    try cut()
                    continue
                }
                column = Int32(columns.count)
                number.set(id, to: column)
                columns.append(SeriesColumns(labels: node.labels(of: id)))
            }
            columns[Int(column)].timestamps.append(time)
            columns[Int(column)].values.append(value)
        }
    }

    private func cut() throws(MetricError) {
        guard limits.isCutAtSeriesMax else { throw .tooManySeries(limits.seriesMax) }
        isCut = true
    }

    var result: MetricResult {
        switch times {
        case .instant(let time):
            let ordered = isSorted ? elements : elements.sorted { $0.labels < $1.labels }
            return .vector(ordered, time.milliseconds)
        case .range: return .matrix(columns.sorted { $0.labels < $1.labels })
        }
    }
}
