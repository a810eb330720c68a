import CollectorWeb
import Gzip
import Model
import RemoteWrite
import Storage
import Synchronization
import Testing

/// What senders of Loki's push are told, and what reaches the storage.
@Suite("Loki push")
struct LokiPushTests {
    /// Longer than an id may be.
    private static let longID = String(repeating: "x", count: 257)
    private let app: Labels = ["app": "shop", "service_name": "shop"]

    private func json(_ streams: String...) -> [UInt8] {
        Array("{\"streams\": [\(streams.joined(separator: ","))]}".utf8)
    }

    private func stream(_ values: String, labels: String = #"{"app": "shop"}"#) -> String {
        "{\"stream\": \(labels), \"values\": [\(values)]}"
    }

    private func values(_ lines: String...) -> String {
        lines.enumerated().map { "[\"\($0.offset + 1)\", \"\($0.element)\"]" }
            .joined(separator: ",")
    }

    // MARK: What is stored

    @Test("JSON, plain and compressed: committed once, with service_name, level and fields")
    func stores() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let body = json(
            stream(
                #"["1", "one"], ["2", "two\nlines \u00e9", {"trace_id": "t1", "a.b": "c"}]"#),
            stream(#"["3", "level=warn msg=x"]"#, labels: #"{"app": "shop"}"#))
        for encoding in [nil, "gzip", "identity"] {
            let sent = encoding == "gzip" ? try Gzip.compress(body) : body
            let answer = await FakeCollector.post(sent, encoding: encoding, to: site)
            #expect(answer.status == 204 && answer.text.isEmpty)
        }
        // The plain body came twice: the second time it was a repeat.
        let pushes = writer.state.withLock { $0.pushes }
        #expect(pushes.count == 2 && pushes[0].digest != pushes[1].digest)
        #expect(pushes[0].digest.count == 32)
        #expect(
            pushes[0].streams == [
                LogStream(
                    labels: app,
                    entries: [
                        LogEntry(timestamp: TimestampNS(1), line: Array("one".utf8)),
                        LogEntry(
                            timestamp: TimestampNS(2), line: Array("two\nlines é".utf8),
                            metadata: ["a_b": "c", "trace_id": "t1"]),
                        LogEntry(
                            timestamp: TimestampNS(3), line: Array("level=warn msg=x".utf8),
                            level: "warn"),
                    ])
            ])
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            #"petrel_log_push_requests_total{code="204",protocol="loki_json"} 3"#,
            "petrel_log_push_lines_total 6", "petrel_log_push_repeats_total 1",
            #"petrel_log_push_refused_lines_total{reason="line_too_long"} 0"#,
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }

    @Test("the same body is a repeat only for the same shard of a backfill")
    func shards() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let body = json(stream(values("one")))
        for shard in [nil, "a", "b", "a", nil] {
            let headers = shard.map { ["x-loki-backfill-shard": $0] } ?? [:]
            let answer = await FakeCollector.post(body, headers: headers, to: site)
            #expect(answer.status == 204, "\(answer.text)")
        }
        #expect(writer.state.withLock { $0.calls } == 5)
        let pushes = writer.state.withLock { $0.pushes }
        #expect(pushes.map { $0.streams[0].labels["__backfill_shard__"] } == ["", "a", "b"])
        #expect(Set(pushes.map(\.digest)).count == 3)
    }

    @Test("protocol buffers in Snappy, lines byte by byte")
    func protobuf() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let message = Message.push([
            (
                #"{app="shop", pod="a"}"#,
                [
                    (1_767_323_000, 5, [0x61, 0xff, 0x00], [("request_id", "r1")]),
                    (1_767_323_001, 0, Array("plain error: x".utf8), []),
                ]
            )
        ])
        for (type, encoding) in [
            ("application/x-protobuf", nil), (nil, "snappy"),
        ] as [(String?, String?)] {
            let answer = await FakeCollector.post(
                SnappyBlock.compress(message), type: type, encoding: encoding, to: site)
            #expect(answer.status == 204, "\(answer.text)")
        }
        #expect(
            writer.streams == [
                LogStream(
                    labels: ["app": "shop", "pod": "a", "service_name": "shop"],
                    entries: [
                        LogEntry(
                            timestamp: TimestampNS(1_767_323_000_000_000_005),
                            line: [0x61, 0xff, 0x00], metadata: ["request_id": "r1"]),
                        LogEntry(
                            timestamp: TimestampNS(1_767_323_001_000_000_000),
                            line: Array("plain error: x".utf8), level: "error"),
                    ])
            ])
    }

    @Test("a line in JSON that is no UTF-8 is stored as it is")
    func bytes() async throws {
        let writer = FakeLogWriter()
        var body = Array(#"{"streams": [{"stream": {"app": "shop"}, "values": [["1", "a"#.utf8)
        body += [0xff, 0xc0] + Array(#"\u0000b"]]}]}"#.utf8)
        let answer = await FakeCollector.post(body, to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204, "\(answer.text)")
        #expect(writer.stream(app).entries[0].line == [0x61, 0xff, 0xc0, 0, 0x62])
    }

    @Test("lines of any bytes are stored as they are")
    func anyLines() async throws {
        let parts =
            ["{", "}", "[", "]", "\"", "\\", "=", ":", ",", " ", "\n", "level", "trace_id"].map {
                Array($0.utf8)
            } + [
                [0xff], [0], [0xc3], Array("\"level\":\"error\"".utf8),
                Array("traceparent=\"".utf8),
            ]
        var state: UInt64 = 7
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let lines = (0..<5_000).map { _ in (0..<next(12)).flatMap { _ in parts[next(parts.count)] }
        }
        let writer = FakeLogWriter()
        let message = Message.push([
            (#"{app="shop"}"#, lines.map { (seconds: 1, nanoseconds: 0, line: $0, fields: []) })
        ])
        let answer = await FakeCollector.post(
            SnappyBlock.compress(message), type: "application/x-protobuf",
            to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204, "\(answer.text)")
        let entries = writer.stream(app).entries
        #expect(entries.map(\.line) == lines)
        #expect(Set(entries.compactMap(\.level)) == ["error"])
        #expect(entries.contains { !$0.metadata["trace_id"].isEmpty })
    }

    @Test(
        "Loki's first form, to its path and to the new one",
        arguments: [["api", "prom", "push"], ["loki", "api", "v1", "push"]])
    func older(path: [String]) async throws {
        let writer = FakeLogWriter()
        let body = #"""
            {"streams": [{"labels": "{app=\"shop\",severity=\"warning\"}", "entries": [
                {"ts": "2026-01-02T03:04:05.000006+00:00", "line": "x"}]}]}
            """#
        let answer = await FakeCollector.post(
            Array(body.utf8), path, to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204, "\(answer.text)")
        #expect(
            writer.streams == [
                LogStream(
                    labels: ["app": "shop", "severity": "warning", "service_name": "shop"],
                    entries: [
                        LogEntry(
                            timestamp: TimestampNS(1_767_323_045_000_006_000),
                            line: Array("x".utf8), level: "warn")
                    ])
            ])
    }

    @Test(
        "service_name is the first label of a list",
        arguments: [
            (#"{"job": "j", "container": "c"}"#, "c"), (#"{"a": "b"}"#, "unknown_service"),
            (#"{"service_name": "s", "app": "a"}"#, "s"), (#"{"app_name": "n"}"#, "n"),
            ("{}", "unknown_service"), (#"{"app": "", "job": "j"}"#, "j"),
        ])
    func serviceName(labels: String, name: String) async throws {
        let writer = FakeLogWriter()
        _ = await FakeCollector.post(
            json(stream(values("x"), labels: labels)), to: FakeCollector.site(taking: writer))
        #expect(writer.streams.map { $0.labels["service_name"] } == [name])
    }

    // MARK: Levels and ids

    @Test(
        "levels: labels, fields, severity numbers, members, words",
        arguments: [
            // (labels beside app, fields, line, level)
            (#""level": "ERROR""#, #"{"level": "debug"}"#, "info", "error"),
            ("", #"{"severity": "Warning"}"#, "info", "warn"),
            ("", #"{"log.level": "dbg"}"#, "error", "error"),
            ("", #"{"detected_level": "WRN"}"#, "error", "warn"),
            ("", #"{"detected_level": "unknown"}"#, "error", nil),
            ("", #"{"severity_number": "17"}"#, "info", "error"),
            ("", #"{"severity_number": "0"}"#, "x debug x", nil),
            ("", #"{"severity_number": "25"}"#, "x debug x", nil),
            ("", #"{"severity_number": "many"}"#, "x debug x", "info"),
            ("", "{}", #"{\"level\": \"Information\"}"#, "info"),
            ("", "{}", #"{\"a\": {\"lvl\": \"trc\"}, \"level\": \"info\"}"#, "trace"),
            ("", "{}", #"{\"a\": {\"b\": {\"level\": \"info\"}}}"#, "info"),
            ("", "{}", #"{\"level\": 50, \"msg\": \"info\"}"#, "error"),
            ("", "{}", #"{\"level\": \"odd\", \"msg\": \"an error!\"}"#, "error"),
            ("", "{}", #"{\"level\": \"error\", cut}"#, "error"),
            ("", "{}", #"a=b severity=fatal LEVEL=\"debug\""#, "debug"),
            ("", "{}", "[ERROR] warn", "error"), ("", "{}", "misc:error", nil),
            ("", "{}", "terror errors", nil), ("", "{}", "WARNING: x", "warn"),
            ("", "{}", "(critical) error", "critical"), ("", "{}", "plain", nil),
            ("", "{}", "", nil), ("", "{}", "err", "error"),
        ])
    func levels(labels: String, fields: String, line: String, level: String?) async throws {
        let writer = FakeLogWriter()
        let all = #"{"app": "shop""# + (labels.isEmpty ? "" : ", " + labels) + "}"
        let answer = await FakeCollector.post(
            json(stream(#"["1", "\#(line)", \#(fields)]"#, labels: all)),
            to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204, "\(answer.text)")
        let entry = try #require(writer.streams.first?.entries.first)
        #expect(entry.level == level)
        #expect(entry.metadata["detected_level"].isEmpty)
    }

    @Test(
        "a level of another name stays a field, and the line is not looked at",
        arguments: [
            (#"{"app": "shop"}"#, #"{"detected_level": "odd"}"#, ["detected_level": "odd"]),
            (#"{"app": "shop"}"#, #"{"lvl": "odd"}"#, ["detected_level": "odd", "lvl": "odd"]),
            (
                #"{"app": "shop", "severity": "odd"}"#, #"{"level": "info"}"#,
                ["detected_level": "odd", "level": "info"]
            ), (#"{"app": "shop", "severity": "unknown"}"#, "{}", [:]),
        ] as [(String, String, [String: String])])
    func otherLevel(labels: String, fields: String, expected: [String: String]) async throws {
        let writer = FakeLogWriter()
        _ = await FakeCollector.post(
            json(stream(#"["1", "an error", \#(fields)]"#, labels: labels)),
            to: FakeCollector.site(taking: writer))
        let entry = try #require(writer.streams.first?.entries.first)
        #expect(entry.level == nil && entry.metadata == Labels(expected))
    }

    @Test(
        "ids of fields and lines are found under the names that loggers write",
        arguments: [
            ("{}", #"{\"traceID\": \"t\", \"spanID\": \"s\"}"#, ["span_id": "s", "trace_id": "t"]),
            (
                "{}", #"{\"dd.trace_id\": 123, \"reqId\": \"r\"}"#,
                ["request_id": "r", "trace_id": "123"]
            ),
            ("{}", #"{\"a\": {\"trace_id\": \"t\"}}"#, [:]),
            ("{}", #"x trace_id=t request-id=\"r\" span=s"#, ["request_id": "r", "trace_id": "t"]),
            (
                "{}",
                #"{\"traceparent\": \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}"#,
                [
                    "span_id": "00f067aa0ba902b7",
                    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                ]
            ),
            ("{}", #"{\"traceparent\": \"00-0-0-01\", \"trace_id\": \"\"}"#, [:]),
            (
                #"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#,
                "trace_id=t",
                [
                    "span_id": "00f067aa0ba902b7",
                    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                ]
            ),
            (
                #"{"traceparent": "00-0-0-01"}"#, "trace_id=t",
                ["trace_id": "t", "traceparent": "00-0-0-01"]
            ),
            (
                #"{"traceId": "\#(Self.longID)"}"#, "trace_id=t",
                ["traceId": Self.longID, "trace_id": "t"]
            ),
            (#"{"trace_id": "mine"}"#, "trace_id=t", ["trace_id": "mine"]),
            (#"{"traceId": "mine"}"#, "trace_id=t", ["traceId": "mine", "trace_id": "mine"]),
        ] as [(String, String, Labels)])
    func ids(fields: String, line: String, expected: Labels) async throws {
        let writer = FakeLogWriter()
        let answer = await FakeCollector.post(
            json(stream(#"["1", "\#(line)", \#(fields)]"#)),
            to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204, "\(answer.text)")
        #expect(writer.streams.first?.entries.first?.metadata == expected)
    }

    // MARK: What is refused

    @Test("what can't be stored is told, the rest is stored")
    func partial() async throws {
        let writer = FakeLogWriter()
        writer.state.withLock { $0.oldest = TimestampNS(2) }
        let site = FakeCollector.site(taking: writer)
        let long = String(repeating: "x", count: LogEntry.lineBytesMax + 1)
        let body = json(
            stream(values("old", "kept", long, long)),
            stream(values("lost"), labels: #"{"app": "\#(long.prefix(2_049))"}"#),
            stream(#"["1767323646000000000", "late"], ["1767323645000000000", "in time"]"#))
        let answer = await FakeCollector.post(body, to: site)
        #expect(answer.status == 400)
        for part in [
            "2 errors like: max entry size '262144' bytes exceeded for stream "
                + #"'{app="shop", service_name="shop"}' while adding an entry with length "#
                + "'262145' bytes; 1 errors like: stream '{app=\"xx",
            "has label value too long: 'xx",
            #"; 1 errors like: entry for stream '{app="shop", service_name="shop"}' has timestamp "#
                + "too new: 2026-01-02T03:14:06Z; 1 errors like: entry has timestamp too old: it is ",
        ] {
            #expect(answer.text.contains(part), "\(part) in \(answer.text.prefix(900))")
        }
        #expect(writer.streams.map(\.labels) == [app])
        #expect(writer.stream(app).entries.map(\.line.count) == [3, 4, 7])
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            "petrel_log_push_lines_total 2",
            #"petrel_log_push_refused_lines_total{reason="line_too_long"} 2"#,
            #"petrel_log_push_refused_lines_total{reason="label_value_too_long"} 1"#,
            #"petrel_log_push_refused_lines_total{reason="too_far_in_future"} 1"#,
            #"petrel_log_push_refused_lines_total{reason="greater_than_max_sample_age"} 1"#,
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }

    @Test("a single defect is told as it is, many only by their number")
    func sentences() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let names = (1...16).map { "\"l\($0)\": \"v\"" }.joined(separator: ",")
        let one = await FakeCollector.post(
            json(stream(values("x"), labels: "{\(names)}")), to: site)
        #expect(one.status == 400)
        #expect(one.text.hasPrefix("entry for stream '{l1=\"v\", l10=\"v\","), "\(one.text)")
        #expect(one.text.hasSuffix("' has 16 label names; limit 15\n"))
        #expect(writer.state.withLock { $0.calls } == 0)
        let fields = (0...128).map { "\"f\($0)\": \"v\"" }.joined(separator: ",")
        let many = await FakeCollector.post(
            json(
                stream(#"["1", "x", {\#(fields)}]"#),
                stream(#"["1", "x", {"a": "\#(String(repeating: "y", count: 65_536))"}]"#),
                stream(#"["1", "x", {"--": "y"}]"#), stream(values("kept"))), to: site)
        #expect(many.status == 400)
        for part in [
            "has too many structured metadata labels: '129', limit: '128'",
            "has structured metadata too large: '65537' bytes, limit: '65536' bytes",
            "of which no name is left: '--'",
        ] {
            #expect(many.text.contains(part), "\(part) in \(many.text)")
        }
        let streams = (1...20).map { number in
            stream(values("x"), labels: #"{"app": "a\u0000\#(number)"}"#)
        }
        let bad = await FakeCollector.post(
            json(streams.joined(separator: ",")), to: site)
        #expect(bad.status == 400 && bad.text.hasSuffix("; 10 more errors\n"), "\(bad.text)")
        #expect(writer.stream(app).entries.count == 1)
    }

    @Test(
        "what is no push is refused whole",
        arguments: [
            ("", 400, "no JSON at byte 0"), ("[]", 400, "can't find closing '}' symbol: the body"),
            ("{}", 422, "error at least one valid stream is required for ingestion\n"),
            (#"{"streams": []}"#, 422, "at least one valid stream"),
            (#"{"streams": [{"values": []}]}"#, 400, "couldn't parse labels: "),
            (#"{"streams": [{"stream": {"a b": "c"}}]}"#, 400, "couldn't parse labels: "),
            (
                #"{"streams": [{"stream": {}, "values": [[1, "x"]]}]}"#, 400,
                "Value is string, but can't find closing '\"' symbol: streams[0].values[0][0], "
                    + "which is nanoseconds in a text\n"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["1", "x"], ["2", {}]]}]}"#, 400,
                "Value is string, but can't find closing '\"' symbol: streams[0].values[1][1]"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["1", "x", {"a": 1}]]}]}"#, 400,
                "closing '\"' symbol: streams[0].values[0][2].a"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["1", "x", []]]}]}"#, 400,
                "closing '}' symbol: streams[0].values[0][2], which is structured metadata"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["99999999999999999999", "x"]]}]}"#, 400,
                "Value is number, but overflowed while parsing: streams[0].values[0][0]"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["-99999999999999999999", "x"]]}]}"#, 400,
                "Value is number, but overflowed while parsing: streams[0].values[0][0]"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["abc", "x"]]}]}"#, 400,
                "the time is no whole number of nanoseconds: streams[0].values[0][0]\n"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["1.5", "x"]]}]}"#, 400,
                "the time is no whole number of nanoseconds: streams[0].values[0][0]\n"
            ),
            (
                #"{"streams": [{"stream": {}, "values": [["", "x"]]}]}"#, 400,
                "the time is no whole number of nanoseconds: streams[0].values[0][0]\n"
            ),
            (#"{"streams": [{"stream": {}, "values": [["1"]]}]}"#, 400, "an entry is"),
            (#"{"streams": [{"stream": {}, "values": ["1"]}]}"#, 400, "an entry is"),
            (
                #"{"streams": [{"labels": "{a=\"b\"", "entries": []}]}"#, 400,
                "couldn't parse labels"
            ),
            (
                #"{"streams": [{"labels": "{}", "entries": [{"ts": "x", "line": ""}]}]}"#, 400,
                "no time as RFC 3339 writes it: streams[0].entries[0].ts"
            ),
            (
                #"{"streams": [{"stream": {"__backfill__": "true"}, "values": []}]}"#, 400,
                "reserved labels __backfill__"
            ),
        ])
    func noPush(body: String, status: Int, part: String) async throws {
        let writer = FakeLogWriter()
        let answer = await FakeCollector.post(
            Array(body.utf8), to: FakeCollector.site(taking: writer))
        #expect(answer.status == status && answer.text.contains(part), "\(answer.text)")
        #expect(writer.state.withLock { $0.calls } == 0)
    }

    @Test("types, encodings, sizes and pages that are not taken")
    func form() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let body = json(stream(values("x")))
        let message = Message.push([(#"{app="shop"}"#, [(1, 0, [0x78], [])])])
        func check(
            _ answer: (status: Int, text: String, response: WebResponse), _ status: Int,
            _ part: String, location: SourceLocation = #_sourceLocation
        ) {
            #expect(
                answer.status == status && answer.text.contains(part), "\(answer.text)",
                sourceLocation: location)
        }
        check(
            await FakeCollector.post(body, type: "text/plain", to: site), 415,
            "content type text/plain is not taken")
        check(
            await FakeCollector.post(body, type: "application/x-protobuf", to: site), 400,
            "Snappy")
        check(
            await FakeCollector.post(body, type: "application/json; a", to: site), 400,
            "malformed")
        check(
            await FakeCollector.post(body, encoding: "br", to: site), 415,
            "Content-Encoding \"br\" not supported")
        check(await FakeCollector.post(body, encoding: "gzip", to: site), 400, "not gzip")
        check(await FakeCollector.post(body, encoding: "deflate", to: site), 400, "not deflate")
        check(
            await FakeCollector.post(
                SnappyBlock.compress(message + [0x0a, 9]), type: "application/x-protobuf",
                to: site), 400, "PushRequest ends within a field")
        check(
            await FakeCollector.post(
                SnappyBlock.compress([UInt8](repeating: 0, count: 33 << 20)),
                type: "application/x-protobuf", to: site), 413, "34603008 bytes")
        check(
            await FakeCollector.post(
                try Gzip.compress([UInt8](repeating: 32, count: 33 << 20), level: 9),
                encoding: "gzip", to: site), 413, "33554432 bytes")
        let get = await FakeCollector.post(body, method: "GET", to: site)
        check(get, 405, "POST")
        #expect(get.response.header("allow") == "POST")
        for path in [["loki", "api", "v1", "push"], ["api", "prom", "push"]] {
            check(
                await FakeCollector.post(
                    body, path, headers: ["origin": "https://evil.example"], to: site), 403, "page")
        }
        #expect(writer.state.withLock { $0.calls } == 0)
        check(await FakeCollector.post(body, to: FakeCollector.site()), 404, "no such path")
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        #expect(
            metrics.contains(
                #"petrel_log_push_requests_total{code="415",protocol="loki_protobuf"} 1"#))
    }

    @Test(
        "what may be stored later is to be sent again",
        arguments: [
            (StorageError.unavailable("away"), 503, "5"), (.exhausted("full"), 503, "30"),
            (.cancelled, 503, "5"),
            (.limitExceeded(limit: "limits.log_streams", maximum: 7), 429, "30"),
            (.refused("defect"), 500, nil),
        ] as [(StorageError, Int, String?)])
    func later(failure: StorageError, status: Int, after: String?) async throws {
        let writer = FakeLogWriter()
        writer.state.withLock { $0.failure = failure }
        let site = FakeCollector.site(taking: writer)
        let body = json(stream(values("x")))
        let answer = await FakeCollector.post(body, to: site)
        #expect(answer.status == status && answer.response.header("retry-after") == after)
        if status == 429 {
            #expect(
                answer.text.hasPrefix("maximum active stream limit exceeded when trying to create"))
            #expect(answer.text.contains("limits.log_streams is 7"))
        }
        writer.state.withLock { $0.failure = nil }
        #expect(await FakeCollector.post(body, to: site).status == 204)
    }
}

/// Writes Loki's protocol buffers for the tests.
enum Message {
    typealias Entry = (
        seconds: Int64, nanoseconds: Int64, line: [UInt8], fields: [(String, String)]
    )

    static func push(_ streams: [(labels: String, entries: [Entry])]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (labels, entries) in streams {
            var stream: [UInt8] = []
            ProtobufText.append(1, content: labels.utf8, to: &stream)
            for one in entries { ProtobufText.append(2, content: entry(one), to: &stream) }
            ProtobufText.append(3, integer: 77, to: &stream)
            ProtobufText.append(1, content: stream, to: &bytes)
        }
        ProtobufText.append(2, content: "loki".utf8, to: &bytes)
        return bytes
    }

    private static func entry(_ entry: Entry) -> [UInt8] {
        var time: [UInt8] = []
        ProtobufText.append(1, integer: entry.seconds, to: &time)
        ProtobufText.append(2, integer: entry.nanoseconds, to: &time)
        var bytes: [UInt8] = []
        ProtobufText.append(1, content: time, to: &bytes)
        ProtobufText.append(2, content: entry.line, to: &bytes)
        for (name, value) in entry.fields {
            var field: [UInt8] = []
            ProtobufText.append(1, content: name.utf8, to: &field)
            ProtobufText.append(2, content: value.utf8, to: &field)
            ProtobufText.append(3, content: field, to: &bytes)
        }
        return bytes
    }
}
