import LogQL
import LogQLSyntax
import Model
import Synchronization
import Testing

/// What a query reads, what it may cost, and counts instead of lines.
struct MetricPlanTests {
    private static let minute: Int64 = 60_000_000_000
    private static let epoch: Int64 = 1_700_000_040_000_000_000

    private static func at(_ minutes: Int64) -> TimestampNS {
        TimestampNS(epoch + minutes * minute)
    }

    private static func plan(
        _ query: String, at times: MetricTimes = .instant(at(60)),
        limits: MetricLimits = MetricLimits(), counting: MetricCounting? = nil
    ) throws -> MetricPlan {
        try MetricPlan(
            try LogQLParser.parseMetric(query), at: times, limits: limits, counting: counting)
    }

    // MARK: - Selections

    @Test func windowIsWhatIsRead() throws {
        let times = MetricTimes.range(
            start: Self.at(60), end: Self.at(75), stepNanoseconds: 10 * Self.minute)
        let plan = try Self.plan("rate({a=\"b\"} |= \"x\" [5m] offset 1m)", at: times)
        #expect(plan.selections.count == 1)
        let selection = plan.selections[0]
        #expect(selection.matchers == [LabelMatcher("a", .equal, "b")])
        #expect(selection.needles == [Array("x".utf8)])
        // The last step is at 70.
        #expect(selection.from == TimestampNS(Self.at(54).rawValue + 1))
        #expect(selection.to == TimestampNS(Self.at(69).rawValue + 1))
    }

    @Test(arguments: [
        ("1 + 2", 0), ("vector(1) + vector(2)", 0),
        // The same twice, and the same lines in other ways.
        ("rate({a=\"b\"}[5m]) / rate({a=\"b\"}[5m])", 1),
        ("rate({a=\"b\"} |= \"x\" [5m]) / rate({a=\"b\"}[5m])", 1),
        ("rate({a=\"b\",c=\"d\"}[5m]) / rate({c=\"d\",a=\"b\"}[9m])", 1),
        ("rate({a=\"b\"} |= \"abc\" [5m]) / rate({a=\"b\"} |= \"b\" [5m])", 1),
        // What would have to be read beyond both.
        ("rate({a=\"b\"} |= \"x\" [5m]) / rate({a=\"b\"} |= \"y\" [5m])", 2),
        ("rate({a=\"b\"}[5m]) / rate({a=\"b\"}[5m] offset 1h)", 2),
        ("rate({a=\"b\"}[5m]) / rate({a=\"b\"}[5m] offset 5m)", 1),
        ("rate({a=\"b\"}[5m]) / rate({a=\"c\"}[5m])", 2),
        ("rate({a=\"b\"}[5m]) / rate({a=\"c\"}[5m]) + rate({a=\"b\"}[5m])", 2),
    ])
    func readOnce(query: String, count: Int) throws {
        #expect(try Self.plan(query).selections.count == count, "\(query)")
    }

    @Test func sharedSelectionFeedsAll() throws {
        let stream = LogStream(
            labels: ["a": "b"],
            entries: (0..<10).map {
                LogEntry(timestamp: Self.at(50 + $0), line: Array("n=\($0)".utf8))
            })
        let outcome = MetricRunner.outcome(
            "count_over_time({a=\"b\"}[5m]) + count_over_time({a=\"b\"} |= \"n=8\" [8m])"
                + " + count_over_time({a=\"b\"}[5m])", [stream], at: .instant(Self.at(60)))
        #expect(outcome.series?.map(\.values) == [[9]], "\(outcome)")
    }

    // MARK: - Limits

    private static func lines(_ count: Int, streams: Int) -> [LogStream] {
        (0..<streams).map { stream in
            LogStream(
                labels: ["a": "b", "n": "\(stream)"],
                entries: (0..<count).map {
                    LogEntry(
                        timestamp: TimestampNS(at(55).rawValue + Int64($0 + 1) * 1_000_000),
                        line: Array("v=\($0)".utf8))
                })
        }
    }

    @Test func seriesLimit() throws {
        var limits = MetricLimits()
        limits.seriesMax = 3
        let query = "count_over_time({a=\"b\"}[5m])"
        let three = MetricRunner.outcome(
            query, Self.lines(2, streams: 3), at: .instant(Self.at(60)), limits: limits)
        #expect(three.series?.count == 3)
        for times in [
            MetricTimes.instant(Self.at(60)),
            .range(start: Self.at(55), end: Self.at(60), stepNanoseconds: Self.minute),
        ] {
            let four = MetricRunner.outcome(
                query, Self.lines(2, streams: 4), at: times, limits: limits)
            #expect(four.failure?.contains("maximum number of series (3) reached") == true)
        }
        // The limit is of the answer alone.
        let sum = MetricRunner.outcome(
            "max(\(query))", Self.lines(2, streams: 9), at: .instant(Self.at(60)), limits: limits)
        #expect(sum.series?.map(\.values) == [[2]])
    }

    @Test func memoryLimit() throws {
        var limits = MetricLimits()
        limits.byteCountMax = 1 << 20
        let times = MetricTimes.range(
            start: Self.at(56), end: Self.at(60), stepNanoseconds: 1_000_000_000)
        let streams = Self.lines(80_000, streams: 1)
        let quantile = MetricRunner.outcome(
            "quantile_over_time(0.9, {a=\"b\"} | logfmt | unwrap v [5m])", streams, at: times,
            limits: limits, pageEntries: 1000)
        #expect(quantile.failure?.contains("more than 1 MiB of memory") == true, "\(quantile)")
        // What can be added up needs no samples.
        for query in ["avg_over_time({a=\"b\"} | logfmt | unwrap v [5m])", "rate({a=\"b\"}[5m])"] {
            let outcome = MetricRunner.outcome(
                query, streams, at: times, limits: limits, pageEntries: 1000)
            #expect(outcome.series?.count == 1, "\(outcome)")
            let instant = MetricRunner.outcome(
                query, streams, at: .instant(Self.at(60)), limits: limits, pageEntries: 1000)
            #expect(instant.series?.count == 1, "\(instant)")
        }
    }

    /// As a reader calls it: from a closure that may run anywhere.
    @Test func sharedWithReader() throws {
        let plan = try Self.plan("sum(count_over_time({a=\"b\"}[5m]))")
        let run = Mutex(try MetricRun(plan))
        let read: @Sendable ([LogEntry]) throws -> Bool = { entries in
            let numbers = [Int](repeating: 0, count: entries.count)
            try run.withLock { try $0.accept(entries, numbers, [["a": "b"]], selection: 0) }
            return true
        }
        #expect(try read([LogEntry(timestamp: Self.at(58), line: [])]))
        let result = try run.withLock { try $0.result() }
        #expect(MetricRunner.Outcome(result).series?.map(\.values) == [[1]])
        #expect(run.withLock { $0.scannedLineCount } == 1)
    }

    @Test(arguments: [
        ("sum(1)", "unexpected expr type (*syntax.LiteralExpr)"),
        ("approx_topk(3, count_over_time({a=\"b\"}[1m]))", "only supported on instant queries"),
        ("rate({a=\"b\"} |~ \"(\" [1m])", "error parsing regexp"),
    ])
    func refused(query: String, text: String) throws {
        let times = MetricTimes.range(
            start: Self.at(0), end: Self.at(1), stepNanoseconds: Self.minute)
        let outcome = MetricRunner.outcome(query, [], at: times)
        #expect(outcome.failure?.contains(text) == true, "\(outcome)")
    }

    @Test func badTimes() throws {
        let tooMany = MetricTimes.range(
            start: Self.at(0), end: Self.at(11_001), stepNanoseconds: Self.minute)
        #expect(
            MetricRunner.outcome("1", [], at: tooMany).failure?
                .contains("maximum resolution of 11,000 points") == true)
        let backwards = MetricTimes.range(
            start: Self.at(1), end: Self.at(0), stepNanoseconds: Self.minute)
        #expect(MetricRunner.outcome("1", [], at: backwards).failure != nil)
        let far = MetricTimes.instant(TimestampNS(.max))
        #expect(MetricRunner.outcome("rate({a=\"b\"}[1m])", [], at: far).failure != nil)
        let long = MetricRunner.outcome(
            "rate({a=\"b\"}[290y] offset 200y)", Self.lines(3, streams: 1),
            at: .instant(Self.at(60)))
        #expect(long.failure == nil, "\(long)")
    }

    @Test func outOfOrder() throws {
        let plan = try Self.plan("rate({a=\"b\"}[5m])")
        let run = try MetricRun(plan)
        let entries = [58, 57].map { LogEntry(timestamp: Self.at($0), line: []) }
        #expect(throws: MetricError.outOfOrder) {
            try run.accept(entries, [0, 0], [["a": "b"]], selection: 0)
        }
    }

    // MARK: - Counts

    private static let counting = MetricCounting(streamLabels: ["a", "n"])

    @Test(arguments: [
        ("sum(count_over_time({a=\"b\"}[5m]))", true),
        ("sum by (n) (rate({a=\"b\"}[5m]))", true),
        ("sum by (n, detected_level) (bytes_rate({a=\"b\"} | drop __error__ [5m]))", true),
        ("absent_over_time({a=\"b\"}[5m])", true),
        ("count_over_time({a=\"b\"}[5m])", false),
        ("sum by (trace_id) (count_over_time({a=\"b\"}[5m]))", false),
        ("sum without (n) (count_over_time({a=\"b\"}[5m]))", false),
        ("sum(count_over_time({a=\"b\"} |= \"x\" [5m]))", false),
        ("sum(count_over_time({a=\"b\"} | json [5m]))", false),
        ("sum(sum_over_time({a=\"b\"} | unwrap n [5m]))", false),
        ("max(count_over_time({a=\"b\"}[5m]))", false),
    ])
    func countable(query: String, isCountable: Bool) throws {
        let plan = try Self.plan(query, counting: Self.counting)
        #expect(plan.selections[0].isCountable == isCountable, "\(query)")
        #expect(try Self.plan(query).selections[0].isCountable == false)
    }

    @Test func spansOfWholeMinutes() throws {
        let query = "sum(rate({a=\"b\"}[10m]))"
        let aligned = MetricTimes.range(
            start: Self.at(60), end: Self.at(80), stepNanoseconds: 5 * Self.minute)
        let run = try MetricRun(try Self.plan(query, at: aligned, counting: Self.counting))
        #expect(
            run.spans(of: 0) == [
                MetricSpan(after: Self.at(50), through: Self.at(80), isCounted: true)
            ])
        // Minutes that begin with the whole minute: the one that holds a window's end has to be read.
        var floor = Self.counting
        floor.phaseNanoseconds = -1
        let other = try MetricRun(try Self.plan(query, at: aligned, counting: floor))
        let spans = other.spans(of: 0)
        #expect(spans.first?.after == Self.at(50) && spans.last?.through == Self.at(80))
        let read = spans.filter { !$0.isCounted }
        #expect(read.allSatisfy { $0.through.rawValue - $0.after.rawValue <= Self.minute })
        #expect(read.count == 7 && spans.count == 13)
    }

    /// Counts where they may be, entries elsewhere: the same answer as from entries alone.
    @Test(arguments: [0, 17_000_000_000, -1] as [Int64], [10, 14] as [Int64])
    func countsAreExact(shift: Int64, rangeMinutes: Int64) throws {
        let streams = (0..<3).map { stream in
            LogStream(
                labels: ["a": "b", "n": "\(stream)"],
                entries: (0..<400).map { index in
                    // Some on the minute sharp.
                    let time = Self.at(0).rawValue + Int64(index * (stream + 7)) * 3_000_000_000
                    let line = [UInt8](repeating: 120, count: index % 9)
                    return LogEntry(
                        timestamp: TimestampNS(time), line: line,
                        metadata: ["detected_level": index % 3 == 0 ? "error" : "info"])
                })
        }
        let times = MetricTimes.range(
            start: TimestampNS(Self.at(5).rawValue + shift),
            end: TimestampNS(Self.at(90).rawValue + shift), stepNanoseconds: 6 * Self.minute)
        for query in [
            "sum by (n, detected_level) (count_over_time({a=\"b\"}[\(rangeMinutes)m]))",
            "sum(bytes_rate({a=\"b\"}[\(rangeMinutes)m]))",
        ] {
            let plan = try Self.plan(query, at: times, counting: Self.counting)
            let run = try MetricRun(plan)
            var countedSpans = 0
            for span in run.spans(of: 0) {
                if span.isCounted {
                    countedSpans += 1
                    try Self.feedCounts(run, streams, span)
                } else {
                    try MetricRunner.feed(run, plan.selections[0], 0, streams, 5, span)
                }
            }
            #expect(countedSpans > 0)
            let counted = MetricRunner.Outcome(try run.result()).series
            let read = MetricRunner.outcome(query, streams, at: times).series
            #expect(counted == read && read?.isEmpty == false, "\(query)")
        }
    }

    private static func feedCounts(
        _ run: MetricRun, _ streams: [LogStream], _ span: MetricSpan
    ) throws {
        var end = span.after.rawValue + minute
        while end <= span.through.rawValue {
            for (number, stream) in streams.enumerated() {
                for level in ["error", "info"] {
                    let inside = stream.entries.filter {
                        $0.timestamp.rawValue > end - minute && $0.timestamp.rawValue <= end
                            && $0.metadata["detected_level"] == level
                    }
                    let count = LineCount(
                        through: TimestampNS(end), lineCount: inside.count,
                        byteCount: inside.reduce(0) { $0 + $1.line.count }, level: level)
                    try run.accept([count], [number], streams.map(\.labels), selection: 0)
                }
            }
            end += minute
        }
    }
}
