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
            ["critical", "critical", "critical", "error", "warn", "info", "info", "debug", nil]))
    func priorities(priority: UInt8, level: String?) {
        #expect(FieldExtractor.level(priority: priority) == level)
    }
}
