package import LogQLSyntax

/// By which labels samples are put together, so that a pipeline can give each its group instead of its labels.
package enum SampleGrouping: Hashable, Sendable {
    /// Every label counts.
    case all
    /// One group with no labels: `sum(…)`.
    case nothing
    case by([String])
    case without([String])

    /// Of `by (…)` and `without (…)`; nil stands for none written.
    package init(_ grouping: Grouping?) {
        switch grouping {
        case nil: self = .all
        case let grouping? where grouping.isWithout: self = .without(grouping.labels)
        case let grouping? where grouping.labels.isEmpty: self = .nothing
        case let grouping?: self = .by(grouping.labels)
        }
    }
}

/// Which labels a query needs of its parsers, so that they need not look for the others.
///
/// Known only where samples are grouped by some labels or none. What stages read, and what `unwrap` takes, is needed
/// too. A parser stops as soon as all are there, so that what is wrong with the rest of a line goes unseen, as it does
/// in Loki. Source: Loki 3.6 `ParserHint`.
package struct PipelineHints: Sendable {
    /// All labels of everything, as log queries need them.
    package static let none = PipelineHints(names: [])

    /// The names needed, none of them twice; none stands for all.
    let names: [String]
    private(set) var numbers: [Int32] = []
    /// By name number, for the names that were known when the query was compiled.
    private var isNeeded: [Bool] = []
    private(set) var needsNoLabels = false
    private(set) var preservesError = false

    private init(names: [String]) { self.names = names }

    /// What is needed where stages and `unwrap` read `read`, and samples are grouped by `grouping`.
    init(grouping: SampleGrouping, read: [String]) {
        var names: [String] = []
        func add(_ name: String) {
            guard !name.isEmpty else { return }
            if !names.contains(name) { names.append(name) }
            // A parser knows the name before it has `_extracted` at its end.
            guard name.hasSuffix(PipelineLabelNames.extractedSuffix) else { return }
            let short = String(name.dropLast(PipelineLabelNames.extractedSuffix.count))
            if !short.isEmpty, !names.contains(short) { names.append(short) }
        }
        switch grouping {
        case .all, .without: self.names = []
        case .nothing:
            read.forEach(add)
            self.names = names
            needsNoLabels = names.isEmpty
        case .by(let labels):
            (read + labels).forEach(add)
            self.names = names
        }
        preservesError = self.names.contains(EntryLabels.errorName)
    }

    /// Numbers the names.
    mutating func number(_ table: inout ByteTable) {
        numbers = names.map { table.intern($0) }
        isNeeded = [Bool](repeating: false, count: table.count)
        for number in numbers { isNeeded[Int(number)] = true }
    }

    var requiredCount: Int { numbers.count }

    func isRequired(_ number: Int32) -> Bool {
        Int(number) < isNeeded.count && isNeeded[Int(number)]
    }

    /// Whether a label is to be extracted.
    func wants(_ number: Int32) -> Bool { numbers.isEmpty || isRequired(number) }

    /// Whether a label whose name begins with `prefix` may be needed.
    func wants(prefix: [UInt8]) -> Bool {
        numbers.isEmpty || names.contains { $0.utf8.starts(with: prefix) }
    }
}
