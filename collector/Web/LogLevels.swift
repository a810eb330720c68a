/// Levels of pushed lines. Source: Loki 3.6 `FieldDetector`, and the words that loggers beside write.
enum LogLevels {
    /// Names of labels, fields and members that say a level, the better ones first. Source: Loki 3.6 `log_level_fields`.
    static let orderedNames = [
        "level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity",
        "SeverityText", "lvl", "LVL", "Lvl", "severity_text", "Severity_Text", "SEVERITY_TEXT",
    ]
    static let names = Set(orderedNames)

    /// The place of a name in the order, whatever its case; nil for others.
    static func rank(_ name: String) -> Int? {
        guard name.utf8.count <= 13 else { return nil }
        switch name.lowercased() {
        case "level": return 0
        case "log.level": return 1
        case "severity": return 2
        case "severitytext": return 3
        case "lvl": return 4
        case "severity_text": return 5
        default: return nil
        }
    }

    /// One of `LogEntry`'s levels; nil for words that are none.
    static func level(_ word: String) -> String? {
        guard word.utf8.count <= 16 else { return nil }
        switch word.lowercased() {
        case "trace", "trc", "verbose", "finest": return "trace"
        case "debug", "dbg", "dbug": return "debug"
        case "info", "inf", "information", "informational", "notice": return "info"
        case "warn", "wrn", "warning": return "warn"
        case "error", "err", "eror", "severe": return "error"
        case "critical", "crit": return "critical"
        case "fatal", "panic", "emerg", "emergency", "alert": return "fatal"
        default: return nil
        }
    }

    /// Source: OpenTelemetry "Logs Data Model", `SeverityNumber`.
    static func level(severityNumber: Int) -> String? {
        switch severityNumber {
        case 1...4: "trace"
        case 5...8: "debug"
        case 9...12: "info"
        case 13...16: "warn"
        case 17...20: "error"
        case 21...24: "fatal"
        default: nil
        }
    }

    /// Source: bunyan and pino.
    static func numbered(_ digits: ArraySlice<UInt8>) -> String? {
        switch String(decoding: digits, as: UTF8.self) {
        case "10": "trace"
        case "20": "debug"
        case "30": "info"
        case "40": "warn"
        case "50": "error"
        case "60": "fatal"
        default: nil
        }
    }

    // MARK: Words of a line

    private static let words: [(word: [UInt8], level: String)] = [
        ("trace", "trace"), ("debug", "debug"), ("fatal", "fatal"), ("critical", "critical"),
        ("error", "error"), ("err", "error"), ("warning", "warn"), ("warn", "warn"),
        ("info", "info"),
    ].map { (Array($0.0.utf8), $0.1) }

    /// The level that the first such word of a line says, whatever its case; a word stands between spaces or marks.
    static func level(inWordsOf line: [UInt8]) -> String? {
        line.withUnsafeBufferPointer { line in
            var isStart = true
            for (index, byte) in line.enumerated() {
                if isStart, isFirst(byte | 0x20), let level = level(line, at: index) {
                    return level
                }
                isStart = endsLeft(byte)
            }
            return nil
        }
    }

    private static func level(_ line: UnsafeBufferPointer<UInt8>, at start: Int) -> String? {
        for (word, level) in words {
            let end = start + word.count
            guard end <= line.count, end == line.count || beginsRight(line[end]),
                word.indices.allSatisfy({ word[$0] == line[start + $0] | 0x20 })
            else { continue }
            return level
        }
        return nil
    }

    private static func isFirst(_ letter: UInt8) -> Bool {
        switch letter {
        case UInt8(ascii: "t"), UInt8(ascii: "d"), UInt8(ascii: "f"), UInt8(ascii: "c"),
            UInt8(ascii: "e"), UInt8(ascii: "w"), UInt8(ascii: "i"):
            true
        default: false
        }
    }

    /// A colon is not among them: `misc:error` is no level.
    private static func endsLeft(_ byte: UInt8) -> Bool {
        switch byte {
        case 32, 9, 10, UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: "{"),
            UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "="), UInt8(ascii: "|"):
            true
        default: false
        }
    }

    private static func beginsRight(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "]"), UInt8(ascii: ")"), UInt8(ascii: "}"), UInt8(ascii: ":"),
            UInt8(ascii: ","), UInt8(ascii: "!"):
            true
        default: endsLeft(byte)
        }
    }
}
