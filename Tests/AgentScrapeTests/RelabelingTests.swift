import AgentScrape
import LinearRegex
import Model
import Testing

/// Source: Prometheus 3.14 `model/relabel/relabel_test.go`, and the documentation of `relabel_config`.
@Suite("Relabeling")
struct RelabelingTests {
    struct Case: Sendable, CustomStringConvertible {
        var name: String
        var input: [String: String]
        var rules: [RelabelRule]
        /// Nil: dropped.
        var output: [String: String]?
        var description: String { name }
    }

    static func rule(
        _ action: RelabelRule.Action, from: [String] = [], _ pattern: String = "(.*)",
        to target: String = "", _ replacement: String = "$1", separator: String = ";"
    ) -> RelabelRule {
        guard let regex = try? LinearRegex(pattern, anchored: true) else {
            preconditionFailure("a pattern of a test: \(pattern)")
        }
        return RelabelRule(
            action, sourceLabels: from, separator: separator, regex: regex, targetLabel: target,
            replacement: replacement)
    }

    static let abc = ["a": "foo", "b": "bar", "c": "baz"]

    static let cases: [Case] = [
        Case(
            name: "replace within the regex", input: abc,
            rules: [rule(.replace, from: ["a"], "f(.*)", to: "d", "ch${1}-ch${1}")],
            output: ["a": "foo", "b": "bar", "c": "baz", "d": "choo-choo"]),
        Case(
            name: "two rules, the second sees the first", input: abc,
            rules: [
                rule(.replace, from: ["a", "b"], "f(.*);(.*)r", to: "a", "b${1}${2}m"),
                rule(.replace, from: ["c", "a"], "(b).*b(.*)ba(.*)", to: "d", "$1$2$2$3"),
            ], output: ["a": "boobam", "b": "bar", "c": "baz", "d": "boooom"]),
        Case(name: "drop", input: ["a": "foo"], rules: [rule(.drop, from: ["a"], ".*o.*")]),
        Case(
            name: "drop that does not match", input: ["a": "abc"],
            rules: [
                rule(.drop, from: ["a"], ".*(b).*", to: "d"),
                rule(.replace, from: ["a"], ".*(b).*", to: "d"),
            ]),
        Case(
            name: "anchored", input: ["a": "foo"], rules: [rule(.drop, from: ["a"], "f|x")],
            output: ["a": "foo"]),
        Case(name: "keep", input: ["a": "foo"], rules: [rule(.keep, from: ["a"], "no-match")]),
        Case(
            name: "keep that matches", input: ["a": "foo"],
            rules: [rule(.keep, from: ["a"], "f.*")], output: ["a": "foo"]),
        Case(
            name: "no match, no replacement", input: ["a": "boo"],
            rules: [rule(.replace, from: ["a"], "f", to: "b", "bar")], output: ["a": "boo"]),
        Case(
            name: "a target from the match", input: ["a": "foo", "name": "env"],
            rules: [rule(.replace, from: ["name", "a"], "(.*);(.*)", to: "x_$1", "$2")],
            output: ["a": "foo", "name": "env", "x_env": "foo"]),
        Case(
            name: "an empty result removes the label", input: ["a": "foo", "d": "old"],
            rules: [rule(.replace, from: ["a"], "foo(.*)", to: "d", "$1")],
            output: ["a": "foo"]),
        Case(
            name: "a constant, without sources", input: ["a": "foo"],
            rules: [rule(.replace, to: "env", "prod")], output: ["a": "foo", "env": "prod"]),
        Case(
            name: "separator", input: ["a": "x", "b": "y"],
            rules: [rule(.replace, from: ["a", "b"], to: "c", separator: "-")],
            output: ["a": "x", "b": "y", "c": "x-y"]),
        Case(
            name: "a dot takes line ends", input: ["a": "x\ny"],
            rules: [rule(.keep, from: ["a"], "x.y")], output: ["a": "x\ny"]),
        Case(
            name: "labelmap", input: ["a": "foo", "b1": "bar", "b2": "baz"],
            rules: [rule(.labelmap, "(b.*)", "bar_${1}")],
            output: [
                "a": "foo", "b1": "bar", "b2": "baz", "bar_b1": "bar", "bar_b2": "baz",
            ]),
        Case(
            name: "labelmap of meta labels", input: ["__meta_x_my": "a", "__meta_y": "b"],
            rules: [rule(.labelmap, "__meta_(x_.*)")],
            output: ["__meta_x_my": "a", "__meta_y": "b", "x_my": "a"]),
        Case(
            name: "labeldrop", input: ["a": "foo", "b1": "bar", "b2": "baz"],
            rules: [rule(.labeldrop, "(b.*)")], output: ["a": "foo"]),
        Case(
            name: "labelkeep", input: ["a": "foo", "b1": "bar", "b2": "baz"],
            rules: [rule(.labelkeep, "(b.*)")], output: ["b1": "bar", "b2": "baz"]),
        Case(
            name: "lowercase and uppercase", input: ["a": "FooBar"],
            rules: [
                rule(.lowercase, from: ["a"], to: "l"), rule(.uppercase, from: ["a"], to: "u"),
            ],
            output: ["a": "FooBar", "l": "foobar", "u": "FOOBAR"]),
        Case(
            name: "keepequal", input: ["p": "80", "q": "80"],
            rules: [rule(.keepequal, from: ["p"], to: "q")], output: ["p": "80", "q": "80"]),
        Case(
            name: "dropequal", input: ["p": "80", "q": "80"],
            rules: [rule(.dropequal, from: ["p"], to: "q")]),
        Case(
            name: "a missing label is the empty text", input: ["a": "foo"],
            rules: [rule(.keep, from: ["none"], "")], output: ["a": "foo"]),
    ]

    @Test("as Prometheus", arguments: cases)
    func table(_ entry: Case) {
        var builder = LabelBuilder(Labels(entry.input))
        let isKept = entry.rules.apply(&builder)
        #expect((isKept ? builder.labels : nil) == entry.output.map { Labels($0) })
    }

    @Test("a builder keeps labels in order, each once, none empty")
    func builder() {
        var builder = LabelBuilder(["m": "1"])
        for name in ["z", "a", "m", "k", "a"] { builder[name] = name + "x" }
        builder["k"] = ""
        #expect(builder.labels.map(\.name) == ["a", "m", "z"])
        #expect(builder["m"] == "mx" && builder["none"] == "")
        #expect(builder.labels == Labels(["a": "ax", "m": "mx", "z": "zx"]))
    }
}
