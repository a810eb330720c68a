package import LinearRegex
package import Model

/// A matcher over an alert's labels with its regular expression compiled. A missing label matches as the empty text.
package struct AlertMatcher: Sendable, CustomStringConvertible {
    package let matcher: LabelMatcher
    private let regex: LinearRegex?

    /// Throws where the regular expression (anchored, RE2) does not compile.
    package init(_ matcher: LabelMatcher) throws(LinearRegexError) {
        self.matcher = matcher
        switch matcher.operation {
        case .equal, .notEqual: regex = nil
        case .matchesRegex, .notMatchesRegex:
            regex = try LinearRegex(matcher.value, anchored: true)
        }
    }

    /// Whether the matcher holds for `labels`.
    package func matches(_ labels: Labels) -> Bool {
        let value = labels[matcher.name]
        switch matcher.operation {
        case .equal: return value == matcher.value
        case .notEqual: return value != matcher.value
        case .matchesRegex: return regex?.matches(value) ?? false
        case .notMatchesRegex: return !(regex?.matches(value) ?? true)
        }
    }

    /// As Alertmanager prints it: `severity=~"page|warn"`.
    package var description: String {
        let needsQuotes = matcher.name.unicodeScalars.contains {
            $0.properties.isWhitespace || "{}!=~,\\\"'`".unicodeScalars.contains($0)
        }
        let name = needsQuotes ? "\"\(escaped(matcher.name))\"" : matcher.name
        return "\(name)\(matcher.operation.rawValue)\"\(escaped(matcher.value))\""
    }

    private func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}

extension Collection<AlertMatcher> {
    /// Whether all hold; an empty list always does.
    package func allMatch(_ labels: Labels) -> Bool { allSatisfy { $0.matches(labels) } }

    /// `{a="b",c=~"d"}`.
    package var text: String { "{" + map(\.description).joined(separator: ",") + "}" }
}
