import Model
import RemoteWrite
import Storage
import Synchronization

/// Counters of remote write. Safe from any thread.
final class RemoteWriteMetrics: Sendable {
    /// Why a sample was not stored.
    enum Rejection: String, CaseIterable {
        case labels, histogram, limit
        case tooOld = "too_old"
        case tooFarAhead = "too_far_ahead"
    }

    private struct State {
        var requests: [String: Int] = [:]
        var samples = 0
        var histograms = 0
        var exemplars = 0
        var rejections: [String: Int] = [:]
        var exemplarsLost = 0
    }

    private let state = Mutex(State())

    /// `version` is `1.0`, `2.0`, or empty where it is not known.
    func request(version: String, status: Int) {
        state.withLock { $0.requests["\(version)\n\(status)", default: 0] += 1 }
    }

    func stored(samples: Int, histograms: Int, exemplarsLost: Int) {
        state.withLock { state in
            state.samples += samples
            state.histograms += histograms
            state.exemplarsLost += exemplarsLost
        }
    }

    func rejected(_ count: Int, _ reason: Rejection) {
        guard count > 0 else { return }
        state.withLock { $0.rejections[reason.rawValue, default: 0] += count }
    }

    func families(cachedSeries: Int) -> [MetricFamily] {
        let state = state.withLock { $0 }
        return [
            MetricFamily(
                "petrel_remote_write_requests_total", .counter,
                help: "Remote write requests answered, by protocol version and status.",
                points: state.requests.sorted { $0.key < $1.key }.map { key, count in
                    let words = key.split(
                        separator: "\n", omittingEmptySubsequences: false
                    ).map(String.init)
                    return MetricFamily.Point(
                        ["version": words[0], "code": words[1]], Double(count))
                }),
            MetricFamily(
                "petrel_remote_write_samples_total", .counter,
                help: "Samples stored from remote write, by type.",
                points: [
                    MetricFamily.Point(["type": "float"], Double(state.samples)),
                    MetricFamily.Point(["type": "histogram"], Double(state.histograms)),
                ]),
            MetricFamily(
                "petrel_remote_write_samples_rejected_total", .counter,
                help: "Samples of remote write that were not stored and should not be sent again.",
                points: Rejection.allCases.map { reason in
                    MetricFamily.Point(
                        ["reason": reason.rawValue],
                        Double(state.rejections[reason.rawValue] ?? 0))
                }),
            MetricFamily(
                "petrel_remote_write_exemplars_dropped_total", .counter,
                help: "Exemplars of remote write, which are not stored.",
                points: [MetricFamily.Point([:], Double(state.exemplarsLost))]),
            MetricFamily(
                "petrel_remote_write_cached_series", .gauge,
                help: "Series that remote write knows by the bytes of their labels.",
                points: [MetricFamily.Point([:], Double(cachedSeries))]),
        ]
    }
}
