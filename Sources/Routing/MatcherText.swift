package import Model

/// Why a matcher's text does not parse.
package struct MatcherTextError: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String
}

/// Reads matchers as configuration files and `amtool` write them: `name=value`, `name=~"a|b"`, `{a="b", c!="d"}`.
///
/// A name or value without quotes holds no white space and none of `{ } ! = ~ , \ " ' \``; quoted ones are Go strings.
/// The older form lets an unquoted value hold spaces and the like; it is tried second.
/// Source: Alertmanager 0.34 matcher/parse and pkg/labels.
package struct MatcherText {
    private let text: [Character]
    private var at = 0

    private init(_ text: String) { self.text = Array(text) }

    /// The matchers of `text`, braces optional.
    package static func parse(_ text: String) throws(MatcherTextError) -> [LabelMatcher] {
        var strict = MatcherText(text)
        do throws(MatcherTextError) {
            return try strict.list()
        } catch {
            // The older form is one matcher, its value the rest of the line.
            guard let matcher = classic(text) else { throw error }
            return [matcher]
        }
    }

    private mutating func list() throws(MatcherTextError) -> [LabelMatcher] {
        skipSpace()
        let isBraced = take("{")
        var matchers: [LabelMatcher] = []
        skipSpace()
        while at < text.count, text[at] != "}" {
            matchers.append(try matcher())
            skipSpace()
            guard take(",") else { break }
            skipSpace()
        }
        if isBraced, !take("}") { throw error("`}` is missing") }
        skipSpace()
        guard at == text.count else {
            throw error("unexpected `\(text[at])` at character \(at + 1)")
        }
        guard isBraced || !matchers.isEmpty else { throw error("there is no matcher") }
        return matchers
    }

    private func error(_ message: String) -> MatcherTextError {
        MatcherTextError(
            description: "bad matcher `\(String(text))`: \(message); expected one such as "
                + "severity=\"page\" or job=~\"a|b\"")
    }

    private mutating func skipSpace() {
        while at < text.count, text[at].isWhitespace { at += 1 }
    }

    private mutating func take(_ character: Character) -> Bool {
        guard at < text.count, text[at] == character else { return false }
        at += 1
        return true
    }

    private mutating func matcher() throws(MatcherTextError) -> LabelMatcher {
        let name = try literal("a label name")
        guard !name.isEmpty else { throw error("the label name is empty") }
        skipSpace()
        guard let operation = operation() else { throw error("no operator = != =~ !~") }
        skipSpace()
        return LabelMatcher(name, operation, try literal("a value"))
    }

    private mutating func operation() -> LabelMatcher.Operation? {
        for operation: LabelMatcher.Operation in [
            .matchesRegex, .notMatchesRegex, .notEqual, .equal,
        ] {
            let characters = Array(operation.rawValue)
            guard text[at...].starts(with: characters) else { continue }
            at += characters.count
            return operation
        }
        return nil
    }

    private mutating func literal(_ what: String) throws(MatcherTextError) -> String {
        if take("\"") { return try quoted() }
        let start = at
        while at < text.count, !text[at].isWhitespace, !"{}!=~,\\\"'`".contains(text[at]) {
            at += 1
        }
        guard at > start else { throw error("\(what) is missing") }
        return String(text[start..<at])
    }

    private mutating func quoted() throws(MatcherTextError) -> String {
        var value = ""
        while at < text.count {
            let character = text[at]
            at += 1
            if character == "\"" { return value }
            guard character == "\\" else {
                value.append(character)
                continue
            }
            guard at < text.count else { break }
            let escape = text[at]
            at += 1
            switch escape {
            case "n": value.append("\n")
            case "t": value.append("\t")
            case "r": value.append("\r")
            case "\\", "\"", "'": value.append(escape)
            case "u": value.append(try scalar(digits: 4))
            case "x": value.append(try scalar(digits: 2))
            default: throw error("unknown escape `\\\(escape)`")
            }
        }
        throw error("the closing quote is missing")
    }

    private mutating func scalar(digits: Int) throws(MatcherTextError) -> Character {
        guard at + digits <= text.count,
            let code = UInt32(String(text[at..<(at + digits)]), radix: 16),
            let scalar = Unicode.Scalar(code)
        else { throw error("bad escape") }
        at += digits
        return Character(scalar)
    }

    /// The older form: a plain label name, an operator, and the rest as the value.
    private static func classic(_ text: String) -> LabelMatcher? {
        var parser = MatcherText(text)
        parser.skipSpace()
        let start = parser.at
        while parser.at < parser.text.count, parser.text[parser.at].isASCII,
            parser.text[parser.at].isLetter || parser.text[parser.at].isNumber
                || "_:".contains(parser.text[parser.at])
        { parser.at += 1 }
        let name = String(parser.text[start..<parser.at])
        parser.skipSpace()
        guard !name.isEmpty, let operation = parser.operation() else { return nil }
        parser.skipSpace()
        var value = parser.text[parser.at...]
        while value.last?.isWhitespace == true { value.removeLast() }
        // A comma or a quote outside quotes would be a second matcher or a broken string.
        guard !value.contains(where: { ",\"{}".contains($0) }) else { return nil }
        return LabelMatcher(name, operation, String(value))
    }
}
