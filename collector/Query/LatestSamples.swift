package import Model
import Storage
import World

/// The newest sample of a series: a value, or a histogram.
package struct LatestSample: Hashable, Sendable {
    package var labels: Labels
    package var timestamp: TimestampMS
    /// Means nothing where there is a histogram.
    package var value: Double
    package var histogram: FloatHistogram?
}

extension MetricQueryService {
    /// How far back `latest` looks, milliseconds: the lookback delta.
    package static let latestMilliseconds: Int64 = 300_000

    /// The newest sample at or before `time` of every series in `matcherSets`, in label order; series that ended, or
    /// that have none within `latestMilliseconds`, are left out. Source: Prometheus 3.14 `web/federate.go`.
    package func latest(
        _ matcherSets: [[LabelMatcher]], at time: TimestampMS
    ) async throws(QueryFailure) -> [LatestSample] {
        guard !matcherSets.isEmpty else { return [] }
        let service = self
        do {
            return try await withQueryDeadline(
                milliseconds: limits.timeoutMilliseconds, clock: clock
            ) {
                try await service.gate.run { try await service.readLatest(matcherSets, at: time) }
            }
        } catch { throw QueryFailure(any: error) }
    }

    private func readLatest(
        _ matcherSets: [[LabelMatcher]], at time: TimestampMS
    ) async throws -> [LatestSample] {
        let selections = matcherSets.map {
            SeriesSelection(
                matchers: $0,
                after: time.advanced(byMilliseconds: -Self.latestMilliseconds - 1), through: time)
        }
        let share = SampleShare(of: budget)
        let found = try await reader.select(selections, limits: limits.read, share: share)
        return try await withTaskExecutorPreference(executor) {
            var seen: Set<Labels> = []
            var latest: [LatestSample] = []
            for (number, series) in found.joined().enumerated() {
                if number & 255 == 0 { try Task.checkCancellation() }
                guard seen.insert(series.labels).inserted else { continue }
                if let sample = Self.last(series) { latest.append(sample) }
            }
            return latest.sorted { $0.labels < $1.labels }
        }
    }

    private static func last(_ series: SeriesColumns) -> LatestSample? {
        let histogram = series.histograms.last
        guard let timestamp = series.timestamps.last, let value = series.values.last,
            timestamp > histogram?.timestamp ?? .min
        else {
            return histogram.flatMap {
                StalenessMarker.isMarker($0.histogram.sum)
                    ? nil
                    : LatestSample(
                        labels: series.labels, timestamp: TimestampMS($0.timestamp), value: .nan,
                        histogram: $0.histogram)
            }
        }
        guard !StalenessMarker.isMarker(value) else { return nil }
        return LatestSample(
            labels: series.labels, timestamp: TimestampMS(timestamp), value: value)
    }
}
