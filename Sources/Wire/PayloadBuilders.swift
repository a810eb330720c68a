import FoundationEssentials
package import Model

/// Writes the payload of one metrics batch: definitions, and samples of one scrape or several.
package struct MetricsPayloadBuilder: Sendable {
    private var message = Petrel_Fleet_V1_MetricsBatch()
    private var scrape = Petrel_Fleet_V1_Scrape()
    private var values: [UInt8] = []
    private var definitionBytes = 0
    private var lastID: Int64 = 0
    private var lastStart: Int64
    private var startBytes = 0
    private var exemplarBytes = 0

    package init(timestamp: TimestampMS) {
        scrape.timestampMs = timestamp.rawValue
        lastStart = timestamp.rawValue
    }

    /// Samples so far.
    package var count: Int { earlier + scrape.seriesDeltas.count }

    /// Samples that follow have another time.
    package mutating func next(timestamp: TimestampMS) {
        guard timestamp.rawValue != scrape.timestampMs else { return }
        if !scrape.seriesDeltas.isEmpty { close() }
        scrape = Petrel_Fleet_V1_Scrape()
        scrape.timestampMs = timestamp.rawValue
        lastID = 0
        lastStart = timestamp.rawValue
        startBytes = 0
        values = []
    }

    private mutating func close() {
        scrape.values = .init(values)
        message.scrapes.append(scrape)
        earlier += scrape.seriesDeltas.count
        earlierBytes += values.count + startBytes + 32
    }

    /// Scrapes that have been closed, and their samples and bytes.
    package var closedScrapes: Int { message.scrapes.count }
    private var earlier = 0
    private var earlierBytes = 0

    /// At least the bytes that `finish` will give.
    package var bytesBound: Int {
        64 + definitionBytes + earlierBytes + values.count + startBytes + exemplarBytes + count * 6
    }

    /// Exemplars so far.
    package var exemplarCount: Int { message.exemplars.count }

    /// Why the labels of a series can't be sent; nil where they can.
    package static func problem(with labels: Labels) -> String? {
        switch LabelPairs.labels(LabelPairs.pairs(labels)) {
        case .success: labels.metricName.isEmpty ? "no metric name" : nil
        case .failure(let problem): problem.text
        }
    }

    /// Names a series that the dictionary does not have yet; `help` and `unit` with the family's first series only. A unit
    /// past its limit is left out.
    package mutating func define(
        _ id: UInt32, _ labels: Labels, _ type: MetricType, help: String?, unit: String? = nil
    ) {
        var definition = Petrel_Fleet_V1_SeriesDefinition()
        definition.id = id
        definition.labels = LabelPairs.pairs(labels)
        definition.type = type.wire
        definition.help = help.map { String($0.prefix(WireLimits.helpBytesMax / 4)) } ?? ""
        if let unit, unit.utf8.count <= WireLimits.unitBytesMax { definition.unit = unit }
        let texts = definition.help.utf8.count + definition.unit.utf8.count
        definitionBytes += definition.labels.reduce(32 + texts) { $0 + $1.utf8.count + 4 }
        message.definitions.append(definition)
    }

    /// `start`: when the counting of `value` began, milliseconds since the epoch; 0 where it isn't known, as is what is
    /// not within 1 … `WireLimits.startTimestampMax`.
    package mutating func add(_ id: UInt32, _ value: Double, start: Int64 = 0) {
        let isKnown = (1...WireLimits.startTimestampMax).contains(start)
        if isKnown, scrape.starts.isEmpty {
            scrape.starts = [UInt64](repeating: 0, count: scrape.seriesDeltas.count)
            startBytes = scrape.starts.count
        }
        if isKnown || !scrape.starts.isEmpty {
            let number = StartsCodec.encode(isKnown ? start : 0, last: &lastStart)
            startBytes += StartsCodec.bytes(number)
            scrape.starts.append(number)
        }
        scrape.seriesDeltas.append(Int32(truncatingIfNeeded: Int64(id) - lastID))
        lastID = Int64(id)
        ValuesCodec.append(value, to: &values)
    }

    /// Adds an exemplar of the series `id`; its labels must satisfy `Exemplar.mayHave` and have no NUL.
    package mutating func add(_ exemplar: Exemplar, of id: UInt32) {
        var added = Petrel_Fleet_V1_Exemplar()
        added.series = id
        added.labels = LabelPairs.pairs(exemplar.labels)
        added.value = exemplar.value
        added.timestampMs = exemplar.timestamp.rawValue
        exemplarBytes += added.labels.reduce(40) { $0 + $1.utf8.count + 4 }
        message.exemplars.append(added)
    }

    /// The payload.
    package func finish() -> [UInt8] {
        var message = message
        var scrape = scrape
        scrape.values = .init(values)
        message.scrapes.append(scrape)
        return serialized(message)
    }
}

/// Writes the payload of one log batch.
package struct LogPayloadBuilder: Sendable {
    private var message = Petrel_Fleet_V1_LogBatch()
    private var bytes = 64

    package init() {}

    /// Entries so far.
    package var count: Int { message.records.count }

    /// At least the bytes that `finish` will give.
    package var bytesBound: Int { bytes }

    /// At least the bytes that an entry takes.
    package static func bytesBound(_ entry: LogEntry) -> Int {
        entry.metadata.reduce(48 + entry.line.count) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + 12
        }
    }

    /// Why the labels of a stream can't be sent; nil where they can.
    package static func problem(with labels: Labels) -> String? {
        switch LabelPairs.labels(LabelPairs.pairs(labels)) {
        case .success: nil
        case .failure(let problem): problem.text
        }
    }

    /// Why an entry can't be sent; nil where it can.
    package static func problem(with entry: LogEntry) -> String? {
        if entry.line.count > LogEntry.lineBytesMax { return "a line of \(entry.line.count) bytes" }
        if entry.metadata.count > WireLimits.metadataMax { return "too many metadata fields" }
        for field in entry.metadata
        where field.name.utf8.count > WireLimits.labelNameBytesMax
            || field.value.utf8.count > WireLimits.metadataValueBytesMax
        {
            return "metadata field '\(field.name.prefix(64))' too long"
        }
        return nil
    }

    package mutating func define(_ id: UInt32, _ labels: Labels) {
        var definition = Petrel_Fleet_V1_LogStreamDefinition()
        definition.id = id
        definition.labels = LabelPairs.pairs(labels)
        bytes += definition.labels.reduce(32) { $0 + $1.utf8.count + 4 }
        message.definitions.append(definition)
    }

    package mutating func add(_ stream: UInt32, _ entry: LogEntry) {
        var record = Petrel_Fleet_V1_LogRecord()
        record.stream = stream
        record.timestampNs = entry.timestamp.rawValue
        record.line = .init(entry.line)
        record.level = entry.level ?? ""
        record.metadata = LabelPairs.pairs(entry.metadata)
        bytes += Self.bytesBound(entry)
        message.records.append(record)
    }

    /// The payload.
    package func finish() -> [UInt8] { serialized(message) }
}
