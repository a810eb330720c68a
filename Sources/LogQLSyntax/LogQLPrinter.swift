import Model
import PromQLSyntax

// The canonical text of a query. Source: Loki 3.6 `Expr.String`.

extension LogQLExpression: CustomStringConvertible {
    /// The canonical text, which parses back to an equal tree.
    package var description: String {
        switch self {
        case .log(let selector): selector.description
        case .metric(let expression): expression.description
        }
    }
}

extension LogSelector: CustomStringConvertible {
    /// `{a="x", b!="y"} |= "z"`.
    package var description: String {
        let selector = selectorText
        return stages.isEmpty ? selector : selector + " " + stageText(stages)
    }

    /// The stream selector alone.
    var selectorText: String { "{\(matchers.map(matcherText).joined(separator: ", "))}" }
}

/// Stages as a query has them, with a space between each two.
package func stageText(_ stages: [PipelineStage]) -> String {
    stages.map(\.description).joined(separator: " ")
}

func matcherText(_ matcher: LabelMatcher) -> String {
    matcher.name + matcher.operation.rawValue + quoted(matcher.value)
}

extension PipelineStage: CustomStringConvertible {
    /// As written in a query, with its `|`.
    package var description: String {
        switch self {
        case .lineFilter(let filter): filter.description
        case .labelFilter(let filter): "| \(filter)"
        case .json(let extractions): Self.words("| json", extractions.map(\.description))
        case .logfmt(let flags, let extractions):
            Self.words(
                "| logfmt" + (flags.contains(.strict) ? " --strict" : "")
                    + (flags.contains(.keepEmpty) ? " --keep-empty" : ""),
                extractions.map(\.description))
        case .regexp(let text): "| regexp " + quoted(text)
        case .pattern(let text): "| pattern " + quoted(text)
        case .unpack: "| unpack"
        case .decolorize: "| decolorize"
        case .lineFormat(let text): "| line_format " + quoted(text)
        case .labelFormat(let formats):
            Self.words("| label_format", formats.map(\.description))
        case .drop(let selections): Self.words("| drop", selections.map(\.description))
        case .keep(let selections): Self.words("| keep", selections.map(\.description))
        }
    }

    private static func words(_ name: String, _ items: [String]) -> String {
        items.isEmpty ? name : name + " " + items.joined(separator: ",")
    }
}

extension LineFilter: CustomStringConvertible {
    /// `|= "a" or ip("10.0.0.1")`.
    package var description: String {
        let texts = patterns.map { pattern in
            let text = quoted(bytes: pattern.bytes)
            return pattern.isIP ? "ip(\(text))" : text
        }
        return operation.rawValue + " " + texts.joined(separator: " or ")
    }
}

extension LabelFilter: CustomStringConvertible {
    /// `( a>5 , b="x" )`.
    package var description: String {
        switch self {
        case .string(let matcher): labelMatcherText(matcher)
        case .number(let label, let comparison, let value):
            label + comparison.rawValue + GoNumber.plain(value)
        case .duration(let label, let comparison, let value):
            label + comparison.rawValue + GoNumber.duration(value)
        case .bytes(let label, let comparison, let value):
            label + comparison.rawValue + GoNumber.size(value)
        case .ip(let label, let isNegated, let pattern):
            label + (isNegated ? "!=" : "=") + "ip(" + quoted(pattern) + ")"
        case .and(let left, let right): "( \(left) , \(right) )"
        case .or(let left, let right): "( \(left) or \(right) )"
        }
    }

    /// A regular expression that Loki runs as one stands in backquotes.
    private func labelMatcherText(_ matcher: LabelMatcher) -> String {
        switch matcher.operation {
        case .equal, .notEqual: break
        case .matchesRegex, .notMatchesRegex:
            let value = matcher.value
            guard !value.utf8.contains(UInt8(ascii: "`")), !SimpleRegex.isSimple(value) else {
                break
            }
            return "\(matcher.name)\(matcher.operation.rawValue)`\(value)`"
        }
        return matcherText(matcher)
    }
}

extension LabelExtraction: CustomStringConvertible {
    package var description: String { "\(label)=\(quoted(path))" }
}

extension LabelFormat: CustomStringConvertible {
    package var description: String {
        switch value {
        case .rename(let source): "\(label)=\(source)"
        case .template(let text): "\(label)=\(quoted(text))"
        }
    }
}

extension LabelSelection: CustomStringConvertible {
    package var description: String {
        switch self {
        case .name(let name): name
        case .matcher(let matcher): matcherText(matcher)
        }
    }
}

extension Unwrap: CustomStringConvertible {
    /// `| unwrap duration(x) | a="b"`.
    package var description: String { lines.joined(separator: " ") }

    /// It and each of its filters.
    var lines: [String] {
        let name = conversion.map { "\($0.rawValue)(\(label))" } ?? label
        return ["| unwrap " + name] + filters.map { "| \($0)" }
    }
}

extension Grouping: CustomStringConvertible {
    /// ` by (a,b)`, with its blank.
    package var description: String {
        (isWithout ? " without (" : " by (") + labels.joined(separator: ",") + ")"
    }
}

extension MetricExpression: CustomStringConvertible {
    /// With every operation in brackets.
    package var description: String {
        switch self {
        case .literal(let value): GoNumber.general(value)
        case .vector(let value): "vector(\(GoNumber.sixDecimals(value)))"
        case .range(let range): range.description
        case .aggregation(let aggregation): aggregation.description
        case .binary(let operation):
            operation.description
        case .labelReplace(let replacement):
            "label_replace("
                + (["\(replacement.operand)"] + replacement.texts).joined(separator: ",") + ")"
        }
    }
}

extension LabelReplacement {
    /// Its four texts in quotes, as they are written.
    var texts: [String] { [destination, replacement, source, regex].map { quoted($0) } }
}

extension RangeAggregation: CustomStringConvertible {
    package var description: String {
        operation.rawValue + "(" + (parameter.map { GoNumber.plain($0) + "," } ?? "") + rangeText
            + ")" + (grouping?.description ?? "")
    }

    /// `{…} | unwrap x[5m] offset 1h0m0s`.
    var rangeText: String {
        var text = selector.description
        if let unwrap { text += " \(unwrap)" }
        text += "[\(GoNumber.shortDuration(rangeNanoseconds))]"
        if offsetNanoseconds != 0 { text += " offset " + GoNumber.duration(offsetNanoseconds) }
        return text
    }
}

extension VectorAggregation: CustomStringConvertible {
    package var description: String {
        operation.rawValue + (grouping?.description ?? "") + "("
            + (parameter.map { "\($0)," } ?? "") + "\(operand))"
    }
}

extension BinaryOperation: CustomStringConvertible {
    package var description: String {
        let rightText = right.description
        return "(\(left) \(operatorText(before: rightText, separator: ",")) \(rightText))"
    }

    /// The operator with its modifiers. A bracket after `group_left` would be taken for its labels.
    func operatorText(before right: String, separator: String) -> String {
        let text = operation.rawValue + (returnsBool ? " bool" : "")
        guard let matching else { return text }
        let labels = matching.labels.joined(separator: separator)
        let include = matching.include.joined(separator: separator)
        let needsInclude =
            !include.isEmpty || (matching.isGrouped && right.first { $0 != " " } == "(")
        return text + (matching.isOn ? " on (" : " ignoring (") + labels + ") "
            + matching.groupName + (needsInclude ? " (\(include))" : "")
    }
}

extension BinaryOperation.Matching {
    var isGrouped: Bool { cardinality != .oneToOne }

    var groupName: String {
        switch cardinality {
        case .oneToOne: ""
        case .manyToOne: "group_left"
        case .oneToMany: "group_right"
        }
    }
}
