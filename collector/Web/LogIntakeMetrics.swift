import Model
import Synchronization

/// Counters of pushed logs. Safe from any thread.
final class LogIntakeMetrics: Sendable {
    private struct State {
        var requests: [String: Int] = [:]
        var lines = 0
        var bytes = 0
        var repeats = 0
        var refused: [LogIntakeReport.Reason: Int] = [:]
    }

    private let state = Mutex(State())

    /// `way` is `loki_json`, `loki_protobuf`, `otlp_json`, `otlp_protobuf`, or empty where it is not known.
    func request(_ way: String, status: Int) {
        state.withLock { $0.requests["\(way)\n\(status)", default: 0] += 1 }
    }

    /// Counts what became of a request.
    func stored(_ report: LogIntakeReport) {
        state.withLock { state in
            if report.isRepeat {
                state.repeats += 1
            } else {
                state.lines += report.storedCount
                state.bytes += report.byteCount
            }
            state.refused.merge(report.refused) { $0 + $1 }
        }
    }

    func families() -> [MetricFamily] {
        let state = state.withLock { $0 }
        return [
            MetricFamily(
                "petrel_log_push_requests_total", .counter,
                help: "Requests of pushed logs answered, by protocol and status.",
                points: requestPoints(state.requests, "protocol")),
            MetricFamily(
                "petrel_log_push_lines_total", .counter,
                help: "Pushed log lines that were stored.",
                points: [MetricFamily.Point([:], Double(state.lines))]),
            MetricFamily(
                "petrel_log_push_bytes_total", .counter,
                help:
                    "Bytes of pushed log lines and their fields that passed the checks, also of "
                    + "lines that were too old to be stored.",
                points: [MetricFamily.Point([:], Double(state.bytes))]),
            MetricFamily(
                "petrel_log_push_repeats_total", .counter,
                help: "Requests of pushed logs that had been stored before and came again.",
                points: [MetricFamily.Point([:], Double(state.repeats))]),
            MetricFamily(
                "petrel_log_push_refused_lines_total", .counter,
                help: "Pushed log lines that were not stored and should not be sent again.",
                points: LogIntakeReport.Reason.allCases.map { reason in
                    MetricFamily.Point(
                        ["reason": reason.rawValue], Double(state.refused[reason] ?? 0))
                }),
        ]
    }
}
