import Model
import PromQLSyntax
import Testing

@Test(arguments: [
    ("", "1:1: parse error: no expression found in input"),
    ("1 +", "1:4: parse error: unexpected end of input"),
    ("a b", #"1:3: parse error: unexpected identifier "b""#),
    ("a\n  +\n  )", "3:4: parse error: unexpected right parenthesis ')'"),
    ("((1)", "1:5: parse error: unclosed left parenthesis"),
    ("foo{1}", "1:5: parse error: unexpected character inside braces: '1'"),
    (
        "foo{a}",
        #"1:6: parse error: unexpected "}" in label matching, expected label matching operator"#
    ),
    ("foo{,}", #"1:5: parse error: unexpected "," in label matching, expected identifier or "}""#),
    ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("foo + bool 10", "1:5: parse error: bool modifier can only be used on comparison operators"),
    ("foo or 1", #"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
    (
        "foo and on(a) group_left(b) c",
        #"1:1: parse error: no grouping allowed for "and" operation"#
    ),
    (
        "rate(foo)",
        #"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#
    ),
    ("floor(a, b)", #"1:1: parse error: expected 1 argument(s) in call to "floor", got 2"#),
    (
        "label_join(a)",
        #"1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 1"#
    ),
    (
        "round(a, 1, 2)",
        #"1:1: parse error: expected at most 2 argument(s) in call to "round", got 3"#
    ),
    ("nosuch(a)", #"1:1: parse error: unknown function with name "nosuch""#),
    ("topk(a,)", "1:7: parse error: trailing commas not allowed in function call args"),
    ("sum(a) by", #"1:10: parse error: unexpected end of input in grouping opts, expected "(""#),
    ("{x=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    (
        "{x!~\".+\"}",
        "1:1: parse error: vector selector must contain at least one non-empty matcher"
    ),
    (
        "foo{__name__=\"bar\"}",
        #"1:1: parse error: metric name must not be set twice: "foo" or "bar""#
    ),
    ("foo{a=~\"[\"}", "1:5: parse error: error parsing regexp: missing closing ]: `[`"),
    ("(a + b)[5m]", "1:8: parse error: ranges only allowed for vector selectors"),
    ("a offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
    ("a[5m1m]", #"1:3: parse error: not a valid duration string: "5m1m""#),
    ("a[-1]", "1:3: parse error: duration must be greater than 0"),
    ("a[1/0]", "1:4: parse error: division by zero"),
    ("\"\\x.\"", "1:1: parse error: illegal character U+002E '.' in escape sequence"),
    (
        "-a[5m]",
        #"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "range vector""#
    ),
])
func refuses(_ query: String, message: String) {
    #expect {
        try PromQLParser.parse(query, options: .everything)
    } throws: { error in
        #expect("\(error)" == message)
        return true
    }
}

@Test(arguments: [
    ("1_000.5", 1000.5), ("0x1f", 31), ("017", 15), ("089", 89), (".5", 0.5), ("5.", 5),
    ("5.e1", 50),
    ("1e3", 1000), ("Inf", .infinity), ("-iNf", -.infinity), ("1h30m", 5400), ("-5m", -300),
    ("1d", 86400), ("250ms", 0.25), ("--2", 2), ("+2", 2), ("0x_ff", 255),
])
func readsNumbers(_ query: String, expect: Double) throws {
    guard case .number(let literal) = try PromQLParser.parse(query) else {
        Issue.record("\(query) is no number")
        return
    }
    #expect(literal.value == expect)
}

@Test(arguments: [
    (#""a\n\t\"\\\u00e9\U0001F600""#, "a\n\t\"\\é😀"), (#"'it\'s "so"'"#, "it's \"so\""),
    (#"`raw \n`"#, #"raw \n"#), (#""\101""#, "A"),
])
func readsStrings(_ query: String, expect: String) throws {
    let literal = StringLiteral(expect, range: SourceRange(0, query.utf8.count))
    #expect(try PromQLParser.parse(query) == .string(literal))
}

@Test func keepsBytesThatAreNoText() throws {
    guard case .string(let literal) = try PromQLParser.parse(#""a\xc5z""#) else {
        Issue.record("no string")
        return
    }
    #expect(literal.invalidBytes == [0x61, 0xc5, 0x7a])
    #expect(try PromQLParser.parse(#""a\xc5z""#).description == #""a\xc5z""#)
}

/// The full parenthesization shows how operators group.
@Test(arguments: [
    ("a + b * c", "a + (b * c)"), ("a * b + c", "(a * b) + c"), ("a - b - c", "(a - b) - c"),
    ("a ^ b ^ c", "a ^ (b ^ c)"), ("-a ^ b", "-(a ^ b)"), ("-a * b", "(-a) * b"),
    ("2 ^ -a * b", "(2 ^ (-a)) * b"), ("2 ^ -a ^ b", "2 ^ (-(a ^ b))"),
    ("a or b and c", "a or (b and c)"), ("a and b unless c", "(a and b) unless c"),
    ("a < b + c", "a < (b + c)"), ("a atan2 b * c", "(a atan2 b) * c"),
    ("a + b > c or d", "((a + b) > c) or d"), ("a </ 1 + b", "a </ (1 + b)"),
    ("-a offset 5m", "-(a offset 5m)"), ("a offset 5s - 8", "(a offset 5s) - 8"),
    ("a offset -1 ^ 1", "(a offset -1) ^ 1"),
])
func groupsOperators(_ query: String, same: String) throws {
    let left = try PromQLParser.parse(query, options: .everything)
    let right = try PromQLParser.parse(same, options: .everything)
    #expect(withoutParentheses(left.normalized()) == withoutParentheses(right.normalized()))
}

private func withoutParentheses(_ expression: Expression) -> Expression {
    if case .parenthesized(let node) = expression { return withoutParentheses(node.expression) }
    return expression.mapChildren(withoutParentheses)
}

@Test func selectorsKeepWhatWasWritten() throws {
    let tree = try PromQLParser.parse(
        #"sum by (host) (rate({"cpu.time", "mode x"!~"i.*"}[5m] @ end() offset -1h))"#)
    let selector = try #require(tree.selectors.first)
    #expect(selector.name == "")
    #expect(
        selector.matchers == [
            LabelMatcher("__name__", .equal, "cpu.time"),
            LabelMatcher("mode x", .notMatchesRegex, "i.*"),
        ])
    #expect(selector.anchor == .end)
    #expect(selector.offset.constantMilliseconds == -3_600_000)
    #expect(tree.valueType == .vector)
    #expect(tree.range == SourceRange(0, 74))
}

@Test func operatorsKeepHowVectorsMatch() throws {
    let query = "a / on (x) group_left (y) fill_right (0) b"
    guard case .binary(let node) = try PromQLParser.parse(query, options: .everything) else {
        Issue.record("no operator")
        return
    }
    #expect(
        node.matching
            == VectorMatching(
                cardinality: .manyToOne, labels: ["x"], isOn: true, included: ["y"], fillRight: 0))
    guard case .binary(let scalar) = try PromQLParser.parse("a + 1") else { return }
    #expect(scalar.matching == nil)
    guard case .binary(let set) = try PromQLParser.parse("a or b") else { return }
    #expect(set.matching?.cardinality == .manyToMany)
}

@Test(arguments: [
    "sum", "by", "offset", "anchored", "start", "fill", "and", "a + sum", "step + range",
    "sum by (by, bool, on) (end)", "max_of", "fill_left{a=\"b\"}", "atan2_total",
])
func keywordsMayBeNames(_ query: String) throws {
    try checkPrintsBack(query)
}

@Test func experimentalSyntaxNeedsItsOption() throws {
    for query in ["a[5m] smoothed", "a + fill(0) b", "limitk(1, a)", "step()", "info(a)"] {
        #expect(throws: PromQLParseError.self, "\(query)") { try PromQLParser.parse(query) }
        #expect(throws: Never.self, "\(query)") {
            try PromQLParser.parse(query, options: .everything)
        }
    }
    let features: [(PromQLFeature, String)] = [
        (.extendedRangeSelectors, "a[5m] smoothed"), (.fillModifiers, "a + fill(0) b"),
        (.experimentalFunctions, "limitk(1, a)"), (.experimentalFunctions, "info(a)"),
    ]
    for (feature, query) in features {
        let only = PromQLParserOptions([feature])
        #expect(throws: Never.self, "\(query)") { try PromQLParser.parse(query, options: only) }
        let others = PromQLParserOptions(Set(PromQLFeature.allCases).subtracting([feature]))
        #expect("\(query)") {
            try PromQLParser.parse(query, options: others)
        } throws: {
            // Whoever asks is told what to write where.
            "\($0)".contains("`\(feature.rawValue)` among query.features")
        }
    }
    var options = PromQLParserOptions.stable
    #expect(throws: Never.self) { try PromQLParser.parse("a[5m + 1m]", options: options) }
    options.allowsDurationExpressions = false
    #expect(throws: PromQLParseError.self) {
        try PromQLParser.parse("a[5m + 1m]", options: options)
    }
}

@Test func functionTableIsComplete() {
    #expect(PromQLFunction.all.count == 90)
    #expect(PromQLFunction.all.values.count(where: \.isExperimental) == 17)
    for (name, function) in PromQLFunction.all {
        #expect(function.name == name)
        #expect(function.argumentsMin <= function.argumentsMax ?? .max)
    }
}

@Test func metricsAndSelectors() throws {
    #expect(
        try PromQLParser.parseMetric(#"up{job="a",}"#) == ["__name__": "up", "job": "a"])
    #expect(try PromQLParser.parseMetric(#"{"a.b", c="d"}"#) == ["__name__": "a.b", "c": "d"])
    #expect(throws: PromQLParseError.self) { try PromQLParser.parseMetric("up{job=~\"a\"}") }
    #expect(
        try PromQLParser.parseSelector(#"up{job!="a"}"#) == [
            LabelMatcher("job", .notEqual, "a"), LabelMatcher("__name__", .equal, "up"),
        ])
    #expect(throws: PromQLParseError.self) { try PromQLParser.parseSelector("up offset 5m") }
}
