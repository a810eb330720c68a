import Model

/// That a rule is broken by the sample at hand.
struct OpenMetricsBreach: Error {
    let rule: OpenMetricsRule

    init(_ rule: OpenMetricsRule) { self.rule = rule }
}

/// A metric family while its samples come.
struct OpenMetricsFamily {
    /// A sample read whole.
    struct Facts {
        var name: String
        var labels: Labels
        var value: Double
        /// Seconds.
        var timestamp: Double?
        var exemplar: ExpositionParser.Exemplar?
    }

    private static let exemplarCharactersMax = 128

    let name: String
    var type = ExpositionType.unknown
    var hasHelp = false
    var hasType = false
    var hasUnit = false
    var isUnitNamed = false
    private(set) var hasSamples = false
    private var group: Labels?
    private var groupTimestamp: Double?
    private var groups: Set<Labels> = []
    /// Those of `groupTimestamp`.
    private var series: Set<Labels> = []
    private var histogram: OpenMetricsHistogram?

    init(name: String) { self.name = name }

    /// Whether a sample of this name is one of this family.
    func owns(_ sample: String) -> Bool {
        sample.utf8.starts(with: name.utf8) && type.suffixes.contains(suffix(of: sample))
    }

    /// What a name has beyond the family's; bytes, for a name may end within a character of another.
    private func suffix(of sample: String) -> String {
        String(decoding: sample.utf8.dropFirst(name.utf8.count), as: UTF8.self)
    }

    mutating func add(_ sample: Facts) throws(OpenMetricsBreach) {
        hasSamples = true
        let suffix = suffix(of: sample.name)
        try checkLabels(sample, suffix)
        try checkValue(sample, suffix)
        try checkExemplar(sample, suffix)
        let isNew = try checkGroup(sample, suffix)
        guard type == .histogram || type == .gaugehistogram else { return }
        if isNew {
            try histogram?.finish()
            histogram = OpenMetricsHistogram()
        }
        try histogram?.add(suffix, sample)
    }

    mutating func finish() throws(OpenMetricsBreach) { try histogram?.finish() }

    private func checkLabels(_ sample: Facts, _ suffix: String) throws(OpenMetricsBreach) {
        switch type {
        case .stateset where sample.labels[name].isEmpty: throw OpenMetricsBreach(.stateLabel)
        case .histogram, .gaugehistogram:
            guard suffix == "_bucket" else { return }
            guard OpenMetricsHistogram.bound(sample.labels["le"]) != nil else {
                throw OpenMetricsBreach(.bucketBound)
            }
        case .summary:
            guard suffix.isEmpty else { return }
            guard let quantile = OpenMetricsHistogram.bound(sample.labels["quantile"]),
                (0...1).contains(quantile)
            else { throw OpenMetricsBreach(.quantileBound) }
        case .counter, .gauge, .info, .stateset, .unknown: break
        }
    }

    private func checkValue(_ sample: Facts, _ suffix: String) throws(OpenMetricsBreach) {
        let value = sample.value
        switch type {
        case .stateset where value != 0 && value != 1: throw OpenMetricsBreach(.stateValue)
        case .info where value != 1: throw OpenMetricsBreach(.infoValue)
        case .summary where suffix.isEmpty && value < 0: throw OpenMetricsBreach(.negativeValue)
        case .gauge, .unknown, .stateset, .info: return
        case .counter, .histogram, .gaugehistogram, .summary: break
        }
        guard !suffix.isEmpty, suffix != "_created" else { return }
        guard !value.isNaN else { throw OpenMetricsBreach(.notANumber) }
        guard value >= 0 || suffix == "_gsum" else { throw OpenMetricsBreach(.negativeValue) }
        if ["_bucket", "_count", "_gcount"].contains(suffix), value != value.rounded() {
            throw OpenMetricsBreach(.wholeCount)
        }
    }

    private func checkExemplar(_ sample: Facts, _ suffix: String) throws(OpenMetricsBreach) {
        guard let exemplar = sample.exemplar else { return }
        let isAllowed =
            suffix == "_bucket" && (type == .histogram || type == .gaugehistogram)
            || suffix == "_total" && type == .counter
        guard isAllowed else { throw OpenMetricsBreach(.exemplarPlace) }
        let length = exemplar.labels.reduce(0) {
            $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count
        }
        guard length <= Self.exemplarCharactersMax else {
            throw OpenMetricsBreach(.exemplarLength)
        }
    }

    /// Whether the sample begins another point: of another metric, or of another time.
    private mutating func checkGroup(
        _ sample: Facts, _ suffix: String
    ) throws(OpenMetricsBreach) -> Bool {
        let own = key(of: sample, suffix)
        let isSameGroup = own == group
        let isNew = !isSameGroup || sample.timestamp != groupTimestamp
        if isSameGroup {
            guard (sample.timestamp == nil) == (groupTimestamp == nil) else {
                throw OpenMetricsBreach(.mixedTimestamps)
            }
            if let before = groupTimestamp, let now = sample.timestamp, now < before, type != .info
            {
                throw OpenMetricsBreach(.timestampsBackwards)
            }
        } else if !groups.insert(own).inserted {
            throw OpenMetricsBreach(.scatteredGroup)
        }
        if isNew { series.removeAll(keepingCapacity: true) }
        // Those of one timestamp may differ by less than it says.
        guard series.insert(sample.labels).inserted || sample.timestamp != nil else {
            throw OpenMetricsBreach(.duplicateSample)
        }
        group = own
        groupTimestamp = sample.timestamp
        return isNew
    }

    /// The metric that the sample is of. Those of an info can't be told apart.
    private func key(of sample: Facts, _ suffix: String) -> Labels {
        let bound: String? =
            switch type {
            case .info: nil
            case .stateset: name
            case .histogram, .gaugehistogram: suffix == "_bucket" ? "le" : ""
            case .summary: suffix.isEmpty ? "quantile" : ""
            case .counter, .gauge, .unknown: ""
            }
        guard let bound else { return .empty }
        return sample.labels.dropping([Labels.metricNameLabel, bound])
    }
}

/// The samples of one histogram at one time.
struct OpenMetricsHistogram {
    private var bound: Double?
    private var bucketCount = 0.0
    private var count: Double?
    private var hasSum = false
    private var hasGaugeSum = false
    private var hasNegativeGaugeSum = false
    private var hasNegativeBounds = false

    /// The number that `le` or `quantile` says; infinity has one spelling.
    static func bound(_ text: String) -> Double? {
        let value = Array(text.utf8).withUnsafeBufferPointer { ExpositionNumber.parse($0) }
        guard let value, !value.isNaN, value.isFinite || text == "+Inf" else { return nil }
        return value
    }

    mutating func add(
        _ suffix: String, _ sample: OpenMetricsFamily.Facts
    ) throws(OpenMetricsBreach) {
        switch suffix {
        case "_bucket":
            guard let next = Self.bound(sample.labels["le"]) else {
                throw OpenMetricsBreach(.bucketBound)
            }
            if let bound, next <= bound { throw OpenMetricsBreach(.bucketOrder) }
            guard sample.value >= bucketCount else { throw OpenMetricsBreach(.bucketCounts) }
            hasNegativeBounds = hasNegativeBounds || next < 0
            bound = next
            bucketCount = sample.value
        case "_count", "_gcount": count = sample.value
        case "_sum": hasSum = true
        case "_gsum":
            hasGaugeSum = true
            hasNegativeGaugeSum = sample.value < 0
        default: break
        }
    }

    func finish() throws(OpenMetricsBreach) {
        guard bound == .infinity else { throw OpenMetricsBreach(.infiniteBucket) }
        if let count, count != bucketCount { throw OpenMetricsBreach(.countOfBuckets) }
        guard (count != nil) == (hasSum || hasGaugeSum) || hasNegativeBounds && !hasSum else {
            throw OpenMetricsBreach(.sumWithCount)
        }
        if hasNegativeBounds, hasSum { throw OpenMetricsBreach(.sumOfNegatives) }
        if hasNegativeGaugeSum, !hasNegativeBounds { throw OpenMetricsBreach(.negativeGaugeSum) }
    }
}
