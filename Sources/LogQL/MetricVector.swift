import Model

/// The samples of one step: `values[i]` is of the series `ids[i]`.
struct StepVector {
    var ids: [Int32] = []
    var values: [Double] = []

    var count: Int { ids.count }
    var isEmpty: Bool { ids.isEmpty }

    mutating func append(_ id: Int32, _ value: Double) {
        ids.append(id)
        values.append(value)
    }

    mutating func removeAll() {
        ids.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }
}

/// Label sets with numbers, in the order in which they were first seen.
struct LabelTable {
    private(set) var labels: [Labels] = []
    private var numbers: [Labels: Int32] = [:]
    private let memory: MemoryMeter

    init(_ memory: MemoryMeter) { self.memory = memory }

    mutating func number(of set: Labels) throws(MetricError) -> Int32 {
        if let known = numbers[set] { return known }
        try memory.charge(set.byteCount)
        let number = Int32(labels.count)
        labels.append(set)
        numbers[set] = number
        return number
    }
}

/// A number of one's own for each number of a child: -1 where none was given yet.
struct NumberMap {
    private var numbers: [Int32] = []

    subscript(_ number: Int32) -> Int32 {
        Int(number) < numbers.count ? numbers[Int(number)] : -1
    }

    mutating func set(_ number: Int32, to own: Int32) {
        while numbers.count <= Int(number) { numbers.append(-1) }
        numbers[Int(number)] = own
    }
}

/// How much of its memory a query has used. Estimated: what grows with the data is counted.
final class MemoryMeter {
    private let max: Int
    private(set) var used = 0

    init(max: Int) { self.max = max }

    func charge(_ bytes: Int) throws(MetricError) {
        used += bytes
        if used > max { throw .tooMuchMemory(max) }
    }

    func release(_ bytes: Int) { used -= bytes }
}

extension Labels {
    /// This set without labels that have no value. Source: Prometheus `labels.Builder`.
    var withoutEmptyValues: Labels {
        guard contains(where: \.value.isEmpty) else { return self }
        return Labels(sortedUnchecked: filter { !$0.value.isEmpty })
    }

    /// What it takes to keep the set in a table, about.
    var byteCount: Int {
        reduce(64) { $0 + 32 + $1.name.utf8.count + $1.value.utf8.count }
    }
}
