import AgentScrape
import Exposition
import LinearRegex
import Model
import Testing

@Suite("Target")
struct TargetStateMachineTests {
    /// A target and what it sent, by time.
    struct Rig {
        var machine: TargetStateMachine
        let budget: SeriesBudget
        var time: Int64 = 1_000_000

        init(_ job: ScrapeJob, labels: [String: String] = [:], budget: Int = 1000) throws {
            self.budget = SeriesBudget(max: budget)
            var job = job
            job.staticConfigs = [.init(targets: ["h:1"], labels: Labels(labels))]
            let target = try #require(try ScrapeTarget.all([job]).first)
            machine = TargetStateMachine(target, budget: self.budget)
        }

        /// The next scrape, 15 s later.
        mutating func scrape(
            _ text: String, _ format: ExpositionFormat = .prometheusText
        ) throws -> TargetStateMachine.Outcome {
            let text = try ScrapedText(Array(text.utf8), format, samplesMax: 100_000)
            return absorb(.success(text))
        }

        mutating func fail(_ failure: ScrapeFailure) -> TargetStateMachine.Outcome {
            absorb(.failure(failure))
        }

        private mutating func absorb(
            _ result: Result<ScrapedText, ScrapeFailure>
        ) -> TargetStateMachine.Outcome {
            time += 15_000
            return machine.absorb(result, at: TimestampMS(time)) { 0.25 }
        }
    }

    /// The rows as text: the name and labels but job and instance, and the value or `stale`; own series left out unless
    /// asked for.
    static func shown(_ outcome: TargetStateMachine.Outcome, own: Bool = false) -> [String] {
        shown(outcome.scrape, own: own)
    }

    static let ownNames: Set<String> = [
        "up", "scrape_duration_seconds", "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling", "scrape_series_added",
    ]

    static func shown(_ scrape: TargetScrape, own: Bool = false) -> [String] {
        scrape.rows.compactMap { row in
            let labels = scrape.series[row.slot].labels
            guard ownNames.contains(labels.metricName) == own else { return nil }
            let rest = labels.filter { !["__name__", "job", "instance"].contains($0.name) }
                .map { "\($0.name)=\($0.value)" }.joined(separator: ",")
            let value = StalenessMarker.isMarker(row.value) ? "stale" : "\(row.value)"
            return "\(labels.metricName){\(rest)} \(value)"
        }
    }

    static func job() -> ScrapeJob { ScrapeJob(name: "app") }

    @Test("a target's own series, of each kind of scrape")
    func own() throws {
        var rig = try Rig(Self.job())
        let first = try rig.scrape("a 1\nb 2\n")
        #expect(
            Self.shown(first, own: true) == [
                "up{} 1.0", "scrape_duration_seconds{} 0.25", "scrape_samples_scraped{} 2.0",
                "scrape_samples_post_metric_relabeling{} 2.0", "scrape_series_added{} 2.0",
            ])
        #expect(
            first.scrape.series[first.scrape.rows[0].slot].labels
                == Labels(["__name__": "a", "job": "app", "instance": "h:1"]))
        let second = try rig.scrape("a 1\nc 2\nb 3\n")
        #expect(Self.shown(second, own: true).last == "scrape_series_added{} 1.0")
        let failed = rig.fail(.connection("refused"))
        #expect(
            Self.shown(failed, own: true) == [
                "up{} 0.0", "scrape_duration_seconds{} 0.25", "scrape_samples_scraped{} 0.0",
                "scrape_samples_post_metric_relabeling{} 0.0", "scrape_series_added{} 0.0",
            ])
        // What came back is known from before. Source: Prometheus 3.14, whose cache outlives a failed scrape.
        let back = try rig.scrape("a 1\nc 2\nb 3\n")
        #expect(Self.shown(back, own: true).last == "scrape_series_added{} 0.0")
        #expect(Set(back.scrape.rows.map(\.timestamp)) == [TimestampMS(rig.time)])
    }

    @Test("a series that vanishes ends once; one that comes back begins again")
    func vanishes() throws {
        var rig = try Rig(Self.job())
        #expect(Self.shown(try rig.scrape("a 1\nb{x=\"1\"} 2\n")) == ["a{} 1.0", "b{x=1} 2.0"])
        #expect(Self.shown(try rig.scrape("a 1\n")) == ["a{} 1.0", "b{x=1} stale"])
        #expect(Self.shown(try rig.scrape("a 1\n")) == ["a{} 1.0"])
        #expect(rig.machine.lineCount == 1 && rig.budget.count == 1)
        #expect(Self.shown(try rig.scrape("b{x=\"1\"} 5\na 1\n")) == ["b{x=1} 5.0", "a{} 1.0"])
        #expect(Self.shown(try rig.scrape("")) == ["a{} stale", "b{x=1} stale"])
    }

    @Test("a failed scrape ends everything once, and what returns goes on")
    func fails() throws {
        var rig = try Rig(Self.job())
        _ = try rig.scrape("a 1\nb 2\n")
        let failed = rig.fail(.timeout(seconds: 1))
        #expect(Self.shown(failed) == ["a{} stale", "b{} stale"])
        #expect(Self.shown(rig.fail(.timeout(seconds: 1))) == [])
        #expect(Self.shown(try rig.scrape("b 2\n")) == ["b{} 2.0"])
        #expect(Self.shown(try rig.scrape("b 2\n")) == ["b{} 2.0"])
    }

    @Test("a change of state is worth a word, and nothing else is")
    func notices() throws {
        var rig = try Rig(Self.job())
        #expect(try rig.scrape("a 1\n").notice == nil)
        #expect(rig.fail(.timeout(seconds: 1)).notice == .isDown(.timeout(seconds: 1)))
        #expect(rig.fail(.timeout(seconds: 1)).notice == nil)
        #expect(rig.fail(.connection("x")).notice == .isDown(.connection("x")))
        #expect(rig.fail(.connection("y")).notice == nil)
        #expect(try rig.scrape("a 1\n").notice == .isUp)
        #expect(try rig.scrape("a 1\n").notice == nil)
    }

    @Test("what a target has, for the day it is removed")
    func live() throws {
        var rig = try Rig(Self.job())
        #expect(rig.machine.liveSeries.isEmpty)
        _ = try rig.scrape("a 1\nb 2\nc 3 500\n")
        #expect(
            Set(rig.machine.liveSeries.map(\.labels.metricName)) == Self.ownNames.union(["a", "b"]))
        _ = rig.fail(.connection("x"))
        #expect(Set(rig.machine.liveSeries.map(\.labels.metricName)) == Self.ownNames)
    }

    struct LabelCase: Sendable, CustomStringConvertible {
        var line: String
        var honors: Bool
        var target: [String: String]
        var labels: [String: String]
        var description: String { "\(line) honor_labels: \(honors)" }
    }

    /// Source: Prometheus 3.14 `scrape_test.go`, `TestScrapeLoopAppend` and `…AppendForConflictingPrefixedLabels`.
    static let labelCases: [LabelCase] = [
        LabelCase(
            line: #"m{n="1"} 0"#, honors: false, target: ["n": "2"],
            labels: ["n": "2", "exported_n": "1"]),
        LabelCase(
            line: #"m{exported_n="1",n="2"} 0"#, honors: false, target: ["n": "3"],
            labels: ["n": "3", "exported_n": "1", "exported_exported_n": "2"]),
        LabelCase(
            line: #"m{foo="1"} 0"#, honors: false,
            target: ["foo": "2", "exported_foo": "3"],
            labels: ["foo": "2", "exported_foo": "3", "exported_exported_foo": "1"]),
        LabelCase(
            line: #"m{n="1"} 0"#, honors: true, target: ["n": "2"], labels: ["n": "1"]),
        LabelCase(
            line: #"m{n=""} 0"#, honors: true, target: ["n": "2"], labels: [:]),
        LabelCase(
            line: #"m{a="x,n=\"\"",b=""} 0"#, honors: true, target: ["n": "2"],
            labels: ["a": #"x,n="""#, "n": "2"]),
        LabelCase(line: "m 0", honors: true, target: ["n": "2"], labels: ["n": "2"]),
        // The collector sets host and role itself.
        LabelCase(
            line: #"m{host="a",role="b"} 0"#, honors: false, target: [:],
            labels: ["exported_host": "a", "exported_role": "b"]),
        LabelCase(
            line: #"m{host="a",exported_host="b"} 0"#, honors: true,
            target: ["exported_exported_host": "c"],
            labels: [
                "exported_host": "b", "exported_exported_host": "c",
                "exported_exported_exported_host": "a",
            ]),
        LabelCase(line: #"m{host=""} 0"#, honors: true, target: [:], labels: [:]),
    ]

    @Test("labels of the target and of the sample", arguments: labelCases)
    func labels(_ entry: LabelCase) throws {
        var job = Self.job()
        job.honorsLabels = entry.honors
        var rig = try Rig(job, labels: entry.target)
        let outcome = try rig.scrape(entry.line + "\n")
        let row = try #require(outcome.scrape.rows.first)
        let labels = outcome.scrape.series[row.slot].labels
        #expect(labels.dropping(["__name__", "job", "instance"]) == Labels(entry.labels))
        #expect(labels["job"] == "app" && labels["instance"] == "h:1")
    }

    @Test("series that a label of the collector tells apart stay apart; relabeling sees it before")
    func hosts() throws {
        var job = Self.job()
        job.metricRelabelRules = [
            RelabelingTests.rule(.drop, from: ["host"], "c"),
            RelabelingTests.rule(.replace, from: ["zone"], "(.+)", to: "role"),
        ]
        var rig = try Rig(job)
        let outcome = try rig.scrape(
            """
            m{host="a"} 1
            m{host="b"} 2
            m{host="c"} 3
            n{zone="z"} 4

            """)
        #expect(
            Self.shown(outcome) == [
                "m{exported_host=a} 1.0", "m{exported_host=b} 2.0", "n{exported_role=z,zone=z} 4.0",
            ])
        #expect(outcome.duplicates == 0)
    }

    @Test("two spellings of one text are two series, each as it is written", arguments: 1...2)
    func spellings(round: Int) throws {
        var rig = try Rig(Self.job())
        let texts = ["caf\u{e9} of a long name", "cafe\u{301} of a long name"]
        let lines = texts.map { "m{n=\"\($0)\"} 1\n" }
        for _ in 0..<round {
            let outcome = try rig.scrape(lines.joined())
            let values = outcome.scrape.rows.prefix(2).map {
                Array(outcome.scrape.series[$0.slot].labels["n"].utf8)
            }
            #expect(values == texts.map { Array($0.utf8) })
            #expect(outcome.duplicates == 0)
        }
    }

    @Test("metric relabeling drops, and what falls together is taken once")
    func relabeling() throws {
        var job = Self.job()
        job.metricRelabelRules = [
            RelabelingTests.rule(.drop, from: ["__name__"], "go_.*"),
            RelabelingTests.rule(.labeldrop, "pod"),
        ]
        var rig = try Rig(job)
        for _ in 0..<3 {
            let outcome = try rig.scrape("go_x 1\na{pod=\"1\"} 2\na{pod=\"2\"} 3\nb 4\n")
            #expect(Self.shown(outcome) == ["a{} 2.0", "b{} 4.0"])
            #expect(outcome.duplicates == 1)
            let own = Self.shown(outcome, own: true)
            #expect(own[2] == "scrape_samples_scraped{} 4.0")
            #expect(own[3] == "scrape_samples_post_metric_relabeling{} 3.0")
        }
        // One of the two lines goes: the series stays.
        #expect(Self.shown(try rig.scrape("a{pod=\"2\"} 3\nb 4\n")) == ["a{} 3.0", "b{} 4.0"])
        #expect(Self.shown(try rig.scrape("b 4\n")) == ["b{} 4.0", "a{} stale"])
        job.metricRelabelRules = [RelabelingTests.rule(.labeldrop, "__name__")]
        rig = try Rig(job)
        #expect(try rig.scrape("a{b=\"1\"} 2\n").failure?.reason == "exposition")
    }

    @Test(
        "a limit fails the whole scrape and leaves no trace of what was new",
        arguments: [false, true])
    func limits(hasRules: Bool) throws {
        var job = Self.job()
        job.sampleLimit = 3
        if hasRules {
            job.metricRelabelRules = [RelabelingTests.rule(.drop, from: ["__name__"], "go_.*")]
        }
        var rig = try Rig(job)
        _ = try rig.scrape("a 1\nb 2\nc 3\n")
        let bomb = (0..<500).map { "bomb{id=\"\($0)\"} 1\n" }.joined()
        let outcome = try rig.scrape("a 1\n" + bomb)
        #expect(outcome.failure == .sampleLimit(max: 3))
        #expect(Self.shown(outcome) == ["a{} stale", "b{} stale", "c{} stale"])
        #expect(
            Self.shown(outcome, own: true)[...3] == [
                "up{} 0.0", "scrape_duration_seconds{} 0.25", "scrape_samples_scraped{} 501.0",
                "scrape_samples_post_metric_relabeling{} \(hasRules ? 4.0 : 501.0)",
            ])
        #expect(rig.budget.count == 3)
        #expect(try rig.scrape("a 1\nb 2\nc 3\n").failure == nil)
    }

    @Test("the series of all targets are bounded; those that are there go on")
    func budget() throws {
        var rig = try Rig(Self.job(), budget: 4)
        // As many lines as there is room for, and one series more than that.
        _ = try rig.scrape("x 1\n")
        #expect(try rig.scrape("a 1\nb 1\nc 1\nd 1\n").failure == .seriesTotal(max: 4))
        #expect(rig.budget.count == 1)
        _ = try rig.scrape("a 1\nb 2\n")
        let outcome = try rig.scrape("a 1\nb 2\nc 1\nd 1\ne 1\n")
        #expect(outcome.failure == .seriesTotal(max: 4) && rig.budget.count == 2)
        #expect(Self.shown(try rig.scrape("a 1\nb 2\nd 1\n")) == ["a{} 1.0", "b{} 2.0", "d{} 1.0"])
    }

    @Test("lines that are gone make room for those in their place, and those that stay keep theirs")
    func replaced() throws {
        var rig = try Rig(Self.job(), budget: 4)
        _ = try rig.scrape("a 1\nb 1\nc 1\n")
        let outcome = try rig.scrape("d 1\ne 1\nf 1\n")
        #expect(outcome.failure == .seriesTotal(max: 4))
        #expect(Self.shown(outcome) == ["a{} stale", "b{} stale", "c{} stale"])
        #expect(Self.shown(try rig.scrape("d 1\ne 1\nf 1\n")) == ["d{} 1.0", "e{} 1.0", "f{} 1.0"])
        #expect(rig.budget.count == 3)
        // Too many at once, before a line is looked at: what the target still has is its own all the same.
        let bomb = (0..<9).map { "bomb\($0) 1\n" }.joined()
        #expect(try rig.scrape("f 1\n" + bomb).failure == .seriesTotal(max: 4))
        let back = try rig.scrape("f 1\ng 1\n")
        #expect(Self.shown(back) == ["f{} 1.0", "g{} 1.0"] && rig.budget.count == 2)
        #expect(Self.shown(back, own: true).last == "scrape_series_added{} 1.0")
    }

    @Test(
        "label limits",
        arguments: [
            (3, 0, 0, "m 1", true), (3, 0, 0, "m{a=\"1\"} 1", false),
            (0, 8, 0, "m 1", true), (0, 8, 0, "m{long_name=\"1\"} 1", false),
            (0, 0, 3, "m{a=\"123\"} 1", true), (0, 0, 3, "m{a=\"1234\"} 1", false),
        ])
    func labelLimits(_ count: Int, _ name: Int, _ value: Int, _ line: String, _ isTaken: Bool)
        throws
    {
        var job = Self.job()
        (job.labelLimit, job.labelNameLengthLimit, job.labelValueLengthLimit) = (count, name, value)
        var rig = try Rig(job)
        let outcome = try rig.scrape(line + "\n")
        #expect((outcome.failure == nil) == isTaken, "\(String(describing: outcome.failure))")
    }

    @Test("a sample that is too long to send is left out alone")
    func unsendable() throws {
        var rig = try Rig(Self.job())
        let long = String(repeating: "x", count: ScrapeLimits.labelValueBytesMax + 1)
        let outcome = try rig.scrape("a 1\nb{l=\"\(long)\"} 1\n")
        #expect(Self.shown(outcome) == ["a{} 1.0"] && outcome.unsendable == 1)
    }

    @Test("samples with a time of their own")
    func timestamps() throws {
        var rig = try Rig(Self.job())
        let late = rig.time + 3_600_000
        let first = try rig.scrape("a 1 500\na 2 600\na 3 600\nb 1\nc 1 \(late)\n")
        #expect(Self.shown(first) == ["a{} 1.0", "a{} 2.0", "b{} 1.0"])
        #expect(first.scrape.rows[0].timestamp == TimestampMS(500))
        #expect(first.scrape.rows[2].timestamp == TimestampMS(rig.time))
        #expect(first.duplicates == 1 && first.outOfBounds == 1)
        // Only what has the scrape's time ends by a marker.
        #expect(Self.shown(try rig.scrape("")) == ["b{} stale"])
        var job = Self.job()
        job.honorsTimestamps = false
        rig = try Rig(job)
        let ignored = try rig.scrape("a 1 500\n")
        #expect(ignored.scrape.rows[0].timestamp == TimestampMS(rig.time))
        #expect(Self.shown(try rig.scrape("")) == ["a{} stale"])
    }

    @Test("a sample with a time of its own is sent once for as long as it stays the same")
    func unchanged() throws {
        var job = Self.job()
        job.sampleLimit = 3
        // With a rule the limit is found line by line, behind samples that were taken already.
        job.metricRelabelRules = [RelabelingTests.rule(.drop, from: ["__name__"], "go_.*")]
        var rig = try Rig(job)
        #expect(Self.shown(try rig.scrape("a 1 500\nb 1\n")) == ["a{} 1.0", "b{} 1.0"])
        let again = try rig.scrape("a 1 500\nb 1\na 1 500\n")
        #expect(Self.shown(again) == ["b{} 1.0"] && again.duplicates == 1)
        #expect(Self.shown(again, own: true)[2] == "scrape_samples_scraped{} 3.0")
        #expect(Self.shown(try rig.scrape("a 2 500\nb 1\n")) == ["a{} 2.0", "b{} 1.0"])
        #expect(Self.shown(try rig.scrape("a 2 600\nb 1\n")) == ["a{} 2.0", "b{} 1.0"])
        #expect(Self.shown(try rig.scrape("a -0 600\n")) == ["a{} -0.0", "b{} stale"])
        #expect(Self.shown(try rig.scrape("a 0 600\n")) == ["a{} 0.0"])
        // What a failed scrape brought was not sent.
        #expect(try rig.scrape("a 3 700\nb 1\nc 1\nd 1\n").failure == .sampleLimit(max: 3))
        #expect(Self.shown(try rig.scrape("a 3 700\n")) == ["a{} 3.0"])
        #expect(Self.shown(rig.fail(.connection("x"))) == [])
        #expect(Self.shown(try rig.scrape("a 3 700\n")) == [])
    }

    @Test("sample times before all that the collector takes are out of bounds")
    func old() throws {
        var rig = try Rig(Self.job())
        rig.time = 1_700_000_000_000
        let time = rig.time + 15_000
        let oldest = time - 400 * 86_400_000
        let outcome = try rig.scrape("a 1 \(oldest)\nb 1 \(oldest - 1)\n")
        #expect(Self.shown(outcome) == ["a{} 1.0"] && outcome.outOfBounds == 1)
    }

    @Test("a target that speaks of `up` itself does not speak for us")
    func impostor() throws {
        var rig = try Rig(Self.job())
        _ = try rig.scrape("up 1\n")
        let outcome = try rig.scrape("up 0\na 1\n")
        #expect(Self.shown(outcome, own: true).filter { $0.hasPrefix("up") } == ["up{} 1.0"])
        #expect(outcome.duplicates == 1 && Self.shown(outcome) == ["a{} 1.0"])
    }

    @Test("type, help and unit travel with the series of a family")
    func metadata() throws {
        var rig = try Rig(Self.job())
        let outcome = try rig.scrape(
            """
            # HELP req Requests.
            # TYPE req counter
            req_total 1
            # TYPE d_seconds histogram
            # UNIT d_seconds seconds
            d_seconds_bucket{le="1"} 1
            d_seconds_bucket{le="+Inf"} 1
            d_seconds_sum 1
            d_seconds_count 1
            plain 2
            # EOF

            """, .openMetrics)
        let series = Dictionary(
            outcome.scrape.rows.map {
                let series = outcome.scrape.series[$0.slot]
                return (series.labels.metricName, series)
            }, uniquingKeysWith: { first, _ in first })
        #expect(series["req_total"]?.metadata == MetricMetadata(type: .counter, help: "Requests."))
        for name in ["d_seconds_bucket", "d_seconds_sum", "d_seconds_count"] {
            #expect(series[name]?.family == "d_seconds")
            #expect(series[name]?.metadata == MetricMetadata(type: .histogram, unit: "seconds"))
        }
        #expect(series["plain"]?.metadata == MetricMetadata())
        #expect(series["up"]?.metadata.type == .gauge)
    }

    /// `name trace value@time` of each exemplar; the time since the scrape.
    static func exemplars(_ outcome: TargetStateMachine.Outcome, at time: Int64) -> [String] {
        outcome.scrape.exemplars.map { one in
            let row = outcome.scrape.rows[one.row]
            let name = outcome.scrape.series[row.slot].labels.metricName
            return "\(name) \(one.exemplar.traceID) \(one.exemplar.value)"
                + "@\(one.exemplar.timestamp.rawValue - time)"
        }
    }

    @Test("an exemplar is taken once, while it is the one that is shown")
    func exemplars() throws {
        var rig = try Rig(Self.job())
        func check(
            _ text: String, _ expected: [String], location: SourceLocation = #_sourceLocation
        ) throws {
            let outcome = try rig.scrape(text + "# EOF\n", .openMetrics)
            #expect(
                Self.exemplars(outcome, at: rig.time) == expected, sourceLocation: location)
        }
        let first = "a 1 # {trace_id=\"x\"} 0.5\n"
        // One without a time has the sample's, and one with a time keeps it.
        try check(
            first + "b 1\nc 2 # {trace_id=\"y\"} 1 0.007\n",
            ["a x 0.5@0", "c y 1.0@\(7 - rig.time - 15_000)"])
        try check("b 1\n" + first, [])
        try check("a 2 # {trace_id=\"x\"} 0.75\nb 1 # {} 3\n", ["a x 0.75@0", "b  3.0@0"])
        try check(first, ["a x 0.5@0"])
        // Of a failed scrape nothing was taken.
        var job = Self.job()
        job.sampleLimit = 1
        rig = try Rig(job)
        let failed = try rig.scrape(first + "b 1\n# EOF\n", .openMetrics)
        #expect(failed.failure != nil && failed.scrape.exemplars.isEmpty)
        try check(first, ["a x 0.5@0"])
        // Samples that are not taken have none.
        job.sampleLimit = 0
        job.metricRelabelRules = [RelabelingTests.rule(.drop, from: ["__name__"], "a")]
        rig = try Rig(job)
        try check(first + "b 1 # {trace_id=\"z\"} 1\nb 2 # {trace_id=\"w\"} 1\n", ["b z 1.0@0"])
    }

    @Test("exemplars past the limit of a scrape wait for the next; what is none is told")
    func exemplarLimits() throws {
        var rig = try Rig(Self.job(), budget: 10_000)
        let count = ScrapeLimits.exemplarsMax + 5
        let text =
            (0..<count).map { "m\($0) 1 # {trace_id=\"t\($0)\"} 1\n" }.joined() + "# EOF\n"
        var outcome = try rig.scrape(text, .openMetrics)
        #expect(outcome.scrape.exemplars.count == ScrapeLimits.exemplarsMax)
        #expect(outcome.excessExemplars == 5)
        outcome = try rig.scrape(text, .openMetrics)
        #expect(outcome.scrape.exemplars.count == 5 && outcome.excessExemplars == 0)
        let long = String(repeating: "x", count: 123)
        outcome = try rig.scrape(
            "a 1 # {label=\"\(long)\"} 1\nb 1 # {label=\"\(long)y\"} 1\n"
                + "c 1 # {l=\"1\",l=\"2\"} 1\n# EOF\n",
            .openMetrics)
        #expect(outcome.failure == nil && outcome.badExemplars == 2)
        #expect(outcome.scrape.exemplars.count == 1)
    }

    @Test("start timestamps stand beside the samples, and what says them is a series too")
    func startTimestamps() throws {
        var rig = try Rig(Self.job())
        let text = """
            before 1
            # TYPE c counter
            c_total{a="1"} 17
            c_created{a="1"} 1520872607.123
            c_total{a="2"} 18
            # EOF

            """
        for _ in 0..<2 {
            let outcome = try rig.scrape(text, .openMetrics)
            let scrape = outcome.scrape
            try #require(scrape.startTimestamps.count == scrape.rows.count)
            #expect(
                Self.shown(outcome) == [
                    "before{} 1.0", "c_total{a=1} 17.0", "c_created{a=1} 1520872607.123",
                    "c_total{a=2} 18.0",
                ])
            #expect(scrape.startTimestamps.prefix(4) == [0, 1_520_872_607_123, 0, 0])
            #expect(scrape.startTimestamps.dropFirst(4).allSatisfy { $0 == 0 })
            let created = scrape.series[scrape.rows[2].slot]
            #expect(created.labels.metricName == "c_created")
            #expect(created.metadata == MetricMetadata())
        }
        let ended = rig.fail(.timeout(seconds: 1))
        #expect(ended.scrape.startTimestamps.isEmpty)
        #expect(Self.shown(ended).count == 4)
        // A text that says none has no column.
        #expect(try rig.scrape("a 1\n").scrape.startTimestamps.isEmpty)
    }

    /// Against the obvious: a dictionary of what was there the last time.
    @Test("any sequence of texts", arguments: 1...20)
    func model(seed: UInt64) throws {
        var random = Splitmix(state: seed)
        var rig = try Rig(Self.job(), budget: 200)
        var before: Set<String> = []
        for _ in 0..<200 {
            let isFailure = random.next() % 8 == 0
            var names = (0..<40).filter { _ in random.next() % 3 > 0 }.map { "m\($0)" }
            if random.next() % 2 == 0 { names.shuffle(using: &random) }
            let outcome =
                isFailure
                ? rig.fail(.connection("x"))
                : try rig.scrape(names.map { $0 + " 1\n" }.joined())
            let now = isFailure ? [] : Set(names)
            let expected =
                now.map { $0 + "{} 1.0" } + before.subtracting(now).map { $0 + "{} stale" }
            #expect(Set(Self.shown(outcome)) == Set(expected))
            #expect(Self.shown(outcome).count == expected.count)
            #expect(rig.budget.count == rig.machine.lineCount)
            before = now
        }
    }
}

/// Source: Steele et al., "Fast splittable pseudorandom number generators" (2014).
struct Splitmix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
