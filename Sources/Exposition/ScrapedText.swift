package import Model

/// A text read whole, as columns: what a scrape stores.
///
/// `series[i]`, `values[i]`, … are one sample, in the order of the text. Samples of names ending in `_created` that say
/// when a counter, histogram or summary began are the `startTimestamps` of that metric's others, and samples too.
/// Source: OpenMetrics 1.0, "Created"; Prometheus 3.14 `st-storage`, which takes both; what skips the samples is
/// `created-timestamp-zero-ingestion`, off by default.
package struct ScrapedText: Sendable {
    /// What the text says of a family, as far as it says it.
    package struct Family: Hashable, Sendable {
        package var name: String
        package var type: ExpositionType
        package var help: String
        package var unit: String

        package init(name: String, type: ExpositionType, help: String = "", unit: String = "") {
            self.name = name
            self.type = type
            self.help = help
            self.unit = unit
        }
    }

    /// Where a sample's exemplar stands; `sample` is its index.
    package struct ExemplarPlace: Hashable, Sendable {
        package var sample: Int
        /// Labels, value and time as they are written: equal bytes are the same exemplar.
        package var text: Range<Int>

        package init(sample: Int, text: Range<Int>) {
            self.sample = sample
            self.text = text
        }
    }

    /// Where the series stand in `bytes`, name and labels as written: keys for who scrapes the same target again.
    package private(set) var series: [Range<Int>] = []
    package private(set) var values: [Double] = []
    /// Milliseconds since the epoch; empty where no sample has one, else `absent` where one has none.
    package private(set) var timestamps: [Int64] = []
    /// Milliseconds since the epoch, 0 where it isn't known; empty where it is known of none.
    package private(set) var startTimestamps: [Int64] = []
    /// Ascending by sample; 24 bytes each.
    package private(set) var exemplars: [ExemplarPlace] = []
    /// Each name once; of what is said twice the last counts.
    package private(set) var families: [Family] = []
    package let bytes: [UInt8]
    package let format: ExpositionFormat

    /// Stands for no timestamp among `timestamps`.
    package static let absent = Int64.min

    private let limits: ExpositionParser.Limits
    private var familyIndex: [String: Int] = [:]
    /// Which family each sample's labels are read with, so that bounds are spelled one way.
    private var types: [ExpositionType] = []

    /// Reads all of `bytes`. Throws for the first line that Prometheus would refuse, and for more than `samplesMax`.
    /// O(n); of families with `_created`, O(n log n).
    package init(
        _ bytes: [UInt8], _ format: ExpositionFormat, samplesMax: Int,
        limits: ExpositionParser.Limits = ExpositionParser.Limits()
    ) throws(ExpositionError) {
        self.bytes = bytes
        self.format = format
        self.limits = limits
        var parser = ExpositionParser(bytes, format, limits: limits)
        var span = FamilySpan()
        while let entry = try parser.next() {
            switch entry {
            case .comment: break
            case .help(let metric, let text):
                let index = family(parser.text(metric))
                families[index].help = parser.help(text)
            case .unit(let metric, let unit):
                let index = family(parser.text(metric))
                families[index].unit = parser.text(unit)
            case .type(let metric, let type):
                try resolve(span)
                let name = parser.text(metric)
                families[family(name)].type = type
                span = FamilySpan(name, type, from: values.count)
            case .sample: try add(parser, &span, samplesMax)
            }
        }
        try resolve(span)
        familyIndex = [:]
    }

    /// The labels of sample `index`, its name among them. Throws where one is there twice. O(length of the series).
    package func labels(_ index: Int) throws(ExpositionError) -> Labels {
        var parser = ExpositionParser(
            bytes, format, limits: limits, at: series[index].lowerBound, type: types[index])
        _ = try parser.next()
        return try parser.labels()
    }

    /// The exemplar of sample `index`; nil where it has none. Throws where a label is there twice. O(length of the line).
    package func exemplar(
        _ index: Int
    ) throws(ExpositionError) -> ExpositionParser.Exemplar? {
        var parser = ExpositionParser(
            bytes, format, limits: limits, at: series[index].lowerBound, type: types[index])
        _ = try parser.next()
        return try parser.exemplar()
    }

    private mutating func family(_ name: String) -> Int {
        if let known = familyIndex[name] { return known }
        familyIndex[name] = families.count
        families.append(Family(name: name, type: .unknown, help: "", unit: ""))
        return families.count - 1
    }

    private mutating func add(
        _ parser: ExpositionParser, _ span: inout FamilySpan, _ samplesMax: Int
    ) throws(ExpositionError) {
        let sample = parser.sample
        if format == .openMetrics, span.mayBeCreated(bytes[sample.name]) {
            let labels = try parser.labels()
            if span.isCreated(labels.metricName) {
                span.created.append((labels, Self.milliseconds(sample.value)))
            }
        }
        guard values.count < samplesMax else {
            throw ExpositionFailure(.tooManySamples(max: samplesMax), at: sample.series.lowerBound)
                .located(in: bytes)
        }
        if !sample.exemplar.isEmpty {
            exemplars.append(ExemplarPlace(sample: values.count, text: sample.exemplar))
        }
        if let timestamp = sample.timestamp, timestamps.isEmpty {
            timestamps = Array(repeating: Self.absent, count: values.count)
            timestamps.append(timestamp.rawValue)
        } else if !timestamps.isEmpty {
            timestamps.append(sample.timestamp?.rawValue ?? Self.absent)
        }
        series.append(sample.series)
        values.append(sample.value)
        types.append(parser.lastType)
        if !startTimestamps.isEmpty { startTimestamps.append(0) }
    }

    /// Seconds as milliseconds, to the nearest; 0 for what is no time after the epoch.
    private static func milliseconds(_ seconds: Double) -> Int64 {
        let rounded = (seconds * 1000).rounded()
        return rounded > 0 && rounded < 0x1p63 ? Int64(rounded) : 0
    }

    /// Gives the samples of `span` the times that its `_created` say.
    private mutating func resolve(_ span: FamilySpan) throws(ExpositionError) {
        guard !span.created.isEmpty else { return }
        if startTimestamps.isEmpty {
            startTimestamps = Array(repeating: 0, count: values.count)
        }
        let bound = span.type.boundLabel ?? Labels.metricNameLabel
        var times: [Labels: Int64] = [:]
        for (labels, time) in span.created {
            times[labels.dropping([Labels.metricNameLabel])] = time
        }
        for index in span.from..<values.count {
            let labels = try labels(index)
            guard span.owns(labels.metricName), !span.isCreated(labels.metricName) else {
                continue
            }
            startTimestamps[index] =
                times[labels.dropping([Labels.metricNameLabel, bound])] ?? 0
        }
    }
}

/// The family whose TYPE came last.
private struct FamilySpan {
    let name: String
    let type: ExpositionType
    /// Index of its first sample.
    let from: Int
    var created: [(labels: Labels, time: Int64)] = []

    init() { self.init("", .unknown, from: 0) }

    init(_ name: String, _ type: ExpositionType, from: Int) {
        self.name = name
        self.type = type
        self.from = from
    }

    /// Whether a name as it is written ends as those do that say a beginning. Cheap: nothing is unescaped.
    func mayBeCreated(_ written: ArraySlice<UInt8>) -> Bool {
        switch type {
        case .counter, .histogram, .summary: written.suffix(8).elementsEqual("_created".utf8)
        case .gauge, .unknown, .gaugehistogram, .info, .stateset: false
        }
    }

    /// Whether a name is that of what says a beginning.
    func isCreated(_ sample: String) -> Bool {
        sample.utf8.elementsEqual((name + "_created").utf8)
    }

    func owns(_ sample: String) -> Bool {
        sample.utf8.starts(with: name.utf8)
            && type.suffixes.contains(
                String(decoding: sample.utf8.dropFirst(name.utf8.count), as: UTF8.self))
    }
}
