import JSONReading
import Model
import RemoteWrite

/// Reads a push of Loki in JSON: `{"streams": [{"stream": {…}, "values": [["<ns>", "line", {…}]]}]}`, and in the older form
/// `{"streams": [{"labels": "{…}", "entries": [{"ts": "<RFC 3339>", "line": "…"}]}]}`.
///
/// One bad entry refuses the whole. Source: Loki 3.6 `loghttp.PushRequest`, `legacy.PushRequest`.
struct LokiPushJSON {
    /// Objects and arrays inside each other; a push needs six, a label's value may be anything.
    private static let depthMax = 64
    /// What Loki says of what is no text, and of what is no object.
    private static let notText = "Value is string, but can't find closing '\"' symbol"
    private static let notObject = "Value looks like object, but can't find closing '}' symbol"

    private let body: [UInt8]
    private var json: JSONReader
    private let limits: LokiPushMessage.Limits
    private var entryRoom: Int
    private var fieldRoom: Int
    private var streams: [LogStream] = []

    /// The streams of `body`. Throws 400, and 413 where it has more than `limits`.
    static func streams(
        _ body: [UInt8], limits: LokiPushMessage.Limits = LokiPushMessage.Limits()
    ) throws(IngestRefusal) -> [LogStream] {
        var reader = LokiPushJSON(body, limits)
        try reader.readRequest()
        return reader.streams
    }

    private init(_ body: [UInt8], _ limits: LokiPushMessage.Limits) {
        self.body = body
        self.limits = limits
        json = JSONReader(body, depthMax: Self.depthMax)
        entryRoom = limits.entriesMax
        fieldRoom = limits.fieldsMax
    }

    // MARK: Structure

    private mutating func readRequest() throws(IngestRefusal) {
        guard try kind() == .object else { throw Self.bad(Self.notObject, "the body") }
        try members { reader, name throws(IngestRefusal) in
            guard name == "streams", try reader.kind() != .null else { return try reader.skip() }
            guard try reader.kind() == .array else {
                throw Self.bad("the value is no array", "streams")
            }
            try reader.elements { reader, index throws(IngestRefusal) in
                guard try reader.kind() != .null else { return try reader.skip() }
                try reader.readStream("streams[\(index)]")
            }
        }
        try step { json throws(JSONError) in try json.end() }
    }

    private mutating func readStream(_ place: String) throws(IngestRefusal) {
        guard try kind() == .object else { throw Self.bad(Self.notObject, place) }
        guard streams.count < limits.streamsMax else {
            throw Self.tooMany("streams", limits.streamsMax)
        }
        var labels: Labels?
        var entries: [LogEntry] = []
        try members { reader, name throws(IngestRefusal) in
            switch name {
            case "stream": labels = try reader.readLabels("\(place).stream")
            case "labels":
                labels = try LokiLabels.parse(try reader.text(at: "\(place).labels"))
            case "values", "entries":
                guard try reader.kind() != .null else { return try reader.skip() }
                guard try reader.kind() == .array else {
                    throw Self.bad("the value is no array", "\(place).\(name)")
                }
                try reader.elements { reader, index throws(IngestRefusal) in
                    guard try reader.kind() != .null else { return try reader.skip() }
                    entries.append(try reader.readEntry { "\(place).\(name)[\(index)]" })
                }
            default: try reader.skip()
            }
        }
        if labels == nil { labels = try LokiLabels.parse("") }
        streams.append(LogStream(labels: labels ?? .empty, entries: entries))
    }

    /// Values that are no texts are what stands there.
    private mutating func readLabels(_ place: String) throws(IngestRefusal) -> Labels {
        guard try kind() == .object else { throw Self.bad(Self.notObject, place) }
        var labels: [Label] = []
        try members { reader, name throws(IngestRefusal) in
            try reader.takeField()
            guard try reader.kind() != .string else {
                labels.append(Label(name, try reader.text(at: place)))
                return
            }
            let start = reader.json.place
            try reader.skip()
            labels.append(
                Label(
                    name, String(decoding: reader.body[start..<reader.json.place], as: UTF8.self)))
        }
        return try LokiLabels.parse(labels)
    }

    // MARK: Entries

    private mutating func readEntry(_ place: () -> String) throws(IngestRefusal) -> LogEntry {
        guard entryRoom > 0 else { throw Self.tooMany("entries", limits.entriesMax) }
        entryRoom -= 1
        switch try kind() {
        case .array: return try readValues(place)
        case .object: return try readOlderEntry(place)
        case .string, .number, .boolean, .null:
            throw Self.bad("an entry is [\"<nanoseconds>\", \"<line>\"]", place())
        }
    }

    private mutating func readValues(_ place: () -> String) throws(IngestRefusal) -> LogEntry {
        var entry = LogEntry(timestamp: TimestampNS(0), line: [])
        var count = 0
        try elements { reader, index throws(IngestRefusal) in
            count = index + 1
            switch index {
            case 0:
                let text = try reader.text { place() + "[0], which is nanoseconds in a text" }
                guard let time = Int64(text) else {
                    throw Self.bad(Self.timeProblem(text), place() + "[0]")
                }
                entry.timestamp = TimestampNS(time)
            case 1: entry.line = try reader.line { place() + "[1], which is the line" }
            case 2:
                guard try reader.kind() == .object else {
                    throw Self.bad(Self.notObject, place() + "[2], which is structured metadata")
                }
                entry.metadata = try reader.readFields { place() + "[2]" }
            default: try reader.skip()
            }
        }
        guard count >= 2 else {
            throw Self.bad("an entry is [\"<nanoseconds>\", \"<line>\"]", place())
        }
        return entry
    }

    /// What is wrong with a time that is no `Int64`.
    private static func timeProblem(_ text: String) -> String {
        let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        let isNumber =
            !digits.isEmpty && text.utf8.count - digits.count <= 1
            && digits.allSatisfy { (48...57).contains($0) }
        return isNumber
            ? "Value is number, but overflowed while parsing"
            : "the time is no whole number of nanoseconds"
    }

    private mutating func readFields(_ place: () -> String) throws(IngestRefusal) -> Labels {
        var fields: [Label] = []
        try members { reader, name throws(IngestRefusal) in
            try reader.takeField()
            fields.append(Label(name, try reader.text { place() + ".\(name)" }))
        }
        return Labels(fields)
    }

    private mutating func readOlderEntry(
        _ place: () -> String
    ) throws(IngestRefusal) -> LogEntry {
        var time: TimestampNS?
        var bytes: [UInt8] = []
        try members { reader, name throws(IngestRefusal) in
            switch name {
            case "ts":
                let text = try reader.text { place() + ".ts" }
                time = RFC3339.parse(text) ?? Int64(text).map { TimestampNS($0) }
            case "line": bytes = try reader.line { place() + ".line" }
            default: try reader.skip()
            }
        }
        guard let time else {
            throw Self.bad("the entry has no time as RFC 3339 writes it", place() + ".ts")
        }
        return LogEntry(timestamp: time, line: bytes)
    }

    private mutating func takeField() throws(IngestRefusal) {
        guard fieldRoom > 0 else {
            throw Self.tooMany("labels and structured metadata", limits.fieldsMax)
        }
        fieldRoom -= 1
    }

    // MARK: Values

    private static func bad(_ problem: String, _ place: String) -> IngestRefusal {
        IngestRefusal(400, "\(problem): \(LokiLabels.shown(place))")
    }

    private static func tooMany(_ what: String, _ maximum: Int) -> IngestRefusal {
        IngestRefusal(413, "more than \(maximum) \(what) in one request: send less in one")
    }

    private mutating func text(at place: String) throws(IngestRefusal) -> String {
        try text { place }
    }

    private mutating func text(_ place: () -> String) throws(IngestRefusal) -> String {
        guard try kind() == .string else { throw Self.bad(Self.notText, place()) }
        return try step { json throws(JSONError) in try json.string() }
    }

    private mutating func line(_ place: () -> String) throws(IngestRefusal) -> [UInt8] {
        guard try kind() == .string else { throw Self.bad(Self.notText, place()) }
        return try step { json throws(JSONError) in try json.stringBytes() }
    }

    private mutating func kind() throws(IngestRefusal) -> JSONReader.Kind {
        try step { json throws(JSONError) in try json.kind() }
    }

    private mutating func skip() throws(IngestRefusal) {
        try step { json throws(JSONError) in try json.skip() }
    }

    /// Calls `body` with the name of each member of the object that comes next; it reads the value.
    private mutating func members(
        _ body: (inout Self, String) throws(IngestRefusal) -> Void
    ) throws(IngestRefusal) {
        try step { json throws(JSONError) in try json.enter() }
        var isFirst = true
        while let name = try step({ json throws(JSONError) in
            try json.nextName(isFirst: &isFirst)
        }) {
            try body(&self, name)
        }
    }

    /// Calls `body` with the index of each element of the array that comes next; it reads the element.
    private mutating func elements(
        _ body: (inout Self, Int) throws(IngestRefusal) -> Void
    ) throws(IngestRefusal) {
        try step { json throws(JSONError) in try json.enter() }
        var isFirst = true
        var index = 0
        while try step({ json throws(JSONError) in try json.nextElement(isFirst: &isFirst) }) {
            try body(&self, index)
            index += 1
        }
    }

    private mutating func step<T>(
        _ body: (inout JSONReader) throws(JSONError) -> T
    ) throws(IngestRefusal) -> T {
        do throws(JSONError) { return try body(&json) } catch {
            throw IngestRefusal(400, "the body is not the JSON of a push: \(error)")
        }
    }
}
