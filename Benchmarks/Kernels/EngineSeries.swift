import LinearRegex
import Model
import PromQL

/// The series of Prometheus' own engine benchmark, so that figures compare, and some more: a point every 10 s over a day
/// and 10,000 steps.
///
///     a_X, b_X         gauges; X is one (no label), ten or hundred (label l)
///     h_X              classic buckets: le 0 … 9 and +Inf, of each l
///     sparse           51 series, one after the other
///     nh_one, nh_hundred                                   native histograms
///     rpc_request_success_total, rpc_request_error_total   1,000 instances each, to be joined
///
/// Source: Prometheus 3 promql/bench_test.go setupRangeQueryTestData, setupJoinQueryTestData; its native histograms
/// are of another benchmark, with another grid.
struct EngineSeries {
    static let intervalMS: Int64 = 10_000
    static let pointCount: Int64 = 8_640 + 10_000
    /// Points of one series of `sparse`.
    private static let sparsePoints = pointCount / 50

    private enum Values {
        /// Point s is s + offset.
        case line(offset: Double)
        /// The points from `first` on, as many as `sparsePoints`.
        case part(first: Int64)
        case histograms
    }

    private struct Member {
        var labels: Labels
        var values: Values
    }

    /// In label order.
    private let members: [Member]

    init() {
        var lines: [Labels] = []
        for (size, count) in [("one", 1), ("ten", 10), ("hundred", 100)] {
            for number in 0..<count {
                let group = size == "one" ? [:] : ["l": "\(number)"]
                func add(_ name: String, _ more: [String: String] = [:]) {
                    let labels = ["__name__": "\(name)_\(size)"].merging(group) { $1 }
                    lines.append(Labels(labels.merging(more) { $1 }))
                }
                add("a")
                add("b")
                for bound in (0..<10).map({ "\($0)" }) + ["+Inf"] { add("h", ["le": bound]) }
            }
        }
        let divisor = Double(lines.count)
        var members = lines.enumerated().map { index, labels in
            Member(labels: labels, values: .line(offset: Double(index) / divisor))
        }
        members += (0...Self.pointCount / Self.sparsePoints).map { number in
            Member(
                labels: ["__name__": "sparse", "l": "\(number)"],
                values: .part(first: number * Self.sparsePoints))
        }
        members.append(Member(labels: ["__name__": "nh_one"], values: .histograms))
        members += (0..<100).map {
            Member(labels: ["__name__": "nh_hundred", "l": "\($0)"], values: .histograms)
        }
        members += Self.joined()
        self.members = members.sorted { $0.labels < $1.labels }
    }

    private static func joined() -> [Member] {
        var scatter = Scatter()
        return (0..<1_000).flatMap { index in
            // Hexadecimal, so that one of 16 begins with a 0.
            let digits = String(scatter.next(), radix: 16)
            let instance = String(repeating: "0", count: 16 - digits.count) + digits
            return ["success", "error"].map { kind in
                Member(
                    labels: [
                        "__name__": "rpc_request_\(kind)_total", "instance": instance,
                        "environment": "staging", "cluster": "test-cluster", "job": "worker",
                        "namespace": "test-namespace", "domain": "test-domain",
                        "rpc_method": "fetch-my-data-from-this-service",
                    ], values: .line(offset: Double(index) / 2_000))
            }
        }
    }

    /// The series that satisfy all matchers, with their points in (after, through].
    func select(_ request: SelectorRequest) throws -> [SeriesColumns] {
        let conditions = try request.matchers.map { ($0.name, try Self.condition($0)) }
        let after = request.after.rawValue
        let through = request.through.rawValue
        let first = after < 0 ? 0 : after / Self.intervalMS + 1
        let last = through < 0 ? -1 : min(through / Self.intervalMS, Self.pointCount - 1)
        return members.compactMap { member in
            let isWanted = conditions.allSatisfy { name, holds in holds(member.labels[name]) }
            return isWanted ? Self.columns(member, first, last) : nil
        }
    }

    private static func condition(_ matcher: LabelMatcher) throws -> (String) -> Bool {
        let value = matcher.value
        switch matcher.operation {
        case .equal: return { $0 == value }
        case .notEqual: return { $0 != value }
        case .matchesRegex, .notMatchesRegex:
            let regex = try LinearRegex(value, anchored: true)
            let wanted = matcher.operation == .matchesRegex
            return { regex.matches($0) == wanted }
        }
    }

    /// Points `first` through `last`; nil where there are none.
    private static func columns(_ member: Member, _ first: Int64, _ last: Int64) -> SeriesColumns? {
        switch member.values {
        case .line(let offset):
            return numbers(member.labels, first, last) { $0 + offset }
        case .part(let start):
            let end = min(start + sparsePoints - 1, last)
            return numbers(member.labels, max(start, first), end) { $0 / 2_000 }
        case .histograms:
            guard first <= last else { return nil }
            let histograms = (first...last).map { point in
                HistogramSample(point * intervalMS, histogram(Double(point)))
            }
            return SeriesColumns(labels: member.labels, histograms: histograms)
        }
    }

    private static func numbers(
        _ labels: Labels, _ first: Int64, _ last: Int64, _ value: (Double) -> Double
    ) -> SeriesColumns? {
        guard first <= last else { return nil }
        return SeriesColumns(
            labels: labels, timestamps: (first...last).map { $0 * intervalMS },
            values: (first...last).map { value(Double($0)) })
    }

    /// Source: the shape of Prometheus' tsdbutil.GenerateTestHistogram.
    private static func histogram(_ point: Double) -> FloatHistogram {
        let buckets = FloatHistogram.Buckets(
            indices: [0, 1, 3, 4], counts: [point + 1, point + 2, point + 1, point + 1])
        return FloatHistogram(
            schema: 1, count: 12 + 9 * point, sum: 18.4 * (point + 1), zeroThreshold: 0.001,
            zeroCount: 2 + point, positive: buckets, negative: buckets,
            counterResetHint: .notReset)
    }
}
