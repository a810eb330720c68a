package import CollectorQuery
import Model

/// Answers in the form of the Loki HTTP API. Source: Loki's documentation "HTTP API".
package enum LokiEnvelope {
    static func success(
        capacity: Int = 1024, _ data: (inout JSONWriter) -> Void
    ) -> WebResponse {
        PrometheusEnvelope.success(capacity: capacity, data)
    }

    /// Loki's errors are plain text.
    static func failure(_ failure: QueryFailure) -> WebResponse {
        let status =
            switch failure.kind {
            case .badData, .execution: 400
            case .canceled: 499
            case .timeout: 504
            case .notFound: 404
            case .internal: 500
            case .unavailable: 503
            }
        return .text(failure.message, status: status)
    }

    /// Sent piece by piece where it is long. `hasCategories` is what the client asked for.
    package static func answer(_ answer: LogAnswer, hasCategories: Bool) -> WebResponse {
        PrometheusEnvelope.success(
            warnings: answer.warnings, LokiAnswerPieces(answer, hasCategories: hasCategories))
    }

    /// The labels of a stream; U+FFFD in values is shown as a blank. Source: Loki 3.6 `NewStream`.
    static func streamLabels(_ labels: Labels, to json: inout JSONWriter) {
        json.object { json in
            for label in labels {
                json.key(label.name)
                json.string(hasMark(label.value) ? blanked(label.value) : label.value)
            }
        }
    }

    private static func hasMark(_ text: String) -> Bool {
        text.utf8.contains(0xef) && text.unicodeScalars.contains("\u{fffd}")
    }

    private static func blanked(_ text: String) -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            shown.unicodeScalars.append(scalar == "\u{fffd}" ? " " : scalar)
        }
        return shown
    }
}
