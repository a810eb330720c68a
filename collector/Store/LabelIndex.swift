import LinearRegex
import Model
import Storage

/// Label sets by number, with postings: label → value → ascending numbers.
///
/// A matcher that the empty string satisfies says nothing about the postings (a set may lack the label); such matchers
/// are tried last, on each remaining set. Regular expressions run over distinct values, not over sets.
struct LabelIndex: Sendable {
    private var sets = NumberTable<Labels>()
    /// By `Labels.key`: Swift's own equality of strings would take two spellings of `é` for one.
    private var numbers: [[UInt8]: Int32] = [:]
    private var postings: [ExactText: [ExactText: [Int32]]] = [:]
    private var all: [Int32] = []

    var count: Int { all.count }

    func number(ofKey key: [UInt8]) -> Int32? { numbers[key] }

    func labels(of number: Int32) -> Labels? { sets[number] }

    /// Adds a set; one that is known already is left as it is.
    mutating func insert(_ labels: Labels, key: [UInt8], number: Int32) {
        guard numbers[key] == nil else { return }
        numbers[key] = number
        sets[number] = labels
        Self.insert(number, into: &all)
        for label in labels {
            let name = ExactText(label.name)
            let value = ExactText(label.value)
            Self.insert(number, into: &postings[name, default: [:]][value, default: []])
        }
    }

    /// Takes sets out; numbers that are unknown are passed over. O(the lists of all their labels).
    mutating func remove(_ gone: Set<Int32>) {
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
    func matching(_ matchers: [LabelMatcher]) throws(StorageError) -> [Int32] {
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
        let deferred = compiled.filter(\.acceptsEmpty)
        guard !deferred.isEmpty else { return found ?? all }
        return (found ?? all).filter { number in
            guard let labels = labels(of: number) else { return false }
            return deferred.allSatisfy { $0.accepts(labels[$0.name]) }
        }
    }

    /// Numbers in a scope's matcher sets, ascending.
    func matching(_ scope: LabelScope) throws(StorageError) -> [Int32] {
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
