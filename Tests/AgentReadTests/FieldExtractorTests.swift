import AgentRead
import Model
import Testing

@Suite("Field extractor")
struct FieldExtractorTests {
    @Test(
        "lines",
        arguments: [
            ("plain text level=error", nil, [:]),
            ("{\"level\":\"ERROR\",\"msg\":\"x\"}", "error", [:]),
            ("  {\"severity\": \"Warning\"}", "warn", [:]),
            ("{\"level\":30,\"req\":{\"level\":\"debug\",\"trace_id\":\"no\"}}", "info", [:]),
            (
                "{\"a\":[1,{\"b\":\"}\"}],\"traceID\":\"abc\",\"spanId\":\"d\"}", nil,
                ["trace_id": "abc", "span_id": "d"]
            ),
            (
                "{\"user_id\":42,\"request_id\":\"r\\u00e9\\n\",\"action\":null,\"result\":true}",
                nil,
                ["user_id": "42", "request_id": "ré\n"]
            ),
            ("{\"request_id\":\"\\ud83d\\ude00\"}", nil, ["request_id": "😀"]),
            ("{\"trace_id\":\"first\",\"trace_id\":\"second\"}", nil, ["trace_id": "first"]),
            (
                "{\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}",
                nil,
                [
                    "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
                ]
            ),
            ("{\"level\":\"info\",\"trace_id\":\"cut off", "info", [:]),
            ("{\"level\":\"info\" \"x\"", "info", [:]),
            ("{", nil, [:]), ("", nil, [:]), ("{\"a\\", nil, [:]),
            (
                "time=1 level=warn msg=\"a b=\\\"c\" action=login user_id=7", "warn",
                ["action": "login", "user_id": "7"]
            ),
            (
                "level=info trace_id=\"a b\" loose words result=ok", "info",
                ["trace_id": "a b", "result": "ok"]
            ),
            ("{\"level\":\"whatever\"}", nil, [:]),
            (
                "level=info\taction=a\nresult=b\u{1}user_id=c", "info",
                ["action": "a", "result": "b", "user_id": "c"]
            ),
        ] as [(String, String?, [String: String])])
    func lines(line: String, level: String?, fields: [String: String]) {
        let extracted = FieldExtractor.extract(Array(line.utf8))
        #expect(extracted.level == level)
        #expect(Labels(extracted.fields) == Labels(fields))
        #expect(extracted.fields == extracted.fields.sorted())
    }

    @Test("deep nesting ends the reading and nothing else")
    func depth() {
        let deep = String(repeating: "[", count: 100_000)
        let line = "{\"level\":\"info\",\"x\":\(deep),\"action\":\"never\"}"
        let extracted = FieldExtractor.extract(Array(line.utf8))
        #expect(extracted.level == "info")
        #expect(extracted.fields.isEmpty)
        let allowed = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        let whole = "{\"x\":\(allowed),\"action\":\"kept\"}"
        #expect(FieldExtractor.extract(Array(whole.utf8)).fields == [Label("action", "kept")])
    }

    @Test("long values stay in the line alone")
    func long() {
        let line = "{\"trace_id\":\"\(String(repeating: "a", count: 257))\",\"action\":\"b\"}"
        #expect(FieldExtractor.extract(Array(line.utf8)).fields == [Label("action", "b")])
    }

    @Test(
        "syslog priorities",
        arguments: zip(
            UInt8(0)...8,
            ["fatal", "fatal", "critical", "error", "warn", "info", "info", "debug", nil]))
    func priorities(priority: UInt8, level: String?) {
        #expect(FieldExtractor.level(priority: priority) == level)
    }

    private static let trace = "0af7651916cd43dd8448eb211c80319c"
    private static let span = "b7ad6b7169203331"

    @Test(
        "aliases, whatever the case and the signs between words",
        arguments: [
            ("trace_id", "trace_id"), ("traceId", "trace_id"), ("trace.id", "trace_id"),
            ("TRACE_ID", "trace_id"), ("dd.trace_id", "trace_id"), ("otelTraceID", "trace_id"),
            ("span-id", "span_id"), ("dd.span_id", "span_id"), ("X-Request-ID", "request_id"),
            ("requestId", "request_id"), ("reqId", "request_id"), ("userID", "user_id"),
            ("user.id", "user_id"), ("event.action", "action"), ("event.outcome", "result"),
        ])
    func aliases(key: String, name: String) {
        let json = "{\"a\":1,\"\(key)\":\"v7\"}"
        #expect(FieldExtractor.extract(Array(json.utf8)).fields == [Label(name, "v7")])
        let logfmt = "msg=x \(key)=v7"
        #expect(FieldExtractor.extract(Array(logfmt.utf8)).fields == [Label(name, "v7")])
    }

    @Test("names that only begin or end like one are none")
    func others() {
        let line =
            "{\"trace_ids\":\"a\",\"my_action\":\"b\",\"levels\":\"info\",\"trace\\u005fid\":\"c\"}"
        #expect(FieldExtractor.extract(Array(line.utf8)) == ExtractedFields())
    }

    @Test(
        "traceparent that is none",
        arguments: [
            "00-\(String(repeating: "0", count: 32))-\(span)-01",
            "00-\(trace)-\(String(repeating: "0", count: 16))-01", "ff-\(trace)-\(span)-01",
            "00-\(trace.uppercased())-\(span)-01", "00-\(trace)-\(span)", "00-\(trace)-\(span)-01x",
            "",
        ])
    func noTraceParent(text: String) {
        let line = "{\"traceparent\":\"\(text)\"}"
        #expect(FieldExtractor.extract(Array(line.utf8)).fields.isEmpty)
    }

    @Test(
        "words of levels",
        arguments: [
            ("WARNING", "warn"), ("Information", "info"), ("DEBUG3", "debug"), ("60", "fatal"),
            ("err", "error"), ("PANIC", "fatal"), ("info5", nil), ("70", nil), ("x", nil),
            ("", nil),
        ] as [(String, String?)])
    func levelWords(word: String, level: String?) {
        let line = Array("{\"level\":\"\(word)\"}".utf8)
        #expect(FieldExtractor.extract(line).level == level)
    }

    @Test(
        "lines of services",
        arguments: [
            (
                """
                {"level":"error","ts":1.5,"logger":"http.log.access.log0","msg":"handled request",\
                "request":{"method":"GET","host":"a.b","uri":"/x","headers":{"Accept":["*/*"],\
                "Traceparent":["00-\(trace)-\(span)-01"],"X-Request-Id":["r1","r2"]}},"user_id":"bob",\
                "duration":0.1,"status":502,"resp_headers":{"X-Request-Id":["other"]}}
                """, "error",
                [
                    "action": "GET", "result": "502", "request_id": "r1", "user_id": "bob",
                    "trace_id": trace, "span_id": span,
                ]
            ),
            (
                """
                {"logger":"http.log.access","request":{"method":"PUT","headers":[]},"user_id":"",\
                "status":204,"resp_headers":{"X-Request-Id":["out"]},"traceID":"t"}
                """, nil,
                ["action": "PUT", "result": "204", "request_id": "out", "trace_id": "t"]
            ),
            ("{\"logger\":\"http.other\",\"status\":204,\"uuid\":\"u\"}", nil, [:]),
            (
                """
                {"timestamp":"2026-11-26 15:19:17.123 UTC","user":"app","pid":1,"ps":"SELECT",\
                "error_severity":"ERROR","state_code":"42P01","message":"relation"}
                """, "error", ["user_id": "app", "action": "SELECT", "result": "42P01"]
            ),
            (
                "{\"error_severity\":\"DEBUG1\",\"state_code\":\"00000\",\"user\":\"a\"}", "debug",
                ["user_id": "a"]
            ),
            (
                """
                {"action":"login_failed","context":{"stage":{"name":"x"},"username":"mallory"},\
                "event":"Created Event","level":"info","logger":"authentik.events.models",\
                "request_id":"r","user":{"email":"","pk":1,"username":"AnonymousUser"}}
                """, "info",
                [
                    "action": "login_failed", "result": "failure", "user_id": "mallory",
                    "request_id": "r",
                ]
            ),
            (
                """
                {"action":"login","event":"Created Event","logger":"authentik.events",\
                "user":{"pk":5,"email":"a@b"}}
                """, nil, ["action": "login", "result": "success", "user_id": "5"]
            ),
            (
                """
                {"event":"/api/","level":"info","logger":"authentik.asgi","method":"GET",\
                "status":200,"user":"akadmin"}
                """, "info", ["action": "GET", "result": "200", "user_id": "akadmin"]
            ),
            (
                """
                2026-11-26 15:19:17.123 UTC,"app","shop",123,"10.0.0.2:1",674a.1f,3,"SELECT",\
                2026-11-26 15:00:00 UTC,3/12,0,FATAL,57P01,"say ""x"", y",,,
                """, "fatal", ["user_id": "app", "action": "SELECT", "result": "57P01"]
            ),
            (
                """
                2026-11-26 15:19:17.123 UTC,,,123,,674a.1f,3,"a "",b",\
                2026-11-26 15:00:00 UTC,,0,LOG,00000,"started",,,
                """, "info", ["action": "a \"\",b"]
            ),
            (
                "2026-11-26 15:19:17.1 UTC [9] my-app@shop ERROR:  no", "error",
                ["user_id": "my-app"]
            ),
            ("2026-11-26 15:19:17.1 UTC [9] STATEMENT:  SELECT 'ERROR'", nil, [:]),
            ("2026-11-26 15:19:17.1 UTC [9] WARNING C-0x1: db/u@1.2.3.4:5 x", "warn", [:]),
            ("2026-11-26 15:19:17,1 fail2ban.actions [7]: NOTICE  [sshd] Ban", "info", [:]),
            ("2026-11-26T15:19:17Z nothing in capitals", nil, [:]),
            ("1234:M 26 Nov 2026 15:19:17.123 # Out of memory", "warn", [:]),
            ("1234:M 26 Nov 2026 15:19:17.123 * Ready to accept connections", "info", [:]),
            ("1234: something else that is long enough to be one", nil, [:]),
            ("7=x action=y", nil, ["action": "y"]),
        ] as [(String, String?, [String: String])])
    func services(line: String, level: String?, fields: [String: String]) {
        let extracted = FieldExtractor.extract(Array(line.utf8))
        #expect(extracted.level == level)
        #expect(Labels(extracted.fields) == Labels(fields))
    }

    @Test("what stands behind 64 KiB is not read")
    func longLines() {
        func line(_ count: Int) -> [UInt8] {
            Array(
                "{\"action\":\"a\",\"x\":\"\(String(repeating: "x", count: count))\",\"result\":\"b\"}"
                    .utf8)
        }
        #expect(FieldExtractor.extract(line(1000)).fields.map(\.name) == ["action", "result"])
        let long = FieldExtractor.extract(line(FieldExtractor.lineBytesMax))
        #expect(long.fields.map(\.name) == ["action"])
    }

    @Test("any bytes are read without harm", arguments: [UInt64(1), 2, 3])
    func anyBytes(seed: UInt64) {
        var random = LineDice(seed: seed)
        for _ in 0..<3000 {
            let body = random.line()
            for start in ["", "{\"", "{\"action\":", "a=", "2026-11-26 15:19:17 ", "12:M "] {
                let extracted = FieldExtractor.extract(Array(start.utf8) + body)
                let names = extracted.fields.map(\.name)
                #expect(names == Set(names).sorted())
            }
        }
    }
}

/// Lines of words that readers of lines look for, with any bytes between.
struct LineDice {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func line() -> [UInt8] {
        var line: [UInt8] = []
        for _ in 0..<below(16) {
            if below(6) == 0 {
                line.append(UInt8(truncatingIfNeeded: next()))
            } else {
                line += Self.words[below(Self.words.count)].utf8
            }
        }
        return line
    }

    private static let words = [
        "password", "token", "=", ":", "\"", "'", "\\", "Bearer ", "Basic ", "eyJ", "://", "@", "/",
        " ", "-", "4111", "4111111111111111", ".", "[", "]", "{", "}", ",", ";", "&",
        "authorization", "cookie", "PWD", "pass", "ghp_", "sk-", "é", "[redacted:x]", "logger",
        "2026-11-26 15:19:17", "1:M 26 Nov 2026 15:19:17.123 * ", "traceparent", "level", "user",
        "error_severity", "request", "null", "12", "\\u00",
    ]
}
