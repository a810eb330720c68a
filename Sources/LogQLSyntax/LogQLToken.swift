/// A word of LogQL with its place.
struct LogQLToken {
    enum Kind: Hashable {
        case end
        /// A name, and every character that is nothing else. Source: Loki's lexer.
        case identifier(String)
        case string([UInt8])
        /// As written, without sign.
        case number(String)
        case flag(LogfmtFlags)
        case bytes(UInt64)
        /// Nanoseconds.
        case duration(Int64)
        /// `[5m]`, nanoseconds.
        case range(Int64)
        case rangeOperation(RangeAggregation.Operation)
        case vectorOperation(VectorAggregation.Operation)
        case conversion(Unwrap.Conversion)
        case vector
        /// `variants(`, which Loki 3.6 has as an experiment.
        case variants
        case word(LogQLWord)
        /// The text can't be cut further.
        case failure(LogQLSyntaxError)
    }

    var kind: Kind
    var place: LogQLPlace

    /// How Loki's parser names the token in "unexpected …".
    var name: String {
        switch kind {
        case .end: "$end"
        case .identifier, .variants: "IDENTIFIER"
        case .string: "STRING"
        case .number: "NUMBER"
        case .flag: "FUNCTION_FLAG"
        case .bytes: "BYTES"
        case .duration: "DURATION"
        case .range: "RANGE"
        case .rangeOperation(let operation): operation.rawValue.uppercased()
        case .vectorOperation(let operation): operation.rawValue.uppercased()
        case .conversion(let conversion): conversion.rawValue.uppercased() + "_CONV"
        case .vector: "VECTOR"
        case .word(let word): word.rawValue
        case .failure: "$unk"
        }
    }
}

/// Where a token begins. Both count from 1, the column in characters. The line is 0 for a token whose end was found by
/// looking ahead (`[5m]`, `5m`, `|=`), as in Loki's messages, and both are 0 in an empty text.
struct LogQLPlace: Hashable {
    var line: Int
    var column: Int
}

/// Keywords, operators and brackets.
enum LogQLWord: String, Hashable, CaseIterable {
    case comma = ","
    case dot = "."
    case openBrace = "{"
    case closeBrace = "}"
    case equal = "="
    case notEqual = "!="
    case matchesRegex = "=~"
    case notMatchesRegex = "!~"
    case notMatchesPattern = "!>"
    case pipeContains = "|="
    case pipeRegex = "|~"
    case pipePattern = "|>"
    case pipe = "|"
    case openParenthesis = "("
    case closeParenthesis = ")"
    case openBracket = "["
    case closeBracket = "]"
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case remainder = "%"
    case power = "^"
    case compareEqual = "=="
    case greater = ">"
    case greaterOrEqual = ">="
    case less = "<"
    case lessOrEqual = "<="
    case unwrap, by, without, bool, offset, on, ignoring, or, and, unless
    case labelReplace = "label_replace"
    case groupLeft = "group_left"
    case groupRight = "group_right"
    case json, regexp, logfmt, unpack, pattern, ip, decolorize, drop, keep
    case labelFormat = "label_format"
    case lineFormat = "line_format"

    /// Of two characters.
    static let pairs: [LogQLWord] = [
        .notEqual, .matchesRegex, .notMatchesRegex, .notMatchesPattern, .pipeContains, .pipeRegex,
        .pipePattern, .compareEqual, .greaterOrEqual, .lessOrEqual,
    ]

    /// The kind of line filter that the word begins.
    var lineFilter: LineFilter.Operation? { LineFilter.Operation(rawValue: rawValue) }

    /// The comparison of a label filter; `=` is `==`.
    var comparison: LabelFilter.Comparison? {
        self == .equal ? .equal : LabelFilter.Comparison(rawValue: rawValue)
    }

    /// `ip` and `label_replace` are names unless they are called.
    var mustBeCalled: Bool { self == .ip || self == .labelReplace }
}
