import FoundationEssentials
import LogQL
import LogQLSyntax
import Model
import Testing

/// `filters.json`: which lines a few stages keep, and with which labels.
@Suite("LogQL filters")
struct FilterTableTests {
    struct Case: Decodable {
        var stage: String
        var labels: [String: String]?
        var line: String?
        var lineBase64: String?
        var keep: Bool?
        var expectLabels: [String: String]?
        var presetError: String?
        var presetErrorDetails: String?
        var errorAny: Bool?
        var src: String

        var bytes: [UInt8] {
            let decoded = lineBase64.flatMap { Data(base64Encoded: $0) }.map { Array($0) }
            return decoded ?? Array((line ?? "").utf8)
        }
    }

    @Test(
        "keep or drop as told",
        .enabled(if: PipelineTables.isPresent("filters.json"), "set PETREL_CONFORMANCE"))
    func cases() throws {
        let cases = try PipelineTables.cases("filters.json", Case.self)
        var passed = 0
        for one in cases where Self.check(one) { passed += 1 }
        print("filters.json: \(passed) of \(cases.count)")
        #expect(passed == cases.count)
    }

    private static func check(_ one: Case) -> Bool {
        let pipeline: Pipeline
        do {
            pipeline = try Pipeline(try PipelineTables.selector(#"{app="x"} "# + one.stage))
        } catch {
            #expect(one.errorAny == true, "\(one.stage): \(error) (\(one.src))")
            return one.errorAny == true
        }
        if one.errorAny == true {
            Issue.record("accepted: \(one.stage) (\(one.src))")
            return false
        }
        let run = PipelineRun(pipeline)
        let stream = run.forStream(PipelineTables.labels(one.labels ?? [:]))
        var errors: [Label] = []
        if let error = one.presetError { errors.append(Label("__error__", error)) }
        if let details = one.presetErrorDetails {
            errors.append(Label("__error_details__", details))
        }
        let isKept = run.process(
            timestamp: TimestampNS(0), line: one.bytes, metadata: Labels(errors), of: stream)
        guard isKept == one.keep else {
            Issue.record("\(one.stage) on \(one.line ?? "?"): \(isKept) (\(one.src))")
            return false
        }
        guard isKept, let expected = one.expectLabels else { return true }
        let found = PipelineTables.dictionary(run.labelSet.all)
        #expect(found == expected, "\(one.stage) (\(one.src))")
        return found == expected
    }
}
