import Model

// A query over several lines. Source: Loki 3.6 `/loki/api/v1/format_query`, its behaviour.
//
// What is longer than the limit on one line is broken after its opening, its parts two blanks deeper.

extension LogQLExpression {
    /// A text over as many lines as make it readable: a part stays on one line where its text has at most
    /// `lineBytesMax` bytes. O(n · depth).
    package func pretty(lineBytesMax: Int = 100) -> String {
        let printer = LogQLPrettyPrinter(lineBytesMax: lineBytesMax)
        switch self {
        case .log(let selector): return printer.text(selector, level: 0)
        case .metric(let expression): return printer.text(expression, level: 0)
        }
    }
}

private struct LogQLPrettyPrinter {
    let lineBytesMax: Int

    private func isTooLong(_ text: String) -> Bool { text.utf8.count > lineBytesMax }

    private func indent(_ level: Int) -> String { String(repeating: "  ", count: level) }

    func text(_ selector: LogSelector, level: Int) -> String {
        let line = selector.description
        guard !selector.stages.isEmpty, isTooLong(line) else { return indent(level) + line }
        var lines = [indent(level) + selector.selectorText]
        var run: [PipelineStage] = []
        func flush() {
            lines += filterLines(run).map { indent(level + 1) + $0 }
            run = []
        }
        for stage in selector.stages {
            if case .lineFilter = stage {
                run.append(stage)
            } else {
                flush()
                lines.append(indent(level + 1) + stage.description)
            }
        }
        flush()
        return lines.joined(separator: "\n")
    }

    /// Neighbouring line filters are one stage to Loki: as many as fit stand on one line, each after them on its own.
    private func filterLines(_ filters: [PipelineStage]) -> [String] {
        let texts = filters.map(\.description)
        var firstCount = texts.count
        var bytes = texts.reduce(0) { $0 + $1.utf8.count + 1 } - 1
        while firstCount > 1, bytes > lineBytesMax {
            firstCount -= 1
            bytes -= texts[firstCount].utf8.count + 1
        }
        guard firstCount > 0 else { return [] }
        return [texts[..<firstCount].joined(separator: " ")] + texts[firstCount...]
    }

    func text(_ expression: MetricExpression, level: Int) -> String {
        let line = expression.description
        guard isTooLong(line) else { return indent(level) + line }
        switch expression {
        case .literal, .vector: return indent(level) + line
        case .range(let range): return text(range, level: level)
        case .aggregation(let aggregation):
            let parameter = aggregation.parameter.map { indent(level + 1) + "\($0)" }
            return call(
                aggregation.operation.rawValue + grouping(aggregation.grouping),
                (parameter.map { [$0] } ?? []) + [text(aggregation.operand, level: level + 1)],
                level: level)
        case .binary(let operation):
            let right = text(operation.right, level: level + 1)
            return text(operation.left, level: level + 1) + "\n" + indent(level)
                + operation.operatorText(before: right, separator: ", ") + "\n" + right
        case .labelReplace(let replacement):
            return call(
                "label_replace",
                [text(replacement.operand, level: level + 1)]
                    + replacement.texts.map { indent(level + 1) + $0 },
                level: level)
        }
    }

    private func call(_ name: String, _ arguments: [String], level: Int) -> String {
        indent(level) + name + "(\n" + arguments.joined(separator: ",\n") + "\n" + indent(level)
            + ")"
    }

    private func text(_ range: RangeAggregation, level: Int) -> String {
        var inner = text(range.selector, level: level + 1)
        for line in range.unwrap?.lines ?? [] { inner += "\n" + indent(level + 2) + line }
        inner += " [\(GoNumber.shortDuration(range.rangeNanoseconds))]"
        if range.offsetNanoseconds != 0 { inner += " offset " + offset(range.offsetNanoseconds) }
        let parameter = range.parameter.map { indent(level + 1) + GoNumber.general($0) }
        return call(
            range.operation.rawValue, (parameter.map { [$0] } ?? []) + [inner], level: level)
            + (range.grouping.map { grouping($0, keepsEmpty: true) } ?? "")
    }

    /// The short form where it has no less than the duration.
    private func offset(_ nanoseconds: Int64) -> String {
        nanoseconds % 1_000_000 == 0
            ? GoNumber.shortDuration(nanoseconds) : GoNumber.duration(nanoseconds)
    }

    /// ` by (a, b)`. Of no labels only what changes the meaning is kept.
    private func grouping(_ grouping: Grouping?, keepsEmpty: Bool = false) -> String {
        guard let grouping, keepsEmpty || grouping.isWithout || !grouping.labels.isEmpty else {
            return ""
        }
        return (grouping.isWithout ? " without (" : " by (")
            + grouping.labels.joined(separator: ", ") + ")"
    }
}
