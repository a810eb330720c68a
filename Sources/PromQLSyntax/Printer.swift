import Model

extension Expression: CustomStringConvertible {
    /// A query that parses to the same tree, in Prometheus' spelling. No recursion.
    /// Source: Prometheus 3.14 `printer.go`.
    package var description: String {
        var text = ""
        var pending: [PrintedPiece] = [.node(self)]
        while let piece = pending.popLast() {
            switch piece {
            case .text(let part): text += part
            case .node(let node): pending.append(contentsOf: node.printedPieces.reversed())
            }
        }
        return text
    }

    /// The node's own text with its parts between.
    var printedPieces: [PrintedPiece] {
        switch self {
        case .number(let node): [.text(node.promQLText)]
        case .string(let node):
            [.text(node.invalidBytes.map { quoted(bytes: $0) } ?? quoted(node.value))]
        case .vectorSelector(let node): [.text(node.promQLText)]
        case .matrixSelector(let node): [.text(node.promQLText)]
        case .subquery(let node): [.node(node.expression), .text(node.suffixText)]
        case .unary(let node): [.text(node.isNegation ? "-" : "+"), .node(node.operand)]
        case .binary(let node):
            [
                .node(node.lhs), .text(" \(node.operation.rawValue)\(node.modifierText) "),
                .node(node.rhs),
            ]
        case .call(let node): Self.pieces("\(node.name)(", children)
        case .aggregate(let node):
            Self.pieces("\(node.operation.rawValue)\(node.groupingText)(", children)
        case .parenthesized(let node): Self.pieces("(", [node.expression])
        }
    }

    /// `opening`, the expressions with commas between them, and a closing parenthesis.
    private static func pieces(_ opening: String, _ parts: [Expression]) -> [PrintedPiece] {
        var pieces: [PrintedPiece] = [.text(opening)]
        for (index, part) in parts.enumerated() {
            if index > 0 { pieces.append(.text(", ")) }
            pieces.append(.node(part))
        }
        return pieces + [.text(")")]
    }
}

/// Text that is final, or a node still to be printed.
enum PrintedPiece {
    case text(String)
    case node(Expression)
}

extension NumberLiteral {
    var promQLText: String {
        guard isDuration, let milliseconds = Int64(exactly: (value * 1000).rounded()) else {
            return decimalText(value)
        }
        return signedDurationText(milliseconds)
    }
}

extension VectorSelector {
    var promQLText: String { bareText + anchorText(anchor) + edgesText + offsetText(offset) }

    /// The selector without anything that a range comes before.
    fileprivate var bareText: String {
        let conditions = matchers.filter {
            // The name is printed before the braces.
            !($0.name == Labels.metricNameLabel && $0.operation == .equal && $0.value == name
                && !name.isEmpty)
        }.map(\.promQLText).sorted(by: bytesPrecede)
        return name
            + (conditions.isEmpty && !name.isEmpty ? "" : "{\(conditions.joined(separator: ","))}")
    }

    fileprivate var edgesText: String { edges == .plain ? "" : " \(edges.rawValue)" }
}

extension MatrixSelector {
    fileprivate var promQLText: String {
        "\(selector.bareText)[\(duration)]\(selector.edgesText)"
            + anchorText(selector.anchor) + offsetText(selector.offset)
    }
}

extension Subquery {
    var suffixText: String {
        "[\(duration):\(step?.description ?? "")]" + anchorText(anchor) + offsetText(offset)
    }
}

extension LabelMatcher {
    /// The matcher as a query spells it, the name quoted where it needs to be.
    package var promQLText: String { "\(labelText(name))\(operation.rawValue)\(quoted(value))" }
}

extension BinaryExpression {
    var modifierText: String {
        var text = returnsBool ? " bool" : ""
        guard let matching else { return text }
        let groups = matching.cardinality == .manyToOne || matching.cardinality == .oneToMany
        if !matching.labels.isEmpty || matching.isOn || groups {
            text += matching.isOn ? " on (" : " ignoring ("
            text += labelsText(matching.labels) + ")"
        }
        if groups {
            text += matching.cardinality == .manyToOne ? " group_left (" : " group_right ("
            text += labelsText(matching.included) + ")"
        }
        switch (matching.fillLeft, matching.fillRight) {
        case (nil, nil): break
        case (let left?, let right?) where left.bitPattern == right.bitPattern:
            text += " fill (\(decimalText(left)))"
        case (let left, let right):
            text += left.map { " fill_left (\(decimalText($0)))" } ?? ""
            text += right.map { " fill_right (\(decimalText($0)))" } ?? ""
        }
        return text
    }
}

extension Aggregation {
    var groupingText: String {
        if isWithout { return " without (\(labelsText(grouping))) " }
        return grouping.isEmpty ? "" : " by (\(labelsText(grouping))) "
    }
}

extension DurationExpression: CustomStringConvertible {
    /// The duration as a query spells it.
    package var description: String {
        switch self {
        case .constant(let milliseconds): signedDurationText(milliseconds)
        case .number(let seconds, let isDuration):
            NumberLiteral(seconds, isDuration: isDuration).promQLText
        case .step: "step()"
        case .range: "range()"
        case .negate(let value): "-\(value)"
        case .binary(let operation, let lhs, let rhs): "\(lhs) \(operation.rawValue) \(rhs)"
        case .minimum(let lhs, let rhs): "min_of(\(lhs), \(rhs))"
        case .maximum(let lhs, let rhs): "max_of(\(lhs), \(rhs))"
        case .parenthesized(let value): "(\(value))"
        }
    }
}

// MARK: - Parts

private func anchorText(_ anchor: TimeAnchor?) -> String {
    switch anchor {
    case nil: ""
    case .start: " @ start()"
    case .end: " @ end()"
    case .timestamp(let time): " @ \(secondsText(time.rawValue))"
    }
}

private func offsetText(_ offset: DurationExpression) -> String {
    offset == .zero ? "" : " offset \(offset)"
}

/// Seconds with three decimals, exact for every timestamp.
private func secondsText(_ milliseconds: Int64) -> String {
    let thousandths = String(milliseconds.magnitude % 1000)
    let padding = String(repeating: "0", count: 3 - thousandths.count)
    return "\(milliseconds < 0 ? "-" : "")\(milliseconds.magnitude / 1000).\(padding)\(thousandths)"
}

private func signedDurationText(_ milliseconds: Int64) -> String {
    let magnitude = Int64(clamping: milliseconds.magnitude)
    return (milliseconds < 0 ? "-" : "") + PrometheusDuration(milliseconds: magnitude).description
}

private func labelsText(_ labels: [String]) -> String {
    labels.map(labelText).joined(separator: ", ")
}

/// A label name, quoted unless it is letters, digits and underscores and begins with no digit.
package func labelText(_ name: String) -> String {
    let bytes = name.utf8
    let isPlain =
        bytes.first.map(isLetter) ?? false && bytes.allSatisfy { isLetter($0) || isDigit($0) }
    return isPlain ? name : quoted(name)
}

/// The shortest decimal form without an exponent. Source: Go `strconv.FormatFloat(v, 'f', -1, 64)`.
package func decimalText(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    let text = value.magnitude.description
    let parts = text.split(separator: "e")
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    let halves = parts[0].split(separator: ".")
    var whole = String(halves[0])
    var fraction = halves.count > 1 && halves[1] != "0" ? String(halves[1]) : ""
    if exponent > 0 {
        fraction += String(repeating: "0", count: max(0, exponent - fraction.count))
        whole += fraction.prefix(exponent)
        fraction.removeFirst(exponent)
    } else if exponent < 0 {
        whole = String(repeating: "0", count: max(0, -exponent - whole.count + 1)) + whole
        fraction = String(whole.suffix(-exponent)) + fraction
        whole.removeLast(-exponent)
    }
    return (value.sign == .minus ? "-" : "") + whole + (fraction.isEmpty ? "" : ".\(fraction)")
}
