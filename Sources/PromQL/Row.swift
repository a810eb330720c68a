import Model
import PromQLSyntax

/// One series of an intermediate result: its labels and a value for each step of the grid.
///
/// A step without a sample holds `Row.absent`, the staleness marker, which no operator yields: so a row is one flat
/// column. Histograms become a second column beside `values`.
struct Row {
    var labels: Labels
    /// Whether the metric name (and type and unit) are dropped from the final result.
    /// Source: Prometheus 3.14, delayed name removal.
    var dropsName: Bool
    var values: [Double]

    static let absent = StalenessMarker.value

    @inline(__always)
    static func isAbsent(_ value: Double) -> Bool {
        value.bitPattern == StalenessMarker.bitPattern
    }

    var isEmpty: Bool { values.allSatisfy(Row.isAbsent) }
}

/// A series as range functions read it: samples in time order without staleness markers.
struct RangeSeries {
    var labels: Labels
    var dropsName: Bool
    var timestamps: [Int64]
    var values: [Double]
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
        guard contains(where: { Labels.metadataNames.contains($0.name) }) else { return self }
        return dropping(Labels.metadataNames)
    }

    private static let metadataNames: Set<String> = ["__name__", "__type__", "__unit__"]

    /// As Prometheus prints a label set: `name{a="b"}`.
    var promQLText: String {
        let inner = filter { $0.name != Labels.metricNameLabel }
            .map { "\($0.name)=\(quoted($0.value))" }.joined(separator: ", ")
        return metricName.isEmpty || !inner.isEmpty ? "\(metricName){\(inner)}" : metricName
    }
}
