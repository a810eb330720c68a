import Glibc
import LogQL
import LogQLSyntax
import Model
import Testing

/// Windows that slide over panes against the plain definition: every window's samples in a row.
struct MetricWindowTests {
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private typealias Point = (time: Int64, value: Double, length: Int)

    private static let operations = [
        "rate", "count_over_time", "bytes_over_time", "bytes_rate", "rate#", "rate_counter#",
        "sum_over_time#", "avg_over_time#", "min_over_time#", "max_over_time#",
        "stddev_over_time#", "stdvar_over_time#", "first_over_time#", "last_over_time#",
        "quantile_over_time#",
    ]

    @Test(arguments: operations)
    func slides(operation: String) throws {
        let seed = operation.utf8.reduce(7) { ($0 * 31 + UInt64($1)) % 1_000_003 }
        var generator = Generator(state: seed)
        for round in 0..<60 {
            try check(operation, round, &generator)
        }
    }

    private func check(
        _ operation: String, _ round: Int, _ generator: inout Generator
    ) throws {
        let step = Int64.random(in: 1...40, using: &generator)
        let range = Int64.random(in: 1...200, using: &generator)
        let offset = round % 3 == 0 ? Int64.random(in: -50...50, using: &generator) : 0
        let start = Int64.random(in: 0...60, using: &generator)
        let end = start + Int64.random(in: 0...300, using: &generator)
        var streams: [LogStream] = []
        var points: [[Point]] = []
        for name in ["a", "b"] {
            let (stream, own) = Self.stream(name, round, &generator)
            streams.append(stream)
            points.append(own)
        }
        let isUnwrapped = operation.hasSuffix("#")
        let name = isUnwrapped ? String(operation.dropLast()) : operation
        let parameter = name == "quantile_over_time" ? "0.7, " : ""
        let stages = isUnwrapped ? "logfmt | unwrap v" : "logfmt | drop v"
        let selector = "{app=~\"a|b\"} | \(stages)"
        let query = "\(name)(\(parameter)\(selector) [\(range)s] offset \(offset)s)"
        let outcome = MetricRunner.outcome(
            query, streams,
            at: .range(
                start: Self.time(start), end: Self.time(end),
                stepNanoseconds: step * 1_000_000_000))
        let series = try #require(outcome.series, "\(query): \(outcome)")
        for (index, app) in ["a", "b"].enumerated() {
            let own = series.first { $0.labels["app"] == app }
            var times: [Int64] = []
            var values: [Double] = []
            for at in stride(from: start, through: end, by: Int(step)) {
                let (low, high) = (at - offset - range, at - offset)
                let window = points[index].filter { $0.time > low && $0.time <= high }
                guard !window.isEmpty else { continue }
                times.append(Self.time(at).milliseconds.rawValue)
                values.append(Self.value(name, window, range, high, isUnwrapped))
            }
            let isSame =
                own?.times ?? [] == times
                && zip(own?.values ?? [], values).allSatisfy(MetricRunner.isClose)
            #expect(
                isSame,
                "\(query) \(start)-\(end)/\(step) \(app): \(own?.values ?? []), not \(values)")
        }
    }

    private static func time(_ seconds: Int64) -> TimestampNS {
        TimestampNS(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
    }

    private static func stream(
        _ name: String, _ round: Int, _ generator: inout Generator
    ) -> (LogStream, [Point]) {
        let count = [0, 1, 5, 40, 200].randomElement(using: &generator)!
        var points: [Point] = []
        var entries: [LogEntry] = []
        let times = (0..<count).map { _ in Int64.random(in: -200...400, using: &generator) }
        for time in times.sorted() {
            var value = Double(Int.random(in: -20...400, using: &generator)) / 4
            if round % 7 == 3, Int.random(in: 0..<12, using: &generator) == 0 {
                value = [.infinity, -.infinity, .nan].randomElement(using: &generator)!
            }
            let line = Array("v=\(value)".utf8)
            points.append((time, value, line.count))
            entries.append(LogEntry(timestamp: Self.time(time), line: line))
        }
        return (LogStream(labels: ["app": name], entries: entries), points)
    }

    private static func value(
        _ name: String, _ window: [Point], _ range: Int64, _ end: Int64, _ isUnwrapped: Bool
    ) -> Double {
        let values = window.map(\.value)
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
        let numbers = values.filter { !$0.isNaN }
        let length = Double(window.reduce(0) { $0 + $1.length })
        switch name {
        case "rate": return (isUnwrapped ? values.reduce(0, +) : count) / Double(range)
        case "count_over_time": return count
        case "bytes_over_time": return length
        case "bytes_rate": return length / Double(range)
        case "sum_over_time": return values.reduce(0, +)
        case "avg_over_time": return mean
        case "min_over_time": return numbers.min() ?? .nan
        case "max_over_time": return numbers.max() ?? .nan
        case "stdvar_over_time": return variance
        case "stddev_over_time": return variance.squareRoot()
        case "first_over_time": return values[0]
        case "last_over_time": return values[values.count - 1]
        case "quantile_over_time":
            let sorted = values.sorted { $0.isNaN ? !$1.isNaN : $0 < $1 }
            let rank = 0.7 * (count - 1)
            let low = Int(rank.rounded(.down))
            let high = min(low + 1, sorted.count - 1)
            let weight = rank - rank.rounded(.down)
            return sorted[low] * (1 - weight) + sorted[high] * weight
        default: return counterRate(window, range, end)
        }
    }

    private static func counterRate(_ window: [Point], _ range: Int64, _ end: Int64) -> Double {
        guard window.count >= 2, let first = window.first, let last = window.last else { return 0 }
        var rise = last.value - first.value
        var before = 0.0
        for point in window {
            if point.value < before { rise += before }
            before = point.value
        }
        let covered = Double(last.time - first.time)
        let spacing = covered / Double(window.count - 1)
        var toStart = Double(first.time - (end - range))
        var toEnd = Double(end - last.time)
        if toStart >= spacing * 1.1 { toStart = spacing / 2 }
        if rise > 0, first.value >= 0 {
            let toZero = covered * (first.value / rise)
            if toZero < toStart { toStart = toZero }
        }
        if toEnd >= spacing * 1.1 { toEnd = spacing / 2 }
        return rise * ((covered + toStart + toEnd) / covered) / Double(range)
    }
}
