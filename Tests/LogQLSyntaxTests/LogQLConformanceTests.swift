import FoundationEssentials
import LogQLSyntax
import Model
import Testing

/// The cases of `logql-tables/parse.json`, and every query of the other tables and scripts.
@Suite("LogQL conformance", .enabled(if: LogQLTable.isPresent, "\(LogQLTable.missing)"))
struct LogQLConformanceTests {
    /// What Loki itself can only refuse by building a pipeline; the query parses here too.
    private func isBuildCase(_ one: JSONNode) -> Bool { one["phase"].text == "build" }

    @Test("each case parses, fails and prints as told")
    func cases() throws {
        let cases = try LogQLTable.cases("parse")
        for (index, one) in cases.enumerated() {
            let note = "#\(index) \(one["src"].text ?? ""): \(one["query"].text ?? "bytes")"
            guard let query = one["query"].text else {
                checkBytes(one, note)
                continue
            }
            switch one["entry"].text {
            case "labels": checkLabels(one, query, note)
            case "duration":
                #expect(parseDuration(query) == one["ns"].number.map { Int64($0) }, "\(note)")
            default: checkQuery(one, query, note)
            }
        }
        print("LogQL parse cases: \(cases.count)")
        #expect(cases.count >= 100)
    }

    /// A query that is no UTF-8.
    private func checkBytes(_ one: JSONNode, _ note: String) {
        let bytes = Data(base64Encoded: one["query_base64"].text ?? "").map { Array($0) } ?? []
        let result = Result { () throws(LogQLSyntaxError) in try LogQLParser.parse(bytes: bytes) }
        guard case .failure(let error) = result else {
            Issue.record("parsed: \(note)")
            return
        }
        if let text = one["error"].text { #expect(error.description == text, "\(note)") }
    }

    private func checkLabels(_ one: JSONNode, _ query: String, _ note: String) {
        guard case .object(let expected) = one["labels"] else { return }
        let labels = try? LogQLParser.parseLabels(query)
        #expect(labels == Labels(expected.compactMapValues(\.text)), "\(note)")
    }

    private func parsed(
        _ query: String, _ entry: String?
    ) -> Result<LogQLExpression, LogQLSyntaxError> {
        Result { () throws(LogQLSyntaxError) in
            switch entry {
            case "sample": .metric(try LogQLParser.parseMetric(query))
            case "selector": .log(try LogQLParser.parseSelector(query))
            case "selector_novalidate":
                .log(try LogQLParser.parseSelector(query, validates: false))
            case "matchers":
                .log(LogSelector(matchers: try LogQLParser.parseMatchers(query)))
            default: try LogQLParser.parse(query)
            }
        }
    }

    private func checkQuery(_ one: JSONNode, _ query: String, _ note: String) {
        let fails =
            one["error"].text != nil || one["error_contains"].text != nil
            || one["error_any"].bool == true
        switch parsed(query, one["entry"].text) {
        case .failure(let error):
            #expect(fails && !isBuildCase(one), "\(note): \(error)")
            if let text = one["error"].text { #expect(error.description == text, "\(note)") }
            if let text = one["error_contains"].text {
                #expect(error.description.contains(text), "\(note)")
            }
        case .success(let tree):
            #expect(!fails || isBuildCase(one), "parsed: \(note)")
            checkTree(one, tree, note)
        }
    }

    private func checkTree(_ one: JSONNode, _ tree: LogQLExpression, _ note: String) {
        // Every canonical text parses to the same tree, told or not.
        let text = tree.description
        let again = one["entry"].text == "expr" ? try? LogQLParser.parse(text) : tree
        #expect(again == tree, "\(note) printed \(text)")
        let pretty = tree.pretty(lineBytesMax: 20)
        if one["entry"].text == "expr" {
            #expect((try? LogQLParser.parse(pretty)) == tree, "\(note) pretty \(pretty)")
        }
        if let expected = one["string"].text { #expect(text == expected, "\(note)") }
        if let expected = one["pretty"].text { #expect(pretty == expected, "\(note)") }
        if !one["ast"].isNull {
            #expect(LogQLTree.expression(one["ast"]) == tree, "\(note)")
        }
        if !one["matcher_groups"].isNull {
            let groups = one["matcher_groups"].list.map {
                MatcherGroup(
                    matchers: LogQLTree.matchers($0["matchers"]),
                    rangeNanoseconds: Int64($0["interval_ns"].number ?? 0),
                    offsetNanoseconds: Int64($0["offset_ns"].number ?? 0))
            }
            #expect(tree.matcherGroups == groups, "\(note)")
        }
        if let count = one["walk_count"].number {
            #expect(nodeCount(tree) == Int(count), "\(note)")
        }
        guard case .log(let selector) = tree else { return }
        if !one["matchers"].isNull {
            #expect(selector.matchers == LogQLTree.matchers(one["matchers"]), "\(note)")
        }
        if let isNoop = one["noop_pipeline"].bool { #expect(selector.isNoop == isNoop, "\(note)") }
        if let has = one["has_filter"].bool { #expect(selector.hasFilter == has, "\(note)") }
        if let expected = one["reordered"].text {
            #expect(stageText(selector.buildGroups.flatMap { $0 }) == expected, "\(note)")
        }
        if let expected = one["stage_string"].text {
            #expect(selector.stages.map(\.description) == [expected], "\(note)")
        }
    }

    /// As Loki counts: a pipeline and its selector are two, a range and its window are two.
    private func nodeCount(_ tree: LogQLExpression) -> Int {
        switch tree {
        case .log(let selector): nodeCount(selector)
        case .metric(let expression): nodeCount(expression)
        }
    }

    private func nodeCount(_ selector: LogSelector) -> Int {
        selector.stages.isEmpty ? 1 : 2 + selector.stages.count
    }

    private func nodeCount(_ expression: MetricExpression) -> Int {
        switch expression {
        case .literal, .vector: 1
        case .range(let range): 2 + nodeCount(range.selector)
        case .aggregation(let aggregation): 1 + nodeCount(aggregation.operand)
        case .binary(let operation):
            1 + nodeCount(operation.left) + nodeCount(operation.right)
        case .labelReplace(let replacement): 1 + nodeCount(replacement.operand)
        }
    }

    @Test("every query of the other tables parses", arguments: ["metrics", "pipeline"])
    func otherTables(name: String) throws {
        var count = 0
        for one in try LogQLTable.cases(name) {
            guard let query = one["query"].text else { continue }
            let result = parsed(query, nil)
            if case .failure(let error) = result, one["expect_error"].isNull,
                one["error"].isNull, one["error_contains"].isNull
            {
                Issue.record("\(one["src"].text ?? "") \(query): \(error)")
            }
            count += 1
        }
        #expect(count > 20)
    }

    /// Loki's test makes this stage without its parser, which refuses a number as a name.
    private static let unparsed =
        "pkg/logql/log/fmt_test.go TestLabelFormatter_RequiredLabelNames L952"

    @Test("every stage of the other tables parses", arguments: ["filters", "format", "parsers"])
    func stages(name: String) throws {
        var count = 0
        for one in try LogQLTable.cases(name) {
            guard let stage = one["stage"].text else { continue }
            let mayFail =
                !one["expect_error"].isNull || !one["error"].isNull
                || !one["error_contains"].isNull || one["error_any"].bool == true
                || !one["build_error"].isNull
            switch parsed("{a=\"b\"} \(stage)", nil) {
            case .success(let tree):
                #expect((try? LogQLParser.parse(tree.description)) == tree, "\(stage)")
            case .failure(let error):
                if !mayFail, one["src"].text != Self.unparsed {
                    Issue.record("\(one["src"].text ?? "") \(stage): \(error)")
                }
            }
            count += 1
        }
        #expect(count > 20)
    }

    @Test("every query of the scripts parses, or fails as told", arguments: LogQLTable.scripts)
    func scripts(name: String) {
        let queries = LogQLTable.queries(script: name)
        for one in queries {
            switch parsed(one.query, nil) {
            case .success(let tree):
                // As in Loki, "NaN" and "+Inf" are no literals that can be read.
                let text = tree.description
                if !["NaN", "+Inf", "-Inf"].contains(text) {
                    #expect((try? LogQLParser.parse(text)) == tree, "\(one.query)")
                }
                let isSyntax = ["syntax error", "expecting", "literal"].contains {
                    one.failure?.contains($0) == true
                }
                #expect(!isSyntax, "\(name):\(one.line) \(one.query) parsed")
            case .failure(let error):
                guard let failure = one.failure else {
                    Issue.record("\(name):\(one.line) \(one.query): \(error)")
                    continue
                }
                #expect(
                    failure.isEmpty || error.description.contains(failure),
                    "\(name):\(one.line) \(one.query)")
            }
        }
        #expect(!queries.isEmpty)
    }
}
