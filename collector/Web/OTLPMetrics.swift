import Model
import OTLP
import Synchronization

/// Counters of OTLP. Safe from any thread.
final class OTLPMetrics: Sendable {
    private struct State {
        var requests: [String: Int] = [:]
        var points = 0
        var refused: [String: Int] = [:]
        var stored = StoredCounts()
    }

    private let state = Mutex(State())

    /// `encoding` is nil where it is not known.
    func request(_ encoding: MetricsExport.Encoding?, status: Int) {
        let word =
            switch encoding {
            case .protobuf: "protobuf"
            case .json: "json"
            case nil: ""
            }
        state.withLock { $0.requests["\(word)\n\(status)", default: 0] += 1 }
    }

    /// Counts what became of a request of `pointCount` data points; `rejected` of them were not stored, or not whole.
    func stored(
        _ report: IntakeReport, pointCount: Int, rejected: Int, _ export: MetricsExport
    ) {
        state.withLock { state in
            state.stored.add(report)
            state.stored.refuseExemplars(export.refusedExemplarCount, .labels)
            state.points += pointCount - rejected
            var told = 0
            for refusal in export.refusals {
                state.refused[refusal.reason.rawValue, default: 0] += refusal.count
                told += refusal.count
            }
            state.refused["other", default: 0] += export.refusedCount - told
            // What is left could be translated and not be stored.
            state.refused["store", default: 0] += rejected - export.refusedCount
        }
    }

    func families() -> [MetricFamily] {
        let state = state.withLock { $0 }
        let reasons = MetricsExport.RefusalReason.allCases.map(\.rawValue) + ["other", "store"]
        return [
            MetricFamily(
                "petrel_otlp_requests_total", .counter,
                help: "OTLP requests answered, by encoding and status.",
                points: requestPoints(state.requests, "encoding")),
            MetricFamily(
                "petrel_otlp_data_points_total", .counter,
                help: "Data points of OTLP that were stored whole.",
                points: [MetricFamily.Point([:], Double(state.points))]),
            MetricFamily(
                "petrel_otlp_data_points_rejected_total", .counter,
                help: "Data points of OTLP that were not stored and should not be sent again; "
                    + "store: petrel_otlp_samples_rejected_total says why.",
                points: reasons.map { reason in
                    MetricFamily.Point(["reason": reason], Double(state.refused[reason] ?? 0))
                }),
        ] + state.stored.families("petrel_otlp", of: "OTLP")
    }
}
