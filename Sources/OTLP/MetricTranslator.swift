import Model
import QueryMath
import RemoteWrite

// Data points as Prometheus' series, as its own OTLP endpoint makes them with its defaults.
// Source: Prometheus 3.14 `storage/remote/otlptranslator/prometheusremotewrite`; OpenTelemetry specification 1.38
// "Prometheus and OpenMetrics Compatibility".

/// Makes series out of data points, which come metric by metric and resource by resource.
struct MetricTranslator {
    /// What of a data point can't be stored.
    struct PointDefect: Error {
        var reason: MetricsExport.RefusalReason
        var text: String
    }

    /// Different causes of refusal that are told apart.
    private static let refusalsMax = 20

    private var builder: WriteRequestBuilder
    private var points: [Int32] = []
    private var pointCount = 0
    private var refusals: [MetricsExport.Refusal] = []
    /// Their places by their texts.
    private var refusalPlaces: [ExactText: Int] = [:]
    private var untoldCount = 0
    var refusedExemplarCount = 0

    private var resource = ResourceLabels([])
    private var names = LabelNames()
    /// The times of the data points of this resource that were taken, nanoseconds since the epoch.
    private var times: ClosedRange<Int64>?
    private var metric = TranslatedMetric()

    init(_ limits: MetricsExport.Limits) {
        builder = WriteRequestBuilder(limits: limits.columns)
    }

    func finish() -> MetricsExport {
        MetricsExport(
            request: builder.request, points: points, pointCount: pointCount, refusals: refusals,
            untoldCount: untoldCount, refusedExemplarCount: refusedExemplarCount)
    }

    // MARK: Resources and metrics

    mutating func begin(resource attributes: [Attribute]) {
        resource = ResourceLabels(attributes)
        times = nil
    }

    /// Adds `target_info` for the times of the resource's data points.
    mutating func endResource() throws(OTLPError) {
        guard let times, let labels = resource.targetInfo(&names) else { return }
        let metadata = WriteRequest.RawMetadata(
            type: .gauge, help: builder.text("Target metadata"), unit: 0..<0)
        try columns { builder throws(RemoteWriteError) in
            try builder.addSeries(labels, metadata: metadata)
            for time in TargetInfo.times(times) { try builder.addSample(time, 1, start: 0) }
        }
        points.append(-1)
    }

    /// Whether the data points of the metric are taken at all; else each is to be refused.
    mutating func begin(metric header: MetricHeader) -> Bool {
        metric = TranslatedMetric(header, &builder)
        return metric.defect == nil
    }

    /// Counts a data point of a metric that is not taken.
    mutating func refusePoint() {
        guard let defect = metric.defect else { return }
        refuse(defect)
    }

    private mutating func refuse(_ defect: PointDefect) {
        let text = "of metric \"\(metric.shownName)\": \(defect.text)"
        if let known = refusalPlaces[ExactText(text)] {
            refusals[known].count += 1
        } else if refusals.count < Self.refusalsMax {
            refusalPlaces[ExactText(text)] = refusals.count
            refusals.append(
                MetricsExport.Refusal(reason: defect.reason, text: text, count: 1))
        } else {
            untoldCount += 1
        }
    }

    // MARK: Data points

    mutating func add(_ point: NumberPoint) throws(OTLPError) {
        try take(point.header) { (series: inout PointSeries, base) throws(OTLPError) in
            try series.sample("", base, point.value, exemplars: point.header.exemplars[...])
        }
    }

    mutating func add(_ point: SummaryPoint) throws(OTLPError) {
        try take(point.header) { (series: inout PointSeries, base) throws(OTLPError) in
            try series.sample("_sum", base, point.sum)
            try series.sample("_count", base, Double(point.count))
            for quantile in point.quantiles {
                let label = Label("quantile", GoFloat.plain(quantile.quantile))
                try series.sample("", base, quantile.value, label)
            }
        }
    }

    /// A classic histogram: `_sum` where it is reported, `_count`, and a `_bucket` with each bound, cumulative.
    mutating func add(_ point: HistogramPoint) throws(OTLPError) {
        try take(point.header) { (series: inout PointSeries, base) throws(OTLPError) in
            if let sum = point.sum { try series.sample("_sum", base, sum) }
            try series.sample("_count", base, Double(point.count))
            var exemplars = point.header.exemplars.filter { !$0.number.isNaN }
                .sorted { $0.number < $1.number }[...]
            var count: UInt64 = 0
            for (bound, inBucket) in zip(point.bounds, point.counts) {
                count &+= inBucket
                let inside = exemplars.prefix { $0.number <= bound }
                exemplars = exemplars[inside.endIndex...]
                try series.sample(
                    "_bucket", base, Double(count), Label("le", GoFloat.plain(bound)),
                    exemplars: inside)
            }
            exemplars += point.header.exemplars.filter(\.number.isNaN)
            try series.sample(
                "_bucket", base, Double(point.count), Label("le", "+Inf"), exemplars: exemplars)
        }
    }

    mutating func add(_ point: ExponentialPoint) throws(OTLPError) {
        let header = point.header
        guard !header.hasNoRecordedValue else {
            // The marker is a value for series of histograms too.
            try take(header) { (series: inout PointSeries, base) throws(OTLPError) in
                try series.sample("", base, 0)
            }
            return
        }
        let histogram: FloatHistogram
        do throws(PointDefect) { histogram = try point.nativeHistogram() } catch {
            refuse(error)
            return
        }
        try take(header) { (series: inout PointSeries, base) throws(OTLPError) in
            try series.histogram(base, histogram, exemplars: header.exemplars)
        }
    }

    /// Numbers a data point and makes its series, unless its labels can't be.
    private mutating func take(
        _ header: PointHeader,
        _ body: (inout PointSeries, PointLabels) throws(OTLPError) -> Void
    ) throws(OTLPError) {
        let labels: [Label]
        do throws(PointDefect) { labels = try resource.labels(header.attributes, &names) } catch {
            refuse(error)
            return
        }
        var place = 0..<0
        try columns { builder throws(RemoteWriteError) in place = try builder.share(labels) }
        let base = PointLabels(labels, at: place)
        var series = PointSeries(builder: builder, metric: metric, header: header)
        // The only reference, so that no columns are copied.
        builder = WriteRequestBuilder()
        defer {
            builder = series.builder
            points.append(contentsOf: repeatElement(Int32(pointCount), count: series.count))
            pointCount += 1
            refusedExemplarCount += series.refusedExemplarCount
        }
        try body(&series, base)
        guard header.time != 0 else { return }
        let time = Int64(bitPattern: header.time)
        times = times.map { min($0.lowerBound, time)...max($0.upperBound, time) } ?? time...time
    }

    private mutating func columns(
        _ body: (inout WriteRequestBuilder) throws(RemoteWriteError) -> Void
    ) throws(OTLPError) {
        do throws(RemoteWriteError) { try body(&builder) } catch { throw .columns(error) }
    }
}

/// A metric as its series are named.
private struct TranslatedMetric {
    /// Unicode scalars of its own name that a refusal shows.
    private static let shownNameMax = 200
    /// Bytes of a name, and of a unit, that are made a metric name: far more than the store takes of one.
    private static let nameBytesMax = 8_192

    var name = ""
    var shownName = ""
    var metadata: WriteRequest.RawMetadata?
    var defect: MetricTranslator.PointDefect?

    init() {}

    init(_ header: MetricHeader, _ builder: inout WriteRequestBuilder) {
        shownName = String((header.name ?? "").unicodeScalars.prefix(Self.shownNameMax))
        var isCumulative = true
        var kind = MetricNames.Kind.other
        let type: MetricType
        switch header.kind {
        case .gauge:
            kind = .gauge
            type = .gauge
        case .sum(let temporality, let isMonotonic):
            isCumulative = temporality == .cumulative
            if isMonotonic { kind = .counter }
            type = isMonotonic ? .counter : .gauge
        case .histogram(let temporality), .exponentialHistogram(let temporality):
            isCumulative = temporality == .cumulative
            type = .histogram
        case .summary: type = .summary
        }
        guard isCumulative else {
            defect = MetricTranslator.PointDefect(
                reason: .temporality,
                text: "its aggregation temporality is not cumulative; set the exporter's "
                    + "temporality preference to cumulative, or put the Collector's "
                    + "deltatocumulative processor before it")
            return
        }
        guard max(header.name?.utf8.count ?? 0, header.unit.utf8.count) <= Self.nameBytesMax else {
            defect = MetricTranslator.PointDefect(
                reason: .name,
                text: "its name or unit has more than \(Self.nameBytesMax) bytes")
            return
        }
        guard let name = header.name.flatMap({ MetricNames.metric($0, unit: header.unit, kind) })
        else {
            defect = MetricTranslator.PointDefect(
                reason: .name, text: "its name has no letter and no digit, or is no UTF-8")
            return
        }
        self.name = name
        metadata = WriteRequest.RawMetadata(
            type: type, help: builder.text(header.description),
            unit: builder.text(MetricNames.unit(header.unit)))
    }
}

/// The labels that the series of a data point have in common.
private struct PointLabels {
    /// Names of labels that some of the series have of their own.
    private static let ownNames = [Labels.metricNameLabel, "le", "quantile"]

    let labels: [Label]
    /// Where they are shared.
    let place: Range<Int>
    /// Those of `labels` that stand aside where a series has its own.
    let yielding: [Label]

    init(_ labels: [Label], at place: Range<Int>) {
        self.labels = labels
        self.place = place
        yielding = labels.filter { Self.ownNames.contains($0.name) }
    }
}

/// The series of one data point.
private struct PointSeries {
    /// Characters of an exemplar's labels, names and values together. Source: OpenMetrics 1.0, "Exemplars".
    private static let exemplarCharactersMax = 128

    var builder: WriteRequestBuilder
    private let metric: TranslatedMetric
    private let header: PointHeader
    /// Series that were made.
    private(set) var count = 0
    private(set) var refusedExemplarCount = 0

    init(builder: WriteRequestBuilder, metric: TranslatedMetric, header: PointHeader) {
        self.builder = builder
        self.metric = metric
        self.header = header
    }

    private var timestamp: Int64 { Int64(bitPattern: header.time) / 1_000_000 }
    private var start: Int64 { Int64(bitPattern: header.start) / 1_000_000 }

    /// A series named by the metric and `suffix`, of the labels `base` and `extra`, which goes before one of its name.
    mutating func sample(
        _ suffix: String, _ base: PointLabels, _ value: Double, _ extra: Label? = nil,
        exemplars: ArraySlice<ExemplarPoint> = []
    ) throws(OTLPError) {
        try addSeries(suffix, base, extra)
        let value = header.hasNoRecordedValue ? StalenessMarker.value : value
        do throws(RemoteWriteError) {
            try builder.addSample(timestamp, value, start: start)
        } catch { throw .columns(error) }
        for exemplar in exemplars { try add(exemplar) }
    }

    mutating func histogram(
        _ base: PointLabels, _ histogram: FloatHistogram, exemplars: [ExemplarPoint]
    ) throws(OTLPError) {
        try addSeries("", base, nil)
        do throws(RemoteWriteError) {
            try builder.addHistogram(
                HistogramSample(timestamp, histogram, startTimestamp: start))
        } catch { throw .columns(error) }
        for exemplar in exemplars { try add(exemplar) }
    }

    private mutating func addSeries(
        _ suffix: String, _ base: PointLabels, _ extra: Label?
    ) throws(OTLPError) {
        var labels = [Label(Labels.metricNameLabel, metric.name + suffix)]
        if let extra { labels.append(extra) }
        var shared = base.place
        if base.yielding.contains(where: { label in labels.contains { $0.name == label.name } }) {
            let own = Set(labels.map(\.name))
            labels += base.labels.filter { !own.contains($0.name) }
            shared = 0..<0
        }
        do throws(RemoteWriteError) {
            try builder.addSeries(labels, sharing: shared, metadata: metric.metadata)
        } catch { throw .columns(error) }
        count += 1
    }

    /// Trace and span always; the attributes that were filtered away where all of it is short enough.
    private mutating func add(_ exemplar: ExemplarPoint) throws(OTLPError) {
        var labels: [Label] = []
        for (name, bytes) in [("trace_id", exemplar.traceID), ("span_id", exemplar.spanID)] {
            let id = hexadecimal(bytes)
            if !id.isEmpty { labels.append(Label(name, id)) }
        }
        var others: [Label] = []
        for attribute in exemplar.attributes {
            guard let name = attribute.key, let text = attribute.value.labelText else {
                refusedExemplarCount += 1
                return
            }
            if !name.isEmpty, !labels.contains(where: { $0.name == name }) {
                others.append(Label(name, text))
            }
        }
        let characters = (labels + others).reduce(0) {
            $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count
        }
        if characters <= Self.exemplarCharactersMax { labels += others }
        guard let value = exemplar.value else {
            refusedExemplarCount += 1
            return
        }
        let time = exemplar.time == 0 ? timestamp : Int64(bitPattern: exemplar.time) / 1_000_000
        do throws(RemoteWriteError) {
            try builder.addExemplar(labels, value, at: time)
        } catch { throw .columns(error) }
    }
}
