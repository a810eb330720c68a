import Model

/// Turns journal records into entries of streams, keeping the label sets of the streams it has seen.
///
/// Stream labels are few-valued only: source, unit, service_name, container. What changes with each session or run
/// (scopes, transient units) is no label; pid, identifier and priority are metadata.
struct JournalStreams: Sendable {
    private var known: [[UInt8]: Labels] = [:]
    private var key: [UInt8] = []
    private var identifiers: [[UInt8]: String] = [:]

    mutating func item(for record: JournalRecord) -> LogReadChunk.Item {
        let line = record.message
        var extracted = FieldExtractor.extract(line)
        for field in record.extracted.fields { extracted.set(field.name, field.value) }
        let priority = record.priority.first.flatMap { byte in
            record.priority.count == 1 && (48...55).contains(byte) ? byte - 48 : nil
        }
        return LogReadChunk.Item(
            stream: labels(for: record),
            entry: LogEntry(
                timestamp: JournalReader.time(record.realtimeMicroseconds),
                line: line,
                level: extracted.level ?? priority.flatMap(FieldExtractor.level(priority:)),
                metadata: metadata(record, extracted.fields)))
    }

    private mutating func metadata(_ record: JournalRecord, _ fields: [Label]) -> Labels {
        var labels: [Label] = []
        labels.reserveCapacity(5 + fields.count)
        if !record.pid.isEmpty { labels.append(Label("_PID", ProcText.string(record.pid[...]))) }
        labels += fields
        if !record.identifier.isEmpty {
            insert("identifier", interned(record.identifier), &labels)
        }
        if record.messageBytes > record.message.count {
            insert("petrel_cut", "\(record.messageBytes)", &labels)
        }
        if record.isFragment { insert("petrel_partial", "true", &labels) }
        if !record.priority.isEmpty {
            insert("priority", ProcText.string(record.priority[...]), &labels)
        }
        return Labels(sortedUnchecked: labels)
    }

    /// `labels` stays sorted by name.
    private func insert(_ name: String, _ value: String, _ labels: inout [Label]) {
        let label = Label(name, value)
        labels.insert(label, at: labels.firstIndex { label < $0 } ?? labels.count)
    }

    private mutating func interned(_ bytes: [UInt8]) -> String {
        if let text = identifiers[bytes] { return text }
        if identifiers.count >= LogLimits.streamsMax { identifiers = [:] }
        let text = String(decoding: bytes, as: UTF8.self)
        identifiers[bytes] = text
        return text
    }

    private mutating func labels(for record: JournalRecord) -> Labels {
        key.removeAll(keepingCapacity: true)
        for part in [record.unit, record.identifier, record.command, record.container] {
            key += part
            key.append(0)
        }
        if let labels = known[key] { return labels }
        if known.count >= LogLimits.streamsMax { known = [:] }
        let unit = Self.stableUnit(ProcText.string(record.unit[...]))
        let labels = Labels([
            "source": JournalReader.sourceName, "unit": unit,
            "container": ProcText.string(record.container[...]),
            "service_name": Self.serviceName(
                unit: unit, identifier: ProcText.string(record.identifier[...]),
                command: ProcText.string(record.command[...])),
        ])
        known[key] = labels
        return labels
    }

    /// The unit as a label; empty for units whose name changes from run to run.
    static func stableUnit(_ unit: String) -> String {
        if unit.hasSuffix(".scope") || unit.hasPrefix("run-") { return "" }
        return unit
    }

    static func serviceName(unit: String, identifier: String, command: String) -> String {
        if unit.hasSuffix(".service") { return String(unit.dropLast(".service".count)) }
        if !unit.isEmpty { return unit }
        return identifier.isEmpty ? command : identifier
    }
}
