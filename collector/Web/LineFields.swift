import JSONReading
import Model

/// What a pushed line says of its level and of the request and the trace that it belongs to.
///
/// A JSON object's members and logfmt's pairs are read under the names that loggers write. Source: Loki 3.6
/// `FieldDetector`; for ids OpenTelemetry "Trace Context in non-OTLP Log Formats", Datadog, Caddy 2, pino.
struct LineFields {
    /// Objects inside each other in which a level is looked for. Source: Loki 3.6 `log_level_from_json_max_depth`.
    private static let levelDepthMax = 2
    /// Longer values are no ids. Bytes.
    private static let idBytesMax = 256

    private(set) var level: String?
    /// `trace_id`, `span_id` and `request_id`, each at most once.
    private(set) var ids: [Label] = []
    /// How far the name before stands in the order of level names; smaller is better.
    private var levelRank = Int.max
    /// Whether a member said a level, known or not.
    private var hasLevelMember = false

    /// Reads `line`. O(n).
    init(_ line: [UInt8]) {
        if Self.isObject(line) {
            var json = JSONReader(line)
            // What stands before a defect counts.
            try? readObject(&json, depth: 0)
        } else if line.contains(UInt8(ascii: "=")) {
            readPairs(line)
        }
    }

    /// Sets an id unless it is there.
    mutating func set(_ id: String, _ value: String) {
        guard Self.isID(value), !ids.contains(where: { $0.name == id }) else { return }
        ids.append(Label(id, value))
    }

    /// Sets an id, over what the line says; a value that is no id changes nothing.
    mutating func prefer(_ id: String, _ value: String) {
        guard Self.isID(value) else { return }
        ids.removeAll { $0.name == id }
        set(id, value)
    }

    private static func isID(_ value: String) -> Bool {
        !value.isEmpty && value.utf8.count <= idBytesMax
    }

    private static func isObject(_ line: [UInt8]) -> Bool {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        return line.first { !isSpace($0) } == UInt8(ascii: "{")
            && line.last { !isSpace($0) } == UInt8(ascii: "}")
    }

    // MARK: JSON

    private mutating func readObject(
        _ json: inout JSONReader, depth: Int
    ) throws(JSONError) {
        try json.enter()
        var isFirst = true
        while let name = try json.nextName(isFirst: &isFirst) {
            let isLevel = !hasLevelMember && LogLevels.names.contains(name)
            let id = depth == 0 ? LogIDNames.id(name) : nil
            switch try json.kind() {
            case .string where isLevel:
                hasLevelMember = true
                level = LogLevels.level(try json.string())
            case .string where id != nil: note(id, try json.string())
            case .number where isLevel && depth == 0:
                hasLevelMember = true
                level = LogLevels.numbered(try json.number())
            case .number where id != nil:
                note(id, String(decoding: try json.number(), as: UTF8.self))
            case .object where depth + 1 < Self.levelDepthMax:
                try readObject(&json, depth: depth + 1)
            case .string, .number, .object, .array, .boolean, .null: try json.skip()
            }
        }
    }

    private mutating func note(_ id: LogIDNames.ID?, _ value: String) {
        switch id {
        case .field(let name): set(name, value)
        case .traceParent:
            guard let (trace, span) = LogIDNames.traceParent(value) else { return }
            set("trace_id", trace)
            set("span_id", span)
        case nil: break
        }
    }

    // MARK: logfmt

    /// `key=value key="quoted value"`; words that are no pairs are passed over.
    private mutating func readPairs(_ line: [UInt8]) {
        var index = 0
        while index < line.count {
            while index < line.count, line[index] <= 32 { index += 1 }
            let start = index
            while index < line.count, line[index] > 32, line[index] != UInt8(ascii: "=") {
                index += 1
            }
            guard index < line.count, line[index] == UInt8(ascii: "=") else { continue }
            let key = start..<index
            index += 1
            let isQuoted = index < line.count && line[index] == UInt8(ascii: "\"")
            if isQuoted { index += 1 }
            let valueStart = index
            if isQuoted {
                while index < line.count, line[index] != UInt8(ascii: "\"") {
                    index += line[index] == UInt8(ascii: "\\") ? 2 : 1
                }
            } else {
                while index < line.count, line[index] > 32 { index += 1 }
            }
            notePair(line, key, valueStart..<min(index, line.count))
            if isQuoted { index += 1 }
        }
    }

    private mutating func notePair(_ line: [UInt8], _ key: Range<Int>, _ value: Range<Int>) {
        guard (1...LogIDNames.nameBytesMax).contains(key.count), value.count <= Self.idBytesMax
        else { return }
        let name = String(decoding: line[key], as: UTF8.self)
        if let rank = LogLevels.rank(name), rank < levelRank {
            levelRank = rank
            level = LogLevels.level(String(decoding: line[value], as: UTF8.self))
        } else if let id = LogIDNames.id(name) {
            note(id, String(decoding: line[value], as: UTF8.self))
        }
    }
}

/// The names under which loggers write ids.
enum LogIDNames {
    enum ID: Hashable, Sendable {
        /// Under its own name here.
        case field(String)
        case traceParent
    }

    /// Longer names are none of these.
    static let nameBytesMax = 26

    /// Upper and lower case and `_`, `-`, `.` between words make no difference; nil for other names.
    static func id(_ name: String) -> ID? {
        // Most names end otherwise.
        guard let last = name.utf8.last, "dDtT".utf8.contains(last),
            name.utf8.count <= nameBytesMax
        else { return nil }
        let letters = name.utf8.compactMap { byte -> UInt8? in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
            case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): nil
            default: byte
            }
        }
        switch String(decoding: letters, as: UTF8.self) {
        case "traceid", "ddtraceid", "oteltraceid": return .field("trace_id")
        case "spanid", "ddspanid", "otelspanid": return .field("span_id")
        case "requestid", "xrequestid", "reqid": return .field("request_id")
        case "traceparent": return .traceParent
        default: return nil
        }
    }

    /// The ids of `version-trace-span-flags`; nil where it is none or they are zeros. Source: W3C Trace Context, 3.2.
    static func traceParent(_ text: String) -> (trace: String, span: String)? {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        func isID(_ part: Substring.UTF8View.SubSequence, _ count: Int) -> Bool {
            part.count == count && part.contains { $0 != UInt8(ascii: "0") }
                && part.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        }
        guard parts.count >= 4, parts[0].count == 2, parts[0].elementsEqual("ff".utf8) == false,
            isID(parts[1][...], 32), isID(parts[2][...], 16), parts[3].count == 2
        else { return nil }
        return (
            String(decoding: parts[1], as: UTF8.self), String(decoding: parts[2], as: UTF8.self)
        )
    }
}
