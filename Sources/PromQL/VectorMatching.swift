import Model
import PromQLSyntax

/// How labels fall into match groups.
struct MatchGroups {
    let isOn: Bool
    private let names: Set<String>

    init(_ matching: VectorMatching) {
        isOn = matching.isOn
        names = Set(matching.labels).union(matching.isOn ? [] : [Labels.metricNameLabel])
    }

    /// The labels that series must share to match.
    func key(_ labels: Labels) -> Labels {
        isOn ? labels.keeping(names) : labels.dropping(names)
    }

    /// The number of the group of `labels`, counted up as groups appear.
    func number(_ labels: Labels, _ indices: inout [Labels: Int]) -> Int {
        let key = key(labels)
        if let index = indices[key] { return index }
        let index = indices.count
        indices[key] = index
        return index
    }
}

/// Arithmetic and comparison between two vectors.
///
/// Groups are found once for all steps; inside a group every pair of a "many" and a "one" row is computed as a column.
/// At each step a group has at most one "one" sample, else the match is ambiguous. Source: Prometheus 3.14 `VectorBinop`.
extension Evaluator {
    /// The rows of the result, counted as held.
    func matchedOperation(
        _ binary: BinaryPlan, _ left: [Row], _ right: [Row], _ matching: VectorMatching,
        _ grid: StepGrid
    ) throws(QueryError) -> [Row] {
        let isSwapped = matching.cardinality == .oneToMany
        let many = isSwapped ? right : left
        let one = isSwapped ? left : right
        let fillOne = isSwapped ? matching.fillLeft : matching.fillRight
        let fillMany = isSwapped ? matching.fillRight : matching.fillLeft
        let hasFill = fillOne != nil || fillMany != nil
        if many.isEmpty || one.isEmpty, !hasFill { return [] }
        let groups = MatchGroups(matching)
        var members = GroupMembers()
        for (index, row) in many.enumerated() { members.add(groups.key(row.labels), many: index) }
        for (index, row) in one.enumerated() { members.add(groups.key(row.labels), one: index) }
        let manyAny = hasFill ? nil : anyPresent(many, grid)
        var join = Join(self, binary, matching, many: many, one: one, isSwapped: isSwapped, grid)
        for (number, group) in members.groups.enumerated() {
            if number & 63 == 0 { try checkCancelled() }
            try rejectDuplicates(one, group, isSwapped, manyAny)
            try join.add(group, fillMany: fillMany, fillOne: fillOne)
        }
        for remark in join.lastRemarks { self.remark(remark, at: binary.position) }
        return grid.count > 1 || dropsNamesAtOnce ? try joined(join.rows) : join.rows
    }

    /// Throws where two rows of the "one" side have a sample at the same step (and the other side has any).
    private func rejectDuplicates(
        _ one: [Row], _ group: MatchGroup, _ isSwapped: Bool, _ manyAny: [Bool]?
    ) throws(QueryError) {
        guard group.one.count > 1 else { return }
        let rows = group.one.map { one[$0] }
        for step in rows[0].values.indices {
            if step & 63 == 0 { try checkCancelled() }
            guard manyAny?[step] ?? true else { continue }
            let present = rows.filter { $0.isPresent(step) }
            guard present.count > 1 else { continue }
            throw .duplicateSeries(
                group: group.key.bracedText, side: isSwapped ? "left" : "right",
                first: present[1].labels.bracedText, second: present[0].labels.bracedText)
        }
    }

    private func anyPresent(_ rows: [Row], _ grid: StepGrid) -> [Bool] {
        var present = [Bool](repeating: false, count: grid.count)
        for row in rows {
            for step in row.values.indices where !Row.isAbsent(row.values[step]) {
                present[step] = true
            }
            for step in row.histograms.indices where row.histograms[step] != nil {
                present[step] = true
            }
        }
        return present
    }
}

/// The row numbers of both sides that share their matching labels.
private struct MatchGroup {
    var key: Labels
    var many: [Int] = []
    var one: [Int] = []
}

/// The match groups in the order they appear.
private struct GroupMembers {
    private(set) var groups: [MatchGroup] = []
    private var indices: [Labels: Int] = [:]

    mutating func add(_ key: Labels, many index: Int) { groups[group(key)].many.append(index) }
    mutating func add(_ key: Labels, one index: Int) { groups[group(key)].one.append(index) }

    private mutating func group(_ key: Labels) -> Int {
        if let index = indices[key] { return index }
        indices[key] = groups.count
        groups.append(MatchGroup(key: key))
        return groups.count - 1
    }
}

/// The rows of one side of a match group and behind them, where samples are filled in, a row of these.
private struct Side {
    let rows: [Row]
    let members: [Int]
    var filler: Row?

    var count: Int { members.count + (filler == nil ? 0 : 1) }
    var hasHistograms: Bool { members.contains { rows[$0].hasHistograms } }

    subscript(number: Int) -> Row {
        if number == members.count, let filler { return filler }
        return rows[members[number]]
    }

    /// A row of `value` at the steps where no row has a sample (and one of `others` has, where given).
    func filler(
        _ key: Labels, _ value: Double, _ steps: Int, wanted others: Side?
    ) -> Row {
        var values = [Double](repeating: Row.absent, count: steps)
        for step in 0..<steps where !isPresent(step) && others?.isPresent(step) ?? true {
            values[step] = value
        }
        return Row(labels: key, dropsName: false, values: values)
    }

    private func isPresent(_ step: Int) -> Bool {
        members.contains { rows[$0].isPresent(step) }
    }
}

/// Computes the pairs of match groups and keeps watch over the uniqueness of their results.
private struct Join {
    private let evaluator: Evaluator
    private let binary: BinaryPlan
    private let matching: VectorMatching
    private let many: [Row]
    private let one: [Row]
    private let isSwapped: Bool
    private let grid: StepGrid
    /// Counted as held.
    private(set) var rows: [Row] = []
    private var pairsSeen = 0
    /// The remark of the highest rank at each step.
    private var remarks: [(rank: Int, remark: Remark)?] = []

    init(
        _ evaluator: Evaluator, _ binary: BinaryPlan, _ matching: VectorMatching, many: [Row],
        one: [Row], isSwapped: Bool, _ grid: StepGrid
    ) {
        self.evaluator = evaluator
        self.binary = binary
        self.matching = matching
        self.many = many
        self.one = one
        self.isSwapped = isSwapped
        self.grid = grid
    }

    private var steps: Int { grid.count }

    /// Of each step only the last remark counts. Source: Prometheus 3.14 `VectorBinop`, `lastErr`.
    var lastRemarks: [Remark] { remarks.compactMap { $0?.remark } }

    private mutating func note(_ remark: Remark, rank: Int, _ step: Int) {
        if remarks.isEmpty { remarks = Array(repeating: nil, count: steps) }
        if let last = remarks[step], last.rank > rank { return }
        remarks[step] = (rank, remark)
    }

    /// Adds the pairs of `group`. Of two that are both filled in there is none: one is only where the other isn't.
    mutating func add(
        _ group: MatchGroup, fillMany: Double?, fillOne: Double?
    ) throws(QueryError) {
        var seen: [Labels: [Bool]] = [:]
        let needsCheck = group.many.count > 1
        var manySide = Side(rows: many, members: group.many)
        var oneSide = Side(rows: one, members: group.one)
        let isNumeric =
            !binary.operation.isTrim && !manySide.hasHistograms && !oneSide.hasHistograms
        if let fillOne, !group.many.isEmpty {
            oneSide.filler = oneSide.filler(group.key, fillOne, steps, wanted: nil)
        }
        if let fillMany, !group.one.isEmpty {
            manySide.filler = manySide.filler(group.key, fillMany, steps, wanted: oneSide)
        }
        for manyNumber in 0..<manySide.count {
            for oneNumber in 0..<oneSide.count {
                let isManyFilled = manyNumber == group.many.count
                if isManyFilled, oneNumber == group.one.count { continue }
                pairsSeen += 1
                if pairsSeen & 15 == 0 { try evaluator.checkCancelled() }
                let manyRow = manySide[manyNumber]
                let oneRow = oneSide[oneNumber]
                let labels = resultLabels(manyRow.labels, oneRow.labels)
                if isNumeric {
                    try pair(labels, manyRow, oneRow, &seen, needsCheck: needsCheck)
                } else {
                    // As Prometheus looks at samples: the "many" side as given, then "one" samples without a partner.
                    let rank =
                        isManyFilled
                        ? many.count + group.one[oneNumber] : group.many[manyNumber]
                    try pairElements(
                        labels, manyRow, oneRow, &seen, needsCheck: needsCheck, rank: rank)
                }
            }
        }
    }

    private mutating func pair(
        _ labels: Labels, _ many: Row, _ one: Row,
        _ seen: inout [Labels: [Bool]], needsCheck: Bool
    ) throws(QueryError) {
        let operation = binary.operation
        let isOneToOne = matching.cardinality == .oneToOne
        var values = [Double](repeating: Row.absent, count: steps)
        var taken: [Bool]?
        let group = isOneToOne ? Labels.empty : labels
        if needsCheck { taken = seen[group] ?? [Bool](repeating: false, count: steps) }
        var isEmpty = true
        for step in 0..<steps {
            guard !Row.isAbsent(many.values[step]), !Row.isAbsent(one.values[step]) else {
                continue
            }
            if taken?[step] == true { throw isOneToOne ? .implicitManyToOne : .ambiguousGrouping }
            taken?[step] = true
            let left = isSwapped ? one.values[step] : many.values[step]
            let right = isSwapped ? many.values[step] : one.values[step]
            if operation.isComparison {
                let holds = compare(operation, left, right)
                if binary.returnsBool {
                    values[step] = holds ? 1 : 0
                } else if holds {
                    values[step] = left
                } else {
                    continue
                }
            } else {
                values[step] = calculate(operation, left, right)
            }
            isEmpty = false
        }
        if let taken { seen[group] = taken }
        if isEmpty { return }
        try evaluator.hold(rowAfter: rows.count, grid)
        rows.append(Row(labels: labels, dropsName: dropsName(many), values: values))
    }

    /// As `pair`, where histograms are among the samples.
    private mutating func pairElements(
        _ labels: Labels, _ many: Row, _ one: Row,
        _ seen: inout [Labels: [Bool]], needsCheck: Bool, rank: Int
    ) throws(QueryError) {
        let isOneToOne = matching.cardinality == .oneToOne
        let group = isOneToOne ? Labels.empty : labels
        var taken: [Bool]?
        if needsCheck { taken = seen[group] ?? [Bool](repeating: false, count: steps) }
        var row = Row(
            labels: labels, dropsName: dropsName(many),
            values: [Double](repeating: Row.absent, count: steps))
        for step in 0..<steps {
            guard let manyElement = many.element(step), let oneElement = one.element(step) else {
                continue
            }
            let (outcome, remark) = combine(
                binary.operation, isSwapped ? oneElement : manyElement,
                isSwapped ? manyElement : oneElement)
            if let remark { note(remark, rank: rank, step) }
            if case .failed = outcome { continue }
            if taken?[step] == true { throw isOneToOne ? .implicitManyToOne : .ambiguousGrouping }
            taken?[step] = true
            if binary.returnsBool {
                row.values[step] = outcome.holds ? 1 : 0
            } else if case .sample(let sample) = outcome {
                row.set(sample, step)
            }
        }
        if let taken { seen[group] = taken }
        if row.isEmpty { return }
        try evaluator.hold(rowAfter: rows.count, grid)
        try evaluator.hold(histogramsOf: row)
        rows.append(row)
    }

    /// Whether the name goes at the end. A comparison that filters keeps that of `many` only where `many` itself does:
    /// `rate(a[5m]) > b` is no `a`. Prometheus' own delayed removal forgets that; its immediate one, the default, does not.
    private func dropsName(_ many: Row) -> Bool {
        binary.returnsBool && !evaluator.dropsNamesAtOnce
            || many.dropsName && !matching.included.contains(Labels.metricNameLabel)
    }

    /// Source: Prometheus 3.14 `resultMetric`.
    private func resultLabels(_ many: Labels, _ one: Labels) -> Labels {
        let keepsMetadata = binary.operation.isComparison || binary.operation.isTrim
        // Where names go at once, what is included comes after, a name too.
        let isBool = binary.returnsBool && evaluator.dropsNamesAtOnce
        var labels = keepsMetadata && !isBool ? many : many.droppingMetadata()
        if matching.cardinality == .oneToOne {
            let names = Set(matching.labels)
            labels = matching.isOn ? labels.keeping(names) : labels.dropping(names)
        }
        for name in matching.included { labels = labels.setting(name, one[name]) }
        return labels
    }
}
