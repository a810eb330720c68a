import Model
import PromQL
import PromQLSyntax
import Testing

/// 150 series in five jobs, of two metrics, with gaps, staleness markers, NaN and numbers of very different sizes; a sixth
/// job has no sample.
private func series(samples: Int, seed: UInt64) -> [SeriesColumns] {
    var state = seed
    func roll(_ sides: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(sides))
    }
    return (0..<150).map { number in
        let isSilent = number % 30 == 7
        var columns = SeriesColumns(labels: [
            "__name__": number % 3 == 0 ? "m_gauge" : "m_total", "n": String(1000 + number),
            "job": isSilent ? "silent" : "job\(number % 5)",
        ])
        var time = Int64(roll(60)) * 1000
        var value = Double(roll(1000))
        for _ in 0..<samples {
            time += Int64(1 + (roll(40) == 0 ? roll(600) : roll(20))) * 1000
            value = roll(50) == 0 ? 0 : value + Double(roll(1000)) / 7
            if roll(500) == 0 { value += 1e15 }
            let isMarker = isSilent || roll(25) == 0
            columns.timestamps.append(time)
            columns.values.append(
                isMarker ? StalenessMarker.value : roll(200) == 0 ? .nan : value)
        }
        return columns
    }
}

/// A column of an answer to the last bit.
private struct Bits: Equatable {
    var labels: Labels
    var timestamps: [Int64]
    var values: [UInt64]
}

private struct Answer {
    var columns: [Bits]
    var remarks: [String]
    /// The most that was held.
    var held: Int
}

/// The answer to `query` over 40 minutes, or at their middle alone.
private func answer(
    _ query: String, _ data: [SeriesColumns], isInstant: Bool = false, isDelayed: Bool = false,
    threads: Int = 1
) throws -> Answer {
    let limits = QueryLimits(threadsMax: threads)
    var parameters =
        isInstant
        ? QueryParameters(at: TimestampMS(1_200_000), limits: limits)
        : QueryParameters(
            start: TimestampMS(0), end: TimestampMS(2_400_000), stepMS: 20_000, limits: limits)
    parameters.delaysNameRemoval = isDelayed
    let prepared = try PreparedQuery(
        PromQLParser.parse(query, options: .everything), parameters: parameters)
    var held = 0
    let result = try prepared.evaluate(
        prepared.selections.map { _ in data },
        mayHold: {
            held = $0
            return true
        })
    let columns: [Bits]
    switch result.value {
    case .matrix(let matrix):
        columns = matrix.map {
            Bits(
                labels: $0.labels, timestamps: $0.timestamps, values: $0.values.map(\.bitPattern))
        }
    case .vector(let elements):
        columns = elements.map {
            Bits(
                labels: $0.labels, timestamps: [$0.sample.timestamp.rawValue],
                values: [$0.sample.value.bitPattern])
        }
    case .scalar, .string: columns = []
    }
    return Answer(
        columns: columns, remarks: result.annotations.map(\.message), held: held)
}

private let operands = [
    "m", "m offset 1m", "rate(m[2m])", "increase(m[3m])", "avg_over_time(m[90s])",
    "last_over_time(m[1m])", "quantile_over_time(0.7, m[2m])", "predict_linear(m[2m], 60)",
    "max_over_time(rate(m[1m])[3m:30s])",
]

/// Aggregations that take columns in as they are computed yield what they yield over an operand that is there as a whole:
/// `limitk` of more series than there are hands all on, and keeps the two apart.
struct FusedAggregationTests {
    @Test(
        "the answer is the same to the last bit", arguments: operands,
        ["sum", "avg", "count", "group", "min", "max", "stddev", "stdvar"])
    func agrees(operand: String, operation: String) throws {
        let data = series(samples: 200, seed: UInt64(operand.utf8.count * 31))
        for grouping in ["", "by (job)", "without (n)", "by (__name__, job)", "by (n)"] {
            for (isInstant, isDelayed) in [(false, false), (false, true), (true, false)] {
                func ask(_ operand: String) throws -> Answer {
                    try answer(
                        "\(operation) \(grouping) (\(operand))", data, isInstant: isInstant,
                        isDelayed: isDelayed)
                }
                // Groups told apart by a name that goes in the end are two of one label set then.
                if isDelayed, grouping.contains("__name__"), operand.hasSuffix(")"),
                    !operand.hasPrefix("last")
                {
                    for whole in [operand, "limitk(1000, \(operand))"] {
                        #expect(throws: QueryError.duplicateLabelset) { try ask(whole) }
                    }
                    continue
                }
                let fused = try ask(operand)
                let whole = try ask("limitk(1000, \(operand))")
                #expect(fused.columns == whole.columns, "\(grouping) \(isInstant) \(isDelayed)")
                #expect(fused.remarks == whole.remarks)
                #expect(!fused.columns.isEmpty)
                // Series without samples make no group.
                #expect(!fused.columns.contains { $0.labels["job"] == "silent" })
            }
        }
    }

    @Test("so it is on several threads, which compute 64 columns at a time")
    func threads() throws {
        let data = series(samples: 3000, seed: 11)
        let samples = data.reduce(0) { $0 + $1.values.count }
        for query in ["sum by (job) (rate(m[5m]))", "avg(deriv(m[5m]))"] {
            let alone = try answer(query, data)
            #expect(!alone.columns.isEmpty)
            for threads in [2, 3, 200] {
                let several = try answer(query, data, threads: threads)
                #expect(several.columns == alone.columns && several.remarks == alone.remarks)
            }
        }
        // What is read, the columns under way and the cells of five sums of two points; not 150 columns.
        #expect(
            try answer("sum by (job) (rate(m[5m]))", data).held
                == samples + 121 * (1 + 5 * 2))
        #expect(
            try answer("sum by (job) (rate(m[5m]))", data, threads: 2).held
                == samples + 121 * (64 + 5 * 2))
    }

    @Test("names that become equal are found, also in one group")
    func twins() throws {
        let data = ["a_total", "b_total"].map {
            SeriesColumns(
                labels: ["__name__": $0, "x": "1"], timestamps: [0, 60_000, 120_000],
                values: [1, 2, 3])
        }
        #expect(throws: QueryError.duplicateLabelset) { try answer("sum(rate(m[5m]))", data) }
        #expect(try answer("sum(rate(m[5m]))", data, isDelayed: true).columns.count == 1)
        // The selector itself drops no name.
        #expect(try answer("count(m)", data).columns.count == 1)
        #expect(try answer("count(last_over_time(m[5m]))", data).columns.count == 1)
    }

    @Test("native histograms are folded as ever, those of a subquery too")
    func histograms() throws {
        let histogram = FloatHistogram(
            count: 4, sum: 6, positive: FloatHistogram.Buckets(first: 1, counts: [4]))
        let data = (0..<3).map {
            SeriesColumns(
                labels: ["__name__": "h", "n": String($0)],
                histograms: [HistogramSample(0, histogram), HistogramSample(60_000, histogram)])
        }
        for query in [
            "sum(h)", "sum(last_over_time(h[5m]))", "sum(last_over_time(h[5m:1m]))",
        ] {
            let prepared = try PreparedQuery(
                PromQLParser.parse(query), parameters: QueryParameters(at: TimestampMS(60_000)))
            guard case .vector(let vector) = try prepared.evaluate([data]).value else {
                Issue.record("no vector")
                return
            }
            #expect(vector.count == 1 && vector.first?.histogram?.count == 12, "\(query)")
        }
    }
}
