import Model
import PromQLSyntax

/// One series of an intermediate result: its labels and a value for each step of the grid.
///
/// A step without a number holds `Row.absent`, the staleness marker, which no operator yields: so a row is one flat
/// column. Native histograms lie in a second column that most rows don't have, and whose steps have no number: what
/// only knows numbers doesn't see them.
struct Row {
    var labels: Labels
    /// Whether the metric name (and type and unit) are still to be dropped: from the final result, or where names go at
    /// once as soon as the row is made. Source: Prometheus 3.14, delayed name removal.
    var dropsName: Bool
    var values: [Double]
    /// One a step, or none at all.
    var histograms: [FloatHistogram?] = []

    static let absent = StalenessMarker.value

    @inline(__always)
    static func isAbsent(_ value: Double) -> Bool {
        value.bitPattern == StalenessMarker.bitPattern
    }

    var isEmpty: Bool {
        values.allSatisfy(Row.isAbsent)
            && (histograms.isEmpty || !histograms.contains { $0 != nil })
    }

    /// How many numbers and how many histograms it has.
    var pointCounts: (numbers: Int, histograms: Int) {
        (
            values.reduce(0) { Row.isAbsent($1) ? $0 : $0 + 1 },
            histograms.reduce(0) { $1 == nil ? $0 : $0 + 1 }
        )
    }

    var hasHistograms: Bool { !histograms.isEmpty }

    /// What a step of the histogram column weighs, with a histogram or without; as `FloatHistogram.weight`.
    static let histogramCellWeight = FloatHistogram().weight

    /// What the histogram column weighs with all buckets in it.
    var histogramWeight: Int {
        histograms.reduce(0) { $0 + ($1?.weight ?? Row.histogramCellWeight) }
    }

    /// Whether the row has a number or a histogram at `step`.
    @inline(__always)
    func isPresent(_ step: Int) -> Bool {
        !Row.isAbsent(values[step]) || !histograms.isEmpty && histograms[step] != nil
    }

    func histogram(_ step: Int) -> FloatHistogram? {
        histograms.isEmpty ? nil : histograms[step]
    }

    /// Takes away what the row has at `step`.
    @inline(__always)
    mutating func clear(_ step: Int) {
        values[step] = Row.absent
        if !histograms.isEmpty { histograms[step] = nil }
    }

    /// Makes `histogram` the row's sample at `step`.
    mutating func set(_ histogram: FloatHistogram, _ step: Int) {
        if histograms.isEmpty { histograms = Row.noHistograms(values.count) }
        values[step] = Row.absent
        histograms[step] = histogram
    }

    /// Takes away the histograms at the steps that `isKept` refuses.
    mutating func keepHistograms(where isKept: (Int) -> Bool) {
        for step in histograms.indices where !isKept(step) { histograms[step] = nil }
    }

    static func noHistograms(_ count: Int) -> [FloatHistogram?] {
        [FloatHistogram?](repeating: nil, count: count)
    }
}

extension [Row] {
    /// Without histograms, and without the rows that had nothing else.
    func numbersOnly() -> [Row] {
        guard contains(where: \.hasHistograms) else { return self }
        return compactMap { row in
            guard row.hasHistograms else { return row }
            var row = row
            row.histograms = []
            return row.isEmpty ? nil : row
        }
    }
}

/// A series as range functions read it: samples in time order without staleness markers.
struct RangeSeries {
    var labels: Labels
    var dropsName: Bool
    var timestamps: [Int64]
    var values: [Double]
    /// One a value, 0 where it isn't known; empty where it is known of none, or isn't asked for.
    var startTimestamps: [Int64] = []
    var histogramTimestamps: [Int64] = []
    var histograms: [HistogramSample] = []
}

/// An intermediate result.
enum Value {
    /// A number for each step.
    case scalar([Double])
    case string(String)
    case vector([Row])
}

extension Labels {
    /// This set without metric name, type and unit.
    func droppingMetadata() -> Labels {
        guard contains(where: { Labels.isMetadata($0.name) }) else { return self }
        return Labels(sortedUnchecked: filter { !Labels.isMetadata($0.name) })
    }

    /// Whether `name` is that of the metric name, the type or the unit. Source: Prometheus 3.14 `schema.IsMetadataLabel`.
    static func isMetadata(_ name: String) -> Bool {
        name == metricNameLabel || name == "__type__" || name == "__unit__"
    }

    /// As Prometheus' messages print a label set: `{__name__="up", job="a"}`.
    /// Source: Prometheus 3.14 `labels.Labels.String`.
    var bracedText: String {
        let inner = map { label in
            "\(labelText(label.name))=\(quoted(label.value))"
        }
        return "{\(inner.joined(separator: ", "))}"
    }
}
