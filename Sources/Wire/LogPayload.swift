package import Model

/// Reads and writes the payload of a log batch.
package enum LogPayload {
    /// Takes the payload's definitions into `dictionary` and returns the entries that can be stored, grouped by stream
    /// in the order sent, and what is wrong with the rest. Throws where the payload as a whole is no log batch or too
    /// large; the dictionary is then unchanged.
    package static func decode(
        _ payload: [UInt8], dictionary: inout StreamDictionary
    ) throws(WireError) -> (good: [LogStream], problems: [RecordProblem]) {
        let message: Petrel_Fleet_V1_LogBatch = try parsed(payload, "LogBatch")
        guard message.records.count <= WireLimits.recordsMax else {
            throw .tooLarge(
                what: "log records", actual: message.records.count, maximum: WireLimits.recordsMax)
        }
        var problems = ProblemList()
        dictionary.define(streams: message.definitions, &problems)
        var streams: [LogStream] = []
        var indexByID: [UInt32: Int] = [:]
        for (index, record) in message.records.enumerated() {
            guard let labels = dictionary.stream(record.stream) else {
                problems.note(index, lost: 1, "record \(index): stream \(record.stream) undefined")
                continue
            }
            guard record.line.count <= LogEntry.lineBytesMax else {
                problems.note(index, lost: 1, "record \(index): line of \(record.line.count) bytes")
                continue
            }
            guard let metadata = metadata(record.metadata) else {
                problems.note(index, lost: 1, "record \(index): metadata past its limits")
                continue
            }
            if indexByID[record.stream] == nil {
                indexByID[record.stream] = streams.count
                streams.append(LogStream(labels: labels))
            }
            let entry = LogEntry(
                timestamp: TimestampNS(record.timestampNs), line: [UInt8](record.line),
                level: levels.contains(record.level) ? record.level : nil, metadata: metadata)
            streams[indexByID[record.stream] ?? 0].entries.append(entry)
        }
        return (streams, problems.problems)
    }

    /// Entries of `streams`.
    package static func entryCount(of streams: [LogStream]) -> Int {
        streams.reduce(0) { $0 + $1.entries.count }
    }

    /// The levels that exist; any other is read as none.
    package static let levels: Set<String> = [
        "trace", "debug", "info", "warn", "error", "critical", "fatal",
    ]

    /// Nil past the limits. NUL bytes become U+FFFD (PostgreSQL's text has none).
    private static func metadata(_ pairs: [String]) -> Labels? {
        guard pairs.count.isMultiple(of: 2), pairs.count / 2 <= WireLimits.metadataMax else {
            return nil
        }
        var labels: [Label] = []
        labels.reserveCapacity(pairs.count / 2)
        for index in stride(from: 0, to: pairs.count, by: 2) {
            let (name, value) = (pairs[index], pairs[index + 1])
            guard !name.isEmpty, name.utf8.count <= WireLimits.labelNameBytesMax,
                value.utf8.count <= WireLimits.metadataValueBytesMax
            else { return nil }
            labels.append(Label(withoutNUL(name), withoutNUL(value)))
        }
        return Labels(labels)
    }

    /// `text` with U+FFFD for each NUL.
    package static func withoutNUL(_ text: String) -> String {
        guard text.utf8.contains(0) else { return text }
        return String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 }))
    }
}
