import Model

/// Holds a text against all of OpenMetrics 1.0, where `ExpositionParser` takes what Prometheus takes.
///
/// Source: OpenMetrics 1.0, "ABNF", "Overall Structure" and "Metric Types", as its reference parser (client_python)
/// applies them. Memory is bounded by the text's length: names and label sets of one family at a time are kept, and the
/// names of all families.
package struct OpenMetricsChecker {
    private var parser: ExpositionParser
    private var family: OpenMetricsFamily?
    private var names: Set<String> = []
    private var at = 0

    /// Throws for the first rule that `bytes` break. O(n log n).
    package static func check(
        _ bytes: [UInt8], limits: ExpositionParser.Limits = ExpositionParser.Limits()
    ) throws(ExpositionError) {
        var checker = OpenMetricsChecker(bytes, limits)
        try checker.run()
    }

    private init(_ bytes: [UInt8], _ limits: ExpositionParser.Limits) {
        parser = ExpositionParser(bytes, .openMetrics, limits: limits)
    }

    private mutating func run() throws(ExpositionError) {
        while let entry = try parser.next() {
            switch entry {
            case .comment: break
            case .help(let metric, _): try metadata(metric, \.hasHelp)
            case .type(let metric, let type):
                try metadata(metric, \.hasType)
                family?.type = type
            case .unit(let metric, let unit):
                try metadata(metric, \.hasUnit)
                family?.isUnitNamed = !unit.isEmpty
            case .sample: try sample()
            }
        }
        try finish()
    }

    private func broken(_ rule: OpenMetricsRule, at: Int? = nil) -> ExpositionError {
        ExpositionFailure(.rule(rule), at: at ?? self.at).located(in: parser.bytes)
    }

    private mutating func metadata(
        _ metric: Range<Int>, _ isThere: WritableKeyPath<OpenMetricsFamily, Bool>
    ) throws(ExpositionError) {
        let name = parser.text(metric)
        if family?.name != name { try begin(name, at: metric.lowerBound) }
        guard var family else { return }
        guard !family.hasSamples else {
            throw broken(.metadataAfterSamples, at: metric.lowerBound)
        }
        guard !family[keyPath: isThere] else {
            throw broken(.repeatedMetadata, at: metric.lowerBound)
        }
        family[keyPath: isThere] = true
        self.family = family
    }

    private mutating func begin(_ name: String, at: Int) throws(ExpositionError) {
        try finish()
        family = OpenMetricsFamily(name: name)
        self.at = at
    }

    private mutating func finish() throws(ExpositionError) {
        guard var family else { return }
        for suffix in Set(family.type.suffixes + [""]) {
            guard names.insert(family.name + suffix).inserted else { throw broken(.clashingName) }
        }
        if family.isUnitNamed, family.type == .info || family.type == .stateset {
            throw broken(.unitOfStates)
        }
        do throws(OpenMetricsBreach) { try family.finish() } catch { throw broken(error.rule) }
        self.family = nil
    }

    private mutating func sample() throws(ExpositionError) {
        let sample = parser.sample
        let name = parser.text(sample.name)
        if family.map({ !$0.owns(name) }) ?? true { try begin(name, at: sample.series.lowerBound) }
        at = sample.series.lowerBound
        guard !parser.line.hasLooseCommas else { throw broken(.looseComma) }
        let facts = OpenMetricsFamily.Facts(
            name: name, labels: try parser.labels(normalizingBounds: false), value: sample.value,
            timestamp: seconds(parser.line.timestampText), exemplar: try parser.exemplar())
        guard var family else { return }
        self.family = nil
        do throws(OpenMetricsBreach) { try family.add(facts) } catch { throw broken(error.rule) }
        self.family = family
    }

    /// As precise as a double: two times within a millisecond have an order.
    private func seconds(_ range: Range<Int>) -> Double? {
        guard !range.isEmpty else { return nil }
        return parser.bytes.withUnsafeBufferPointer {
            ExpositionNumber.parse(UnsafeBufferPointer(rebasing: $0[range]))
        }
    }
}
