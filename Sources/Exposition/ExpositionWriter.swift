package import Model

/// Writes metric families in the Prometheus text format 0.0.4 into one growing buffer that is kept between scrapes.
///
/// Families come out sorted by name, points of counters, gauges and untyped families sorted by labels; points of
/// histograms and summaries keep their order, since theirs is by bound and not by text. A family given twice gets one
/// HELP and TYPE. Names that are no legacy names are written quoted, `{"a.b",c="d"}`.
/// Source: Prometheus docs/instrumenting/exposition_formats.md; client_golang 1.23 `expfmt/text_create.go`.
package struct ExpositionWriter: Sendable {
    /// The value of the `Content-Type` header that belongs to the text.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// What has been written since `init` or the last `removeAll`.
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Forgets the text and keeps its memory.
    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// Appends `families`. O(n log n) in families and in the points of each.
    package mutating func write(_ families: [MetricFamily]) {
        let order = families.indices.sorted { a, b in
            families[a].name == families[b].name
                ? a < b : bytesPrecede(families[a].name, families[b].name)
        }
        var previous: String?
        for index in order {
            let family = families[index]
            guard !family.points.isEmpty else { continue }
            if family.name != previous { writeHead(family) }
            previous = family.name
            writePoints(family)
        }
    }

    /// The text of `families` alone.
    package static func text(_ families: [MetricFamily]) -> [UInt8] {
        var writer = ExpositionWriter()
        writer.write(families)
        return writer.bytes
    }

    /// Appends the TYPE line that samples of `family` follow, for writers of single samples.
    package mutating func writeType(_ family: String, _ type: MetricType) {
        writeHead(MetricFamily(family, type, help: ""))
    }

    /// Appends one sample with its time. Labels named in `empty` that `labels` lacks are written as the empty string, so
    /// that a scraper does not set its own.
    package mutating func writeSample(
        _ labels: Labels, of family: String, value: Double, at time: TimestampMS,
        empty: [String] = []
    ) {
        writeSeries(labels, of: family, empty: empty)
        GoFloat.append(value, to: &bytes)
        bytes += " \(time.rawValue)\n".utf8
    }

    private mutating func writeHead(_ family: MetricFamily) {
        let isLegacy = Self.isLegacyName(family.name, colonAllowed: true)
        if !family.metadata.help.isEmpty {
            bytes += "# HELP ".utf8
            writeName(family.name, isLegacy: isLegacy)
            bytes.append(UInt8(ascii: " "))
            writeEscaped(family.metadata.help, quotes: false)
            bytes.append(UInt8(ascii: "\n"))
        }
        bytes += "# TYPE ".utf8
        writeName(family.name, isLegacy: isLegacy)
        bytes.append(UInt8(ascii: " "))
        switch family.metadata.type {
        case .unknown: bytes += "untyped".utf8
        case .counter, .gauge, .histogram, .summary: bytes += family.metadata.type.rawValue.utf8
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func writePoints(_ family: MetricFamily) {
        switch family.metadata.type {
        case .histogram, .summary:
            for point in family.points { writePoint(point, of: family.name) }
        case .counter, .gauge, .unknown:
            let points = family.points
            if points.indices.dropFirst().allSatisfy({ points[$0 - 1].labels <= points[$0].labels })
            {
                for point in points { writePoint(point, of: family.name) }
            } else {
                let order = points.indices.sorted { a, b in
                    points[a].labels == points[b].labels
                        ? a < b : points[a].labels < points[b].labels
                }
                for index in order { writePoint(points[index], of: family.name) }
            }
        }
    }

    private mutating func writePoint(_ point: MetricFamily.Point, of family: String) {
        writeSeries(point.labels, of: family)
        GoFloat.append(point.value, to: &bytes)
        bytes.append(UInt8(ascii: "\n"))
    }

    /// A series' name and labels, and the blank before its value.
    private mutating func writeSeries(
        _ labels: Labels, of family: String, empty: [String] = []
    ) {
        let ownName = labels.metricName
        let name = ownName.isEmpty ? family : ownName
        let isLegacy = Self.isLegacyName(name, colonAllowed: true)
        var isOpen = false
        if isLegacy {
            bytes += name.utf8
        } else {
            bytes.append(UInt8(ascii: "{"))
            writeName(name, isLegacy: false)
            isOpen = true
        }
        func writeLabel(_ name: String, _ value: String) {
            bytes.append(isOpen ? UInt8(ascii: ",") : UInt8(ascii: "{"))
            isOpen = true
            writeName(name, isLegacy: Self.isLegacyName(name, colonAllowed: false))
            bytes += "=\"".utf8
            writeEscaped(value, quotes: true)
            bytes.append(UInt8(ascii: "\""))
        }
        for label in labels where label.name != Labels.metricNameLabel {
            writeLabel(label.name, label.value)
        }
        for name in empty where labels[name].isEmpty { writeLabel(name, "") }
        if isOpen { bytes.append(UInt8(ascii: "}")) }
        bytes.append(UInt8(ascii: " "))
    }

    private mutating func writeName(_ name: String, isLegacy: Bool) {
        guard !isLegacy else {
            bytes += name.utf8
            return
        }
        bytes.append(UInt8(ascii: "\""))
        writeEscaped(name, quotes: true)
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func writeEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes += "\\\\".utf8
            case UInt8(ascii: "\n"): bytes += "\\n".utf8
            case UInt8(ascii: "\"") where quotes: bytes += "\\\"".utf8
            default: bytes.append(byte)
            }
        }
    }

    /// Whether the name is letters, digits and underscores with no digit first, as Prometheus 2 had its names; those of
    /// metrics may have colons too.
    package static func isLegacyName(_ name: String, colonAllowed: Bool) -> Bool {
        var isFirst = true
        for byte in name.utf8 {
            switch byte {
            case 65...90, 97...122, UInt8(ascii: "_"): break
            case 48...57 where !isFirst: break
            case UInt8(ascii: ":") where colonAllowed: break
            default: return false
            }
            isFirst = false
        }
        return !isFirst
    }
}
