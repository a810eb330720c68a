import Model

/// A log record as one line: nothing in it can end the line early, steer a terminal or make it longer than
/// `lineBytesMax`. Overflow: a text that is too long is cut and ends with `cutMarker`; fields for which no room is left
/// are counted in `fields_cut`.
package enum LogLine {
    /// Bytes of a line with its end: well below journald's 48 KiB (`LineMax`). Source: journald.conf(5).
    package static let lineBytesMax = 8192
    /// Bytes of the message as it is written, escapes included.
    package static let messageBytesMax = 4096
    /// Bytes of one field's value, escapes included.
    package static let valueBytesMax = 2048
    static let keyBytesMax = 64
    package static let cutMarker = "…[cut]"

    /// Names that the record itself uses; a field of such a name is written as `field.NAME`.
    static let ownKeys: Set<String> = ["ts", "level", "message", "logger", "fields_cut"]
    /// Room kept for `,"fields_cut":"1234"}` and the line's end.
    private static let tailBytes = 32

    /// One JSON object with `ts` (RFC 3339, milliseconds, UTC), `level`, `message`, `logger` and the fields, all texts;
    /// with the line's end.
    package static func json(_ record: LogRecord) -> [UInt8] {
        var line = LineText()
        line.raw("{\"ts\":\"\(time(record.time))\",\"level\":\"\(record.level.rawValue)\"")
        line.raw(",\"message\":\"")
        line.escaped(record.message, bytesMax: messageBytesMax)
        line.raw("\",\"logger\":\"")
        line.escaped(record.logger, bytesMax: keyBytesMax)
        line.raw("\"")
        var cutCount = 0
        for field in record.fields {
            let room = lineBytesMax - tailBytes - line.bytes.count - keyBytesMax - 6
            guard room >= cutMarker.utf8.count else {
                cutCount += 1
                continue
            }
            line.raw(",\"")
            line.escaped(key(field.key), bytesMax: keyBytesMax)
            line.raw("\":\"")
            line.escaped(field.value, bytesMax: min(valueBytesMax, room))
            line.raw("\"")
        }
        if cutCount > 0 { line.raw(",\"fields_cut\":\"\(cutCount)\"") }
        line.raw("}\n")
        return line.bytes
    }

    /// `TIME LEVEL MESSAGE key=value`, for a person at a terminal; with the line's end.
    package static func text(_ record: LogRecord) -> [UInt8] {
        var line = LineText()
        let level = record.level.rawValue
        let gap = String(repeating: " ", count: max(1, 8 - level.utf8.count))
        line.raw("\(time(record.time)) \(level)\(gap)")
        line.escaped(record.message, bytesMax: messageBytesMax, isQuoted: false)
        var cutCount = 0
        for field in record.fields {
            let room = lineBytesMax - tailBytes - line.bytes.count - keyBytesMax - 6
            guard room >= cutMarker.utf8.count else {
                cutCount += 1
                continue
            }
            line.raw(" ")
            line.escaped(key(field.key), bytesMax: keyBytesMax, isQuoted: false)
            let isPlain =
                !field.value.isEmpty
                && !field.value.contains { $0 == "\"" || $0 == "=" || $0 == " " }
            line.raw(isPlain ? "=" : "=\"")
            line.escaped(field.value, bytesMax: min(valueBytesMax, room), isQuoted: !isPlain)
            if !isPlain { line.raw("\"") }
        }
        if cutCount > 0 { line.raw(" fields_cut=\(cutCount)") }
        line.raw("\n")
        return line.bytes
    }

    /// `line` with the priority before it that journald takes off again.
    package static func withPriority(_ line: [UInt8], _ level: LogRecord.Level) -> [UInt8] {
        Array("<\(level.priority)>".utf8) + line
    }

    private static func key(_ key: String) -> String {
        ownKeys.contains(key) ? "field.\(key)" : key
    }

    private static func time(_ time: TimestampNS) -> String {
        let text = RFC3339.text(time.milliseconds)
        // Always three digits, so that lines sort as texts.
        return text.utf8.contains(UInt8(ascii: ".")) ? text : String(text.dropLast()) + ".000Z"
    }
}
