import LinearRegex
import LogQLSyntax
import Model

/// A part of a metric query that gives a vector at each step. Steps come in ascending order, each once.
class MetricNode {
    /// The samples of the step evaluated last.
    final var vector = StepVector()

    /// Fills `vector`.
    func evaluate(_ index: Int) throws(MetricError) { preconditionFailure("abstract") }

    /// The labels of a series of `vector`.
    func labels(of id: Int32) -> Labels { preconditionFailure("abstract") }
}

/// `vector(x)`.
final class VectorNode: MetricNode {
    init(_ value: Double) {
        super.init()
        vector.append(0, value)
    }

    override func evaluate(_ index: Int) {}
    override func labels(of id: Int32) -> Labels { .empty }
}

/// `absent_over_time`: one sample where there is none.
final class AbsentNode: MetricNode {
    private let child: MetricNode
    private let absent: Labels

    init(_ child: MetricNode, _ matchers: [LabelMatcher]) {
        self.child = child
        absent = Self.labels(matchers)
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try child.evaluate(index)
        vector.removeAll()
        if child.vector.isEmpty { vector.append(0, 1) }
    }

    override func labels(of id: Int32) -> Labels { absent }

    /// What the selector says of the missing streams: labels with one `=` matcher and no other.
    /// Source: Loki 3.6 `absentLabels`.
    private static func labels(_ matchers: [LabelMatcher]) -> Labels {
        var values: [ExactText: String] = [:]
        var ambiguous: Set<ExactText> = []
        for matcher in matchers where matcher.name != Labels.metricNameLabel {
            let name = ExactText(matcher.name)
            if matcher.operation == .equal, values[name] == nil {
                if !matcher.value.isEmpty { values[name] = matcher.value }
            } else {
                ambiguous.insert(name)
            }
        }
        for name in ambiguous { values[name] = nil }
        return Labels(values.map { Label($0.key.text, $0.value) })
    }
}

/// An operation with a number on one side.
final class ScalarOperationNode: MetricNode {
    private let child: MetricNode
    private let operation: BinaryOperation.Operation
    private let number: Double
    private let isNumberLeft: Bool
    private let returnsBool: Bool

    init(
        _ child: MetricNode, _ operation: BinaryOperation.Operation, number: Double,
        isNumberLeft: Bool, returnsBool: Bool
    ) {
        self.child = child
        self.operation = operation
        self.number = number
        self.isNumberLeft = isNumberLeft
        self.returnsBool = returnsBool
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try child.evaluate(index)
        vector.removeAll()
        let isFilter = operation.isComparison && !returnsBool
        for position in 0..<child.vector.count {
            let value = child.vector.values[position]
            let result =
                isNumberLeft ? operation.fold(number, value) : operation.fold(value, number)
            if isFilter {
                if result == 1 { vector.append(child.vector.ids[position], value) }
            } else {
                vector.append(child.vector.ids[position], result)
            }
        }
    }

    override func labels(of id: Int32) -> Labels { child.labels(of: id) }
}

/// `label_replace`.
final class LabelReplaceNode: MetricNode {
    private let child: MetricNode
    private let replacement: LabelReplacement
    private let regex: LinearRegex
    private var table: LabelTable
    private var own = NumberMap()

    /// Throws for an expression that does not compile.
    init(
        _ child: MetricNode, _ replacement: LabelReplacement, _ memory: MemoryMeter
    ) throws(MetricError) {
        self.child = child
        table = LabelTable(memory)
        self.replacement = replacement
        do {
            regex = try LinearRegex(replacement.regex, anchored: true, dotMatchesLineEnd: false)
        } catch {
            let reason = "invalid regex in label_replace: \(regexErrorText(error))"
            throw .query(.syntax(.invalid(reason)))
        }
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try child.evaluate(index)
        vector.removeAll()
        for position in 0..<child.vector.count {
            let id = child.vector.ids[position]
            var number = own[id]
            if number < 0 {
                number = try table.number(of: replaced(child.labels(of: id)))
                own.set(id, to: number)
            }
            vector.append(number, child.vector.values[position])
        }
    }

    override func labels(of id: Int32) -> Labels { table.labels[Int(id)] }

    private func replaced(_ labels: Labels) -> Labels {
        guard let match = regex.firstMatch(in: labels[replacement.source]) else { return labels }
        return labels.withoutEmptyValues.setting(
            replacement.destination, match.expand(replacement.replacement))
    }
}
