import Model

/// Label names of attributes, made once each.
struct LabelNames {
    /// Names that are remembered; beyond it all are forgotten.
    private static let countMax = 10_000

    private var known: [ExactText: String?] = [:]

    /// Nil where nothing is left of the attribute's name.
    mutating func name(_ key: String) -> String? {
        let text = ExactText(key)
        if let known = known[text] { return known }
        if known.count >= Self.countMax { known = [:] }
        let name = MetricNames.label(key)
        known[text] = .some(name)
        return name
    }
}

/// What the series of a resource have in common.
struct ResourceLabels {
    /// Attributes that are `job` and `instance`.
    private static let identifying = ["service.namespace", "service.name", "service.instance.id"]

    private let attributes: [Attribute]
    /// Empty where the resource does not say it.
    private let job: String
    private let instance: String
    /// Whether the resource's texts are UTF-8.
    private let isText: Bool

    init(_ attributes: [Attribute]) {
        self.attributes = attributes
        func value(_ key: String) -> String? {
            attributes.first { $0.key == key }?.value.labelText
        }
        isText = attributes.allSatisfy { attribute in
            guard let key = attribute.key else { return false }
            return !Self.identifying.contains(key) || attribute.value.labelText != nil
        }
        let name = value("service.name")
        let namespace = value("service.namespace")
        job = name.map { name in namespace.map { $0 + "/" + name } ?? name } ?? ""
        instance = value("service.instance.id") ?? ""
    }

    /// The labels of a data point, ascending by name, without a metric's name.
    func labels(
        _ attributes: [Attribute], _ names: inout LabelNames
    ) throws(MetricTranslator.PointDefect) -> [Label] {
        guard isText else {
            throw MetricTranslator.PointDefect(
                reason: .labels, text: "a resource attribute is no UTF-8")
        }
        return try merged(attributes, &names)
    }

    /// Those of `target_info`: what the resource says beside who it is. Nil where it says nothing else or not who it is.
    func targetInfo(_ names: inout LabelNames) -> [Label]? {
        let others = attributes.filter { attribute in
            attribute.key.map { !Self.identifying.contains($0) } ?? true
        }
        guard isText, !others.isEmpty, !(job.isEmpty && instance.isEmpty),
            let labels = try? merged(others, &names)
        else { return nil }
        return [Label(Labels.metricNameLabel, "target_info")]
            + labels.filter { $0.name != Labels.metricNameLabel }
    }

    /// Attributes whose names become the same are one label, their values joined with `;` in the order of the names.
    private func merged(
        _ attributes: [Attribute], _ names: inout LabelNames
    ) throws(MetricTranslator.PointDefect) -> [Label] {
        var sorted: [(key: String, value: String)] = []
        for attribute in attributes {
            guard let key = attribute.key, let value = attribute.value.labelText else {
                throw MetricTranslator.PointDefect(
                    reason: .labels, text: "an attribute is no UTF-8")
            }
            if key != Labels.metricNameLabel { sorted.append((key, value)) }
        }
        sorted.sort { bytesPrecede($0.key, $1.key) }
        var values: [String: String] = [:]
        for (key, value) in sorted {
            guard let name = names.name(key) else {
                throw MetricTranslator.PointDefect(
                    reason: .labels, text: "nothing is left of an attribute's name")
            }
            // In place: there may be a million of one name.
            Self.join(value, to: &values[name, default: ""])
        }
        if !job.isEmpty { values["job"] = job }
        if !instance.isEmpty { values["instance"] = instance }
        return values.filter { !$0.value.isEmpty }.map { Label($0.key, $0.value) }
            .sorted { bytesPrecede($0.name, $1.name) }
    }

    private static func join(_ value: String, to joined: inout String) {
        if !joined.isEmpty { joined += ";" }
        joined += value
    }
}

/// When `target_info` has samples.
enum TargetInfo {
    /// Nanoseconds from one sample to the next: half of the lookback delta, so that none is missed.
    private static let pauseNanoseconds: Int64 = 150_000_000_000
    /// Samples of a request; of a longer time the newest.
    private static let samplesMax: Int64 = 1_000

    /// From the earliest through the latest of the data points; milliseconds since the epoch, ascending.
    static func times(_ range: ClosedRange<Int64>) -> [Int64] {
        let (span, overflow) = range.upperBound.subtractingReportingOverflow(range.lowerBound)
        let isLong = overflow || span > samplesMax * pauseNanoseconds
        let count = isLong ? samplesMax : (span + pauseNanoseconds - 1) / pauseNanoseconds
        let first =
            isLong ? range.upperBound - samplesMax * pauseNanoseconds : range.lowerBound
        var times: [Int64] = []
        for step in 0...count {
            let time = step == count ? range.upperBound : first + step * pauseNanoseconds
            if times.last != time / 1_000_000 { times.append(time / 1_000_000) }
        }
        return times
    }
}
