/// One name and value of a label set. Any UTF-8 name is allowed, as in Prometheus 3; two labels are one where their bytes
/// are.
package struct Label: Hashable, Comparable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    package static func == (a: Self, b: Self) -> Bool {
        bytesEqual(a.name, b.name) && bytesEqual(a.value, b.value)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(bytesOf: name)
        hasher.combine(bytesOf: value)
    }

    package static func < (a: Self, b: Self) -> Bool {
        bytesEqual(a.name, b.name)
            ? bytesPrecede(a.value, b.value) : bytesPrecede(a.name, b.name)
    }
}

/// A label set: the identity of a series or a log stream.
///
/// Labels are sorted by name (bytewise), names are unique, and a label with an empty value does not exist.
/// Order between sets is lexicographic over (name, value) pairs, a prefix first.
/// Source: Prometheus 3.14 `labels.Compare`.
package struct Labels: Hashable, Comparable, Sendable {
    private let sorted: [Label]

    /// The label set `{}`.
    package static let empty = Labels(sortedUnchecked: [])

    /// A set of `labels` in any order; of equal names the last wins, empty values are left out. O(n log n).
    package init(_ labels: some Sequence<Label>) {
        var found = Array(labels)
        // The sort is stable: of equal names the last comes last.
        found.sort { bytesPrecede($0.name, $1.name) }
        var kept = 0
        for index in found.indices {
            let isLast =
                index + 1 == found.count
                || !bytesEqual(found[index].name, found[index + 1].name)
            guard isLast, !found[index].value.isEmpty else { continue }
            if kept < index { found[kept] = found[index] }
            kept += 1
        }
        found.removeLast(found.count - kept)
        sorted = found
    }

    /// A set from a dictionary; empty values are left out.
    package init(_ pairs: [String: String]) {
        sorted = pairs.filter { !$0.value.isEmpty }.map { Label($0.key, $0.value) }.sorted()
    }

    /// A set from labels that are already sorted by name, unique and non-empty. O(1); the caller answers for it.
    package init(sortedUnchecked labels: [Label]) { sorted = labels }

    package static func == (a: Self, b: Self) -> Bool {
        guard a.sorted.count == b.sorted.count else { return false }
        return a.sorted.withUnsafeBufferPointer { a in
            b.sorted.withUnsafeBufferPointer { b in
                guard a.baseAddress != b.baseAddress else { return true }
                // Most texts are short or shared: their words tell, and no references are counted.
                return a.indices.allSatisfy {
                    a[$0].name._isIdentical(to: b[$0].name)
                        && a[$0].value._isIdentical(to: b[$0].value) || isSame(a, b, $0)
                }
            }
        }
    }

    @inline(never)
    private static func isSame(
        _ a: UnsafeBufferPointer<Label>, _ b: UnsafeBufferPointer<Label>, _ index: Int
    ) -> Bool { a[index] == b[index] }

    package static func < (a: Self, b: Self) -> Bool {
        for index in 0..<Swift.min(a.sorted.count, b.sorted.count) {
            let (mine, other) = (a.sorted[index], b.sorted[index])
            var order = byteOrder(mine.name, other.name)
            if order == 0 { order = byteOrder(mine.value, other.value) }
            if order != 0 { return order < 0 }
        }
        return a.sorted.count < b.sorted.count
    }

    /// The value of the label `name`; the empty string where it does not exist. O(n).
    package subscript(name: String) -> String {
        // Swift's equality is the faster one; what it takes for equal is looked at again.
        guard let first = sorted.firstIndex(where: { $0.name == name }) else { return "" }
        if bytesEqual(sorted[first].name, name) { return sorted[first].value }
        return sorted[first...].first { bytesEqual($0.name, name) }?.value ?? ""
    }

    /// The value of `__name__`, empty for a set without one.
    package var metricName: String { self[Labels.metricNameLabel] }

    /// This set with `name` set to `value`; an empty value removes the label.
    package func setting(_ name: String, _ value: String) -> Labels {
        var labels = sorted.filter { !bytesEqual($0.name, name) }
        guard !value.isEmpty else { return Labels(sortedUnchecked: labels) }
        let label = Label(name, value)
        labels.insert(label, at: labels.firstIndex { label < $0 } ?? labels.count)
        return Labels(sortedUnchecked: labels)
    }

    /// This set without the labels named in `names`.
    package func dropping(_ names: Set<String>) -> Labels {
        Labels(sortedUnchecked: sorted.filter { !names.contains($0.name) })
    }

    /// This set with only the labels named in `names`.
    package func keeping(_ names: Set<String>) -> Labels {
        Labels(sortedUnchecked: sorted.filter { names.contains($0.name) })
    }

    /// A 64-bit FNV-1a hash over names and values with separators: the same in every process and on every machine.
    package var fingerprint: UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        for label in sorted {
            for byte in label.name.utf8 { mix(byte) }
            mix(0xff)
            for byte in label.value.utf8 { mix(byte) }
            mix(0xff)
        }
        return hash
    }

    /// The label that holds a series' metric name.
    package static let metricNameLabel = "__name__"

    /// The labels that the collector sets of every series and stream of a host, whatever was sent.
    package static let namesOfCollector = ["host", "role"]
}

extension Labels: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { sorted.count }
    package subscript(position: Int) -> Label { sorted[position] }
}

extension Labels: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral pairs: (String, String)...) {
        self.init(pairs.map { Label($0.0, $0.1) })
    }
}

/// Whether `a` sorts before `b` by UTF-8 bytes (Swift's own order is by Unicode scalar after normalisation).
package func bytesPrecede(_ a: String, _ b: String) -> Bool {
    byteOrder(a, b) < 0
}
