import FoundationEssentials
import LogQL
import LogQLSyntax
import Model
import Testing

/// `parsers.json`: what one parser makes of one line.
@Suite("LogQL parsers")
struct ParserTableTests {
    struct Case: Decodable {
        var stage: String?
        var labels: [String: String]?
        var structuredMetadata: [String: String]?
        var line: String?
        var lineBase64: String?
        var expectLine: String?
        var expectLabels: [String: String]?
        var expectCaptures: [String]?
        var error: String?
        var errorAny: Bool?
        var errorContains: String?
        var exprPath: [Step]?
        var sanitizeKey: String?
        var expect: String?
        var src: String

        var bytes: [UInt8] {
            let decoded = lineBase64.flatMap { Data(base64Encoded: $0) }.map { Array($0) }
            return decoded ?? Array((line ?? "").utf8)
        }
    }

    enum Step: Decodable, Hashable {
        case field(String)
        case index(Int)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let index = try? container.decode(Int.self) {
                self = .index(index)
            } else {
                self = .field(try container.decode(String.self))
            }
        }
    }

    @Test(
        "labels and lines as told",
        .enabled(if: PipelineTables.isPresent("parsers.json"), "set PETREL_CONFORMANCE"))
    func cases() throws {
        let cases = try PipelineTables.cases("parsers.json", Case.self)
        var passed = 0
        for one in cases where try Self.check(one) { passed += 1 }
        print("parsers.json: \(passed) of \(cases.count)")
        #expect(passed == cases.count)
    }

    private static func check(_ one: Case) throws -> Bool {
        guard let stage = one.stage else { return try checkKey(one) }
        let pipeline: Pipeline
        do {
            pipeline = try Pipeline(try PipelineTables.selector(#"{app="x"} "# + stage))
        } catch {
            return checkError("\(error)", stage, one)
        }
        if one.error != nil || one.errorContains != nil || one.errorAny == true {
            Issue.record("accepted: \(stage) (\(one.src))")
            return false
        }
        if let path = one.exprPath { return try checkPath(path, stage, one) }
        guard one.line != nil || one.lineBase64 != nil else { return true }
        let run = PipelineRun(pipeline)
        let isKept = run.process(
            timestamp: TimestampNS(0), line: one.bytes,
            metadata: PipelineTables.labels(one.structuredMetadata ?? [:]),
            of: run.forStream(PipelineTables.labels(one.labels ?? [:])))
        #expect(isKept, "\(stage) (\(one.src))")
        var isGood = isKept
        if let line = one.expectLine {
            isGood = isGood && run.line == Array(line.utf8)
            #expect(run.line == Array(line.utf8), "\(stage) (\(one.src))")
        }
        let found = PipelineTables.dictionary(run.labelSet.all)
        if let expected = one.expectLabels {
            isGood = isGood && found == expected
            #expect(found == expected, "\(stage) (\(one.src))")
        }
        if let captures = one.expectCaptures {
            let names = try PatternExpression.capturing(try patternText(stage)).names
            let expected = Dictionary(
                uniqueKeysWithValues: zip(names, captures).map { ($0, $1) })
            isGood = isGood && found == expected
            #expect(found == expected, "\(stage) (\(one.src))")
        }
        return isGood
    }

    private static func patternText(_ stage: String) throws -> String {
        let selector = try PipelineTables.selector(#"{app="x"} "# + stage)
        guard case .pattern(let text)? = selector.stages.first else {
            throw LogQLError.syntax(.onlySelector)
        }
        return text
    }

    private static func checkError(_ text: String, _ stage: String, _ one: Case) -> Bool {
        var isGood = one.errorAny == true
        if let expected = one.error { isGood = text.hasSuffix(": " + expected) }
        if let part = one.errorContains { isGood = text.contains(part) }
        #expect(isGood, "\(stage): \(text) (\(one.src))")
        return isGood
    }

    /// A path is right where it finds the one value of a text made of it.
    private static func checkPath(_ path: [Step], _ stage: String, _ one: Case) throws -> Bool {
        if stage.hasPrefix("| logfmt") {
            guard case .field(let key)? = path.first else { return false }
            return try value(stage, "\(key)=found other=no") == "found"
        }
        var text = #""found""#
        for step in path.reversed() {
            switch step {
            case .field(let name): text = "{\"no\":1,\"\(name)\":\(text)}"
            case .index(let index):
                text = "[" + String(repeating: "0,", count: index) + text + "]"
            }
        }
        let found = try value(stage, text)
        #expect(found == "found", "\(stage) on \(text) (\(one.src))")
        return found == "found"
    }

    private static func value(_ stage: String, _ line: String) throws -> String? {
        let pipeline = try Pipeline(try PipelineTables.selector(#"{app="x"} "# + stage))
        let run = PipelineRun(pipeline)
        _ = run.process(
            timestamp: TimestampNS(0), line: Array(line.utf8), of: run.forStream(.empty))
        return run.labels.value(of: "x")
    }

    private static func checkKey(_ one: Case) throws -> Bool {
        let key = try #require(one.sanitizeKey)
        let pipeline = try Pipeline(try PipelineTables.selector(#"{app="x"} | json"#))
        let run = PipelineRun(pipeline)
        _ = run.process(
            timestamp: TimestampNS(0), line: Array("{\"\(key)\":\"v\"}".utf8),
            of: run.forStream(.empty))
        let names = run.labelSet.all.map(\.name)
        #expect(names == [one.expect ?? ""], "\(key) (\(one.src))")
        return names == [one.expect ?? ""]
    }
}
