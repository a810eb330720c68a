import LinearRegex

/// Why a text of `pattern`, `|>` or `!>` is refused, in Loki's words.
package enum PatternExpressionError: Error, Hashable, Sendable, CustomStringConvertible {
    case empty
    case noCapture
    case consecutiveCaptures(String, String)
    case duplicateCapture(String)
    case namedCapture(String)

    package var description: String {
        switch self {
        case .empty:
            "parse error at line 1, col 1: syntax error: unexpected $end, "
                + "expecting IDENTIFIER or LITERAL"
        case .noCapture: "at least one capture is required"
        case .consecutiveCaptures(let first, let second):
            "found consecutive capture '<\(first)><\(second)>': invalid expression"
        case .duplicateCapture(let name):
            "duplicate capture name (\(name)): invalid expression"
        case .namedCapture(let name): "named captures are not allowed: found '<\(name)>'"
        }
    }
}

/// The text of `pattern`, `|>` and `!>`: literals and captures such as `<ip>` in turn; `<_>` is a capture without a
/// name. No two captures follow each other, nor do two literals. Source: Loki 3.6 `pkg/logql/log/pattern`, its behaviour.
package struct PatternExpression: Hashable, Sendable {
    package enum Part: Hashable, Sendable {
        case literal([UInt8])
        /// Nil for `<_>`.
        case capture(String?)
    }

    package var parts: [Part]

    /// Of the stage `pattern`: at least one capture has a name and none has another's. O(n).
    package static func capturing(
        _ text: String
    ) throws(PatternExpressionError) -> PatternExpression {
        guard !text.isEmpty else { throw .empty }
        let pattern = PatternExpression(Array(text.utf8))
        guard !pattern.names.isEmpty else { throw .noCapture }
        try pattern.checkNeighbours()
        var seen: Set<String> = []
        for name in pattern.names where !seen.insert(name).inserted {
            throw .duplicateCapture(name)
        }
        return pattern
    }

    /// Of the line filters `|>` and `!>`: no capture has a name. The empty text has no parts. O(n).
    package static func filtering(
        _ bytes: [UInt8]
    ) throws(PatternExpressionError) -> PatternExpression {
        let pattern = PatternExpression(bytes)
        try pattern.checkNeighbours()
        if let name = pattern.names.first { throw .namedCapture(name) }
        return pattern
    }

    /// The names of the captures from left to right.
    package var names: [String] {
        parts.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }

    private init(_ bytes: [UInt8]) {
        parts = []
        var literal: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if let end = Self.endOfCapture(bytes, index) {
                if !literal.isEmpty { parts.append(.literal(literal)) }
                literal = []
                let name = String(decoding: bytes[index + 1..<end - 1], as: UTF8.self)
                parts.append(.capture(name == "_" ? nil : name))
                index = end
            } else {
                literal.append(bytes[index])
                index += 1
            }
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
    }

    /// The index after `<name>` at `start`, nil where there is none. A name is of letters, digits and underscores and
    /// begins with no digit.
    private static func endOfCapture(_ bytes: [UInt8], _ start: Int) -> Int? {
        guard bytes[start] == UInt8(ascii: "<") else { return nil }
        var index = start + 1
        while index < bytes.count {
            switch bytes[index] {
            case 65...90, 97...122, UInt8(ascii: "_"): break
            case 48...57 where index > start + 1: break
            case UInt8(ascii: ">") where index > start + 1: return index + 1
            default: return nil
            }
            index += 1
        }
        return nil
    }

    private func checkNeighbours() throws(PatternExpressionError) {
        for (first, second) in zip(parts, parts.dropFirst()) {
            if case .capture(let one) = first, case .capture(let other) = second {
                throw .consecutiveCaptures(one ?? "_", other ?? "_")
            }
        }
    }
}

/// What Loki has against the text of the stage `regexp`; nil where it accepts it.
func regexpParserComplaint(_ text: String) -> String? {
    do {
        let names = try LinearRegex(text, anchored: false).groupNames.compactMap { $0 }
        return names.isEmpty ? "at least one named capture must be supplied" : nil
    } catch {
        let duplicate = "duplicate capture group name: "
        if case .invalidPattern(_, let reason) = error, reason.hasPrefix(duplicate) {
            let name = reason.dropFirst(duplicate.count).filter { $0 != "`" }
            return "duplicate extracted label name '\(name)'"
        }
        return regexErrorText(error)
    }
}
