import CollectorStore
import Model
import Storage
import Testing

@Suite("Label index")
struct LabelIndexTests {
    /// `Labels.key` of a set of short texts, as docs/formats/storage.md has it.
    private static func key(_ labels: Labels) -> [UInt8] {
        var key = [UInt8(labels.count)]
        for label in labels {
            for text in [label.name, label.value] {
                precondition(text.utf8.count < 128, "a length of one byte")
                key.append(UInt8(text.utf8.count))
                key += text.utf8
            }
        }
        return key
    }

    private static let composed = "\u{e9}"
    private static let combining = "e\u{301}"
    private static let names = ["job", "id", "rare", composed, combining]
    private static let values = [
        "a", "b", "x", "x1", composed, combining, "a value of more than fifteen bytes",
    ]
    /// Patterns that accept the empty string and others, each with what it accepts.
    private static let patterns: [(text: String, accepts: @Sendable (String) -> Bool)] = [
        ("", { $0.isEmpty }), (".*", { _ in true }), (".+", { !$0.isEmpty }),
        ("|a", { $0.isEmpty || $0 == "a" }), ("(a|b)?", { $0.isEmpty || $0 == "a" || $0 == "b" }),
        ("a|x1", { $0 == "a" || $0 == "x1" }), ("x.*", { $0.utf8.first == UInt8(ascii: "x") }),
        ("1.*", { $0.utf8.first == UInt8(ascii: "1") }),
        ("[^x]*", { !$0.utf8.contains(UInt8(ascii: "x")) }),
        (composed, { $0.utf8.elementsEqual(composed.utf8) }),
        ("(\(combining))?", { $0.isEmpty || $0.utf8.elementsEqual(combining.utf8) }),
    ]

    /// A matcher, and whether it accepts a value.
    private struct Condition {
        var matcher: LabelMatcher
        var accepts: (String) -> Bool

        init(_ random: SeededRandom) {
            func pick<T>(_ list: [T]) -> T { list[Int(random.next() % UInt64(list.count))] }
            let name = pick(names + ["absent"])
            let value = pick(values + ["", "17", "nowhere"])
            let pattern = pick(patterns)
            switch random.next() % 4 {
            case 0:
                matcher = LabelMatcher(name, .equal, value)
                accepts = { $0.utf8.elementsEqual(value.utf8) }
            case 1:
                matcher = LabelMatcher(name, .notEqual, value)
                accepts = { !$0.utf8.elementsEqual(value.utf8) }
            case 2:
                matcher = LabelMatcher(name, .matchesRegex, pattern.text)
                accepts = pattern.accepts
            default:
                matcher = LabelMatcher(name, .notMatchesRegex, pattern.text)
                accepts = { !pattern.accepts($0) }
            }
        }

        func holds(_ labels: Labels) -> Bool {
            let found = labels.first { $0.name.utf8.elementsEqual(matcher.name.utf8) }
            return accepts(found?.value ?? "")
        }
    }

    /// Some labels, mostly with an `id` of its own: a label of more values than are left to look at.
    private static func labels(_ number: Int32, _ random: SeededRandom) -> Labels {
        var labels: [Label] = []
        for name in names where name != "id" && random.next() % 2 == 0 {
            labels.append(Label(name, values[Int(random.next() % UInt64(values.count))]))
        }
        if random.next() % 8 != 0 { labels.append(Label("id", "\(number)")) }
        return Labels(labels)
    }

    @Test(
        "matchers find what a filter over all sets finds, also after removals",
        arguments: UInt64(0)..<12)
    func matching(seed: UInt64) throws {
        let random = SeededRandom(seed)
        var index = LabelIndex()
        var sets: [Int32: Labels] = [:]
        var next: Int32 = 0
        var foundCount = 0
        for step in 0..<400 {
            for _ in 0..<random.next() % 4 {
                next += 1
                let labels = Self.labels(next, random)
                index.insert(labels, key: Self.key(labels), number: next)
                // One that is known keeps its number.
                if !sets.values.contains(labels) { sets[next] = labels }
            }
            if random.next() % 8 == 0 {
                let gone = Set(sets.keys.sorted().filter { _ in random.next() % 4 == 0 })
                index.remove(gone.union([next + 1_000]))
                for number in gone { sets[number] = nil }
            }
            let lists = (0..<2).map { _ in
                (0...random.next() % 3).map { _ in Condition(random) }
            }
            let expected = lists.map { list in
                sets.filter { set in list.allSatisfy { $0.holds(set.value) } }.keys.sorted()
            }
            for (list, wanted) in zip(lists, expected) {
                let found = try index.matching(list.map(\.matcher))
                #expect(found == wanted, "step \(step): \(list.map(\.matcher))")
                foundCount += found.count
            }
            let scope = LabelScope(
                matcherSets: lists.map { $0.map(\.matcher) }, start: TimestampMS(0),
                end: TimestampMS(0))
            #expect(
                try index.matching(scope) == Set(expected.joined()).sorted(), "step \(step)")
        }
        #expect(foundCount > 1_000)
        #expect(index.count == sets.count)
        #expect(try index.matching([]) == sets.keys.sorted())
        for (number, labels) in sets {
            #expect(index.labels(of: number) == labels)
            #expect(index.number(ofKey: Self.key(labels)) == number)
        }
        index.remove(Set(sets.keys))
        #expect(index.count == 0)
        #expect(try index.matching([LabelMatcher("id", .matchesRegex, ".*")]).isEmpty)
    }

    @Test("a regular expression that does not compile is refused, whatever the sets")
    func badMatcher() {
        let index = LabelIndex()
        for operation in [LabelMatcher.Operation.matchesRegex, .notMatchesRegex] {
            #expect(throws: StorageError.self) {
                try index.matching([
                    LabelMatcher("a", .equal, "b"), LabelMatcher("a", operation, "("),
                ])
            }
        }
    }

    @Test("sets share the memory of names and values of the same bytes, and of no others")
    func sharing() throws {
        // Texts of up to 15 bytes have no memory of their own.
        let name = "a_label_name_of_more_than_fifteen_bytes"
        let values = [Self.composed, Self.combining].map { "a value of more than 15 bytes: \($0)" }
        func fresh(_ text: String) -> String { String(decoding: Array(text.utf8), as: UTF8.self) }
        func address(_ text: String) throws -> UInt {
            try #require(
                text.utf8.withContiguousStorageIfAvailable { UInt(bitPattern: $0.baseAddress) })
        }
        var index = LabelIndex()
        for number in 0..<6 {
            let labels = Labels([
                Label(fresh(name), fresh(values[number % 2])), Label("id", "\(number)"),
            ])
            index.insert(labels, key: Self.key(labels), number: Int32(number))
        }
        var places: [Set<UInt>] = [[], []]
        var ofNames: Set<UInt> = []
        for number in 0..<6 {
            let label = try #require(index.labels(of: Int32(number)))[0]
            #expect(label == Label(name, values[number % 2]))
            ofNames.insert(try address(label.name))
            places[number % 2].insert(try address(label.value))
        }
        #expect(ofNames.count == 1)
        #expect(places[0].count == 1 && places[1].count == 1 && places[0] != places[1])
    }
}
