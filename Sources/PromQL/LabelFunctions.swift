import LinearRegex
import Model
import PromQLSyntax

/// The longest label value that `label_replace` and `label_join` may make.
private let labelValueBytesMax = 64 * 1024

/// `label_replace`, `label_join` and the sorting functions: they work on series, not on samples.
extension Evaluator {
    /// Source: Prometheus 3.14 `evalLabelReplace`.
    func labelReplace(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let target = try text(call.arguments[1], grid)
        let template = try text(call.arguments[2], grid)
        let source = try text(call.arguments[3], grid)
        let pattern = try text(call.arguments[4], grid)
        let regex: LinearRegex
        do {
            regex = try LinearRegex(pattern, anchored: true)
        } catch {
            throw .invalidRegex(pattern, reason: error.description)
        }
        guard isLabelName(target) else {
            throw .invalidLabelName("destination label name in label_replace(): \(target)")
        }
        var result = try rows(call.arguments[0], grid)
        for index in result.indices {
            if index & 255 == 0 { try checkCancelled() }
            guard let match = regex.firstMatch(in: result[index].labels[source]) else { continue }
            let value = match.expand(template)
            try setLabel(target, value, of: &result[index])
        }
        return try unique(result)
    }

    /// Source: Prometheus 3.14 `evalLabelJoin`.
    func labelJoin(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let target = try text(call.arguments[1], grid)
        let separator = try text(call.arguments[2], grid)
        var sources: [String] = []
        for argument in call.arguments.dropFirst(3) { sources.append(try text(argument, grid)) }
        if let name = sources.first(where: { !isLabelName($0) }) {
            throw .invalidLabelName("source label name in label_join(): \(name)")
        }
        guard isLabelName(target) else {
            throw .invalidLabelName("destination label name in label_join(): \(target)")
        }
        var result = try rows(call.arguments[0], grid)
        for index in result.indices {
            if index & 255 == 0 { try checkCancelled() }
            let values = sources.map { result[index].labels[$0] }
            try setLabel(target, values.joined(separator: separator), of: &result[index])
        }
        return try unique(result)
    }

    private func setLabel(
        _ name: String, _ value: String, of row: inout Row
    ) throws(QueryError) {
        guard value.utf8.count <= labelValueBytesMax else {
            throw .labelValueExceeded(max: labelValueBytesMax)
        }
        try hold(text: value)
        row.labels = row.labels.setting(name, value)
        if name == Labels.metricNameLabel { row.dropsName = false }
    }

    private func isLabelName(_ name: String) -> Bool {
        !name.isEmpty && !name.unicodeScalars.contains("\u{fffd}")
    }

    private func unique(_ rows: [Row]) throws(QueryError) -> [Row] { try joined(rows) }

    /// `sort`, `sort_desc`, `sort_by_label` and `sort_by_label_desc`; without effect on range queries.
    func sorted(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        var input = try rows(call.arguments[0], grid)
        // Histograms have no order.
        if call.function == .sort || call.function == .sortDesc { input = input.numbersOnly() }
        guard parameters.isInstant || parameters.start == parameters.end else {
            remark(.sortInRangeQuery, at: call.position)
            return input
        }
        guard grid.count == 1 else { return input }
        switch call.function {
        case .sort, .sortDesc:
            let isDescending = call.function == .sortDesc
            return stablySorted(input) { a, b in
                let first = a.values[0]
                let second = b.values[0]
                if first.isNaN || second.isNaN { return !first.isNaN }
                return isDescending ? first > second : first < second
            }
        default:
            var names: [String] = []
            for argument in call.arguments.dropFirst() { names.append(try text(argument, grid)) }
            let isDescending = call.function == .sortByLabelDesc
            return stablySorted(input) { a, b in
                isDescending
                    ? labelsPrecede(b.labels, a.labels, names)
                    : labelsPrecede(a.labels, b.labels, names)
            }
        }
    }

    private func stablySorted(_ rows: [Row], _ precedes: (Row, Row) -> Bool) -> [Row] {
        rows.enumerated().sorted { a, b in
            if precedes(a.element, b.element) { return !precedes(b.element, a.element) }
            return !precedes(b.element, a.element) && a.offset < b.offset
        }.map(\.element)
    }
}

/// Whether `a` comes before `b` by the labels `names` in natural order, then by all labels.
private func labelsPrecede(_ a: Labels, _ b: Labels, _ names: [String]) -> Bool {
    for name in names {
        let first = a[name]
        let second = b[name]
        if first != second { return naturallyPrecedes(first, second) }
    }
    return a < b
}

/// Whether `a` comes before `b` where runs of digits compare as numbers: `node2` before `node10`.
func naturallyPrecedes(_ a: String, _ b: String) -> Bool {
    var first = Array(a.utf8)[...]
    var second = Array(b.utf8)[...]
    while !first.isEmpty, !second.isEmpty {
        let left = nextRun(&first)
        let right = nextRun(&second)
        if left.elementsEqual(right) { continue }
        if isDigit(left[left.startIndex]), isDigit(right[right.startIndex]) {
            let x = left.drop { $0 == 48 }
            let y = right.drop { $0 == 48 }
            if x.elementsEqual(y) { continue }
            return x.count == y.count ? x.lexicographicallyPrecedes(y) : x.count < y.count
        }
        return left.lexicographicallyPrecedes(right)
    }
    if first.isEmpty && second.isEmpty { return bytesPrecede(a, b) }
    return first.isEmpty
}

private func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

/// Takes the leading run of digits, or of anything else.
private func nextRun(_ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let kind = bytes.first.map(isDigit) ?? false
    let run = bytes.prefix { isDigit($0) == kind }
    bytes = bytes.dropFirst(run.count)
    return run
}
