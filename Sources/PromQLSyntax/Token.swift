/// A word or sign of a query.
struct Token {
    enum Kind: Hashable {
        case endOfInput
        case identifier
        /// A name with a colon.
        case metricIdentifier
        case number
        case duration
        case string
        case comma, colon, at
        case leftParenthesis, rightParenthesis
        case leftBrace, rightBrace
        case leftBracket, rightBracket
        /// `=`, `=~`, `!~`; `!=` is an operation.
        case assign, matchesRegex, notMatchesRegex
        /// An operator written with signs.
        case operation(BinaryOperator)
        case keyword(Keyword)
    }

    var kind: Kind
    var range: SourceRange
    /// The unescaped bytes of a string, empty for all else.
    var bytes: [UInt8] = []
}

/// A word with a meaning of its own; most may also name a metric or a label.
enum Keyword: String {
    case and, or, unless, atan2
    case sum, avg, count, min, max, group, stddev, stdvar, topk, bottomk, quantile
    case countValues = "count_values"
    case limitK = "limitk"
    case limitRatio = "limit_ratio"
    case offset, smoothed, anchored, by, without, on, ignoring, bool, fill
    case groupLeft = "group_left"
    case groupRight = "group_right"
    case fillLeft = "fill_left"
    case fillRight = "fill_right"
    case start, end, step, range
    case maxOf = "max_of"
    case minOf = "min_of"

    /// Whether the word is a metric name where an expression begins.
    var mayNameMetric: Bool {
        switch self {
        case .bool, .on, .ignoring, .groupLeft, .groupRight, .atan2: false
        default: true
        }
    }

    /// Whether the word followed by `(` is a call.
    var isFunction: Bool {
        switch self {
        case .start, .end, .step, .range, .maxOf, .minOf: true
        default: false
        }
    }

    var aggregation: AggregationOperator? { AggregationOperator(rawValue: rawValue) }

    var operation: BinaryOperator? {
        switch self {
        case .and: .and
        case .or: .or
        case .unless: .unless
        case .atan2: .atan2
        default: nil
        }
    }

    /// The word as error messages show it, `<by>`. Source: Prometheus 3.14 `Item.String`.
    func documented(_ text: String) -> String {
        if operation != nil { return "<op:\(text)>" }
        if aggregation != nil { return "<aggr:\(text)>" }
        return isFunction ? quoted(text) : "<\(text)>"
    }
}

extension Token {
    /// The token as error messages show it, with its text taken from `source`.
    /// Source: Prometheus 3.14 `Item.desc`.
    func documented(in source: [UInt8]) -> String {
        let end = Swift.min(range.end, source.count)
        let text = String(decoding: source[Swift.min(range.start, end)..<end], as: UTF8.self)
        let short =
            text.unicodeScalars.count > 10
            ? quoted(String(String.UnicodeScalarView(text.unicodeScalars.prefix(10)))) + "..."
            : quoted(text)
        return switch kind {
        case .endOfInput: "end of input"
        case .identifier: "identifier " + quoted(text)
        case .metricIdentifier: "metric identifier " + quoted(text)
        case .number: "number " + short
        case .duration: "duration " + short
        case .string: "string " + short
        case .operation, .at: "<op:\(text)>"
        case .matchesRegex, .notMatchesRegex: "<op:\(text)>"
        case .keyword(let keyword): keyword.documented(text)
        case .comma, .colon, .leftParenthesis, .rightParenthesis, .leftBrace, .rightBrace,
            .leftBracket, .rightBracket, .assign:
            quoted(text)
        }
    }
}
