import CollectorQuery

/// Answers in the form of the Loki HTTP API. Source: Loki's documentation "HTTP API".
enum LokiEnvelope {
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
    static func answer(_ answer: LogAnswer, hasCategories: Bool) -> WebResponse {
        PrometheusEnvelope.success(LokiAnswerPieces(answer, hasCategories: hasCategories))
    }
}
