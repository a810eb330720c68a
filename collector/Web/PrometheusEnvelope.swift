import CollectorQuery
import Model
import PromQL
import QueryMath

/// Answers in the form of the Prometheus HTTP API. Source: Prometheus 3.14 `web/api/v1.Response`.
enum PrometheusEnvelope {
    /// Warnings and infos of an answer, each. Source: Prometheus 3.14 `maxAnnotations`.
    static let annotationsMax = 10

    static func success(
        warnings: [String] = [], infos: [String] = [], capacity: Int = 1024,
        _ data: (inout JSONWriter) -> Void
    ) -> WebResponse {
        var json = JSONWriter(capacity: capacity)
        json.object { json in
            json.key("status")
            json.string("success")
            json.key("data")
            data(&json)
            write(warnings, as: "warnings", to: &json)
            write(infos, as: "infos", to: &json)
        }
        return .json(json)
    }

    /// As above, sent piece by piece where it is long.
    static func success(
        warnings: [String] = [], infos: [String] = [], _ data: any JSONPieces
    ) -> WebResponse {
        WebResponse.json(SuccessPieces(data: data, warnings: warnings, infos: infos))
    }

    static func failure(_ failure: QueryFailure) -> WebResponse {
        self.failure(failure.kind.status, failure.kind.rawValue, failure.message)
    }

    static func failure(_ status: Int, _ type: String, _ message: String) -> WebResponse {
        var json = JSONWriter()
        json.object { json in
            json.key("status")
            json.string("error")
            json.key("errorType")
            json.string(type)
            json.key("error")
            json.string(message)
        }
        return .json(json, status: status)
    }

    static func labels(_ labels: Labels, to json: inout JSONWriter) {
        json.object { json in
            for label in labels {
                json.key(label.name)
                json.string(label.value)
            }
        }
    }

    static func strings(_ strings: [String], to json: inout JSONWriter) {
        json.array { json in for string in strings { json.string(string) } }
    }

    /// Source: Prometheus 3.14 `util/stats.BuiltinStats`. The engine keeps all that it reads, so the peak is the whole.
    static func write(_ statistics: MetricStatistics, to json: inout JSONWriter) {
        func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }
        let evaluation = statistics.evaluationNanoseconds
        let total = statistics.queueNanoseconds + evaluation
        json.object { json in
            json.key("timings")
            json.object { json in
                for (name, time) in [
                    ("evalTotalTime", evaluation), ("resultSortTime", 0),
                    ("queryPreparationTime", statistics.preparationNanoseconds),
                    ("innerEvalTime", evaluation),
                    ("execQueueTime", statistics.queueNanoseconds), ("execTotalTime", total),
                ] {
                    json.key(name)
                    json.number(seconds(time))
                }
            }
            json.key("samples")
            json.object { json in
                for name in ["totalQueryableSamples", "samplesRead", "peakSamples"] {
                    json.key(name)
                    json.number(Int64(statistics.samplesRead))
                }
            }
        }
    }

    static func vectorElement(_ element: VectorElement, to json: inout JSONWriter) {
        json.object { json in
            json.key("metric")
            labels(element.labels, to: &json)
            if let histogram = element.histogram {
                json.key("histogram")
                point(element.sample.timestamp.rawValue, histogram, to: &json)
            } else {
                json.key("value")
                json.sample(element.sample.timestamp.rawValue, element.sample.value)
            }
        }
    }

    /// `[{"seriesLabels": {…}, "exemplars": [{"labels": {…}, "value": "…", "timestamp": seconds}, …]}, …]`.
    /// Source: Prometheus 3.14 `web/api/v1.marshalExemplarJSON`.
    static func exemplars(_ series: [SeriesExemplars]) -> WebResponse {
        success(capacity: 64 * 1024) { json in
            json.array { json in
                for one in series {
                    json.object { json in
                        json.key("seriesLabels")
                        labels(one.labels, to: &json)
                        json.key("exemplars")
                        json.array { json in
                            for exemplar in one.exemplars { self.exemplar(exemplar, to: &json) }
                        }
                    }
                }
            }
        }
    }

    private static func exemplar(_ exemplar: Exemplar, to json: inout JSONWriter) {
        json.object { json in
            json.key("labels")
            labels(exemplar.labels, to: &json)
            json.key("value")
            json.string(GoFloat.json(exemplar.value))
            json.key("timestamp")
            json.seconds(ofMilliseconds: exemplar.timestamp.rawValue)
        }
    }

    static func matrixElement(_ series: SeriesColumns, to json: inout JSONWriter) {
        json.object { json in
            json.key("metric")
            labels(series.labels, to: &json)
            if !series.timestamps.isEmpty || series.histograms.isEmpty {
                json.key("values")
                json.array { json in
                    for index in series.timestamps.indices {
                        json.sample(series.timestamps[index], series.values[index])
                    }
                }
            }
            if !series.histograms.isEmpty {
                json.key("histograms")
                json.array { json in
                    for sample in series.histograms {
                        point(sample.timestamp, sample.histogram, to: &json)
                    }
                }
            }
        }
    }

    /// `[seconds, {"count": "…", "sum": "…", "buckets": [[0, "lower", "upper", "count"], …]}]`, empty buckets left out.
    /// Source: Prometheus 3.14 `util/jsonutil.MarshalHistogram`.
    static func point(
        _ milliseconds: Int64, _ histogram: FloatHistogram, to json: inout JSONWriter
    ) {
        json.array { json in
            json.seconds(ofMilliseconds: milliseconds)
            json.object { json in
                json.key("count")
                json.string(GoFloat.json(histogram.count))
                json.key("sum")
                json.string(GoFloat.json(histogram.sum))
                let buckets = histogram.allBuckets.filter { $0.count != 0 }
                guard !buckets.isEmpty else { return }
                json.key("buckets")
                json.array { json in
                    for bucket in buckets { self.bucket(bucket, to: &json) }
                }
            }
        }
    }

    /// First which bounds belong to the bucket: 0 the upper, 1 the lower, 2 neither, 3 both.
    private static func bucket(_ bucket: HistogramBucket, to json: inout JSONWriter) {
        json.array { json in
            switch (bucket.includesLower, bucket.includesUpper) {
            case (false, true): json.number(0 as Int64)
            case (true, false): json.number(1 as Int64)
            case (false, false): json.number(2 as Int64)
            case (true, true): json.number(3 as Int64)
            }
            json.string(GoFloat.json(bucket.lower))
            json.string(GoFloat.json(bucket.upper))
            json.string(GoFloat.json(bucket.count))
        }
    }

    /// `name` is `warnings` or `infos`. Source: Prometheus 3.14 `annotations.AsStrings`.
    fileprivate static func write(_ texts: [String], as name: String, to json: inout JSONWriter) {
        guard !texts.isEmpty else { return }
        json.key(name)
        var shown = Array(texts.prefix(annotationsMax))
        if texts.count > annotationsMax {
            shown.append(
                "\(texts.count - annotationsMax) more \(name == "infos" ? "info" : "warning") annotations omitted"
            )
        }
        strings(shown, to: &json)
    }
}

/// The envelope around `data`.
private struct SuccessPieces: JSONPieces {
    private enum Place { case start, data, over }

    var data: any JSONPieces
    let warnings: [String]
    let infos: [String]
    private var place = Place.start

    init(data: any JSONPieces, warnings: [String], infos: [String]) {
        self.data = data
        self.warnings = warnings
        self.infos = infos
    }

    mutating func write(to json: inout JSONWriter) -> Bool {
        switch place {
        case .start:
            json.beginObject()
            json.key("status")
            json.string("success")
            json.key("data")
            place = .data
        case .data:
            if data.write(to: &json) { return true }
            PrometheusEnvelope.write(warnings, as: "warnings", to: &json)
            PrometheusEnvelope.write(infos, as: "infos", to: &json)
            json.endObject()
            place = .over
        case .over: return false
        }
        return true
    }
}
