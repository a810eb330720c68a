package import LinearRegex

/// Why a text is not a LogQL query that Petrel can answer. `description` has Loki's wording where Loki has one.
package enum LogQLSyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text breaks the grammar. Line and column count from 1, the column in characters. The line is 0 for tokens
    /// that Loki's lexer finds by looking ahead, such as `[5m]` and `|=`; both are 0 for an empty text.
    case syntax(line: Int, column: Int, message: String)
    /// The text is well formed but says something impossible.
    case invalid(String)
    /// Loki would understand it and Petrel does not; the text names the construct.
    case notSupported(line: Int, column: Int, construct: String)
    /// The text has `LogQLParser.inputBytesMax` bytes or more.
    case tooLong(bytes: Int)
    /// Brackets or operations are nested deeper than `LogQLParser.depthMax`.
    case tooDeep(line: Int, column: Int)
    /// `LogQLParser.parseMatchers` was given more than a stream selector.
    case onlyMatchers
    /// `LogQLParser.parseSelector` was given a metric query.
    case onlySelector
    /// `LogQLParser.parseMetric` was given a log query.
    case onlyMetric
    /// `LogQLParser.parseLabels` was given no label set; Prometheus' message.
    case labels(String)

    package var description: String {
        switch self {
        case .syntax(0, 0, let message): "parse error : \(message)"
        case .syntax(let line, let column, let message):
            "parse error at line \(line), col \(column): \(message)"
        case .invalid(let message): "parse error : \(message)"
        case .notSupported(let line, let column, let construct):
            "parse error at line \(line), col \(column): \(construct) is not supported"
        case .tooLong(let bytes):
            "parse error : input size too long (\(bytes) > \(LogQLParser.inputBytesMax))"
        case .tooDeep(let line, let column):
            "parse error at line \(line), col \(column): "
                + "expression nested deeper than \(LogQLParser.depthMax) levels"
        case .onlyMatchers: "only label matchers are supported"
        case .onlySelector: "only log selector is supported"
        case .onlyMetric: "only sample expression supported"
        case .labels(let message): message
        }
    }

    /// A stage that can't be built, as Loki says it: `stages` is what `LogSelector.buildGroups` has as one, `reason`
    /// the error's text (`regexErrorText` for a regular expression).
    package static func stage(_ stages: [PipelineStage], reason: String) -> LogQLSyntaxError {
        .invalid("stage '\(stageText(stages))' : \(reason)")
    }

    /// Source: Loki `validateMatchers`; its text word for word, for clients look for it.
    package static let needsMatcher = LogQLSyntaxError.invalid(
        "queries require at least one regexp or equality matcher that does not have an "
            + "empty-compatible value. For instance, app=~\".*\" does not meet this requirement, "
            + "but app=~\".+\" will")
}

/// Why a regular expression was refused, in the words of Go's `regexp.Compile`, prefix included.
package func regexErrorText(_ error: LinearRegexError) -> String {
    "error parsing regexp: \(error)"
}
