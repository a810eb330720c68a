import Model
import PromQL
import PromQLSyntax
import Testing

private func series(_ count: Int, samples: Int) -> [SeriesColumns] {
    (0..<count).map { number in
        SeriesColumns(
            labels: ["__name__": "m", "n": String(1000 + number)],
            timestamps: (0..<samples).map { Int64($0) * 1000 },
            values: (0..<samples).map(Double.init))
    }
}

struct LimitTests {
    /// What evaluating `query` over `count` series throws.
    private func failure(
        _ query: String, limits: QueryLimits, count: Int = 10, step: Int64 = 1000
    ) throws -> QueryError? {
        do {
            let prepared = try PreparedQuery(
                PromQLParser.parse(query),
                parameters: QueryParameters(
                    start: TimestampMS(0), end: TimestampMS(99_000), stepMS: step, limits: limits))
            let data = prepared.selections.map { _ in series(count, samples: 100) }
            _ = try prepared.evaluate(data)
            return nil
        } catch let error as QueryError {
            return error
        }
    }

    @Test(arguments: [
        ("m", 900), ("m", 1500), ("sum_over_time(m[1h:1s])", 5000), ("m * m", 2000),
        ("sum_over_time(vector(time())[30d:1ms])", 1_000_000),
    ])
    func samples(query: String, max: Int) throws {
        let error = try failure(query, limits: QueryLimits(samplesMax: max))
        #expect(error == .samplesExceeded(max: max))
        #expect(error?.errorType == "execution")
    }

    @Test func enoughSamplesPass() throws {
        #expect(try failure("sum(m * m)", limits: QueryLimits(samplesMax: 20_000)) == nil)
    }

    /// Ten series of a hundred steps.
    @Test(arguments: [("m", 1000), ("sum(m)", 100), ("time()", 0), ("m > 49", 500)])
    func points(query: String, count: Int) throws {
        #expect(try failure(query, limits: QueryLimits(pointsMax: count)) == nil)
        guard count > 0 else { return }
        let error = try failure(query, limits: QueryLimits(pointsMax: count - 1))
        #expect(error == .pointsExceeded(max: count - 1))
        #expect(error?.errorType == "execution")
        #expect(error?.description.contains("limits.query_points") == true)
    }

    @Test func pointsOfARangeVector() throws {
        for (max, isEnough) in [(1000, true), (999, false)] {
            let prepared = try PreparedQuery(
                PromQLParser.parse("m[1h]"),
                parameters: QueryParameters(
                    at: TimestampMS(99_000), limits: QueryLimits(pointsMax: max)))
            do throws(QueryError) {
                let result = try prepared.evaluate([series(10, samples: 100)])
                #expect(isEnough && result.value.weight == 1000)
            } catch { #expect(!isEnough && error == .pointsExceeded(max: max)) }
        }
    }

    @Test func seriesOfASelector() throws {
        let limits = QueryLimits(seriesMax: 9)
        #expect(try failure("sum(m)", limits: limits) == .seriesExceeded(max: 9))
    }

    @Test func steps() throws {
        let error = try failure("m", limits: QueryLimits(stepsMax: 98))
        #expect(error == .stepsExceeded(max: 98))
        #expect(error?.errorType == "bad_data")
        let message = QueryError.stepsExceeded(max: 11_000).description
        #expect(message.contains("maximum resolution of 11,000 points"))
    }

    @Test func depth() throws {
        let nested = String(repeating: "-", count: 60) + "m"
        #expect(try failure(nested, limits: QueryLimits(depthMax: 50)) == .depthExceeded(max: 50))
    }

    @Test func labelsDoNotGrowWithoutBound() throws {
        var query = "m"
        for _ in 0..<40 { query = "label_replace(\(query), \"n\", \"$1$1$1$1\", \"n\", \"(.*)\")" }
        let error = try failure(query, limits: QueryLimits())
        #expect(error?.description.contains("label value longer than") == true)
    }

    @Test func cancellationEndsTheQuery() throws {
        let prepared = try PreparedQuery(
            PromQLParser.parse("sum(rate(m[5m]))"), parameters: QueryParameters(at: TimestampMS(0)))
        #expect(throws: QueryError.canceled) {
            try prepared.evaluate([series(1, samples: 10)], isCancelled: { true })
        }
    }

    @Test(arguments: ["\"text\"", "m[5m]"])
    func rangeQueriesNeedVectors(query: String) throws {
        let error = try failure(query, limits: QueryLimits())
        #expect(error?.errorType == "bad_data")
        #expect(error?.description.contains("must be Scalar or instant Vector") == true)
    }

    @Test func badStepIsRefused() throws {
        let error = try failure("m", limits: QueryLimits(), step: -5)
        #expect(error?.description.hasPrefix("invalid parameter \"step\"") == true)
    }

    @Test func annotationsKnowTheirPlace() throws {
        let query = "1 +\n  rate(m[5m])"
        let prepared = try PreparedQuery(
            PromQLParser.parse(query), parameters: QueryParameters(at: TimestampMS(50_000)))
        let result = try prepared.evaluate([series(1, samples: 100)])
        let annotation = try #require(result.annotations.first)
        #expect(annotation.severity == .info)
        #expect(annotation.text(in: query).hasSuffix("_total/_sum/_count/_bucket: \"m\" (2:8)"))
    }

    @Test func selectionsReachBackByOffsetRangeAndSubquery() throws {
        let prepared = try PreparedQuery(
            PromQLParser.parse("max_over_time(rate(m[5m])[1h:1m] offset 10m) + m @ 100"),
            parameters: QueryParameters(
                start: TimestampMS(36_000_000), end: TimestampMS(36_060_000), stepMS: 60_000))
        #expect(prepared.selections.count == 2)
        // The first inner step lies a minute after the open start of the hour.
        #expect(
            prepared.selections[0].after == TimestampMS(36_000_000 - 4_200_000 + 60_000 - 300_000))
        #expect(prepared.selections[0].through == TimestampMS(36_060_000 - 600_000))
        #expect(prepared.selections[1].after == TimestampMS(100_000 - 300_000))
        #expect(prepared.selections[1].through == TimestampMS(100_000))
    }
}

struct ExtremeTimeTests {
    @Test(arguments: [
        "m @ 9223372036854000", "m @ -9223372036854775", "m offset 290y", "m offset -290y",
        "sum_over_time(m[290y])", "m @ 9223372036854000 offset -290y",
        "sum_over_time(m[290y:100y] @ -9223372036854775 offset 290y)",
    ])
    func timesAtTheEdgeDoNotOverflow(query: String) throws {
        let prepared = try PreparedQuery(
            PromQLParser.parse(query), parameters: QueryParameters(at: TimestampMS(0)))
        let result = try prepared.evaluate(
            prepared.selections.map { _ in series(1, samples: 5) })
        guard case .vector = result.value else {
            Issue.record("no vector")
            return
        }
    }

    @Test func impossibleQueryTimesAreRefused() throws {
        #expect(throws: QueryError.self) {
            try PreparedQuery(
                PromQLParser.parse("m"), parameters: QueryParameters(at: TimestampMS(.min)))
        }
    }
}
