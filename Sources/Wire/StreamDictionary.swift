package import Model

/// A series as a dictionary defines it.
package struct DefinedSeries: Hashable, Sendable {
    /// With `__name__`.
    package var labels: Labels
    package var metadata: MetricMetadata

    package init(labels: Labels, metadata: MetricMetadata) {
        self.labels = labels
        self.metadata = metadata
    }
}

/// The definitions that a receiver holds for one stream's current dictionary: ids to series and to log streams.
///
/// A definition may be repeated word for word (a batch that comes twice); another one under the same id is refused.
/// At most `WireLimits.dictionaryIDMax` definitions of each sort.
package struct StreamDictionary: Sendable {
    /// First sequence of the sender's spool segment.
    package let number: UInt64
    private var seriesByID: [DefinedSeries?] = []
    private var streamsByID: [Labels?] = []
    private var seriesIDs: [Labels: UInt32] = [:]
    private var streamIDs: [Labels: UInt32] = [:]
    private var metadataByFamily: [ExactText: MetricMetadata] = [:]

    package init(number: UInt64) { self.number = number }

    /// The series that `id` names; nil where it isn't defined (or its definition was refused). O(1).
    package func series(_ id: UInt32) -> DefinedSeries? {
        let index = Int(id)
        return index < seriesByID.count ? seriesByID[index] : nil
    }

    /// The labels of the log stream that `id` names; nil where it isn't defined. O(1).
    package func stream(_ id: UInt32) -> Labels? {
        let index = Int(id)
        return index < streamsByID.count ? streamsByID[index] : nil
    }

    /// The highest series id seen; ids are small, so receivers map them by array index.
    package var seriesIDMax: UInt32 { UInt32(max(0, seriesByID.count - 1)) }

    /// Takes the definitions of a `Dictionary` message, sent before a connection's first batch of a dictionary.
    package mutating func define(_ message: Petrel_Fleet_V1_Dictionary) -> [RecordProblem] {
        var problems = ProblemList()
        define(series: message.series, &problems)
        define(streams: message.streams, &problems)
        return problems.problems
    }

    mutating func define(
        series definitions: [Petrel_Fleet_V1_SeriesDefinition], _ problems: inout ProblemList
    ) {
        for (index, definition) in definitions.enumerated() {
            if let problem = define(definition) {
                problems.note(index, lost: 0, "series \(definition.id): \(problem)")
            }
        }
    }

    mutating func define(
        streams definitions: [Petrel_Fleet_V1_LogStreamDefinition], _ problems: inout ProblemList
    ) {
        for (index, definition) in definitions.enumerated() {
            if let problem = define(definition) {
                problems.note(index, lost: 0, "stream \(definition.id): \(problem)")
            }
        }
    }

    private mutating func define(_ definition: Petrel_Fleet_V1_SeriesDefinition) -> String? {
        switch LabelPairs.labels(definition.labels) {
        case .failure(let problem): return problem.text
        case .success(let labels):
            guard !labels.metricName.isEmpty else { return "no metric name" }
            guard definition.help.utf8.count <= WireLimits.helpBytesMax else {
                return "help too long"
            }
            if let problem = Self.claim(definition.id, labels, &seriesIDs) { return problem }
            let type = MetricType(definition.type)
            let family = ExactText(type.familyName(of: labels.metricName))
            let unit =
                definition.unit.utf8.count <= WireLimits.unitBytesMax ? definition.unit : ""
            if !definition.help.isEmpty || !unit.isEmpty || metadataByFamily[family] == nil {
                metadataByFamily[family] = MetricMetadata(
                    type: type, help: definition.help, unit: unit)
            }
            let series = DefinedSeries(
                labels: labels,
                metadata: metadataByFamily[family] ?? MetricMetadata(type: type))
            Self.put(series, at: definition.id, &seriesByID)
            return nil
        }
    }

    private mutating func define(_ definition: Petrel_Fleet_V1_LogStreamDefinition) -> String? {
        switch LabelPairs.labels(definition.labels) {
        case .failure(let problem): return problem.text
        case .success(let labels):
            if let problem = Self.claim(definition.id, labels, &streamIDs) { return problem }
            Self.put(labels, at: definition.id, &streamsByID)
            return nil
        }
    }

    private static func claim(
        _ id: UInt32, _ labels: Labels, _ ids: inout [Labels: UInt32]
    ) -> String? {
        guard id >= 1, id <= WireLimits.dictionaryIDMax else {
            return "id outside 1...\(WireLimits.dictionaryIDMax)"
        }
        if let other = ids[labels], other != id { return "the same labels as id \(other)" }
        ids[labels] = id
        return nil
    }

    private static func put<Value>(_ value: Value, at id: UInt32, _ slots: inout [Value?]) {
        let index = Int(id)
        while slots.count <= index { slots.append(nil) }
        slots[index] = value
    }
}

/// Label sets as the protocol writes them: name, value, name, value.
enum LabelPairs {
    struct Problem: Error { var text: String }

    static func pairs(_ labels: Labels) -> [String] {
        var pairs: [String] = []
        pairs.reserveCapacity(labels.count * 2)
        for label in labels {
            pairs.append(label.name)
            pairs.append(label.value)
        }
        return pairs
    }

    /// Labels strictly ascending by name, none empty, none with a NUL (PostgreSQL's text has none), within the limits.
    static func labels(_ pairs: [String]) -> Result<Labels, Problem> {
        func refuse(_ text: String) -> Result<Labels, Problem> { .failure(Problem(text: text)) }
        guard pairs.count.isMultiple(of: 2) else { return refuse("a label without a value") }
        guard pairs.count / 2 <= WireLimits.labelsMax else {
            return refuse("\(pairs.count / 2) labels, at most \(WireLimits.labelsMax)")
        }
        var labels: [Label] = []
        labels.reserveCapacity(pairs.count / 2)
        for index in stride(from: 0, to: pairs.count, by: 2) {
            let label = Label(pairs[index], pairs[index + 1])
            guard !label.name.isEmpty, !label.value.isEmpty else { return refuse("an empty label") }
            guard label.name.utf8.count <= WireLimits.labelNameBytesMax else {
                return refuse("a label name of \(label.name.utf8.count) bytes")
            }
            guard label.value.utf8.count <= WireLimits.labelValueBytesMax else {
                return refuse("a label value of \(label.value.utf8.count) bytes")
            }
            guard !label.name.utf8.contains(0), !label.value.utf8.contains(0) else {
                return refuse("a NUL in a label")
            }
            if let last = labels.last, !bytesPrecede(last.name, label.name) {
                return refuse("labels not ascending")
            }
            labels.append(label)
        }
        return .success(Labels(sortedUnchecked: labels))
    }
}
