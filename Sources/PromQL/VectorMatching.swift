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
        var join = Join(
            binary: binary, matching: matching, isSwapped: isSwapped, steps: grid.count)
        for (number, group) in members.groups.enumerated() {
            if number & 63 == 0 { try checkCancelled() }
            let manyRows = group.many.map { many[$0] }
            let oneRows = group.one.map { one[$0] }
            try rejectDuplicates(oneRows, group.key, isSwapped, manyAny)
            let (pairs, overflow) = manyRows.count.multipliedReportingOverflow(by: oneRows.count)
            guard !overflow, join.rows.count + pairs <= parameters.limits.seriesMax else {
                throw .seriesExceeded(max: parameters.limits.seriesMax)
            }
            try hold(series: pairs, grid)
            join.ranks = (group.many, group.one.map { many.count + $0 })
            try join.add(group.key, manyRows, oneRows, fillMany: fillMany, fillOne: fillOne)
            release(series: pairs, grid)
        }
        for remark in join.lastRemarks { self.remark(remark, at: binary.position) }
        try hold(histogramsOf: join.rows)
        return grid.count > 1 ? try joined(join.rows) : join.rows
    }

    /// Throws where two rows of the "one" side have a sample at the same step (and the other side has any).
    private func rejectDuplicates(
        _ rows: [Row], _ key: Labels, _ isSwapped: Bool, _ manyAny: [Bool]?
    ) throws(QueryError) {
        guard rows.count > 1 else { return }
        for step in rows[0].values.indices where manyAny?[step] ?? true {
            let present = rows.filter { $0.isPresent(step) }
            guard present.count > 1 else { continue }
            throw .duplicateSeries(
                group: key.bracedText, side: isSwapped ? "left" : "right",
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

/// The row numbers of both sides by match group, in the order groups appear.
private struct GroupMembers {
    struct Group {
        var key: Labels
        var many: [Int] = []
        var one: [Int] = []
    }

    private(set) var groups: [Group] = []
    private var indices: [Labels: Int] = [:]

    mutating func add(_ key: Labels, many index: Int) { groups[group(key)].many.append(index) }
    mutating func add(_ key: Labels, one index: Int) { groups[group(key)].one.append(index) }

    private mutating func group(_ key: Labels) -> Int {
        if let index = indices[key] { return index }
        indices[key] = groups.count
        groups.append(Group(key: key))
        return groups.count - 1
    }
}

/// Computes the pairs of match groups and keeps watch over the uniqueness of their results.
private struct Join {
    let binary: BinaryPlan
    let matching: VectorMatching
    let isSwapped: Bool
    let steps: Int
    private(set) var rows: [Row] = []
    /// Where the rows being added stand in the order in which Prometheus looks at samples: the "many" side as given, then
    /// "one" samples without a partner.
    var ranks: (many: [Int], one: [Int]) = ([], [])
    /// The remark of the highest rank at each step.
    private var remarks: [(rank: Int, remark: Remark)?] = []

    init(binary: BinaryPlan, matching: VectorMatching, isSwapped: Bool, steps: Int) {
        self.binary = binary
        self.matching = matching
        self.isSwapped = isSwapped
        self.steps = steps
    }

    /// Of each step only the last remark counts. Source: Prometheus 3.14 `VectorBinop`, `lastErr`.
    var lastRemarks: [Remark] { remarks.compactMap { $0?.remark } }

    private mutating func note(_ remark: Remark, rank: Int, _ step: Int) {
        if remarks.isEmpty { remarks = Array(repeating: nil, count: steps) }
        if let last = remarks[step], last.rank > rank { return }
        remarks[step] = (rank, remark)
    }

    mutating func add(
        _ key: Labels, _ many: [Row], _ one: [Row], fillMany: Double?, fillOne: Double?
    ) throws(QueryError) {
        var seen: [Labels: [Bool]] = [:]
        let needsCheck = many.count > 1
        var manySides = many
        var oneSides = one
        if let fillOne, !many.isEmpty {
            oneSides.append(filler(key, fillOne, missing: one, wanted: nil))
        }
        if let fillMany, !one.isEmpty {
            manySides.append(filler(key, fillMany, missing: many, wanted: one))
        }
        let isNumeric =
            !binary.operation.isTrim
            && !manySides.contains(where: \.hasHistograms)
            && !oneSides.contains(where: \.hasHistograms)
        for (manyNumber, manyRow) in manySides.enumerated() {
            for (oneNumber, oneRow) in oneSides.enumerated() {
                let labels = resultLabels(manyRow.labels, oneRow.labels)
                if isNumeric {
                    try pair(labels, manyRow, oneRow, &seen, needsCheck: needsCheck)
                } else {
                    let rank =
                        manyNumber < ranks.many.count
                        ? ranks.many[manyNumber] : ranks.one[oneNumber]
                    try pairElements(
                        labels, manyRow, oneRow, &seen, needsCheck: needsCheck, rank: rank)
                }
            }
        }
    }

    /// A row of `value` at the steps where no row of `rows` has a sample (and one of `wanted` has, where given).
    private func filler(
        _ key: Labels, _ value: Double, missing rows: [Row], wanted others: [Row]?
    ) -> Row {
        var values = [Double](repeating: Row.absent, count: steps)
        for step in 0..<steps {
            let isMissing = !rows.contains { $0.isPresent(step) }
            let isWanted = others?.contains { $0.isPresent(step) } ?? true
            if isMissing, isWanted { values[step] = value }
        }
        return Row(labels: key, dropsName: false, values: values)
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
        if !isEmpty {
            rows.append(Row(labels: labels, dropsName: binary.returnsBool, values: values))
        }
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
            labels: labels, dropsName: binary.returnsBool,
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
        if !row.isEmpty { rows.append(row) }
    }

    /// Source: Prometheus 3.14 `resultMetric`.
    private func resultLabels(_ many: Labels, _ one: Labels) -> Labels {
        let keepsMetadata = binary.operation.isComparison || binary.operation.isTrim
        var labels = keepsMetadata ? many : many.droppingMetadata()
        if matching.cardinality == .oneToOne {
            let names = Set(matching.labels)
            labels = matching.isOn ? labels.keeping(names) : labels.dropping(names)
        }
        for name in matching.included { labels = labels.setting(name, one[name]) }
        return labels
    }
}
