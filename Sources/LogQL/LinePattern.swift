import LinearRegex
import LogQLSyntax

/// What `|>` and `!>` match a line with, from a first literal anywhere in it to the line's end: literal text and `<_>`,
/// which stands for one byte or more.
///
/// Source: LogQL's documentation, "Pattern match filter operators"; Loki 3.6, which takes the first place of each
/// literal, and does not ask that a first literal begins the line.
struct LinePattern: Sendable {
    private let literals: [Needle]
    private let beginsWithLiteral: Bool
    private let endsWithLiteral: Bool
    private let isEmpty: Bool

    init(_ pattern: [UInt8]) throws(StageFault) {
        let parts: [PatternExpression.Part]
        do { parts = try PatternExpression.filtering(pattern).parts } catch {
            throw StageFault(error.description)
        }
        literals = parts.compactMap {
            if case .literal(let bytes) = $0 { Needle(bytes) } else { nil }
        }
        isEmpty = parts.isEmpty
        if case .literal? = parts.first {
            beginsWithLiteral = true
        } else {
            beginsWithLiteral = false
        }
        if case .literal? = parts.last { endsWithLiteral = true } else { endsWithLiteral = false }
    }

    /// Whether the pattern covers `line` to its end. An empty pattern matches an empty line only.
    func matches(_ line: [UInt8]) -> Bool {
        guard !line.isEmpty, !isEmpty else { return line.isEmpty && isEmpty }
        var offset = 0
        for (index, literal) in literals.enumerated() {
            guard let found = literal.firstIndex(in: line, from: offset) else { return false }
            // All but a first one follow a gap of one byte or more.
            guard index == 0 && beginsWithLiteral || found > offset else { return false }
            offset = found + literal.count
        }
        return endsWithLiteral ? offset == line.count : offset < line.count
    }
}
