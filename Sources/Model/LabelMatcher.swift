/// A condition on one label: `name="value"`, `!=`, `=~` or `!~`.
///
/// A label that a set lacks matches as the empty string. Regular expressions are RE2 syntax, anchored at both
/// ends; this type holds their text, who runs them compiles it (`LinearRegex`).
package struct LabelMatcher: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable {
        case equal = "="
        case notEqual = "!="
        case matchesRegex = "=~"
        case notMatchesRegex = "!~"
    }

    package var name: String
    package var operation: Operation
    package var value: String

    package init(_ name: String, _ operation: Operation, _ value: String) {
        self.name = name
        self.operation = operation
        self.value = value
    }
}
