package import Model

/// The fields that Petrel lifts out of a log line: the level, and what correlates lines with traces, requests and people.
package struct ExtractedFields: Hashable, Sendable {
    /// One of `LogEntry`'s levels.
    package var level: String?
    /// `action`, `request_id`, `result`, `span_id`, `trace_id`, `user_id`: sorted by name, each at most once.
    package var fields: [Label] = []

    package init() {}

    /// Sets a field unless it is there or its value is empty or longer than `FieldExtractor.valueBytesMax`.
    mutating func set(_ name: String, _ value: String) {
        guard !value.isEmpty, value.utf8.count <= FieldExtractor.valueBytesMax,
            !fields.contains(where: { $0.name == name })
        else { return }
        let label = Label(name, value)
        fields.insert(label, at: fields.firstIndex { label < $0 } ?? fields.count)
    }

    /// Sets a field from a W3C `traceparent`, version-trace-span-flags; one that is none, or all zeros, sets nothing.
    /// Source: W3C Trace Context, 3.2.
    mutating func set(traceParent text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 55, bytes[2] == 45, bytes[35] == 45, bytes[52] == 45,
            bytes.count == 55 || bytes[55] == 45, !(bytes[0] == 102 && bytes[1] == 102)
        else { return }
        func isID(_ range: Range<Int>) -> Bool {
            let id = bytes[range]
            return id.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
                && id.contains { $0 != 48 }
        }
        guard isID(3..<35), isID(36..<52) else { return }
        set("trace_id", ProcText.string(bytes[3..<35]))
        set("span_id", ProcText.string(bytes[36..<52]))
    }
}

/// Reads the common fields of log lines.
///
/// Lines that are a JSON object, and logfmt from their first word on, have what their members say under the names of
/// OpenTelemetry and the aliases that loggers write for them. Access lines of Caddy, events of Authentik and PostgreSQL's
/// jsonlog and csvlog are known and have more; of plain lines that begin with a time the level is taken. Other lines have
/// nothing. One pass over the line, and one more over the objects that a known service keeps more in.
package enum FieldExtractor {
    /// Longer values are no identifiers and stay in the line alone.
    package static let valueBytesMax = 256
    /// Nesting past this ends the reading of a line.
    package static let depthMax = 128
    /// What stands behind is not read for fields. Bytes.
    package static let lineBytesMax = 64 << 10

    /// The fields of `line`. O(n); a line that breaks off keeps what was read before.
    package static func extract(_ line: [UInt8]) -> ExtractedFields {
        var result = ExtractedFields()
        let end = min(line.count, lineBytesMax)
        let start = LineText.start(line, to: end)
        guard start < end else { return result }
        switch line[start] {
        case UInt8(ascii: "{"):
            extractObject(line, start, end, &result)
        case 48...57:
            if !PlainLines.extract(line, from: start, to: end, into: &result) {
                extractPairs(line, start, end, &result)
            }
        default:
            extractPairs(line, start, end, &result)
        }
        return result
    }

    /// The level of a syslog priority, 0 the worst. Source: sd-daemon(3); the map of Loki's journal reader.
    package static func level(priority: UInt8) -> String? {
        switch priority {
        case 0, 1: "fatal"
        case 2: "critical"
        case 3: "error"
        case 4: "warn"
        case 5, 6: "info"
        case 7: "debug"
        default: nil
        }
    }

    /// What a journal field of its own means, such as `TRACE_ID`; nil for fields that are not lifted.
    static func commonName(_ key: ArraySlice<UInt8>) -> String? {
        let key = Array(key)
        return FieldMeaning.names.meaning(NameCode.of(key, key.indices))?.field
    }

    private static func extractObject(
        _ line: [UInt8], _ start: Int, _ end: Int, _ result: inout ExtractedFields
    ) {
        let names = FieldMeaning.names
        var known = KnownLine()
        var members = ObjectMembers(line, from: start, to: end)
        while let member = members.next() {
            guard let meaning = names.meaning(NameCode.of(line, member.key)) else { continue }
            if let field = meaning.field {
                if let value = value(line, member) { result.set(field, value) }
                continue
            }
            switch meaning {
            case .level:
                if result.level == nil { result.level = LevelWords.level(line, member.value) }
            case .traceParent:
                if let value = value(line, member) { result.set(traceParent: value) }
            default: known.note(meaning, member)
            }
        }
        known.extract(line, into: &result)
    }

    private static func extractPairs(
        _ line: [UInt8], _ start: Int, _ end: Int, _ result: inout ExtractedFields
    ) {
        let names = FieldMeaning.names
        var members = PairMembers(line, from: start, to: end)
        while let member = members.next() {
            guard let meaning = names.meaning(NameCode.of(line, member.key)) else { continue }
            if let field = meaning.field {
                if let text = LineText.text(line, member) { result.set(field, text) }
            } else if meaning == .level, result.level == nil {
                result.level = LevelWords.level(line, member.value)
            } else if meaning == .traceParent, let text = LineText.text(line, member) {
                result.set(traceParent: text)
            }
        }
    }

    /// A string's or a number's text; nil for other values of JSON.
    static func value(_ line: [UInt8], _ member: LineMember) -> String? {
        if member.kind == .bare {
            let first = line[member.value.lowerBound]
            guard first == UInt8(ascii: "-") || (48...57).contains(first) else { return nil }
        }
        return LineText.text(line, member)
    }
}
