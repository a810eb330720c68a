import CollectorQuery
import Exposition
import Model
import QueryMath
import World

/// `/prometheus/federate`: the newest sample of every selected series in the text format.
///
/// Series have no type there, so families are untyped; native histograms have no form in text and are left out, those
/// with custom buckets come as classic ones. Names of any characters are for those who ask for them by
/// `escaping=allow-utf-8`: of all others they have underscores, for a scraper of before Prometheus 3.0 refuses the whole
/// page for one name. Errors are plain text. Source: Prometheus 3.14 `web/federate.go`, "UTF-8 guide".
struct PrometheusFederation: Sendable {
    /// A scraper with `honor_labels` sets no `instance` of its own where this one is there, and empty.
    private static let emptyLabels = ["instance"]
    private static let anyNames = "escaping=allow-utf-8"

    let dependencies: WebDependencies

    func respond(_ request: WebRequest) async -> WebResponse {
        guard request.method == "GET" else {
            return .text("method \(request.method) is not allowed\n", status: 405)
        }
        do throws(QueryFailure) {
            let sets = try dependencies.metrics.matcherSets(request.parameters.all("match[]"))
            let found = try await dependencies.metrics.latest(
                sets, at: dependencies.clock.now.milliseconds)
            guard Self.takesAnyName(request.headers["accept"] ?? "") else {
                return WebResponse(
                    contentType: ExpositionWriter.contentType,
                    body: Self.text(of: Self.underscored(found)))
            }
            return WebResponse(
                contentType: "\(ExpositionWriter.contentType); \(Self.anyNames)",
                body: Self.text(of: found))
        } catch { return .text("\(error.message)\n", status: error.kind.status) }
    }

    /// Whether an `Accept` has a form of text with names of any characters, with a weight above 0.
    static func takesAnyName(_ header: String) -> Bool {
        header.lowercased().split(separator: ",").contains { (element: Substring) -> Bool in
            let parts = element.split(separator: ";").map { part in
                part.filter { !" \t\"".contains($0) }
            }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }
                .flatMap { Double($0.dropFirst(2)) }
            return parts.dropFirst().contains(anyNames) && weight != 0
        }
    }

    /// The samples under underscored names; of series that come to one the first counts, and one that had these names
    /// before them all.
    private static func underscored(_ samples: [LatestSample]) -> [LatestSample] {
        var kept: [LatestSample] = []
        var changed: [LatestSample] = []
        for sample in samples {
            let labels = EscapedName.underscored(sample.labels)
            guard labels != sample.labels else {
                kept.append(sample)
                continue
            }
            var sample = sample
            sample.labels = labels
            changed.append(sample)
        }
        guard !changed.isEmpty else { return samples }
        var seen = Set(kept.map(\.labels))
        kept += changed.filter { seen.insert($0.labels).inserted }
        return kept.sorted { $0.labels < $1.labels }
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
