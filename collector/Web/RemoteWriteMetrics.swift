import Model
import Storage
import Synchronization

/// Counters of remote write. Safe from any thread.
final class RemoteWriteMetrics: Sendable {
    private struct State {
        var requests: [String: Int] = [:]
        var stored = StoredCounts()
    }

    private let state = Mutex(State())

    /// `version` is `1.0`, `2.0`, or empty where it is not known.
    func request(version: String, status: Int) {
        state.withLock { $0.requests["\(version)\n\(status)", default: 0] += 1 }
    }

    /// Counts what became of a request.
    func stored(_ report: IntakeReport) { state.withLock { $0.stored.add(report) } }

    func families(cachedSeries: Int) -> [MetricFamily] {
        let state = state.withLock { $0 }
        return [
            MetricFamily(
                "petrel_remote_write_requests_total", .counter,
                help: "Remote write requests answered, by protocol version and status.",
                points: requestPoints(state.requests, "version")),
            MetricFamily(
                "petrel_remote_write_cached_series", .gauge,
                help: "Pushed series that are known by the bytes of their labels.",
                points: [MetricFamily.Point([:], Double(cachedSeries))]),
        ] + state.stored.families("petrel_remote_write", of: "remote write")
    }
}

/// Requests by a word and their status; the keys are both, with a line break between.
func requestPoints(_ requests: [String: Int], _ label: String) -> [MetricFamily.Point] {
    requests.sorted { $0.key < $1.key }.map { key, count in
        let words = key.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        return MetricFamily.Point(Labels([label: words[0], "code": words[1]]), Double(count))
    }
}

/// What a way in has stored and not stored.
struct StoredCounts: Sendable {
    private var samples = 0
    private var histograms = 0
    private var exemplars = 0
    private var refused: [IntakeProblems.Reason: Int] = [:]
    private var refusedExemplars: [ExemplarProblems.Reason: Int] = [:]

    mutating func add(_ report: IntakeReport) {
        samples += report.outcome.storedSamples
        histograms += report.outcome.storedHistograms
        exemplars += report.outcome.storedExemplars
        refused.merge(report.problems.counts) { $0 + $1 }
        refusedExemplars.merge(report.exemplars.counts) { $0 + $1 }
    }

    mutating func refuseExemplars(_ count: Int, _ reason: ExemplarProblems.Reason) {
        refusedExemplars[reason, default: 0] += count
    }

    /// Families whose names begin with `prefix`.
    func families(_ prefix: String, of way: String) -> [MetricFamily] {
        [
            MetricFamily(
                "\(prefix)_samples_total", .counter,
                help: "Samples stored from \(way), by type.",
                points: [
                    MetricFamily.Point(["type": "float"], Double(samples)),
                    MetricFamily.Point(["type": "histogram"], Double(histograms)),
                ]),
            MetricFamily(
                "\(prefix)_samples_rejected_total", .counter,
                help: "Samples of \(way) that were not stored and should not be sent again.",
                points: IntakeProblems.Reason.allCases.map { reason in
                    MetricFamily.Point(
                        ["reason": reason.rawValue], Double(refused[reason] ?? 0))
                }),
            MetricFamily(
                "\(prefix)_exemplars_total", .counter,
                help: "Exemplars of \(way) that are stored.",
                points: [MetricFamily.Point([:], Double(exemplars))]),
            MetricFamily(
                "\(prefix)_exemplars_rejected_total", .counter,
                help: "Exemplars of \(way) that were not stored.",
                points: ExemplarProblems.Reason.allCases.map { reason in
                    MetricFamily.Point(
                        ["reason": reason.rawValue], Double(refusedExemplars[reason] ?? 0))
                }),
        ]
    }
}
