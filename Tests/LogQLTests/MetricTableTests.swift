import FoundationEssentials
import LogQL
import LogQLSyntax
import Model
import Testing

/// The cases of `logql-tables/metrics.json`: streams, a query, and what Loki makes of them.
@Suite(
    .enabled(
        if: MetricTable.isPresent,
        "NOT RUN: no logql-tables in $PETREL_CONFORMANCE (or ../shared/conformance)"))
struct MetricTableTests {
    @Test func table() throws {
        let cases = try MetricTable.cases()
        #expect(cases.count == 49, "cases counted otherwise")
        for one in cases { check(one) }
    }

    private func check(_ one: MetricTable.Case) {
        let streams = one.streams.map {
            LogStream(labels: MetricTable.labels($0.labels), entries: $0.entries.map(\.entry))
        }
        // Loki's own test looks at the one sample alone: a sample is what is not absent.
        let time = one.eval?.time ?? streams.first?.entries.first?.timestamp.rawValue ?? 0
        let times: MetricTimes
        if let eval = one.eval, let start = eval.start, let end = eval.end, let step = eval.step {
            times = .range(
                start: TimestampNS(start), end: TimestampNS(end), stepNanoseconds: step)
        } else {
            times = .instant(TimestampNS(time))
        }
        var limits = MetricLimits()
        limits.rangeNanosecondsMax = one.limits?.maxQueryRange
        let outcome = MetricRunner.outcome(one.query, streams, at: times, limits: limits)
        if let expect = one.expect {
            #expect(isExpected(outcome, expect), "\(one.src): \(one.query): \(outcome)")
        } else {
            let keep = one.extract?.keep == true
            #expect(
                outcome.series?.isEmpty == keep, "\(one.src): \(one.query): \(outcome)")
        }
    }

    private func isExpected(
        _ outcome: MetricRunner.Outcome, _ expect: MetricTable.Expectation
    ) -> Bool {
        let wanted = expect.series ?? []
        switch expect.type {
        case "fail":
            guard let text = outcome.failure else { return false }
            return expect.contains.map { text.contains($0) } ?? true
        case "ok": return outcome.failure == nil
        case "empty": return outcome.series?.isEmpty == true
        case "scalar":
            guard case .scalar(let value) = outcome, let number = expect.value else { return false }
            return MetricRunner.isClose(value, number.value)
        default:
            guard let series = outcome.series, series.count == wanted.count else { return false }
            return wanted.allSatisfy { want in
                let labels = MetricTable.labels(want.labels)
                guard let got = series.first(where: { $0.labels == labels }) else { return false }
                if let points = want.points {
                    return got.times == points.map { $0[0].nanoseconds / 1_000_000 }
                        && zip(got.values, points).allSatisfy {
                            MetricRunner.isClose($0, $1[1].value)
                        }
                }
                return got.values.count == 1 && want.value != nil
                    && MetricRunner.isClose(got.values[0], want.value?.value ?? 0)
            }
        }
    }
}

enum MetricTable {
    struct Table: Decodable { var cases: [Case] }

    struct Case: Decodable {
        var query: String
        var streams: [Stream]
        var eval: Evaluation?
        var expect: Expectation?
        var extract: Extraction?
        var limits: Limits?
        var src: String
    }

    struct Stream: Decodable {
        var labels: [String: String]
        var entries: [Entry]
    }

    struct Entry: Decodable {
        var entry: LogEntry

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            let time = try values.decode(Int64.self)
            let line = try values.decode(String.self)
            let metadata = try values.decode([String: String].self)
            entry = LogEntry(
                timestamp: TimestampNS(time), line: Array(line.utf8),
                metadata: MetricTable.labels(metadata))
        }
    }

    struct Evaluation: Decodable {
        var at: Int64?
        var start: Int64?
        var end: Int64?
        var step: Int64?

        var time: Int64? { at }
    }

    struct Expectation: Decodable {
        var type: String
        var series: [Series]?
        var value: Number?
        var contains: String?
    }

    struct Series: Decodable {
        var labels: [String: String]
        var value: Number?
        var points: [[Number]]?
    }

    struct Extraction: Decodable { var keep: Bool }

    struct Limits: Decodable {
        enum CodingKeys: String, CodingKey { case maxQueryRange = "max_query_range_ns" }

        /// Nanoseconds.
        var maxQueryRange: Int64?
    }

    /// A JSON number, or `NaN`, `+Inf`, `-Inf`.
    struct Number: Decodable {
        var value: Double
        var nanoseconds: Int64 = 0

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let integer = try? container.decode(Int64.self) { nanoseconds = integer }
            if let number = try? container.decode(Double.self) {
                value = number
            } else {
                let text = try container.decode(String.self)
                value = text == "NaN" ? .nan : text == "-Inf" ? -.infinity : .infinity
            }
        }
    }

    static let path =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/logql-tables/metrics.json"

    static var isPresent: Bool { FileManager.default.contents(atPath: path) != nil }

    static func cases() throws -> [Case] {
        let data = try #require(FileManager.default.contents(atPath: path))
        return try JSONDecoder().decode(Table.self, from: data).cases
    }

    /// With empty values.
    static func labels(_ pairs: [String: String]) -> Labels {
        Labels(sortedUnchecked: pairs.map { Label($0.key, $0.value) }.sorted())
    }
}
