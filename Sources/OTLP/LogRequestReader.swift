import Model
import RemoteWrite

/// Reads `ExportLogsServiceRequest` into streams and lines.
///
/// Fields may come in any order, and what is said of a resource or a scope may stand behind its records: such messages are
/// gone through twice. Source: Loki 3.6 `otlpToLokiPushRequest`; opentelemetry-proto 1.9 `logs.proto`.
struct LogRequestReader {
    typealias Cursor = ProtobufCursor<OTLPError>

    private let limits: LogsExport.Limits
    private let rules: LogAttributeRules
    private let now: TimestampNS
    private var attributes: AttributeReader
    private var resourceRoom: Int
    private var fieldRoom: Int
    private var byteRoom: Int
    private var indexes: [Labels: Int] = [:]
    private(set) var export = LogsExport()

    init(_ limits: LogsExport.Limits, _ rules: LogAttributeRules, now: TimestampNS) {
        self.limits = limits
        self.rules = rules
        self.now = now
        attributes = AttributeReader(
            countMax: limits.attributesMax, depthMax: limits.valueDepthMax)
        resourceRoom = limits.resourcesMax
        fieldRoom = limits.fieldsMax
        byteRoom = limits.bytesMax
    }

    mutating func read(_ bytes: UnsafeRawBufferPointer) throws(OTLPError) {
        var cursor = Cursor(bytes, 0..<bytes.count, .logsRequest)
        while let key = try cursor.key() {
            guard key == 1 << 3 | 2 else {
                try cursor.skip(key, known: 1...1)
                continue
            }
            try takeResource()
            try readResource(try cursor.nested(.resourceLogs))
        }
    }

    private mutating func takeResource() throws(OTLPError) {
        guard resourceRoom > 0 else {
            throw .tooMany("resources and scopes", max: limits.resourcesMax)
        }
        resourceRoom -= 1
    }

    /// What a resource says is counted once more for each of its scopes, which go through it too.
    private mutating func takeFields(_ count: Int) throws(OTLPError) {
        guard count <= fieldRoom else {
            throw .tooMany("attributes of all log records", max: limits.fieldsMax)
        }
        fieldRoom -= count
    }

    /// Labels of streams and fields of lines, under their names.
    private struct Parts {
        var labels: [Label] = []
        var fields: [Label] = []
    }

    private mutating func readResource(_ message: Cursor) throws(OTLPError) {
        var resource = Parts()
        var first = message
        while let key = try first.key() {
            guard key == 1 << 3 | 2 else {
                try first.skip(key, known: 1...1)
                continue
            }
            var inner = try first.nested(.resource)
            while let key = try inner.key() {
                guard key == 1 << 3 | 2 else {
                    try inner.skip(key, known: 1...1)
                    continue
                }
                add(try attributes.attribute(&inner), rules.resource, to: &resource)
            }
        }
        // Of several with one name the last is left.
        resource.labels = Array(Labels(resource.labels))
        resource.fields = Array(Labels(resource.fields))
        var second = message
        while let key = try second.key() {
            guard key == 2 << 3 | 2 else {
                try second.skip(key, known: 2...2)
                continue
            }
            try takeResource()
            try takeFields(resource.labels.count + resource.fields.count)
            try readScope(try second.nested(.scopeLogs), resource)
        }
    }

    private mutating func readScope(
        _ message: Cursor, _ resource: Parts
    ) throws(OTLPError) {
        // What is said later counts: of a name the record's own value stands over that of its scope and resource.
        var parts = resource
        var first = message
        while let key = try first.key() {
            guard key == 1 << 3 | 2 else {
                try first.skip(key, known: 1...1)
                continue
            }
            var scope = try first.nested(.scope)
            while let key = try scope.key() {
                switch key {
                case 1 << 3 | 2:
                    Self.add("scope_name", Self.text(&scope, try scope.content()), to: &parts)
                case 2 << 3 | 2:
                    Self.add("scope_version", Self.text(&scope, try scope.content()), to: &parts)
                case 3 << 3 | 2:
                    add(try attributes.attribute(&scope), rules.scope, to: &parts)
                case 4 << 3:
                    Self.add(
                        "scope_dropped_attributes_count", count: try scope.varint(), to: &parts)
                default: try scope.skip(key, known: 1...4)
                }
            }
        }
        parts.fields = Array(Labels(parts.fields))
        parts.labels = resource.labels
        let labels = Labels(parts.labels)
        var second = message
        while let key = try second.key() {
            guard key == 2 << 3 | 2 else {
                try second.skip(key, known: 2...2)
                continue
            }
            guard export.recordCount < limits.recordsMax else {
                throw .tooMany("log records", max: limits.recordsMax)
            }
            export.recordCount += 1
            try readRecord(try second.nested(.logRecord), parts, labels)
        }
    }

    // MARK: Records

    private mutating func readRecord(
        _ message: Cursor, _ scope: Parts, _ scopeLabels: Labels
    ) throws(OTLPError) {
        var record = LogRecord()
        var own = Parts()
        var eventAttributes: [Attribute] = []
        var cursor = message
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 1: record.time = try cursor.fixed64()
            case 2 << 3: record.severityNumber = try cursor.integer()
            case 3 << 3 | 2: record.severityText = Self.text(&cursor, try cursor.content())
            case 5 << 3 | 2: record.line = Self.line(try attributes.value(&cursor))
            case 6 << 3 | 2:
                let attribute = try attributes.attribute(&cursor)
                // The record's own field of that name stands over an attribute.
                if attribute.key == "event_name" {
                    eventAttributes.append(attribute)
                } else {
                    add(attribute, rules.record, to: &own)
                }
            case 7 << 3: record.droppedAttributes = try cursor.varint()
            case 8 << 3 | 5: record.flags = try cursor.fixed32()
            case 9 << 3 | 2: record.traceID = Self.identifier(&cursor, try cursor.content())
            case 10 << 3 | 2: record.spanID = Self.identifier(&cursor, try cursor.content())
            case 11 << 3 | 1: record.observed = try cursor.fixed64()
            case 12 << 3 | 2: record.eventName = Self.text(&cursor, try cursor.content())
            default: try cursor.skip(key, known: 1...12)
            }
        }
        if record.eventName.isEmpty {
            for attribute in eventAttributes { add(attribute, rules.record, to: &own) }
        }
        record.addFields { Self.add($0, $1, to: &own) }
        let labels = own.labels.isEmpty ? scopeLabels : Labels(scope.labels + own.labels)
        try append(record, Labels(scope.fields + own.fields), labels)
    }

    private mutating func append(
        _ record: LogRecord, _ fields: Labels, _ labels: Labels
    ) throws(OTLPError) {
        try takeFields(fields.count)
        byteRoom -= fields.reduce(record.line.count) {
            $0 + $1.name.utf8.count + $1.value.utf8.count
        }
        guard byteRoom >= 0 else {
            throw .tooMany("bytes of log records and their attributes", max: limits.bytesMax)
        }
        let time = record.time == 0 ? record.observed : record.time
        if time == 0 { export.isTimedHere = true }
        let entry = LogEntry(
            timestamp: time == 0 ? now : TimestampNS(Int64(clamping: time)), line: record.line,
            metadata: fields)
        if let known = indexes[labels] {
            export.streams[known].entries.append(entry)
        } else {
            indexes[labels] = export.streams.count
            export.streams.append(LogStream(labels: labels, entries: [entry]))
        }
    }

    /// A text as it is, other values as OpenTelemetry writes them. Source: OpenTelemetry Collector
    /// `pdata/pcommon.Value.AsString`.
    private static func line(_ body: AttributeValue) -> [UInt8] {
        switch body {
        case .invalid(let bytes): bytes
        case .empty, .text, .boolean, .integer, .double, .bytes, .array, .map:
            Array((body.labelText ?? "").utf8)
        }
    }

    // MARK: Attributes

    /// The labels or fields of an attribute: one, or of a map one for each of its members.
    private func add(
        _ attribute: Attribute, _ rules: [LogAttributeRules.Rule], to parts: inout Parts
    ) {
        let key = attribute.key ?? "\u{fffd}"
        switch LogAttributeRules.action(rules, key) {
        case .drop: break
        case .label: add(key, attribute.value, to: &parts.labels)
        case .field: add(key, attribute.value, to: &parts.fields)
        }
    }

    private func add(_ key: String, _ value: AttributeValue, to labels: inout [Label]) {
        // Names inside of names: none grows past its bound, however deep it is.
        let name = LogFieldName.normalized(
            key.utf8.count <= limits.nameBytesMax
                ? key : String(decoding: key.utf8.prefix(limits.nameBytesMax), as: UTF8.self))
        if case .map(let members) = value {
            for member in members {
                add((name ?? "") + "_" + (member.key ?? "\u{fffd}"), member.value, to: &labels)
            }
            return
        }
        guard let name else { return }
        switch value {
        case .invalid(let bytes):
            labels.append(Label(name, String(decoding: bytes, as: UTF8.self)))
        case .empty, .text, .boolean, .integer, .double, .bytes, .array, .map:
            labels.append(Label(name, value.labelText ?? ""))
        }
    }

    private static func add(_ name: String, _ value: String, to parts: inout Parts) {
        if !value.isEmpty { parts.fields.append(Label(name, value)) }
    }

    private static func add(_ name: String, count: UInt64, to parts: inout Parts) {
        if count != 0 { parts.fields.append(Label(name, "\(count)")) }
    }

    /// What is no UTF-8 becomes U+FFFD.
    private static func text(_ cursor: inout Cursor, _ place: Range<Int>) -> String {
        String(decoding: cursor.slice(place), as: UTF8.self)
    }

    private static func identifier(_ cursor: inout Cursor, _ place: Range<Int>) -> String {
        hexadecimal(cursor.slice(place))
    }
}

/// A `LogRecord` without its attributes.
struct LogRecord {
    /// Nanoseconds since the epoch; 0: not known.
    var time: UInt64 = 0
    var observed: UInt64 = 0
    var severityNumber: Int64 = 0
    var severityText = ""
    var line: [UInt8] = []
    var droppedAttributes: UInt64 = 0
    var flags: UInt32 = 0
    var traceID = ""
    var spanID = ""
    var eventName = ""

    /// Calls `add` with the name and value of each field beside the line. Source: Loki 3.6 `otlpLogToPushEntry`.
    func addFields(_ add: (String, String) -> Void) {
        // A record without a time has this one as its time.
        if time != 0, observed != 0 { add("observed_timestamp", "\(observed)") }
        if severityNumber != 0 { add("severity_number", "\(severityNumber)") }
        add("severity_text", severityText)
        if droppedAttributes != 0 { add("dropped_attributes_count", "\(droppedAttributes)") }
        if flags != 0 { add("flags", "\(flags)") }
        add("trace_id", traceID)
        add("span_id", spanID)
        add("event_name", eventName)
    }
}
