package import LinearRegex
package import Model

/// A label set while it is being changed. Labels with an empty value do not exist.
package struct LabelBuilder: Sendable {
    /// Ascending by name, bytewise.
    private var sorted: [Label]

    package init(_ labels: Labels = .empty) { sorted = Array(labels) }

    package subscript(name: String) -> String {
        get { sorted.first { bytesEqual($0.name, name) }?.value ?? "" }
        set {
            sorted.removeAll { bytesEqual($0.name, name) }
            guard !newValue.isEmpty else { return }
            let at = sorted.firstIndex { bytesPrecede(name, $0.name) } ?? sorted.count
            sorted.insert(Label(name, newValue), at: at)
        }
    }

    package mutating func removeAll(where isGone: (String) -> Bool) {
        sorted.removeAll { isGone($0.name) }
    }

    package var labels: Labels { Labels(sortedUnchecked: sorted) }
}

/// One entry of `relabel_configs` or `metric_relabel_configs`.
/// Source: Prometheus 3.14 `model/relabel.relabel`.
package struct RelabelRule: Sendable {
    package enum Action: String, CaseIterable, Hashable, Sendable {
        case replace, keep, drop, keepequal, dropequal, labelmap, labeldrop, labelkeep
        case lowercase, uppercase
    }

    package static let defaultPattern = "(.*)"
    package static let defaultReplacement = "$1"
    package static let defaultSeparator = ";"

    package var action: Action
    package var sourceLabels: [String]
    package var separator: String
    /// Anchored at both ends.
    package var regex: LinearRegex
    package var targetLabel: String
    package var replacement: String

    package init(
        _ action: Action = .replace, sourceLabels: [String] = [],
        separator: String = Self.defaultSeparator, regex: LinearRegex, targetLabel: String = "",
        replacement: String = Self.defaultReplacement
    ) {
        self.action = action
        self.sourceLabels = sourceLabels
        self.separator = separator
        self.regex = regex
        self.targetLabel = targetLabel
        self.replacement = replacement
    }

    /// Applies the rule; false drops the target or the sample.
    package func apply(_ labels: inout LabelBuilder) -> Bool {
        switch action {
        case .keep: return regex.matches(source(labels))
        case .drop: return !regex.matches(source(labels))
        case .keepequal: return labels[targetLabel] == source(labels)
        case .dropequal: return labels[targetLabel] != source(labels)
        case .lowercase: labels[targetLabel] = source(labels).lowercased()
        case .uppercase: labels[targetLabel] = source(labels).uppercased()
        case .replace: replace(&labels)
        case .labelmap:
            for label in labels.labels {
                guard let match = regex.firstMatch(in: label.name) else { continue }
                let name = match.expand(replacement)
                if !name.isEmpty { labels[name] = label.value }
            }
        case .labeldrop: labels.removeAll { regex.matches($0) }
        case .labelkeep: labels.removeAll { !regex.matches($0) }
        }
        return true
    }

    private func source(_ labels: LabelBuilder) -> String {
        sourceLabels.map { labels[$0] }.joined(separator: separator)
    }

    private func replace(_ labels: inout LabelBuilder) {
        // Without a match nothing is replaced; a target that comes out empty is no label's name.
        guard let match = regex.firstMatch(in: source(labels)) else { return }
        let name = match.expand(targetLabel)
        if !name.isEmpty { labels[name] = match.expand(replacement) }
    }
}

extension RelabelRule: Equatable {
    package static func == (a: Self, b: Self) -> Bool {
        a.action == b.action && a.sourceLabels == b.sourceLabels && a.separator == b.separator
            && a.regex.pattern == b.regex.pattern && a.targetLabel == b.targetLabel
            && a.replacement == b.replacement
    }
}

extension [RelabelRule] {
    /// Applies the rules in order; false where one drops.
    package func apply(_ labels: inout LabelBuilder) -> Bool {
        allSatisfy { $0.apply(&labels) }
    }
}
