/// Values by number, in blocks that go when they are empty: numbers are never given twice, so that what is gone must not
/// weigh for ever. Finding one is O(1).
struct NumberTable<Element: Sendable>: Sendable {
    private static var blockCount: Int { 1024 }

    private struct Block: Sendable {
        var values: [Element?]
        var count = 0
    }

    private var blocks: [Block] = []
    /// Numbers that have a value.
    private(set) var count = 0

    subscript(number: Int32) -> Element? {
        get {
            let (block, place) = Int(number).quotientAndRemainder(dividingBy: Self.blockCount)
            guard number >= 0, block < blocks.count, !blocks[block].values.isEmpty else {
                return nil
            }
            return blocks[block].values[place]
        }
        set {
            precondition(number >= 0, "numbers count from 0")
            let (block, place) = Int(number).quotientAndRemainder(dividingBy: Self.blockCount)
            if block >= blocks.count || blocks[block].values.isEmpty {
                guard newValue != nil else { return }
                while blocks.count <= block { blocks.append(Block(values: [])) }
                blocks[block].values = Array(repeating: nil, count: Self.blockCount)
            }
            let change =
                (newValue == nil ? 0 : 1) - (blocks[block].values[place] == nil ? 0 : 1)
            blocks[block].values[place] = newValue
            blocks[block].count += change
            count += change
            if blocks[block].count == 0 { blocks[block] = Block(values: []) }
        }
    }

    /// Changes the value of a number in place; nothing where it has none.
    mutating func change(_ number: Int32, _ body: (inout Element) -> Void) {
        let (block, place) = Int(number).quotientAndRemainder(dividingBy: Self.blockCount)
        guard number >= 0, block < blocks.count, !blocks[block].values.isEmpty,
            blocks[block].values[place] != nil
        else { return }
        body(&blocks[block].values[place]!)  // Looked at just before.
    }

    /// Changes the value of a number in place; where it has none, that is `fresh` first.
    mutating func change(
        _ number: Int32, default fresh: @autoclosure () -> Element,
        _ body: (inout Element) -> Void
    ) {
        let (block, place) = Int(number).quotientAndRemainder(dividingBy: Self.blockCount)
        if number < 0 || block >= blocks.count || blocks[block].values.isEmpty
            || blocks[block].values[place] == nil
        {
            self[number] = fresh()
        }
        body(&blocks[block].values[place]!)  // Made just before where it was not there.
    }

    /// Every value, in the order of numbers.
    var all: [(number: Int32, value: Element)] {
        var all: [(number: Int32, value: Element)] = []
        all.reserveCapacity(count)
        visit { all.append(($0, $1)) }
        return all
    }

    /// Changes every value in place, in the order of numbers.
    mutating func changeAll(_ body: (Int32, inout Element) -> Void) {
        for block in blocks.indices {
            for place in blocks[block].values.indices where blocks[block].values[place] != nil {
                // Looked at just before.
                body(Int32(block * Self.blockCount + place), &blocks[block].values[place]!)
            }
        }
    }

    /// Gives every value, in the order of numbers.
    func visit(_ body: (Int32, Element) -> Void) {
        for (block, contents) in blocks.enumerated() {
            for (place, value) in contents.values.enumerated() {
                if let value { body(Int32(block * Self.blockCount + place), value) }
            }
        }
    }
}
