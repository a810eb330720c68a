package import Model

/// The labels that an entry ends with. Empty values are kept.
package struct EntryLabelSet: Hashable, Sendable {
    /// All of them, as an answer without categories shows them.
    package let all: Labels
    package let stream: Labels
    package let structuredMetadata: Labels
    /// With `__error__` and `__error_details__`.
    package let parsed: Labels

    /// Bytes of names and values.
    package let byteCount: Int

    init(all: Labels, stream: Labels, structuredMetadata: Labels, parsed: Labels) {
        self.all = all
        self.stream = stream
        self.structuredMetadata = structuredMetadata
        self.parsed = parsed
        byteCount = all.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(all) }

    /// Only a stream's labels.
    init(stream: Labels) {
        self.init(all: stream, stream: stream, structuredMetadata: .empty, parsed: .empty)
    }
}

/// The label sets that entries end with, each once: equal labels are one object.
///
/// An entry's labels are looked up by their bytes; only those not seen before become `Labels`. The table of bytes is
/// forgotten when it is large; the sets are not, their number is the caller's to bound.
struct LabelSetTable {
    private static let keyBytesMax = 8 << 20

    private var keys = ByteTable()
    private var numberOfKey: [Int32] = []
    private var key: [UInt8] = []
    private var generation = 0

    private(set) var sets: [EntryLabelSet] = []
    private var setNumbers: [EntryLabelSet: Int32] = [:]
    private(set) var groups: [Labels] = []
    private var groupNumbers: [Labels: Int32] = [:]

    /// The labels of an entry by category.
    mutating func set(of labels: EntryLabels) -> EntryLabelSet {
        if labels.isUnchanged, labels.error.isEmpty {
            if let known = labels.stream.labelSet { return known }
            let made = sets[Int(number(of: EntryLabelSet(stream: labels.stream.labels)))]
            labels.stream.labelSet = made
            return made
        }
        beginKey(labels, kind: 0)
        labels.forEachSlot { append($0, of: labels) }
        appendErrors(of: labels)
        return sets[Int(lookUp { $0.number(of: Self.categorized(labels)) })]
    }

    /// The number of the entry's group: `groups[number]` are its labels. An entry with an error is not grouped; its
    /// group is all its labels, `__error__` among them.
    mutating func group(of labels: EntryLabels, _ grouping: NumberedGrouping) -> Int32 {
        guard labels.error.isEmpty else { return wholeGroup(of: labels) }
        if case .nothing = grouping { return number(of: .empty) }
        let isUnchanged = labels.isUnchanged
        if isUnchanged, labels.stream.group >= 0 { return labels.stream.group }
        let group: Int32
        switch grouping {
        // Details of an error that was dropped are no label then. Source: Loki 3.6 `LabelsResult`.
        case .all:
            group = isUnchanged ? number(of: labels.stream.labels) : wholeGroup(of: labels)
        case .nothing: group = number(of: Labels.empty)
        case .by(let names): group = groupBy(labels, names)
        case .without(let names): group = groupWithout(labels, names)
        }
        if isUnchanged { labels.stream.group = group }
        return group
    }

    private mutating func wholeGroup(of labels: EntryLabels) -> Int32 {
        beginKey(labels, kind: 1)
        labels.forEachSlot { append($0, of: labels) }
        appendErrors(of: labels)
        return lookUp { $0.number(of: Self.categorized(labels).all) }
    }

    private mutating func groupBy(_ labels: EntryLabels, _ names: [Int32]) -> Int32 {
        beginKey(labels, kind: 2)
        for name in names {
            if let slot = labels.find(name) {
                append(slot, of: labels)
            } else {
                key.append(255)
            }
        }
        return lookUp { table in
            let found = names.compactMap { name in
                labels.find(name).map { Label(labels.names.text(name), labels.text($0)) }
            }
            return table.number(of: Labels(sortedUnchecked: found.sorted()))
        }
    }

    private mutating func groupWithout(_ labels: EntryLabels, _ names: [Int32]) -> Int32 {
        beginKey(labels, kind: 3)
        labels.forEachSlot { slot in
            if !names.contains(slot.name) { append(slot, of: labels) }
        }
        return lookUp { table in
            var found: [Label] = []
            labels.forEachSlot { slot in
                guard !names.contains(slot.name) else { return }
                found.append(Label(labels.names.text(slot.name), labels.text(slot)))
            }
            return table.number(of: Labels(sortedUnchecked: found.sorted()))
        }
    }

    // MARK: - Keys

    private mutating func beginKey(_ labels: EntryLabels, kind: UInt8) {
        if labels.generation != generation || keys.byteCount > Self.keyBytesMax {
            keys.truncate(to: 0)
            numberOfKey.removeAll(keepingCapacity: true)
            generation = labels.generation
        }
        key.removeAll(keepingCapacity: true)
        key.append(kind)
    }

    private mutating func append(_ slot: EntryLabels.Slot, of labels: EntryLabels) {
        key.append(slot.category.rawValue)
        append(slot.name)
        append(slot.count)
        labels.withBytes(slot) { key.append(contentsOf: $0) }
    }

    private mutating func append(_ number: Int32) {
        let number = UInt32(bitPattern: number)
        key.append(UInt8(truncatingIfNeeded: number))
        key.append(UInt8(truncatingIfNeeded: number >> 8))
        key.append(UInt8(truncatingIfNeeded: number >> 16))
        key.append(UInt8(truncatingIfNeeded: number >> 24))
    }

    private mutating func appendErrors(of labels: EntryLabels) {
        guard !labels.error.isEmpty || !labels.errorDetails.isEmpty else { return }
        key.append(254)
        append(Int32(labels.error.utf8.count))
        key.append(contentsOf: labels.error.utf8)
        key.append(contentsOf: labels.errorDetails.utf8)
    }

    private mutating func lookUp(_ make: (inout LabelSetTable) -> Int32) -> Int32 {
        let known = key.withUnsafeBufferPointer { keys.find($0) }
        if known >= 0 { return numberOfKey[Int(known)] }
        let number = make(&self)
        _ = key.withUnsafeBufferPointer { keys.intern($0) }
        numberOfKey.append(number)
        return number
    }

    // MARK: - Sets

    private mutating func number(of set: EntryLabelSet) -> Int32 {
        if let known = setNumbers[set] { return known }
        let number = Int32(sets.count)
        sets.append(set)
        setNumbers[set] = number
        return number
    }

    mutating func number(of group: Labels) -> Int32 {
        if let known = groupNumbers[group] { return known }
        let number = Int32(groups.count)
        groups.append(group)
        groupNumbers[group] = number
        return number
    }

    private static func categorized(_ labels: EntryLabels) -> EntryLabelSet {
        var found: [(label: Label, category: LabelCategory)] = []
        labels.visit { name, value, category in found.append((Label(name, value), category)) }
        found.sort { $0.label < $1.label }
        func part(_ category: LabelCategory) -> Labels {
            Labels(sortedUnchecked: found.filter { $0.category == category }.map(\.label))
        }
        return EntryLabelSet(
            all: Labels(sortedUnchecked: found.map(\.label)), stream: part(.stream),
            structuredMetadata: part(.structuredMetadata), parsed: part(.parsed))
    }
}

/// A `SampleGrouping` with names as numbers, sorted by name.
enum NumberedGrouping: Sendable {
    case all
    case nothing
    case by([Int32])
    case without([Int32])

    init(_ grouping: SampleGrouping, _ names: inout ByteTable) {
        switch grouping {
        case .all: self = .all
        case .nothing: self = .nothing
        case .by(let labels): self = .by(Array(Set(labels)).sorted().map { names.intern($0) })
        case .without(let labels): self = .without(labels.map { names.intern($0) })
        }
    }
}
