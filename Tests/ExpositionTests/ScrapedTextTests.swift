import Exposition
import Model
import Testing

/// A body as columns.
@Suite("Scraped text")
struct ScrapedTextTests {
    private func read(
        _ text: String, _ format: ExpositionFormat = .openMetrics, samplesMax: Int = 1_000
    ) throws -> ScrapedText {
        try ScrapedText(Array(text.utf8), format, samplesMax: samplesMax)
    }

    /// Start timestamps by the series as written.
    private func starts(_ scraped: ScrapedText) -> [String: Int64] {
        var result: [String: Int64] = [:]
        for (series, start) in zip(scraped.series, scraped.startTimestamps) {
            result[String(decoding: scraped.bytes[series], as: UTF8.self)] = start
        }
        return result
    }

    @Test("families keep what the text says of them, wherever it stands")
    func families() throws {
        let scraped = try read(
            """
            # HELP a_seconds one \\n \\"two\\"
            # TYPE a_seconds counter
            # UNIT a_seconds seconds
            a_seconds_total 1
            b 2
            # HELP b late
            # TYPE "c.d" stateset
            # EOF
            """)
        #expect(
            scraped.families == [
                .init(name: "a_seconds", type: .counter, help: "one \n \"two\"", unit: "seconds"),
                .init(name: "b", type: .unknown, help: "late", unit: ""),
                .init(name: "c.d", type: .stateset, help: "", unit: ""),
            ])
        #expect(scraped.values == [1, 2])
        #expect(scraped.timestamps.isEmpty && scraped.startTimestamps.isEmpty)
        #expect(try scraped.labels(0) == ["__name__": "a_seconds_total"])
        let plain = try read("# HELP a \\\" \\\\ \\n\n", .prometheusText)
        #expect(plain.families.first?.help == "\\\" \\ \n", "a quote has no escape there")
    }

    @Test("timestamps are a column from the first one on")
    func timestamps() throws {
        let scraped = try read("a 1\nb 2 1.5\nc 3\n# EOF\n")
        #expect(scraped.timestamps == [ScrapedText.absent, 1500, ScrapedText.absent])
    }

    @Test("exemplars stand beside their samples")
    func exemplars() throws {
        let scraped = try read(
            "a 1\n# TYPE b counter\nb_total 2 # {trace_id=\"x\\n\",\"s.p\"=\"y\"} 0.5 17.25\n# EOF\n"
        )
        let place = try #require(scraped.exemplars.first)
        #expect(scraped.exemplars.count == 1 && place.sample == 1)
        #expect(
            String(decoding: scraped.bytes[place.text], as: UTF8.self)
                == "{trace_id=\"x\\n\",\"s.p\"=\"y\"} 0.5 17.25")
        #expect(
            try scraped.exemplar(1)
                == .init(
                    labels: ["trace_id": "x\n", "s.p": "y"], value: 0.5,
                    timestamp: TimestampMS(17_250)))
        #expect(try scraped.exemplar(0) == nil)
    }

    @Test("an exemplar with a label twice costs itself alone, as in Prometheus")
    func doubledExemplarLabel() throws {
        let scraped = try read("a 1 # {x=\"1\",x=\"2\"} 1\nb 2\n# EOF\n")
        #expect(scraped.values == [1, 2] && scraped.exemplars.count == 1)
        #expect(throws: ExpositionError.self) { try scraped.exemplar(0) }
    }

    @Test("created lines are start timestamps of their own metric's samples, before them or behind")
    func created() throws {
        let scraped = try read(
            """
            g_created 9
            # TYPE c counter
            c_total{a="1"} 17
            c_created{a="1"} 1520872607.123
            c_created{a="2"} 5
            c_total{a="2"} 18
            c_total{a="3"} 19
            # TYPE h histogram
            h_created 7
            h_bucket{le="1"} 1
            h_bucket{le="+Inf"} 2
            h_count 2
            h_sum 3
            other 1
            # TYPE s summary
            s{quantile="0.5",z="1"} 1
            s_sum{z="1"} 1
            s_created{z="1"} 8.0
            # TYPE gauge_created gauge
            gauge_created 4
            # EOF

            """)
        // They are samples too, as Prometheus has it, and began at no time themselves.
        #expect(scraped.values.count == 16)
        #expect(
            starts(scraped) == [
                "g_created": 0, "c_total{a=\"1\"}": 1_520_872_607_123, "c_total{a=\"2\"}": 5000,
                "c_total{a=\"3\"}": 0, "c_created{a=\"1\"}": 0, "c_created{a=\"2\"}": 0,
                "h_created": 0, "s_created{z=\"1\"}": 0, "h_bucket{le=\"1\"}": 7000,
                "h_bucket{le=\"+Inf\"}": 7000,
                "h_count": 7000, "h_sum": 7000, "other": 0, "s{quantile=\"0.5\",z=\"1\"}": 8000,
                "s_sum{z=\"1\"}": 8000, "gauge_created": 0,
            ])
        let odd = try read("# TYPE c counter\nc_created NaN\nc_total 1\n# EOF\n")
        #expect(odd.startTimestamps == [0, 0])
        // In Prometheus' own format they are what they look like.
        let plain = try read("# TYPE c counter\nc_total 1\nc_created 5\n", .prometheusText)
        #expect(plain.values == [1, 5] && plain.startTimestamps.isEmpty)
    }

    @Test("labels of any sample are those that the parser says, also of a type further up")
    func labels() throws {
        let text =
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n# EOF\n"
        let scraped = try read(text)
        #expect(try scraped.labels(2) == ["__name__": "g", "le": "1"])
        #expect(try scraped.labels(0) == ["__name__": "h_bucket", "le": "1.0"])
        #expect(try scraped.labels(1) == ["__name__": "h_bucket", "le": "+Inf"])
    }

    @Test("more samples than allowed are refused where they begin")
    func samplesMax() throws {
        #expect(try read("a 1\nb 1\n# EOF\n", samplesMax: 2).values.count == 2)
        let error = #expect(throws: ExpositionError.self) {
            try read("a 1\nb 1\nc 1\n# EOF\n", samplesMax: 2)
        }
        #expect(error == ExpositionError(line: 3, column: 1, reason: .tooManySamples(max: 2)))
    }
}
