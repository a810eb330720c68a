import Model
import PromQL
import PromQLSyntax
import QueryMath
import Testing

/// Range functions computed the slow way, from their definitions, against the engine over random series.
private enum Naive: String, CaseIterable {
    case rate, increase, delta
    case sum = "sum_over_time"
    case avg = "avg_over_time"
    case max = "max_over_time"
    case min = "min_over_time"
    case changes, resets
    case count = "count_over_time"
    case smoothing = "double_exponential_smoothing"

    /// What follows the range vector.
    var arguments: String { self == .smoothing ? ", 0.3, 0.6" : "" }

    func value(_ window: [(time: Int64, value: Double)], start: Int64, end: Int64) -> Double? {
        guard let first = window.first, let last = window.last else { return nil }
        let values = window.map(\.value)
        let pairs = zip(values, values.dropFirst())
        switch self {
        case .sum: return values.reduce(0, +)
        case .avg: return values.reduce(0, +) / Double(values.count)
        case .max: return values.max()
        case .min: return values.min()
        case .count: return Double(values.count)
        case .smoothing:
            guard values.count > 1 else { return nil }
            var level = values[0]
            var slope = values[1] - values[0]
            for (number, value) in values.dropFirst().enumerated() {
                let next = 0.3 * value + 0.7 * (level + slope)
                // The first slope is that of the first two values.
                let nextSlope = 0.6 * (next - level) + 0.4 * slope
                level = next
                if number < values.count - 2 { slope = nextSlope }
            }
            return level
        case .changes: return Double(pairs.filter { $0.0 != $0.1 }.count)
        case .resets: return Double(pairs.filter { $0.1 < $0.0 }.count)
        case .rate, .increase, .delta:
            guard window.count > 1 else { return nil }
            var change = last.value - first.value
            if self != .delta { change += pairs.filter { $0.1 < $0.0 }.map(\.0).reduce(0, +) }
            let covered = Double(last.time - first.time)
            let average = covered / Double(window.count - 1)
            var before = Double(first.time - start)
            if before >= average * 1.1 { before = average / 2 }
            if self != .delta, change > 0, first.value >= 0 {
                before = Swift.min(before, covered * first.value / change)
            }
            var after = Double(end - last.time)
            if after >= average * 1.1 { after = average / 2 }
            let whole = change * (covered + before + after) / covered
            return self == .rate ? whole / (Double(end - start) / 1000) : whole
        }
    }
}

/// A small generator with a seed, so that a failure can be repeated.
private struct Dice {
    var state: UInt64

    mutating func roll(_ sides: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(sides))
    }
}

struct NaiveComparisonTests {
    @Test(arguments: Naive.allCases.map(\.rawValue), [1, 2, 3, 4, 5, 6])
    func agrees(function: String, seed: Int) throws {
        let naive = try #require(Naive(rawValue: function))
        var dice = Dice(state: UInt64(seed) &* 77)
        var series = SeriesColumns(labels: ["__name__": "m_total"])
        var time: Int64 = 0
        var value = 0.0
        for _ in 0..<300 {
            time += Int64(1 + dice.roll(40)) * 500
            value = dice.roll(20) == 0 ? 0 : value + Double(dice.roll(1000)) / (seed > 3 ? 8.3 : 1)
            series.timestamps.append(time)
            series.values.append(dice.roll(30) == 0 ? StalenessMarker.value : value)
        }
        let range = Int64(10 + dice.roll(300)) * 1000
        let step = Int64(1 + dice.roll(60)) * 1000
        let query = "\(function)(m_total[\(range)ms]\(naive.arguments))"
        let prepared = try PreparedQuery(
            PromQLParser.parse(query, options: .everything),
            parameters: QueryParameters(
                start: TimestampMS(5000), end: TimestampMS(time), stepMS: step))
        let request = try #require(prepared.selections.first)
        #expect(request.after == TimestampMS(5000 - range))
        let result = try prepared.evaluate([[series]])
        guard case .matrix(let matrix) = result.value else {
            Issue.record("no matrix")
            return
        }
        let kept = zip(series.timestamps, series.values).filter { !StalenessMarker.isMarker($0.1) }
        var expected: [Int64: Double] = [:]
        for end in stride(from: Int64(5000), through: time, by: Int(step)) {
            let window = kept.filter { $0.0 > end - range && $0.0 <= end }
            expected[end] = naive.value(
                window.map { (time: $0.0, value: $0.1) }, start: end - range, end: end)
        }
        let actual = try #require(matrix.first)
        #expect(actual.timestamps == expected.keys.sorted())
        for (time, value) in zip(actual.timestamps, actual.values) {
            #expect(almostEqual(value, expected[time] ?? .nan, epsilon: 1e-9), "at \(time)")
        }
    }
}

struct LongWindowTests {
    /// Long windows over fractions take the sliding path; a few steps alone the direct one.
    @Test(arguments: ["sum_over_time", "avg_over_time"])
    func slidingSumsAgreeWithDirectOnes(function: String) throws {
        var dice = Dice(state: 5)
        let series = SeriesColumns(
            labels: ["__name__": "m"], timestamps: (0..<4000).map { Int64($0) * 1000 },
            values: (0..<4000).map { _ in Double(dice.roll(100_000)) / 7 - 5000 })
        let expression = try PromQLParser.parse("\(function)(m[20m])")
        let all = try PreparedQuery(
            expression,
            parameters: QueryParameters(
                start: TimestampMS(0), end: TimestampMS(3_999_000), stepMS: 10_000))
        guard case .matrix(let matrix) = try all.evaluate([[series]]).value else { return }
        let columns = try #require(matrix.first)
        #expect(columns.values.count == 400)
        for index in stride(from: 0, to: 400, by: 37) {
            let time = TimestampMS(columns.timestamps[index])
            let one = try PreparedQuery(expression, parameters: QueryParameters(at: time))
            guard case .vector(let vector) = try one.evaluate([[series]]).value else { return }
            let direct = try #require(vector.first).sample.value
            #expect(almostEqual(columns.values[index], direct, epsilon: 1e-9))
        }
    }
}

struct ParallelColumnTests {
    /// 20 series of 20,000 samples: more than one thread takes up.
    @Test(arguments: ["rate", "increase", "delta", "max_over_time", "changes", "deriv"])
    func threadsChangeNoAnswer(function: String) throws {
        var dice = Dice(state: 9)
        let series = (0..<20).map { number in
            SeriesColumns(
                labels: ["__name__": "m_total", "n": "\(number)"],
                timestamps: (0..<20_000).map { Int64($0) * 1000 },
                values: (0..<20_000).map { _ in Double(dice.roll(100_000)) / 7 })
        }
        func answer(threads: Int, isCancelled: @escaping () -> Bool = { false }) throws
            -> QueryResult
        {
            let prepared = try PreparedQuery(
                PromQLParser.parse("\(function)(m_total[5m])"),
                parameters: QueryParameters(
                    start: TimestampMS(0), end: TimestampMS(19_999_000), stepMS: 60_000,
                    limits: QueryLimits(threadsMax: threads)))
            return try prepared.evaluate([series], isCancelled: isCancelled)
        }
        let alone = try answer(threads: 1)
        guard case .matrix(let matrix) = alone.value else {
            Issue.record("no matrix")
            return
        }
        #expect(matrix.count == 20 && matrix.allSatisfy { $0.values.count > 300 })
        for threads in [2, 3, 64] { #expect(try answer(threads: threads) == alone) }
        #expect(throws: QueryError.canceled) { try answer(threads: 2, isCancelled: { true }) }
    }
}
