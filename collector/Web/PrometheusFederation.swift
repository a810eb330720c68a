import CollectorQuery
import Exposition
import Model
import QueryMath
import World

/// `/prometheus/federate`: the newest sample of every selected series in the text format.
///
/// Series have no type there, so families are untyped; native histograms have no form in text and are left out, those
/// with custom buckets come as classic ones. Errors are plain text. Source: Prometheus 3.14 `web/federate.go`.
struct PrometheusFederation: Sendable {
    /// A scraper with `honor_labels` sets no `instance` of its own where this one is there, and empty.
    private static let emptyLabels = ["instance"]

    let dependencies: WebDependencies

    func respond(_ request: WebRequest) async -> WebResponse {
        guard request.method == "GET" else {
            return .text("method \(request.method) is not allowed\n", status: 405)
        }
        do throws(QueryFailure) {
            let sets = try dependencies.metrics.matcherSets(request.parameters.all("match[]"))
            let found = try await dependencies.metrics.latest(
                sets, at: dependencies.clock.now.milliseconds)
            return WebResponse(
                contentType: ExpositionWriter.contentType, body: Self.text(of: found))
        } catch { return .text("\(error.message)\n", status: error.kind.status) }
    }

    private static func text(of samples: [LatestSample]) -> [UInt8] {
        let named = samples.filter { !$0.labels.metricName.isEmpty }
        // A family's samples stand together; values before histograms, for they are families of their own.
        let ordered = named.indices.sorted { a, b in
            let (one, other) = (named[a], named[b])
            if one.labels.metricName != other.labels.metricName {
                return bytesPrecede(one.labels.metricName, other.labels.metricName)
            }
            let isFirst = (one.histogram == nil, other.histogram == nil)
            return isFirst.0 == isFirst.1 ? a < b : isFirst.0
        }
        var writer = ExpositionWriter()
        var family: (name: String, hasHistograms: Bool)?
        for index in ordered {
            let sample = named[index]
            if let histogram = sample.histogram, !histogram.hasCustomBuckets { continue }
            let next = (name: sample.labels.metricName, hasHistograms: sample.histogram != nil)
            if family.map({ $0 != next }) ?? true {
                writer.writeType(next.name, next.hasHistograms ? .histogram : .unknown)
            }
            family = next
            if let histogram = sample.histogram {
                write(histogram, of: sample, to: &writer)
            } else {
                writer.writeSample(
                    sample.labels, of: next.name, value: sample.value, at: sample.timestamp,
                    empty: emptyLabels)
            }
        }
        return writer.bytes
    }

    private static func write(
        _ histogram: FloatHistogram, of sample: LatestSample, to writer: inout ExpositionWriter
    ) {
        let name = sample.labels.metricName
        func write(_ suffix: String, _ value: Double, bound: String = "") {
            writer.writeSample(
                sample.labels.setting(Labels.metricNameLabel, name + suffix)
                    .setting("le", bound), of: name, value: value, at: sample.timestamp,
                empty: emptyLabels)
        }
        var below = 0.0
        var next = 0
        let buckets = histogram.positive
        for (index, bound) in histogram.customBounds.enumerated() {
            while next < buckets.indices.count, buckets.indices[next] <= index {
                below += buckets.counts[next]
                next += 1
            }
            write("_bucket", below, bound: QueryMath.GoFloat.general(bound))
        }
        write("_bucket", histogram.count, bound: "+Inf")
        write("_sum", histogram.sum)
        write("_count", histogram.count)
    }
}
