import Model
import PromQL
import PromQLSyntax
import Testing

/// What series there are for a selector by its metric, over 100 steps of a second.
private enum Data {
    static let series = 10
    static let steps = 100

    static func columns(_ request: SelectorRequest, series count: Int) -> [SeriesColumns] {
        let name = request.matchers.first { $0.name == Labels.metricNameLabel }?.value ?? ""
        return (0..<count).map { number in
            let labels: Labels = ["__name__": name, "instance": String(1000 + number)]
            return switch name {
            case "h": histograms(labels)
            case "turns": turn(labels, number, of: count)
            default: numbers(labels)
            }
        } + (name == "one" ? [histograms(["__name__": "one"])] : [])
    }

    private static func numbers(_ labels: Labels) -> SeriesColumns {
        let name = labels.metricName
        return name == "one"
            ? SeriesColumns(labels: labels)
            : SeriesColumns(
                labels: name == "le" ? labels.setting("le", "1") : labels,
                timestamps: (0..<steps).map { Int64($0) * 1000 },
                values: (0..<steps).map(Double.init))
    }

    /// Two samples that all steps see.
    private static func histograms(_ labels: Labels) -> SeriesColumns {
        let samples = [1.0, 2].map { count in
            FloatHistogram(
                count: count * 100, sum: count,
                positive: FloatHistogram.Buckets(
                    first: 0, counts: Array(repeating: count, count: 100)))
        }
        return SeriesColumns(
            labels: labels,
            histograms: [HistogramSample(0, samples[0]), HistogramSample(1000, samples[1])])
    }

    /// Samples at steps at which no other series has any.
    private static func turn(_ labels: Labels, _ number: Int, of count: Int) -> SeriesColumns {
        let own = steps / count * number..<steps / count * (number + 1)
        return SeriesColumns(
            labels: labels, timestamps: (own.lowerBound...own.upperBound).map { Int64($0) * 1000 },
            values: own.map(Double.init) + [StalenessMarker.value])
    }
}

/// What evaluating `query` throws.
private func failure(
    _ query: String, _ limits: QueryLimits = QueryLimits(), series: Int = Data.series,
    isCancelled: @escaping () -> Bool = { false }, mayHold: @escaping (Int) -> Bool = { _ in true }
) throws -> QueryError? {
    let prepared = try PreparedQuery(
        PromQLParser.parse(query, options: .everything),
        parameters: QueryParameters(
            start: TimestampMS(0), end: TimestampMS(Int64(Data.steps - 1) * 1000), stepMS: 1000,
            limits: limits))
    let data = prepared.selections.map { Data.columns($0, series: series) }
    do throws(QueryError) {
        _ = try prepared.evaluate(data, isCancelled: isCancelled, mayHold: mayHold)
        return nil
    } catch {
        return error
    }
}

/// Every result is counted while it is held, and no longer.
struct HoldTests {
    /// A vector of `h` weighs 83,000 points: 10 series × 100 steps × (1 + 82); two samples of each are read. `one` is a
    /// tenth of that, `m` 1000.
    @Test(
        "results of histograms are refused where only their operands have room",
        arguments: [
            ("h", 10_000), ("h smoothed", 10_000), ("rate(h[5m])", 10_000),
            ("increase(h[5m] anchored)", 10_000), ("m * on() group_left one", 30_000),
            ("h + h", 220_000), ("h * 2", 120_000), ("-h", 120_000), ("h and h", 220_000),
            ("h unless on(instance) one", 120_000), ("one or h", 120_000),
            ("sum by (instance) (h)", 120_000), ("avg by (instance) (h)", 120_000),
            ("limitk(5, h)", 120_000),
            // The steps of these share the buckets of their operands.
            ("h @ 0", 5000), ("info(h)", 89_000), ("count_over_time(h[1s:10ms] @ 0)", 15_000),
        ])
    func histograms(query: String, max: Int) throws {
        #expect(try failure(query, QueryLimits(samplesMax: max)) == .samplesExceeded(max: max))
        #expect(try failure(query, QueryLimits(samplesMax: 400_000)) == nil)
    }

    /// The most that is held at once.
    @Test(
        "points are counted to the last",
        arguments: [
            // What is read (once), both operands, and the result.
            ("m * m", 1000 + 2000 + 1000), ("m < 1000 and m", 1000 + 2000 + 1000),
            // What is read, the vector, and the answer, which it does not give way to.
            ("m", 1000 + 1000 + 1000),
            // 100 different values.
            (#"count_values("v", m)"#, 1000 + 1000 + 10_000),
            // The operand of the first is given back before the second is computed.
            (#"count_values("v", m) or count_values("v", m)"#, 1000 + 10_000 * 2 + 10_000),
            // An info metric for each of the ten instances.
            ("info(m)", 2000 + 1000 + 1000 + 1000), ("info(m) + info(m)", 2000 + 1000 + 3000),
            // Of the histograms times nothing no buckets remain; the operands' columns give way to the answer's.
            ("m * on() group_left one", 1164 + 8200 + 1000 + 10 * (7 + 99 * 82) + 1000 * 7),
            // As many numbers as histograms on the way, given back; the histograms are held to the end.
            ("count(h) + count(h)", 1640 + 82_000 + 100 + 83_000 + 100 + 1000),
            // An aggregation that folds holds one column of its operand at a time (threads would hold 64) and its
            // groups' cells, where its operand's 1000 points were held before: a sum, its compensation and whether there
            // is one are 17 bytes, two points; a mean's are three, a maximum's one.
            ("sum(m)", 1000 + 100 + 200), ("sum(rate(m[5m]))", 1000 + 100 + 200),
            ("avg(m)", 1000 + 100 + 300), ("max(max_over_time(m[5m]))", 1000 + 100 + 100),
            // Cells become values and the answer lies beside them: 10 groups.
            ("max by (instance) (m)", 1000 + 1000 + 1000),
            ("sum by (instance) (m)", 1000 + 100 + 2000),
            // An operand of another kind is there as a whole.
            ("sum(-m)", 1000 + 1000 + 100),
            // Ten rows of one label set become one: of each product one row is held.
            ("turns * on() turns", 110 + 2000 + 1000),
            ("turns * on() turns * on() turns * on() turns", 110 + 2000 + 1000),
        ])
    func points(query: String, most: Int) throws {
        #expect(try failure(query, QueryLimits(samplesMax: most)) == nil)
        #expect(
            try failure(query, QueryLimits(samplesMax: most - 1)) == .samplesExceeded(max: most - 1)
        )
    }

    /// A value of 8,000 bytes in each of ten series weighs 5,000 points, the vector and the answer 3000.
    @Test(
        "long label values count", arguments: [("label_replace", 8000), ("label_join", 13_000)])
    func labels(function: String, most: Int) throws {
        let value = String(repeating: "v", count: 8000)
        var query = #"label_replace(m, "x", "\#(value)", "", "")"#
        if function == "label_join" { query = #"label_join(\#(query), "y", "", "x")"# }
        #expect(
            try failure(query, QueryLimits(samplesMax: most - 1))
                == .samplesExceeded(max: most - 1))
        #expect(try failure(query, QueryLimits(samplesMax: most)) == nil)
    }

    @Test("room is asked for before it is used; where it is refused the query ends")
    func room() throws {
        var asked: [Int] = []
        #expect(
            try failure(
                "m * m + m",
                mayHold: {
                    asked.append($0)
                    return true
                }) == nil)
        #expect(asked == asked.sorted() && Set(asked).count == asked.count)
        #expect(asked.first == 1000 && asked.last == 4000)
        #expect(try failure("m * m + m", mayHold: { $0 < 4000 }) == .crowded)
        #expect(try failure("m * m + m", mayHold: { $0 <= 4000 }) == nil)
    }

    @Test("rows are counted as they are made")
    func rows() throws {
        let limits = QueryLimits(seriesMax: 99)
        #expect(try failure(#"count_values("v", m)"#, limits) == .seriesExceeded(max: 99))
        #expect(try failure(#"count_values("v", m)"#, QueryLimits(seriesMax: 100)) == nil)
        // Ten times ten pairs, of which ten have samples.
        #expect(try failure("turns * on() turns", QueryLimits(seriesMax: 10)) == nil)
    }
}

/// Long computations ask whether they should end.
struct CancellationTests {
    private final class Questions {
        var count = 0
        var last = Int.max
        /// True from the `last` question on.
        func ask() -> Bool {
            count += 1
            return count >= last
        }
    }

    /// Each asks far more often than it has parts.
    @Test(
        "each loop asks, and ends the query when told so",
        arguments: [
            ("m </ 1", 10), ("m * on() group_left one", 12), (#"count_values("v", m)"#, 9),
            ("sum(h)", 100), ("avg(h)", 100), ("histogram_count(h)", 200),
            ("histogram_quantile(0.5, h)", 200), ("histogram_quantile(0.5, le)", 200),
            ("h smoothed", 100), ("quantile by (instance) (0.5, m)", 200),
            ("vector(1) * on() turns", 15),
        ])
    func asks(query: String, least: Int) throws {
        let all = Questions()
        #expect(try failure(query, series: 100, isCancelled: all.ask) == nil)
        #expect(all.count >= least, "\(all.count)")
        for last in [1, all.count / 2, all.count] {
            let questions = Questions()
            questions.last = last
            #expect(try failure(query, series: 100, isCancelled: questions.ask) == .canceled)
            #expect(questions.count <= last + 1)
        }
    }

    @Test("the same remark at every sample is one remark, and more than one is each told")
    func remarks() throws {
        let query = "m </ 1 or m >/ 1 or m </ 2"
        let prepared = try PreparedQuery(
            PromQLParser.parse(query),
            parameters: QueryParameters(
                start: TimestampMS(0), end: TimestampMS(99_000), stepMS: 1000))
        let result = try prepared.evaluate(
            prepared.selections.map { Data.columns($0, series: 10) })
        #expect(
            result.annotations.map { $0.text(in: query) } == [
                "PromQL info: incompatible sample types encountered for binary operator \"</\": "
                    + "float </ float (1:21)",
                "PromQL info: incompatible sample types encountered for binary operator \">/\": "
                    + "float >/ float (1:11)",
            ])
    }
}
