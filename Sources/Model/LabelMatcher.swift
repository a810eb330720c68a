/// A condition on one label: `name="value"`, `!=`, `=~` or `!~`.
///
/// A label that a set lacks matches as the empty string. Regular expressions are RE2 syntax, anchored at both
/// ends; this type holds their text, who runs them compiles it (`LinearRegex`).
///
/// Two are equal where their texts have the same bytes: `"\u{e9}"` and `"e\u{301}"`, one string to Swift, select
/// different series.
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
    package static func == (a: Self, b: Self) -> Bool {
        a.operation == b.operation && haveSameBytes(a.name, b.name)
            && haveSameBytes(a.value, b.value)
    }

    /// Equivalent strings have the same hash, which is no more than a collision here.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(operation)
        hasher.combine(value)
    }

    private static func haveSameBytes(_ a: String, _ b: String) -> Bool {
        a == b && a.utf8.elementsEqual(b.utf8)
    }
}
