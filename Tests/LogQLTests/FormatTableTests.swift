import LogQL
import LogQLSyntax
import Model
import Testing

/// `format.json`: one stage over one entry.
@Suite("LogQL format stages")
struct FormatTableTests {
    struct Case: Decodable {
        var stage: String
        var labels: [String: String]?
        var line: String?
        var ts: Int64?
        var expectLine: String?
        var expectLabels: [String: String]?
        var expectLabelsUtc: [String: String]?
        var expectError: Bool?
        var requiredLabels: [String]?
        var src: String
    }

    @Test(
        "lines and labels as told",
        .enabled(if: PipelineTables.isPresent("format.json"), "set PETREL_CONFORMANCE"))
    func cases() throws {
        let cases = try PipelineTables.cases("format.json", Case.self)
        var passed = 0
        for one in cases {
            do {
                if try Self.check(one) { passed += 1 }
            } catch {
                Issue.record("\(one.stage): \(error) (\(one.src))")
            }
        }
        print("format.json: \(passed) of \(cases.count)")
        #expect(passed == cases.count)
    }

    /// The label `1` of one case is none that a query can name; the case is about the labels that a stage reads.
    private static func selector(_ stage: String) throws -> LogSelector {
        let numbered = ", 1="
        guard stage.contains(numbered) else {
            return try PipelineTables.selector("{a=\"b\"} " + stage)
        }
        var selector = try PipelineTables.selector(
            "{a=\"b\"} " + stage.replacing(numbered, with: ", one="))
        guard case .labelFormat(var formats)? = selector.stages.first else { return selector }
        for index in formats.indices where formats[index].label == "one" {
            formats[index].label = "1"
        }
        selector.stages = [.labelFormat(formats)]
        return selector
    }

    private static func check(_ one: Case) throws -> Bool {
        let pipeline = try Pipeline(try selector(one.stage))
        if let required = one.requiredLabels {
            #expect(pipeline.labelsRead == required, "\(one.stage) (\(one.src))")
            return pipeline.labelsRead == required
        }
        let run = PipelineRun(pipeline)
        run.labels.now = TimestampNS(1_700_000_000_000_000_000)
        let stream = run.forStream(PipelineTables.labels(one.labels ?? [:]))
        let isKept = run.process(
            timestamp: TimestampNS(one.ts ?? 0), line: Array((one.line ?? "").utf8), of: stream)
        let line = String(decoding: run.line, as: UTF8.self)
        let labels = PipelineTables.dictionary(run.labelSet.all)
        #expect(line == one.expectLine, "\(one.stage) (\(one.src))")
        var isGood = isKept && line == one.expectLine
        if let expected = one.expectLabelsUtc ?? one.expectLabels {
            #expect(labels == expected, "\(one.stage) (\(one.src))")
            isGood = isGood && labels == expected
        }
        if one.expectError == true {
            #expect(labels["__error__"] == "TemplateFormatErr", "\(one.stage) (\(one.src))")
            isGood = isGood && labels["__error__"] == "TemplateFormatErr"
        }
        return isGood
    }
}
