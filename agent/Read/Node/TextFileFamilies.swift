import Exposition
import Model

/// A metric family as one text file has it.
struct TextFileFamily {
    /// The histogram or summary of one label set, put together from its lines.
    struct Composite {
        /// Without the bound's label.
        var labels: Labels
        /// Bounds, or quantiles, as they came.
        var bounds: [(bound: Double, value: Double)] = []
        var sum: Double = 0
        var count: Double = 0
    }

    let name: String
    /// Nil until a TYPE line or a sample says it.
    fileprivate(set) var type: ExpositionType?
    /// Nil where the file has none.
    fileprivate(set) var help: String?
    /// Of counters, gauges and untyped families.
    fileprivate(set) var points: [MetricFamily.Point] = []
    /// Of histograms and summaries.
    fileprivate(set) var composites: [Composite] = []
    private var indexes: [Labels: Int] = [:]

    fileprivate init(_ name: String) { self.name = name }

    var isEmpty: Bool { points.isEmpty && composites.isEmpty }

    fileprivate mutating func withComposite(
        _ labels: Labels, _ change: (inout Composite) -> Void
    ) {
        let index = indexes[labels] ?? composites.count
        if index == composites.count {
            indexes[labels] = index
            composites.append(Composite(labels: labels))
        }
        change(&composites[index])
    }

    /// The samples of a composite: bounds ascending, of equal ones the last, `+Inf` always, then sum and count.
    /// Source: client_golang 1.23 `constHistogram.Write`, `expfmt.MetricFamilyToText`.
    func points(of composite: Composite) -> [MetricFamily.Point] {
        let isHistogram = type == .histogram
        let label = isHistogram ? "le" : "quantile"
        let bounds = composite.bounds.enumerated().sorted {
            ($0.element.bound, $0.offset) < ($1.element.bound, $1.offset)
        }.map(\.element)
        func named(_ suffix: String) -> Labels {
            suffix.isEmpty
                ? composite.labels
                : composite.labels.setting(Labels.metricNameLabel, name + suffix)
        }
        let own = named(isHistogram ? "_bucket" : "")
        var points: [MetricFamily.Point] = []
        for (index, element) in bounds.enumerated()
        where index + 1 == bounds.count || bounds[index + 1].bound != element.bound {
            points.append(.init(own.setting(label, GoFloat.text(element.bound)), element.value))
        }
        if isHistogram, bounds.last?.bound != .infinity {
            points.append(.init(own.setting(label, "+Inf"), composite.count))
        }
        points.append(.init(named("_sum"), composite.sum))
        points.append(.init(named("_count"), composite.count))
        return points
    }
}

/// The families of one text file, read as node_exporter reads it and not as a scraper does: a second HELP or TYPE, a TYPE
/// behind samples, a timestamp or a last line without an end makes the file an error.
/// Source: node_exporter 1.12 `textfile.go`; prometheus/common `expfmt.TextParser`.
struct TextFileFamilies {
    /// In the order in which their names come up; none without samples.
    private(set) var families: [TextFileFamily] = []
    private(set) var sampleCount = 0
    private var indexes: [String: Int] = [:]
    private let path: String
    private let samplesMax: Int

    /// What a sample's name says it is of its family.
    private enum Part { case value, sum, count, bucket }
    private typealias Target = (family: Int, part: Part)

    /// Throws `malformed` for the first bad line and for more than `samplesMax` samples. O(n log n).
    init(_ bytes: [UInt8], path: String, samplesMax: Int) throws(ReadError) {
        self.path = path
        self.samplesMax = samplesMax
        let tail = bytes[(bytes.lastIndex(of: 10).map { $0 + 1 } ?? 0)...]
        guard tail.allSatisfy({ $0 == 32 || $0 == 9 }) else {
            throw .malformed(
                path: path, detail: "the last line has no end: is the file still being written?")
        }
        var parser = ExpositionParser(bytes, .prometheusText)
        var last: (name: ArraySlice<UInt8>, target: Target)?
        while let entry = try next(&parser) {
            switch entry {
            case .comment, .unit: break
            case .help(let metric, let text):
                let help = Self.withoutLeadingBlanks(parser.help(text))
                let index = target(parser.text(metric)).family
                guard !help.isEmpty else { break }
                guard families[index].help == nil else {
                    throw fault(parser, metric, "a second HELP of \(parser.text(metric))")
                }
                families[index].help = help
            case .type(let metric, let type):
                let index = target(parser.text(metric)).family
                guard families[index].type == nil else {
                    throw fault(
                        parser, metric,
                        "a second TYPE of \(parser.text(metric)), or one behind its samples")
                }
                families[index].type = type
            case .sample:
                let name = bytes[parser.sample.name]
                if last?.name != name { last = (name, target(parser.text(parser.sample.name))) }
                guard let target = last?.target else { break }
                try add(parser, target)
            }
        }
        families.removeAll(where: \.isEmpty)
        indexes = [:]
    }

    private func next(
        _ parser: inout ExpositionParser
    ) throws(ReadError) -> ExpositionParser.Entry? {
        do { return try parser.next() } catch {
            throw .malformed(path: path, detail: "\(error)")
        }
    }

    private func fault(
        _ parser: ExpositionParser, _ place: Range<Int>, _ text: String
    ) -> ReadError {
        let line = parser.bytes[..<place.lowerBound].count { $0 == 10 } + 1
        return .malformed(path: path, detail: "line \(line): \(text)")
    }

    /// The family that a name belongs to, a new one where there is none.
    /// Source: prometheus/common `setOrCreateCurrentMF`.
    private mutating func target(_ name: String) -> Target {
        if let index = indexes[name] { return (index, .value) }
        for (suffix, part) in [("_sum", Part.sum), ("_count", .count), ("_bucket", .bucket)]
        where name.utf8.count > suffix.utf8.count && name.hasSuffix(suffix) {
            guard let index = indexes[String(name.dropLast(suffix.count))] else { continue }
            let type = families[index].type
            if type == .histogram || (type == .summary && part != .bucket) { return (index, part) }
        }
        indexes[name] = families.count
        families.append(TextFileFamily(name))
        return (families.count - 1, .value)
    }

    private mutating func add(
        _ parser: ExpositionParser, _ target: Target
    ) throws(ReadError) {
        let sample = parser.sample
        guard sampleCount < samplesMax else {
            throw fault(parser, sample.series, "more samples than all text files may have")
        }
        sampleCount += 1
        guard sample.timestamp == nil else {
            throw fault(parser, sample.series, "a timestamp, which no text file may have")
        }
        let labels: Labels
        do { labels = try parser.labels(normalizingBounds: false) } catch {
            throw .malformed(path: path, detail: "\(error)")
        }
        for label in labels
        where label.name.utf8.starts(with: "__".utf8) && label.name != Labels.metricNameLabel {
            throw fault(parser, sample.series, "the label \(label.name): __ is not for files")
        }
        switch families[target.family].type {
        case .histogram, .summary:
            try addComposite(parser, labels, target)
        case nil:
            families[target.family].type = .unknown
            fallthrough
        case .counter, .gauge, .unknown, .gaugehistogram, .info, .stateset:
            families[target.family].points.append(
                .init(labels.dropping(Self.nameAlone), sample.value))
        }
    }

    private static let nameAlone: Set<String> = [Labels.metricNameLabel]
    private static let ofBucket: Set<String> = [Labels.metricNameLabel, "le"]
    private static let ofQuantile: Set<String> = [Labels.metricNameLabel, "quantile"]

    private mutating func addComposite(
        _ parser: ExpositionParser, _ labels: Labels, _ target: Target
    ) throws(ReadError) {
        let isHistogram = families[target.family].type == .histogram
        let boundLabel = isHistogram ? "le" : "quantile"
        let text = labels[boundLabel]
        let bound = text.isEmpty ? Double.nan : Double(text)
        guard let bound else {
            throw fault(parser, parser.sample.series, "\(boundLabel)=\"\(text)\" is no number")
        }
        var value = parser.sample.value
        // Counts of observations are whole there.
        if target.part == .count || target.part == .bucket {
            value.round(.towardZero)
            guard value >= 0, value < 0x1p64 else {
                throw fault(
                    parser, parser.sample.series, "a count of \(GoFloat.text(parser.sample.value))")
            }
            value = value.magnitude
        }
        let isBound = target.part == (isHistogram ? .bucket : .value) && !bound.isNaN
        let own = labels.dropping(isHistogram ? Self.ofBucket : Self.ofQuantile)
        families[target.family].withComposite(own) { composite in
            switch target.part {
            case .sum: composite.sum = value
            case .count: composite.count = value
            case .value, .bucket: if isBound { composite.bounds.append((bound, value)) }
            }
        }
    }

    private static func withoutLeadingBlanks(_ text: String) -> String {
        String(decoding: text.utf8.drop { $0 == 32 || $0 == 9 }, as: UTF8.self)
    }
}
