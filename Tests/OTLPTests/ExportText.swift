import Model
import OTLP
import QueryMath
import RemoteWrite
import Testing

extension MetricsExport {
    /// Every sample as a line: labels, value, `@` time, `from` start, `#` its data point.
    func lines() throws -> [String] {
        var lines: [String] = []
        var sample = 0
        var histogram = 0
        var exemplar = 0
        try request.labelBytes.withUnsafeBytes { bytes in
            for (index, series) in request.series.enumerated() {
                let labels = try RawLabels.seriesLabels(series.spelling(in: bytes))
                #expect(points[index] < 0 || series.sampleCount + series.histogramCount == 1)
                var name = labels.metricName + "{"
                name += labels.filter { $0.name != "__name__" }
                    .map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
                var end = " #\(points[index])"
                for one in request.exemplars[exemplar..<exemplar + series.exemplarCount] {
                    let labels = try RawLabels.labels(
                        .init(UnsafeRawBufferPointer(rebasing: bytes[one.labels])))
                    end += " exemplar {"
                    end += labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
                    end += "} \(GoFloat.json(one.value)) @\(one.timestamp)"
                }
                exemplar += series.exemplarCount
                for _ in 0..<series.sampleCount {
                    let value = request.values[sample]
                    let text = StalenessMarker.isMarker(value) ? "stale" : GoFloat.json(value)
                    let start =
                        request.startTimestamps.isEmpty ? 0 : request.startTimestamps[sample]
                    lines.append(
                        "\(name)} \(text) @\(request.timestamps[sample])\(from(start))\(end)")
                    sample += 1
                }
                for one in request.histograms[histogram..<histogram + series.histogramCount] {
                    lines.append(
                        "\(name)} histogram @\(one.timestamp)\(from(one.startTimestamp))\(end)")
                }
                histogram += series.histogramCount
            }
        }
        return lines
    }

    private func from(_ start: Int64) -> String { start == 0 ? "" : " from \(start)" }
}

/// Requests in JSON.
enum Request {
    /// A metric of the resource `shop/cart`, instance `i-1`.
    static func json(
        _ metric: String,
        resource: String = #"""
        {"key": "service.namespace", "value": {"stringValue": "shop"}},
        {"key": "service.name", "value": {"stringValue": "cart"}},
        {"key": "service.instance.id", "value": {"stringValue": "i-1"}}
        """#
    ) -> [UInt8] {
        Array(
            #"""
            {"resourceMetrics": [{"scopeMetrics": [{"metrics": [\#(metric)],
                "scope": {"name": "lib", "version": "1"}, "schemaUrl": "u"}],
                "resource": {"attributes": [\#(resource)]}}]}
            """#.utf8)
    }

    static func export(
        _ body: [UInt8], _ encoding: MetricsExport.Encoding = .json,
        limits: MetricsExport.Limits = MetricsExport.Limits()
    ) throws -> MetricsExport {
        try MetricsExport(body, encoding, bytesMax: 1 << 20, limits: limits)
    }
}
