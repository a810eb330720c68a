import Logging
import Model
import Startup
import Testing

@Suite("Own log lines")
struct LogLineTests {
    static let time = TimestampNS(1_767_323_045_006_789_000)

    static func record(_ message: String, _ fields: [(String, String)] = []) -> LogRecord {
        LogRecord(
            time: time, level: .warning, logger: "petrel-agent", message: message,
            fields: fields.map { LogRecord.Field($0.0, $0.1) })
    }

    static func json(_ message: String, _ fields: [(String, String)] = []) -> String {
        String(decoding: LogLine.json(record(message, fields)), as: UTF8.self)
    }

    static let head = #"{"ts":"2026-01-02T03:04:05.006Z","level":"warning","message":""#

    @Test(
        "a JSON line",
        arguments: [
            (#"plain"#, #"plain"#), (#"a "quoted" \ one"#, #"a \"quoted\" \\ one"#),
            ("two\nlines\r\tend", #"two\nlines\r\tend"#),
            ("nul \0 esc \u{1b}[31m", #"nul \u0000 esc \u001b[31m"#),
            ("c1 \u{9b} del \u{7f}", #"c1 \u009b del \u007f"#),
            ("\u{2028}\u{202e}\u{2066}", #"\u2028\u202e\u2066"#), ("日本 é 😀", "日本 é 😀"), ("", ""),
        ])
    func escaping(message: String, written: String) {
        #expect(
            Self.json(message) == Self.head + written + #"","logger":"petrel-agent"}"# + "\n")
    }

    @Test("fields are flat; names of the line's own keys are told apart")
    func fields() {
        let line = Self.json("m", [("host", "db1"), ("sequence", "17"), ("level", "high")])
        #expect(
            line.hasSuffix(
                #""logger":"petrel-agent","host":"db1","sequence":"17","field.level":"high"}"#
                    + "\n"))
    }

    @Test("a whole second has its milliseconds")
    func wholeSecond() {
        var record = Self.record("m")
        record.time = TimestampNS(1_767_323_045_000_000_000)
        #expect(
            String(decoding: LogLine.json(record), as: UTF8.self).contains(
                #""ts":"2026-01-02T03:04:05.000Z""#))
    }

    @Test(
        "a line is bounded, cut with a marker, and still one object",
        arguments: ["x", "\u{0}", "\"", "é", "😀", "\\"])
    func bounded(piece: String) {
        let long = String(repeating: piece, count: 20_000)
        let fields = (0..<40).map { ("key\($0)", long) }
        for (line, mustCount) in [
            (LogLine.json(Self.record(long, fields)), true),
            (LogLine.text(Self.record(long, fields)), true),
            (LogLine.json(Self.record("m", [(long, long)])), false),
        ] {
            let text = String(decoding: line, as: UTF8.self)
            #expect(line.count <= LogLine.lineBytesMax)
            #expect(!text.contains("\u{fffd}"))
            #expect(text.contains(LogLine.cutMarker))
            #expect(text.contains("fields_cut") == mustCount)
            #expect(line.filter { $0 == 10 }.count == 1 && line.last == 10)
        }
        let line = LogLine.json(Self.record(long, fields))
        #expect(Self.isObject(line))
    }

    /// Whether quotation marks and braces close: every value here is a text.
    static func isObject(_ line: [UInt8]) -> Bool {
        var inText = false
        var isEscaped = false
        var quotes = 0
        for byte in line.dropLast() {
            if isEscaped {
                isEscaped = false
            } else if inText, byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                inText.toggle()
                quotes += 1
            }
        }
        return !inText && quotes % 4 == 0 && line.first == UInt8(ascii: "{")
            && line.dropLast().last == UInt8(ascii: "}")
    }

    @Test("a text of exactly the limit is not cut")
    func exactLimit() {
        let fits = String(repeating: "x", count: LogLine.messageBytesMax)
        #expect(Self.json(fits).contains("\"\(fits)\""))
        #expect(!Self.json(fits + "x").contains(fits + "\""))
        #expect(Self.json(fits + "x").contains("x" + LogLine.cutMarker))
    }

    @Test("a line for a person")
    func text() {
        let line = LogLine.text(
            Self.record("it \"broke\"\n", [("host", "db1"), ("error", "no = way"), ("e", "")]))
        #expect(
            String(decoding: line, as: UTF8.self)
                == "2026-01-02T03:04:05.006Z warning it \"broke\"\\n host=db1 error=\"no = way\" e=\"\"\n"
        )
    }

    @Test(
        "the form follows the configuration and what standard error is",
        arguments: [
            (LogFormat.auto, true, "", false, false), (.auto, false, "", true, false),
            (.json, true, "", true, false), (.text, false, "", false, false),
            (.auto, false, "8:77", true, true), (.text, false, "8:77", false, true),
            (.auto, false, "8:78", true, false), (.auto, false, "junk", true, false),
        ])
    func form(
        format: LogFormat, isTerminal: Bool, stream: String, isJSON: Bool, hasPriority: Bool
    ) {
        let surroundings = FakeSurroundings(
            stream.isEmpty ? [:] : ["JOURNAL_STREAM": stream], isTerminal: isTerminal)
        #expect(
            LogForm(format, surroundings) == LogForm(isJSON: isJSON, hasPriority: hasPriority))
    }

    @Test(
        "journald gets the priority",
        arguments: zip(LogRecord.Level.allCases, [7, 7, 6, 5, 4, 3, 2]))
    func priority(level: LogRecord.Level, number: Int) {
        var record = Self.record("m")
        record.level = level
        let line = LogForm(isJSON: true, hasPriority: true).line(record)
        #expect(line.starts(with: Array("<\(number)>{\"ts\"".utf8)))
    }

    @Test("a logger writes metadata of all kinds, the nearest wins")
    func handler() {
        let surroundings = FakeSurroundings()
        var logger = Logger(
            label: "petrel-agent", level: "debug", format: .json, surroundings: surroundings,
            clock: SteppingClock())
        logger[metadataKey: "host"] = "outer"
        logger[metadataKey: "stream"] = "logs"
        logger.debug(
            "said",
            metadata: ["host": "inner", "place": ["file": "a", "line": "7"], "ids": ["1", "2"]])
        logger.trace("not said")
        #expect(
            surroundings.text
                == #"{"ts":"2026-01-02T03:04:05.006Z","level":"debug","message":"said","#
                + #""logger":"petrel-agent","host":"inner","ids":"[\"1\", \"2\"]","#
                + #""place.file":"a","place.line":"7","stream":"logs"}"# + "\n")
    }
}
