import Exposition
import FoundationEssentials
import Model
import Testing

/// The rules of OpenMetrics beyond a line, each with a text that breaks it; a scrape takes all of them.
@Suite("OpenMetrics rules")
struct OpenMetricsCheckerTests {
    struct Broken: Sendable, CustomTestStringConvertible {
        var rule: OpenMetricsRule
        var line: Int
        var text: String
        var testDescription: String { "\(rule): \(text)" }

        init(_ rule: OpenMetricsRule, line: Int, _ text: String) {
            self.rule = rule
            self.line = line
            self.text = text
        }
    }

    static let ofStructure: [Broken] = [
        Broken(.looseComma, line: 1, "m{a=\"1\",} 1"),
        Broken(.repeatedMetadata, line: 2, "# HELP m one\n# HELP m two"),
        Broken(.repeatedMetadata, line: 3, "# TYPE m gauge\n# HELP m x\n# TYPE m gauge"),
        Broken(.metadataAfterSamples, line: 3, "# TYPE m gauge\nm 1\n# HELP m x"),
        Broken(.metadataAfterSamples, line: 2, "m 1\n# TYPE m gauge"),
        Broken(.clashingName, line: 3, "m 1\nn 1\nm 2"),
        Broken(.clashingName, line: 3, "# TYPE m counter\nm_total 1\n# TYPE m_total gauge"),
        Broken(.clashingName, line: 2, "# TYPE m_bucket gauge\n# TYPE m histogram"),
        Broken(.unitOfStates, line: 1, "# TYPE m_u info\n# UNIT m_u u"),
        Broken(
            .scatteredGroup, line: 4, "# TYPE m gauge\nm{a=\"1\"} 1\nm{a=\"2\"} 1\nm{a=\"1\"} 1"),
        Broken(
            .scatteredGroup, line: 4,
            "# TYPE m summary\nm_sum{a=\"1\"} 1\nm_sum{a=\"2\"} 1\nm{a=\"1\",quantile=\"0.5\"} 1"),
        Broken(.mixedTimestamps, line: 2, "m 1 5\nm 2"),
        Broken(.timestampsBackwards, line: 2, "m 1 5.1\nm 2 5"),
        Broken(.duplicateSample, line: 2, "m{a=\"1\"} 1\nm{a=\"1\"} 1"),
    ]

    static let ofTypes: [Broken] = [
        Broken(.stateLabel, line: 2, "# TYPE m stateset\nm{n=\"on\"} 1"),
        Broken(.stateValue, line: 2, "# TYPE m stateset\nm{m=\"on\"} 0.5"),
        Broken(.infoValue, line: 2, "# TYPE m info\nm_info{v=\"1\"} 0"),
        Broken(.bucketBound, line: 2, "# TYPE m histogram\nm_bucket{le=\"inf\"} 1"),
        Broken(.bucketBound, line: 2, "# TYPE m gaugehistogram\nm_bucket{le=\"NaN\"} 1"),
        Broken(.quantileBound, line: 2, "# TYPE m summary\nm{quantile=\"1.5\"} 1"),
        Broken(.wholeCount, line: 2, "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1.5"),
        Broken(.notANumber, line: 2, "# TYPE m counter\nm_total NaN"),
        Broken(.negativeValue, line: 2, "# TYPE m counter\nm_total -0.1"),
        Broken(.negativeValue, line: 2, "# TYPE m summary\nm{quantile=\"0.5\"} -1"),
        Broken(.exemplarPlace, line: 1, "m 1 # {a=\"b\"} 1"),
        Broken(.exemplarPlace, line: 3, "# TYPE m counter\nm_total 1\nm_created 1 # {a=\"b\"} 1"),
        Broken(
            .exemplarLength, line: 2,
            "# TYPE m counter\nm_total 1 # {a=\"" + String(repeating: "ä", count: 128) + "\"} 1"),
        Broken(
            .bucketOrder, line: 3,
            "# TYPE m histogram\nm_bucket{le=\"2\"} 1\nm_bucket{le=\"2.0\"} 1"),
        Broken(
            .bucketCounts, line: 3,
            "# TYPE m histogram\nm_bucket{le=\"1\"} 2\nm_bucket{le=\"+Inf\"} 1"),
        Broken(.infiniteBucket, line: 2, "# TYPE m histogram\nm_bucket{le=\"1\"} 2"),
        Broken(
            .infiniteBucket, line: 4,
            "# TYPE m histogram\nm_bucket{a=\"1\",le=\"+Inf\"} 2\nm_bucket{a=\"2\",le=\"1\"} 2\nm_count{a=\"3\"} 0"
        ),
        Broken(
            .countOfBuckets, line: 4,
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 2\nm_count 1\nm_sum 1"),
        Broken(.sumWithCount, line: 3, "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 2\nm_sum 1"),
        Broken(
            .sumOfNegatives, line: 5,
            "# TYPE m histogram\nm_bucket{le=\"-1\"} 1\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1"
        ),
        Broken(
            .negativeGaugeSum, line: 4,
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 1\nm_gcount 1\nm_gsum -1"),
    ]

    @Test(
        "a broken rule is named with its line, and a scrape takes the text",
        arguments: ofStructure + ofTypes)
    func broken(input: Broken) throws {
        let bytes = Array((input.text + "\n# EOF\n").utf8)
        let error = #expect(throws: ExpositionError.self) { try OpenMetricsChecker.check(bytes) }
        #expect(error?.reason == .rule(input.rule))
        #expect(error?.line == input.line)
        let scraped = try ScrapedText(bytes, .openMetrics, samplesMax: 10)
        #expect(scraped.values.count + scraped.startTimestamps.count + scraped.families.count > 0)
    }

    @Test("every rule has a text that breaks it")
    func complete() {
        let tested = Set((Self.ofStructure + Self.ofTypes).map(\.rule))
        #expect(Set(OpenMetricsRule.allCases).subtracting(tested).isEmpty)
    }

    @Test(
        "sound texts",
        arguments: [
            "m 1\n", "m 1 1\nm 1 1\nm 2 1.0000001\n", "# HELP m \n# UNIT m \n",
            "# TYPE m info\nm_info{a=\"1\"} 1 2\nm_info{a=\"2\"} 1 1\n",
            "# TYPE m stateset\nm{m=\"on\"} 1\nm{m=\"off\"} 0\n",
            "# TYPE m summary\nm_count 1\nm_sum 2\nm{quantile=\"0\"} NaN\nm{quantile=\"1\"} 2\nm_created 4\n",
            "# TYPE m_s counter\n# UNIT m_s s\nm_s_total{a=\"1\"} 1 # {t=\"x\"} 1 2\nm_s_created{a=\"1\"} 3\n",
            "# TYPE m histogram\nm_bucket{le=\"-1e-3\"} 0 5\nm_bucket{le=\"+Inf\"} 1 5 # {} 1\n",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1 5\nm_bucket{le=\"+Inf\"} 1 6\n",
            "# TYPE m gaugehistogram\nm_bucket{le=\"0\"} 1\nm_bucket{le=\"+Inf\"} 1\nm_gcount 1\nm_gsum 3\n",
            "m{a=\"1\"} 1\nm{a=\"\"} 2\n", "# TYPE \"m.n\" gauge\n{\"m.n\",\"a b\"=\"1\"} 1\n",
        ])
    func sound(text: String) throws {
        try OpenMetricsChecker.check(Array((text + "# EOF\n").utf8))
    }

    // MARK: The corpus of the OpenMetrics project

    struct Case: Decodable {
        var file: String
        var shouldParse: Bool
    }

    static let corpus =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/openmetrics/testdata/parsers"

    /// What the checker refuses and a scrape takes, as Prometheus does, is what breaks an `OpenMetricsRule`; those rules
    /// are the list of exceptions (docs/formats/exposition.md).
    @Test(
        "the OpenMetrics project's cases, and what a scrape takes of them",
        .enabled(
            if: FileManager.default.fileExists(atPath: corpus),
            "no \(corpus): set PETREL_CONFORMANCE to the conformance folder"))
    func cases() throws {
        var passed = 0
        var exceptions = 0
        for name in try FileManager.default.contentsOfDirectory(atPath: Self.corpus).sorted() {
            func contents(_ file: String) throws -> Data {
                try #require(
                    FileManager.default.contents(atPath: "\(Self.corpus)/\(name)/\(file)"))
            }
            let told = try JSONDecoder().decode(Case.self, from: contents("test.json"))
            let bytes = [UInt8](try contents(told.file))
            var strict: ExpositionError?
            do throws(ExpositionError) { try OpenMetricsChecker.check(bytes) } catch {
                strict = error
            }
            #expect((strict == nil) == told.shouldParse, "\(name): \(String(describing: strict))")
            var scrape: ExpositionError?
            do throws(ExpositionError) {
                let scraped = try ScrapedText(bytes, .openMetrics, samplesMax: 1_000)
                for index in scraped.series.indices { _ = try scraped.labels(index) }
            } catch { scrape = error }
            if case .rule = strict?.reason {
                exceptions += 1
                #expect(scrape == nil, "\(name): Prometheus takes it")
            } else {
                #expect(scrape == strict, "\(name)")
            }
            passed += 1
        }
        #expect(passed == 211)
        #expect(exceptions == 78)
    }
}
