import CollectorQuery
import LogQL
import Model

// What Logs Drilldown and the query builder ask to offer labels and fields. Bare objects. Source: Loki's HTTP API,
// "detected labels", "detected fields", and `drilldown-limits`.
extension LokiAPI {
    /// Of all streams where `query` is empty.
    func detectedLabels(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        _ = try orderedBounds(parameters)
        let scope = try scope(
            parameters, [parameters["query"]], rangeNanoseconds: Self.queryRangeNanoseconds)
        let labels = try await dependencies.logs.detectedLabels(scope)
        var json = JSONWriter()
        json.object { json in
            json.key("detectedLabels")
            json.array { json in
                for label in labels {
                    json.object { json in
                        json.key("label")
                        json.string(label.label)
                        json.key("cardinality")
                        json.number(Int64(label.cardinality))
                    }
                }
            }
        }
        return .json(json)
    }

    func detectedFields(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let wanted = try fieldsRequest(parameters)
        let fields = try await dependencies.logs.detectedFields(wanted)
        var json = JSONWriter()
        json.object { json in
            json.key("fields")
            json.array { json in
                for field in fields { json.object { Self.write(field, to: &$0) } }
            }
            json.key("limit")
            json.number(Int64(wanted.resultCountMax))
        }
        return .json(json)
    }

    func detectedFieldValues(
        _ name: String, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        let wanted = try fieldsRequest(parameters)
        let values = try await dependencies.logs.detectedFieldValues(name, wanted)
        var json = JSONWriter()
        json.object { json in
            json.key("values")
            PrometheusEnvelope.strings(values, to: &json)
            json.key("limit")
            json.number(Int64(wanted.resultCountMax))
        }
        return .json(json)
    }

    private func fieldsRequest(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> DetectedFieldsRequest {
        let (from, to) = try orderedBounds(parameters)
        _ = try step(parameters, from, to)
        let fieldLimit = try Self.count("field_limit", parameters)
        return DetectedFieldsRequest(
            text: parameters["query"], from: from, to: to,
            lineCountMax: try limit(parameters, "line_limit"),
            resultCountMax: try Self.count("limit", parameters)
                ?? fieldLimit ?? 1000)
    }

    /// `parsers` is null for a field beside the line: Drilldown tells by it.
    private static func write(_ field: DetectedField, to json: inout JSONWriter) {
        json.key("label")
        json.string(field.label)
        json.key("type")
        json.string(field.type.rawValue)
        json.key("cardinality")
        json.number(Int64(field.cardinality))
        json.key("parsers")
        if field.parsers.isEmpty {
            json.null()
        } else {
            PrometheusEnvelope.strings(field.parsers, to: &json)
        }
        guard !field.jsonPath.isEmpty else { return }
        json.key("jsonPath")
        PrometheusEnvelope.strings(field.jsonPath, to: &json)
    }

    /// The limits that Drilldown reads; there are no patterns.
    func drilldownLimits() -> WebResponse {
        let retention = dependencies.server.retention
        var json = JSONWriter()
        json.object { json in
            json.key("limits")
            json.object { json in
                json.key("discover_log_levels")
                json.boolean(true)
                json.key("discover_service_name")
                PrometheusEnvelope.strings(dependencies.logPush.serviceNameLabels, to: &json)
                json.key("log_level_fields")
                PrometheusEnvelope.strings(LogLevels.orderedNames, to: &json)
                json.key("max_entries_limit_per_query")
                json.number(Int64(dependencies.logs.limits.entriesMax))
                json.key("max_query_series")
                json.number(Int64(dependencies.logs.limits.metric.seriesMax))
                json.key("retention_period")
                json.string(retention.isEmpty ? "0s" : retention)
                json.key("volume_enabled")
                json.boolean(true)
            }
            json.key("pattern_ingester_enabled")
            json.boolean(false)
            json.key("version")
            json.string(Self.lokiVersion)
        }
        return .json(json)
    }
}
