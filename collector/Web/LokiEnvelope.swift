import CollectorQuery
import Model

/// Answers in the form of the Loki HTTP API. Source: Loki's documentation "HTTP API"; `research` of what clients read.
enum LokiEnvelope {
    /// What an answer's `stats.summary` says; the inspector of Grafana shows it.
    struct Summary {
        var lineCount = 0
        var byteCount = 0
        var seconds = 0.0
    }

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

    /// `categorized`: stream labels alone in `stream`, the entry's own fields in a third element of each value.
    static func answer(
        _ answer: LogQueryService.Answer, categorized: Bool, seconds: Double
    ) -> WebResponse {
        var summary = Summary(seconds: seconds)
        return success(capacity: 256 * 1024) { json in
            json.object { json in
                json.key("resultType")
                switch answer {
                case .streams(let streams, let lineCount, let byteCount):
                    summary.lineCount = lineCount
                    summary.byteCount = byteCount
                    json.string("streams")
                    if categorized {
                        // Before the result: Grafana's parser reads it in a stream.
                        json.key("encodingFlags")
                        PrometheusEnvelope.strings(["categorize-labels"], to: &json)
                    }
                    json.key("result")
                    write(categorized ? streams : merged(streams), categorized, to: &json)
                case .vector(let samples):
                    json.string("vector")
                    json.key("result")
                    json.array { json in
                        for (labels, sample) in samples { vector(labels, sample, to: &json) }
                    }
                case .scalar(let sample):
                    json.string("scalar")
                    json.key("result")
                    json.sample(sample.timestamp.rawValue, sample.value)
                case .matrix(let series):
                    json.string("matrix")
                    json.key("result")
                    json.array { json in
                        for one in series { PrometheusEnvelope.matrixElement(one, to: &json) }
                    }
                }
                json.key("stats")
                write(summary, to: &json)
            }
        }
    }

    private static func vector(
        _ labels: Labels, _ sample: Sample, to json: inout JSONWriter
    ) {
        json.object { json in
            json.key("metric")
            PrometheusEnvelope.labels(labels, to: &json)
            json.key("value")
            json.sample(sample.timestamp.rawValue, sample.value)
        }
    }

    private static func write(
        _ streams: [LogStream], _ categorized: Bool, to json: inout JSONWriter
    ) {
        json.array { json in
            for stream in streams {
                json.object { json in
                    json.key("stream")
                    PrometheusEnvelope.labels(stream.labels, to: &json)
                    json.key("values")
                    json.array { json in
                        for entry in stream.entries { write(entry, categorized, to: &json) }
                    }
                }
            }
        }
    }

    private static func write(
        _ entry: LogEntry, _ categorized: Bool, to json: inout JSONWriter
    ) {
        json.array { json in
            json.string(String(entry.timestamp.rawValue))
            json.string(bytes: entry.line)
            guard categorized else { return }
            let fields = structuredMetadata(entry)
            json.object { json in
                guard !fields.isEmpty else { return }
                json.key("structuredMetadata")
                PrometheusEnvelope.labels(fields, to: &json)
            }
        }
    }

    /// An entry's fields with its level under the name that Loki's clients look for.
    static func structuredMetadata(_ entry: LogEntry) -> Labels {
        guard let level = entry.level else { return entry.metadata }
        return entry.metadata.setting("detected_level", level)
    }

    /// Streams split by the fields of their entries, for clients that know stream labels alone.
    private static func merged(_ streams: [LogStream]) -> [LogStream] {
        var indexOfLabels: [Labels: Int] = [:]
        var split: [LogStream] = []
        for stream in streams {
            for entry in stream.entries {
                // A stream label wins over a field of its name.
                let labels = Labels(Array(structuredMetadata(entry)) + Array(stream.labels))
                if let index = indexOfLabels[labels] {
                    split[index].entries.append(entry)
                } else {
                    indexOfLabels[labels] = split.count
                    split.append(LogStream(labels: labels, entries: [entry]))
                }
            }
        }
        return split.sorted { $0.labels < $1.labels }
    }

    private static func write(_ summary: Summary, to json: inout JSONWriter) {
        let rate = summary.seconds > 0 ? 1 / summary.seconds : 0
        json.object { json in
            json.key("summary")
            json.object { json in
                json.key("bytesProcessedPerSecond")
                json.number(Int64(Double(summary.byteCount) * rate))
                json.key("linesProcessedPerSecond")
                json.number(Int64(Double(summary.lineCount) * rate))
                json.key("totalBytesProcessed")
                json.number(Int64(summary.byteCount))
                json.key("totalLinesProcessed")
                json.number(Int64(summary.lineCount))
                json.key("execTime")
                json.number(summary.seconds)
            }
        }
    }
}
