import Model
import OTLP
import QueryMath
import RemoteWrite
import Testing

extension MetricsExport {
    /// Every series as a line: labels, value, `@` time, `from` start, `#` its data point.
    func lines() throws -> [String] {
        var lines: [String] = []
        var sample = 0
        var histogram = 0
        var exemplar = 0
        try request.labelBytes.withUnsafeBytes { bytes in
            for (index, series) in request.series.enumerated() {
                let labels = try RawLabels.seriesLabels(
                    UnsafeRawBufferPointer(rebasing: bytes[series.labels]))
                #expect(series.sampleCount + series.histogramCount == 1)
                var line = labels.metricName + "{"
                line += labels.filter { $0.name != "__name__" }
                    .map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
                line += "} "
                let start: Int64
                if series.sampleCount == 1 {
                    let value = request.values[sample]
                    line += StalenessMarker.isMarker(value) ? "stale" : GoFloat.json(value)
                    line += " @\(request.timestamps[sample])"
                    start = request.startTimestamps.isEmpty ? 0 : request.startTimestamps[sample]
                    sample += 1
                } else {
                    let one = request.histograms[histogram]
                    line += "histogram @\(one.timestamp)"
                    start = one.startTimestamp
                    histogram += 1
                }
                if start != 0 { line += " from \(start)" }
                line += " #\(points[index])"
                for one in request.exemplars[exemplar..<exemplar + series.exemplarCount] {
                    let labels = try RawLabels.labels(
                        UnsafeRawBufferPointer(rebasing: bytes[one.labels]))
                    line += " exemplar {"
                    line += labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
                    line += "} \(GoFloat.json(one.value)) @\(one.timestamp)"
                }
                exemplar += series.exemplarCount
                lines.append(line)
            }
        }
        return lines
    }
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
