import LogQL
import LogQLSyntax
package import Model
import Storage

/// How much there is in some streams.
package struct LogIndexStatistics: Hashable, Sendable {
    package var streamCount = 0
    /// Rows of the store; one that two slices of a long range touch counts twice.
    package var blockCount = 0
    package var entryCount = 0
    package var byteCount = 0

    package init() {}
}

/// Bytes of which streams, in which buckets of time.
package struct LogVolumeRequest: Hashable, Sendable {
    package enum Aggregation: String, Hashable, Sendable {
        /// By the values of labels together.
        case series
        /// By each label's name.
        case labels
    }

    /// None: all streams, by all of their labels.
    package var matchers: [LabelMatcher]
    /// Inclusive.
    package var from: TimestampNS
    /// Exclusive.
    package var to: TimestampNS
    /// The largest of a bucket; the others are left out.
    package var resultCountMax: Int
    /// Nil for one bucket; above 0.
    package var stepNanoseconds: Int64?
    /// Streams that lack one of them are left out. None: the labels of the matchers.
    package var targetLabels: [String] = []
    package var aggregation = Aggregation.series

    package init(
        matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, resultCountMax: Int = 100,
        stepNanoseconds: Int64? = nil
    ) {
        self.matchers = matchers
        self.from = from
        self.to = to
        self.resultCountMax = resultCountMax
        self.stepNanoseconds = stepNanoseconds
    }
}

// From the store's counts by minute: the first minute and the last count as a whole.
extension LogQueryService {
    /// Numbers of a volume's buckets, by series and bucket, that are held at once: about 64 MiB.
    static let volumeCellsMax = 1 << 20

    /// The matchers of `{…}`; none for `{}`, which stands for all streams. Throws `badData` for anything else, for a
    /// selector that could match every stream too.
    package func volumeMatchers(_ text: String) throws(QueryFailure) -> [LabelMatcher] {
        if text.filter({ !$0.isWhitespace }) == "{}" { return [] }
        guard case .log(let query) = try Self.prepare(text), query.pipeline.isEmpty else {
            throw QueryFailure(.badData, LogQLSyntaxError.onlyMatchers.description)
        }
        return query.matchers
    }

    /// Source: Loki's HTTP API, "index/stats".
    package func indexStatistics(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS
    ) async throws(QueryFailure) -> LogIndexStatistics {
        try await whenThereIsRoom { [self] in
            var statistics = LogIndexStatistics()
            var streams: Set<Labels> = []
            try await RateSlices.forEach(self, matchers, from: from, to: to) { page in
                statistics.blockCount += page.blockCount
                for rate in page.rates {
                    statistics.entryCount += rate.lineCount
                    statistics.byteCount += rate.byteCount
                }
                streams.formUnion(Set(page.rates.map(\.streamIndex)).map { page.streams[$0] })
            }
            statistics.streamCount = streams.count
            return statistics
        }
    }

    /// A vector, or a matrix where there is a step; the largest first. Source: Loki 3.6 `index/volume`, `volume_range`.
    package func volume(
        _ request: LogVolumeRequest
    ) async throws(QueryFailure) -> LogAnswer {
        guard request.from <= request.to else {
            throw QueryFailure(.badData, "end timestamp must not be before or equal to start time")
        }
        if let step = request.stepNanoseconds {
            try checkStep(step, from: request.from, to: request.to)
        }
        var matchers = request.matchers
        for name in request.targetLabels where !matchers.contains(where: { $0.name == name }) {
            matchers.append(LabelMatcher(name, .matchesRegex, ".+"))
        }
        let wanted = matchers
        return try await answer { [self] in
            var collection = LogVolumeCollection(request)
            try await RateSlices.forEach(self, wanted, from: request.from, to: request.to) {
                try collection.add($0)
            }
            return LogAnswer(.metric(collection.result))
        }
    }
}

/// The bytes of series as counts come in.
struct LogVolumeCollection {
    private let request: LogVolumeRequest
    private let buckets: VolumeBuckets
    /// Bytes by series and bucket.
    private var volumes: [Labels: [Int: Int]] = [:]
    private var cellCount = 0

    init(_ request: LogVolumeRequest) {
        self.request = request
        buckets = VolumeBuckets(
            from: request.from.rawValue, to: request.to.rawValue, step: request.stepNanoseconds)
    }

    /// Throws `QueryFailure` where there are too many series and buckets.
    mutating func add(_ page: LogRatePage) throws {
        let names = page.streams.map(names)
        for rate in page.rates where rate.byteCount > 0 {
            let parts = buckets.parts(
                of: rate.byteCount, after: rate.through.rawValue - LogRate.widthNanoseconds,
                through: rate.through.rawValue)
            for (bucket, byteCount) in parts {
                for name in names[rate.streamIndex] { try add(name, bucket, byteCount) }
            }
        }
    }

    private mutating func add(_ name: Labels, _ bucket: Int, _ byteCount: Int) throws {
        if volumes[name]?[bucket] == nil {
            guard cellCount < LogQueryService.volumeCellsMax else {
                throw QueryFailure(
                    .execution,
                    "the volume has more than \(LogQueryService.volumeCellsMax) numbers; "
                        + "ask for a longer step, a shorter time or fewer streams")
            }
            cellCount += 1
        }
        volumes[name, default: [:]][bucket, default: 0] += byteCount
    }

    /// What a stream's bytes are added to.
    private func names(_ labels: Labels) -> [Labels] {
        switch request.aggregation {
        case .series:
            if !request.targetLabels.isEmpty {
                return [labels.keeping(Set(request.targetLabels))]
            }
            guard !request.matchers.isEmpty else { return [labels] }
            return [labels.keeping(Set(request.matchers.map(\.name)))]
        case .labels:
            let targets = Set(request.targetLabels)
            return labels.map(\.name).filter { targets.isEmpty || targets.contains($0) }
                // A name alone is a label with an empty value.
                .map { Labels(sortedUnchecked: [Label($0, "")]) }
        }
    }

    /// Of each bucket the largest; series by the first of their numbers.
    var result: MetricResult {
        let cells = volumes.flatMap { name, buckets in
            buckets.map { (name: name, bucket: $0.key, byteCount: $0.value) }
        }
        var kept: [Labels: [(bucket: Int, byteCount: Int)]] = [:]
        for (bucket, found) in Dictionary(grouping: cells, by: \.bucket) {
            let largest = found.sorted { ($1.byteCount, $0.name) < ($0.byteCount, $1.name) }
            for cell in largest.prefix(request.resultCountMax) {
                kept[cell.name, default: []].append((bucket, cell.byteCount))
            }
        }
        let series = kept.map { name, numbers in
            (name: name, numbers: numbers.sorted { $0.bucket < $1.bucket })
        }.sorted { ($1.numbers[0].byteCount, $0.name) < ($0.numbers[0].byteCount, $1.name) }
        func vector(_ time: TimestampMS) -> MetricResult {
            .vector(
                series.map {
                    MetricElement(labels: $0.name, value: Double($0.numbers[0].byteCount))
                }, time)
        }
        guard request.stepNanoseconds != nil else { return vector(request.to.milliseconds) }
        // Where there is nothing to draw. Source: Loki 3.6 `toPrometheusData`.
        let found = Set(series.flatMap { $0.numbers.map(\.bucket) })
        if found.count < 2 {
            return vector(found.first.map { buckets.time(of: $0) } ?? request.to.milliseconds)
        }
        return .matrix(
            series.map { name, numbers in
                SeriesColumns(
                    labels: name, timestamps: numbers.map { buckets.time(of: $0.bucket).rawValue },
                    values: numbers.map { Double($0.byteCount) })
            })
    }
}

/// Buckets that end at multiples of a step; the first begins where the range does and the last ends with it.
/// Nanoseconds.
package struct VolumeBuckets: Sendable {
    private let from: Int64
    private let to: Int64
    /// Nil for one bucket.
    private let step: Int64?
    /// Where the first would begin.
    private let origin: Int64

    /// Of `[from, to)`; one where `step`, above 0, is nil.
    package init(from: Int64, to: Int64, step: Int64?) {
        self.from = from
        self.to = to
        self.step = step
        let rest = step.map { from % $0 } ?? 0
        origin = from - (rest < 0 ? rest + (step ?? 0) : rest)
    }

    /// The end of a bucket; a millisecond before it where another one follows. Source: Loki 3.6 `ForInterval`.
    package func time(of bucket: Int) -> TimestampMS {
        guard let step else { return TimestampNS(to).milliseconds }
        let end = origin + Int64(bucket + 1) * step
        return end < to
            ? TimestampNS(end).milliseconds.advanced(byMilliseconds: -1)
            : TimestampNS(to).milliseconds
    }

    /// How bytes of `(after, through]`, evenly spread, fall into buckets. Times out of the range count as its ends.
    package func parts(
        of byteCount: Int, after: Int64, through: Int64
    ) -> [(bucket: Int, byteCount: Int)] {
        guard let step else { return [(0, byteCount)] }
        let low = min(max(after, from), max(from, to - 1))
        let high = max(min(through, to), low + 1)
        let first = Int((low - origin) / step)
        let last = Int((high - 1 - origin) / step)
        guard first < last else { return [(first, byteCount)] }
        var given = 0
        var parts: [(bucket: Int, byteCount: Int)] = []
        for bucket in first...last {
            let end = min(origin + Int64(bucket + 1) * step, high)
            let share = Double(end - low) / Double(high - low)
            let whole = bucket == last ? byteCount : Int(Double(byteCount) * share)
            if whole > given { parts.append((bucket, whole - given)) }
            given = max(given, whole)
        }
        return parts
    }
}
