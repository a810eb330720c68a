import CollectorQuery
import Model
import QueryMath
import Storage
import World

// What this server is.
extension PrometheusAPI {
    /// The version of Prometheus whose API this is: Grafana decides by it what to call.
    static let prometheusVersion = "3.14.0"
    /// Entries of each list of `status/tsdb`.
    private static let entriesMax = 10_000

    func status(
        _ path: ArraySlice<String>, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        switch path.first {
        case "config":
            return PrometheusEnvelope.success { json in
                json.object { $0.member("yaml", dependencies.server.configurationYAML) }
            }
        case "flags": return flags()
        case "runtimeinfo": return runtimeInformation()
        case "tsdb":
            return path.count > 1
                ? PrometheusEnvelope.success { json in
                    json.object { $0.member("blocks") { $0.array { _ in } } }
                } : try await storage(parameters)
        case "walreplay":
            return PrometheusEnvelope.success { json in
                json.object { json in
                    for key in ["min", "max", "current"] {
                        json.member(key) { $0.number(0 as Int64) }
                    }
                }
            }
        case "self_metrics": return try await ownMetrics(parameters)
        default: return buildInformation()
        }
    }

    /// Without `features`: Grafana takes a server that has any for a Mimir.
    private func buildInformation() -> WebResponse {
        PrometheusEnvelope.success { json in
            json.object { json in
                json.member("version", Self.prometheusVersion)
                json.member("revision", dependencies.revision)
                json.member("branch", "petrel-\(dependencies.version)")
                for key in ["buildUser", "buildDate", "goVersion"] { json.member(key, "") }
            }
        }
    }

    private func flags() -> WebResponse {
        PrometheusEnvelope.success { json in
            json.object { json in
                for (name, value) in dependencies.server.flags.sorted(by: { $0.key < $1.key }) {
                    json.member(name, value)
                }
            }
        }
    }

    private func runtimeInformation() -> WebResponse {
        let server = dependencies.server
        let now = dependencies.clock.now
        return PrometheusEnvelope.success { json in
            json.object { json in
                json.member("startTime", RFC3339.text(server.startedAt))
                json.member("CWD", server.workingDirectory)
                json.member("hostname", server.hostName)
                json.member("serverTime", RFC3339.text(now))
                json.member("reloadConfigSuccess") { $0.boolean(true) }
                json.member("lastConfigTime", RFC3339.text(server.startedAt))
                json.member("corruptionCount") { $0.number(0 as Int64) }
                json.member("goroutineCount") { $0.number(0 as Int64) }
                json.member("GOMAXPROCS") { $0.number(Int64(server.coreCount)) }
                json.member("GOMEMLIMIT") { $0.number(Int64.max) }
                for key in ["GOGC", "GODEBUG"] { json.member(key, "") }
                json.member("storageRetention", server.retention)
            }
        }
    }

    private func storage(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        var limit = 10
        if !parameters["limit"].isEmpty {
            guard let given = Int(parameters["limit"]), given > 0 else {
                throw QueryFailure(.badData, "limit must be a positive number")
            }
            guard given <= Self.entriesMax else {
                throw QueryFailure(.badData, "limit must not exceed \(Self.entriesMax)")
            }
            limit = given
        }
        let cardinality = try await dependencies.metrics.cardinality(entriesMax: limit)
        let extent: MetricExtent?
        do { extent = try await dependencies.metricExtent() } catch {
            throw QueryFailure(any: error)
        }
        let limits = await dependencies.seriesLimits()
        return PrometheusEnvelope.success { json in
            json.object { json in
                json.member("headStats") { json in
                    json.object { json in
                        for (key, number) in [
                            ("numSeries", Int64(cardinality.seriesCount)),
                            ("numLabelPairs", Int64(cardinality.pairCount)),
                            ("chunkCount", Int64(extent?.chunkCount ?? 0)),
                            // As of a head without samples.
                            ("minTime", extent?.first.rawValue ?? .max),
                            ("maxTime", extent?.last.rawValue ?? .min),
                        ] { json.member(key) { $0.number(number) } }
                    }
                }
                for (key, entries) in [
                    ("seriesCountByMetricName", cardinality.seriesByMetric),
                    ("labelValueCountByLabelName", cardinality.valuesByLabel),
                    ("memoryInBytesByLabelName", cardinality.bytesByLabel),
                    ("seriesCountByLabelValuePair", cardinality.seriesByPair),
                ] { json.member(key) { Self.write(entries, to: &$0) } }
                if let limits { json.member("seriesLimits") { Self.write(limits, to: &$0) } }
            }
        }
    }

    /// Of our own: the limits of series and what they refused in the last ten minutes.
    private static func write(_ status: SeriesLimitStatus, to json: inout JSONWriter) {
        json.object { json in
            json.member("active") { $0.number(Int64(status.activeCount)) }
            json.member("known") { $0.number(Int64(status.knownCount)) }
            json.member("maxima") { json in
                json.object { json in
                    for scope in SeriesRefusal.Scope.allCases {
                        json.member(scope.rawValue) {
                            $0.number(Int64(status.maxima[scope] ?? 0))
                        }
                    }
                }
            }
            json.member("refused") { json in
                json.array { json in
                    for refusal in status.refusals { json.object { write(refusal, to: &$0) } }
                }
            }
        }
    }

    private static func write(_ refusal: SeriesRefusal, to json: inout JSONWriter) {
        json.member("scope", refusal.scope.rawValue)
        json.member("limit", refusal.scope.limit)
        json.member("metric", refusal.metric)
        json.member("label", refusal.label)
        json.member("labelValues") { $0.number(Int64(refusal.labelValueCount)) }
        json.member("host", refusal.host)
        json.member("maximum") { $0.number(Int64(refusal.maximum)) }
        json.member("refused") { $0.number(Int64(clamping: refusal.refusedCount)) }
        json.member("since", RFC3339.text(refusal.firstAt))
        json.member("last", RFC3339.text(refusal.lastAt))
    }

    private static func write(_ entries: [Cardinality.Entry], to json: inout JSONWriter) {
        json.array { json in
            for entry in entries {
                json.object { json in
                    json.member("name", entry.name)
                    json.member("value") { $0.number(Int64(entry.count)) }
                }
            }
        }
    }

    /// The collector's own metrics in protobuf's JSON, where 64-bit integers are texts and zeros are left out; points of
    /// histograms and summaries are shown as they are in the text format, each untyped.
    private func ownMetrics(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse
    {
        let pattern = parameters["metric_name_pattern"]
        let name: SelectorSet
        do {
            name = try SelectorSet(
                pattern.isEmpty
                    ? []
                    : [[LabelMatcher(Labels.metricNameLabel, .matchesRegex, pattern)]])
        } catch {
            throw QueryFailure(.badData, "invalid metric_name_pattern: \(error.message)")
        }
        let families = await dependencies.ownMetrics()
            .filter { name.accepts([Labels.metricNameLabel: $0.name]) }
            .sorted { bytesPrecede($0.name, $1.name) }
        return PrometheusEnvelope.success { json in
            json.array { json in
                for family in families { json.object { Self.write(family, to: &$0) } }
            }
        }
    }

    private static func write(_ family: MetricFamily, to json: inout JSONWriter) {
        let type =
            switch family.metadata.type {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram, .summary, .unknown: "untyped"
            }
        json.member("name", family.name)
        json.member("help", family.metadata.help)
        json.member("type", type.uppercased())
        json.member("metric") { json in
            json.array { json in
                for point in family.points {
                    json.object { json in
                        json.member("label") { json in
                            json.array { json in
                                for label in point.labels {
                                    json.object { json in
                                        json.member("name", label.name)
                                        json.member("value", label.value)
                                    }
                                }
                            }
                        }
                        json.member(type) { json in
                            json.object { json in
                                json.member("value") { json in
                                    if point.value.isFinite {
                                        json.number(point.value)
                                    } else {
                                        json.string(
                                            point.value.isNaN
                                                ? "NaN"
                                                : point.value < 0 ? "-Infinity" : "Infinity")
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
