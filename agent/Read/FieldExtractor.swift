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
}

/// Reads the common fields of lines that are a JSON object, or logfmt from their first word on. Other lines have none.
/// Field names are those of OpenTelemetry and the aliases that loggers write for them.
package enum FieldExtractor {
    /// Longer values are no identifiers and stay in the line alone.
    package static let valueBytesMax = 256
    /// Nesting past this ends the reading of a line.
    package static let depthMax = 128

    /// The fields of `line`. O(n); a line that breaks off keeps what was read before.
    package static func extract(_ line: [UInt8]) -> ExtractedFields {
        var result = ExtractedFields()
        guard let start = line.firstIndex(where: { $0 != 32 && $0 != 9 }) else { return result }
        if line[start] == UInt8(ascii: "{") {
            var scanner = JSONObjectScanner(line, at: start)
            scanner.scan { key, value in apply(key, value, to: &result) }
        } else {
            scanLogfmt(line[start...]) { key, value in apply(key, value, to: &result) }
        }
        return result
    }

    /// The level that a logger's own word means; nil for other words.
    package static func level(_ word: some StringProtocol) -> String? {
        guard word.utf8.count <= 16 else { return nil }
        switch word.lowercased() {
        case "trace", "verbose", "finest", "10": return "trace"
        case "debug", "dbug", "dbg", "debug1", "debug2", "debug3", "debug4", "debug5", "20":
            return "debug"
        case "info", "information", "notice", "log", "inf", "30": return "info"
        case "warn", "warning", "wrn", "40": return "warn"
        case "error", "err", "eror", "50": return "error"
        case "critical", "crit": return "critical"
        case "fatal", "panic", "emerg", "emergency", "alert", "60": return "fatal"
        default: return nil
        }
    }

    /// The level of a syslog priority, 0 the worst. Source: sd-daemon(3); the map of Loki's journal reader.
    package static func level(priority: UInt8) -> String? {
        switch priority {
        case 0, 1, 2: "critical"
        case 3: "error"
        case 4: "warn"
        case 5, 6: "info"
        case 7: "debug"
        default: nil
        }
    }

    /// What a journal field of its own means, such as `TRACE_ID`; nil for fields that are not lifted.
    static func commonName(_ key: ArraySlice<UInt8>) -> String? {
        guard (5...14).contains(key.count) else { return nil }
        return names[ProcText.string(key)]
    }

    private static func apply(
        _ key: ArraySlice<UInt8>, _ value: String, to result: inout ExtractedFields
    ) {
        guard let name = commonName(key) else { return }
        switch name {
        case "level": if result.level == nil { result.level = level(value) }
        case "traceparent":
            // version-trace-span-flags. Source: W3C Trace Context, 3.2.
            let parts = value.split(separator: "-")
            guard parts.count >= 4, parts[1].utf8.count == 32, parts[2].utf8.count == 16,
                parts[1].contains(where: { $0 != "0" })
            else { return }
            result.set("trace_id", String(parts[1]))
            result.set("span_id", String(parts[2]))
        default: result.set(name, value)
        }
    }

    private static let names: [String: String] = [
        "trace_id": "trace_id", "traceID": "trace_id", "traceId": "trace_id",
        "trace.id": "trace_id", "dd.trace_id": "trace_id", "otelTraceID": "trace_id",
        "TRACE_ID": "trace_id", "span_id": "span_id", "spanID": "span_id", "spanId": "span_id",
        "span.id": "span_id", "dd.span_id": "span_id", "otelSpanID": "span_id",
        "SPAN_ID": "span_id", "traceparent": "traceparent", "request_id": "request_id",
        "requestId": "request_id", "requestID": "request_id", "X-Request-ID": "request_id",
        "x-request-id": "request_id", "REQUEST_ID": "request_id", "user_id": "user_id",
        "userId": "user_id", "userID": "user_id", "USER_ID": "user_id", "action": "action",
        "ACTION": "action", "result": "result", "RESULT": "result", "level": "level",
        "levelname": "level", "severity": "level", "log.level": "level",
        "error_severity": "level",
    ]

    /// `key=value key="quoted value"`: the line counts as logfmt when its first word is such a pair.
    private static func scanLogfmt(
        _ line: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>, String) -> Void
    ) {
        var index = line.startIndex
        var isFirst = true
        while index < line.endIndex {
            while index < line.endIndex, line[index] == 32 { index += 1 }
            let keyStart = index
            while index < line.endIndex, isKeyByte(line[index]) { index += 1 }
            guard index < line.endIndex, line[index] == UInt8(ascii: "="), index > keyStart else {
                guard !isFirst else { return }
                while index < line.endIndex, line[index] != 32 { index += 1 }
                continue
            }
            isFirst = false
            let key = line[keyStart..<index]
            index += 1
            if index < line.endIndex, line[index] == UInt8(ascii: "\"") {
                var value: [UInt8] = []
                index += 1
                while index < line.endIndex, line[index] != UInt8(ascii: "\"") {
                    if line[index] == UInt8(ascii: "\\"), index + 1 < line.endIndex { index += 1 }
                    if value.count <= valueBytesMax { value.append(line[index]) }
                    index += 1
                }
                index += 1
                body(key, String(decoding: value, as: UTF8.self))
            } else {
                let valueStart = index
                while index < line.endIndex, line[index] != 32 { index += 1 }
                if index - valueStart <= valueBytesMax, commonName(key) != nil {
                    body(key, ProcText.string(line[valueStart..<index]))
                }
            }
        }
    }

    private static func isKeyByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Walks the members of one JSON object; values of other members are skipped and not made into anything.
/// Source: RFC 8259.
private struct JSONObjectScanner {
    private let line: [UInt8]
    private var index: Int

    /// `start` is the opening brace.
    init(_ line: [UInt8], at start: Int) {
        self.line = line
        index = start + 1
    }

    /// Calls `body` with the name and the value of each member with a lifted name and a string or number value.
    mutating func scan(_ body: (ArraySlice<UInt8>, String) -> Void) {
        while true {
            skipSpace()
            guard peek() == UInt8(ascii: "\"") else { return }
            let keyStart = index + 1
            guard skipString() else { return }
            let key = line[keyStart..<(index - 1)]
            skipSpace()
            guard peek() == UInt8(ascii: ":") else { return }
            index += 1
            skipSpace()
            let isLifted = FieldExtractor.commonName(key) != nil
            let valueStart = index
            guard skipValue() else { return }
            if isLifted, let value = text(of: line[valueStart..<index]) { body(key, value) }
            skipSpace()
            guard peek() == UInt8(ascii: ",") else { return }
            index += 1
        }
    }

    private func peek() -> UInt8 { index < line.count ? line[index] : 0 }

    private mutating func skipSpace() {
        while index < line.count, [32, 9, 10, 13].contains(line[index]) { index += 1 }
    }

    /// Moves past the string that begins here; false where it does not end.
    private mutating func skipString() -> Bool {
        index += 1
        while index < line.count {
            switch line[index] {
            case UInt8(ascii: "\\"): index += 2
            case UInt8(ascii: "\""):
                index += 1
                return true
            default: index += 1
            }
        }
        return false
    }

    /// Moves past any value, without recursion; false where it breaks off or nests too deep.
    private mutating func skipValue() -> Bool {
        var depth = 0
        while index < line.count {
            switch line[index] {
            case UInt8(ascii: "\""):
                guard skipString() else { return false }
                if depth == 0 { return true }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= FieldExtractor.depthMax else { return false }
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return true }
                depth -= 1
                index += 1
                if depth == 0 { return true }
            case UInt8(ascii: ",") where depth == 0: return true
            default: index += 1
            }
        }
        return false
    }

    /// A string's or number's text; nil for other values and for texts too long to be lifted.
    private func text(of value: ArraySlice<UInt8>) -> String? {
        guard let first = value.first, value.count <= 6 * FieldExtractor.valueBytesMax else {
            return nil
        }
        if first == UInt8(ascii: "\"") { return unescaped(value.dropFirst().dropLast()) }
        guard first == UInt8(ascii: "-") || (48...57).contains(first) else { return nil }
        return ProcText.string(ProcText.trimmed(value))
    }

    private func unescaped(_ text: ArraySlice<UInt8>) -> String {
        guard text.contains(UInt8(ascii: "\\")) else { return ProcText.string(text) }
        var units: [UInt16] = []
        var out = ""
        var plain: [UInt8] = []
        func flushPlain() {
            out += String(decoding: plain, as: UTF8.self)
            plain = []
        }
        func flushUnits() {
            out += String(decoding: units, as: UTF16.self)
            units = []
        }
        var index = text.startIndex
        while index < text.endIndex {
            let byte = text[index]
            guard byte == UInt8(ascii: "\\"), index + 1 < text.endIndex else {
                flushUnits()
                plain.append(byte)
                index += 1
                continue
            }
            let escaped = text[index + 1]
            if escaped == UInt8(ascii: "u"), index + 6 <= text.endIndex,
                let unit = UInt16(ProcText.string(text[(index + 2)..<(index + 6)]), radix: 16)
            {
                flushPlain()
                units.append(unit)
                index += 6
                continue
            }
            flushUnits()
            switch escaped {
            case UInt8(ascii: "n"): plain.append(10)
            case UInt8(ascii: "t"): plain.append(9)
            case UInt8(ascii: "r"): plain.append(13)
            case UInt8(ascii: "b"): plain.append(8)
            case UInt8(ascii: "f"): plain.append(12)
            default: plain.append(escaped)
            }
            index += 2
        }
        flushUnits()
        flushPlain()
        return out
    }
}
