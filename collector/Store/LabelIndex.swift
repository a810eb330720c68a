import LinearRegex
package import Model
package import Storage

/// Label sets by number, with postings: label → value → ascending numbers.
///
/// A matcher that the empty string satisfies is satisfied by sets that lack the label: such matchers come last, and take out
/// what they refuse. Matchers run over distinct values, not over sets. Names and values of all sets that have the same
/// bytes share their memory.
package struct LabelIndex: Sendable {
    private var sets = NumberTable<Labels>()
    /// By `Labels.key`: Swift's own equality of strings would take two spellings of `é` for one.
    private var numbers: [[UInt8]: Int32] = [:]
    private var postings: [ExactText: [ExactText: [Int32]]] = [:]
    private var all: [Int32] = []

    /// An index of no sets.
    package init() {}

    /// How many sets there are.
    package var count: Int { all.count }

    /// The number of the set with this `Labels.key`; nil where there is none. O(1).
    package func number(ofKey key: [UInt8]) -> Int32? { numbers[key] }

    /// The set of a number; nil where there is none. O(1).
    package func labels(of number: Int32) -> Labels? { sets[number] }

    /// Adds a set under a number, 0 or more, that no other has; `key` is its `Labels.key`. One that is known already is left
    /// as it is.
    package mutating func insert(_ labels: Labels, key: [UInt8], number: Int32) {
        guard numbers[key] == nil else { return }
        numbers[key] = number
        Self.insert(number, into: &all)
        var shared: [Label] = []
        shared.reserveCapacity(labels.count)
        for label in labels {
            let name = Self.known(ExactText(label.name), postings)
            let value = Self.known(ExactText(label.value), postings[name] ?? [:])
            Self.insert(number, into: &postings[name, default: [:]][value, default: []])
            shared.append(Label(name.text, value.text))
        }
        sets[number] = Labels(sortedUnchecked: shared)
    }

    /// The text of these bytes that `table` has; where it has none, `text` itself.
    private static func known<Value>(_ text: ExactText, _ table: [ExactText: Value]) -> ExactText {
        table.index(forKey: text).map { table.keys[$0] } ?? text
    }

    /// Takes sets out; numbers that are unknown are passed over. O(the lists of all their labels).
    package mutating func remove(_ gone: Set<Int32>) {
        var touched: [ExactText: Set<ExactText>] = [:]
        for number in gone {
            guard let labels = sets[number] else { continue }
            sets[number] = nil
            numbers[labels.key] = nil
            for label in labels {
                touched[ExactText(label.name), default: []].insert(ExactText(label.value))
            }
        }
        guard !touched.isEmpty else { return }
        all.removeAll { gone.contains($0) }
        for (name, values) in touched {
            for value in values {
                postings[name]?[value]?.removeAll { gone.contains($0) }
                if postings[name]?[value]?.isEmpty == true { postings[name]?[value] = nil }
            }
            if postings[name]?.isEmpty == true { postings[name] = nil }
        }
    }

    /// Numbers of the sets in which the label `name` is `value`, ascending.
    func numbers(with name: String, _ value: ExactText) -> [Int32] {
        postings[ExactText(name)]?[value] ?? []
    }

    /// Of each value of the label `name`, how many sets have it and count; values without any are left out.
    func counts(
        ofValuesOf name: String, where isCounted: (Int32) -> Bool
    ) -> [ExactText: Int] {
        var counts: [ExactText: Int] = [:]
        for (value, numbers) in postings[ExactText(name)] ?? [:] {
            let count = numbers.reduce(0) { isCounted($1) ? $0 + 1 : $0 }
            if count > 0 { counts[value] = count }
        }
        return counts
    }

    /// The values of the label `name` in sets that count.
    func values(of name: String, where isCounted: (Int32) -> Bool) -> [String] {
        (postings[ExactText(name)] ?? [:]).filter { $0.value.contains(where: isCounted) }
            .map(\.key.text)
    }

    /// The label names of sets that count.
    func names(where isCounted: (Int32) -> Bool) -> [String] {
        postings.filter { _, values in
            values.contains { $0.value.contains(where: isCounted) }
        }.map(\.key.text)
    }

    /// Numbers of the sets that satisfy all matchers, ascending. Throws `badMatcher`.
    package func matching(_ matchers: [LabelMatcher]) throws(StorageError) -> [Int32] {
        var compiled: [CompiledMatcher] = []
        for matcher in matchers { compiled.append(try CompiledMatcher(matcher)) }
        var found: [Int32]?
        for matcher in compiled where !matcher.acceptsEmpty {
            let values = postings[ExactText(matcher.name)] ?? [:]
            let numbers: [Int32]
            if let exact = matcher.exactValue {
                numbers = values[ExactText(exact)] ?? []
            } else {
                numbers = values.filter { matcher.accepts($0.key.text) }.flatMap(\.value).sorted()
            }
            found = found.map { Self.intersection($0, numbers) } ?? numbers
            if found?.isEmpty == true { return [] }
        }
        var rest = found ?? all
        for matcher in compiled where matcher.acceptsEmpty {
            let values = postings[ExactText(matcher.name)] ?? [:]
            // The fewer of the two are looked at.
            rest =
                values.count <= rest.count
                ? Self.rest(of: rest, matcher, values) : accepted(rest, by: matcher)
        }
        return rest
    }

    /// `numbers` without the sets whose value a matcher refuses: each value that there is is tried once.
    private static func rest(
        of numbers: [Int32], _ matcher: CompiledMatcher, _ values: [ExactText: [Int32]]
    ) -> [Int32] {
        var refused = NumberSet()
        for (value, holders) in values where !matcher.accepts(value.text) {
            for number in holders { refused.insert(number) }
        }
        return refused.isEmpty ? numbers : numbers.filter { !refused.contains($0) }
    }

    /// Those of `numbers` whose value a matcher accepts: each value that they have is tried once.
    private func accepted(_ numbers: [Int32], by matcher: CompiledMatcher) -> [Int32] {
        var verdicts: [ExactText: Bool] = [:]
        return numbers.filter { number in
            let value = ExactText(labels(of: number)?[matcher.name] ?? "")
            if let verdict = verdicts[value] { return verdict }
            let verdict = matcher.accepts(value.text)
            verdicts[value] = verdict
            return verdict
        }
    }

    /// Numbers in a scope's matcher sets, ascending. Throws `badMatcher`.
    package func matching(_ scope: LabelScope) throws(StorageError) -> [Int32] {
        guard !scope.matcherSets.isEmpty else { return all }
        var union: Set<Int32> = []
        for matchers in scope.matcherSets { union.formUnion(try matching(matchers)) }
        return union.sorted()
    }

    private static func insert(_ number: Int32, into list: inout [Int32]) {
        guard let last = list.last, last >= number else {
            list.append(number)
            return
        }
        var low = 0
        var high = list.count
        while low < high {
            let middle = (low + high) / 2
            if list[middle] < number { low = middle + 1 } else { high = middle }
        }
        if list[low] != number { list.insert(number, at: low) }
    }

    private static func intersection(_ a: [Int32], _ b: [Int32]) -> [Int32] {
        var common: [Int32] = []
        var i = 0
        var j = 0
        while i < a.count, j < b.count {
            if a[i] == b[j] {
                common.append(a[i])
                i += 1
                j += 1
            } else if a[i] < b[j] {
                i += 1
            } else {
                j += 1
            }
        }
        return common
    }
}

/// A matcher ready to be tried on values.
struct CompiledMatcher: Sendable {
    private enum Test: Sendable {
        case equal(String)
        case regex(LinearRegex)
    }

    let name: String
    let acceptsEmpty: Bool
    private let test: Test
    private let isNegated: Bool

    init(_ matcher: LabelMatcher) throws(StorageError) {
        name = matcher.name
        switch matcher.operation {
        case .equal, .notEqual:
            test = .equal(matcher.value)
            isNegated = matcher.operation == .notEqual
            acceptsEmpty = matcher.value.isEmpty != isNegated
        case .matchesRegex, .notMatchesRegex:
            let regex: LinearRegex
            do {
                regex = try LinearRegex(matcher.value, anchored: true)
            } catch {
                throw .badMatcher("\(matcher.name): \(error)")
            }
            test = .regex(regex)
            isNegated = matcher.operation == .notMatchesRegex
            acceptsEmpty = regex.matches("") != isNegated
        }
    }

    /// The only value that satisfies this matcher; nil where there may be others.
    var exactValue: String? {
        guard !isNegated, case .equal(let value) = test else { return nil }
        return value
    }

    func accepts(_ value: String) -> Bool {
        switch test {
        case .equal(let expected): value.utf8.elementsEqual(expected.utf8) != isNegated
        case .regex(let regex): regex.matches(value) != isNegated
        }
    }
}
