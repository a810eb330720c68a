import Model
import OTLP
import RemoteWrite
import Testing

/// What exports of logs become.
@Suite("OTLP logs")
struct LogsTests {
    private static let now = TimestampNS(99)

    private func export(
        _ body: [UInt8], _ encoding: MetricsExport.Encoding = .json,
        rules: LogAttributeRules = .standard, limits: LogsExport.Limits = LogsExport.Limits()
    ) throws -> LogsExport {
        try LogsExport(
            body, encoding, bytesMax: 1 << 20, now: Self.now, rules: rules, limits: limits)
    }

    private func json(
        _ records: String, scope: String = "{}", resource: String = ""
    ) -> [UInt8] {
        Array(
            #"""
            {"resourceLogs": [{"scopeLogs": [{"logRecords": [\#(records)], "scope": \#(scope)}],
                "resource": {"attributes": [\#(resource)]}, "schemaUrl": "u"}]}
            """#.utf8)
    }

    private func text(_ key: String, _ value: String) -> String {
        #"{"key": "\#(key)", "value": {"stringValue": "\#(value)"}}"#
    }

    @Test(
        "the attributes of Loki's list are labels, the rest are fields; a record's own count most")
    func attributes() throws {
        let body = json(
            #"""
            {"timeUnixNano": "5", "body": {"stringValue": "x"}, "attributes": [
                \#(text("own", "1")), \#(text("both", "record")), \#(text("event_name", "lost"))],
                "eventName": "kept", "flags": 1, "droppedAttributesCount": 2,
                "observedTimeUnixNano": 6, "severityNumber": 13, "severityText": "W",
                "spanId": "0000000000000000", "traceId": "0102030405060708090a0b0c0d0e0f10"},
            {"timeUnixNano": "4", "body": {"stringValue": "y"}}
            """#,
            scope: #"""
                {"name": "lib", "version": "2", "droppedAttributesCount": 3,
                    "attributes": [\#(text("both", "scope")), \#(text("from.scope", "s"))]}
                """#,
            resource: [
                text("service.name", "cart"), text("k8s.pod.name", "p"), text("both", "resource"),
                text("host.name", "h"), text("deployment.environment.name", "prod"),
                text("service.instance.id", ""),
            ].joined(separator: ","))
        let export = try export(body)
        #expect(export.recordCount == 2 && !export.isTimedHere)
        let shared: Labels = [
            "both": "scope", "from_scope": "s", "host_name": "h",
            "scope_dropped_attributes_count": "3", "scope_name": "lib", "scope_version": "2",
        ]
        #expect(
            export.streams == [
                LogStream(
                    labels: [
                        "deployment_environment_name": "prod", "k8s_pod_name": "p",
                        "service_name": "cart",
                    ],
                    entries: [
                        LogEntry(
                            timestamp: TimestampNS(5), line: Array("x".utf8),
                            metadata: Labels(
                                Array(shared) + [
                                    Label("own", "1"), Label("both", "record"),
                                    Label("event_name", "kept"), Label("flags", "1"),
                                    Label("dropped_attributes_count", "2"),
                                    Label("observed_timestamp", "6"),
                                    Label("severity_number", "13"), Label("severity_text", "W"),
                                    Label("trace_id", "0102030405060708090a0b0c0d0e0f10"),
                                ])),
                        LogEntry(
                            timestamp: TimestampNS(4), line: Array("y".utf8), metadata: shared),
                    ])
            ])
    }

    @Test(
        "bodies that are no texts are written as OpenTelemetry writes them",
        arguments: [
            (#"{"stringValue": "a\nb"}"#, "a\nb"), (#"{"intValue": "5"}"#, "5"),
            (#"{"doubleValue": 0.5}"#, "0.5"), (#"{"boolValue": true}"#, "true"), ("{}", ""),
            (#"{"bytesValue": "AQI="}"#, "AQI="),
            (
                #"{"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "<"}]}}"#,
                #"[1,"\u003c"]"#
            ),
            (
                #"""
                {"kvlistValue": {"values": [{"key": "b", "value": {"intValue": 1}},
                    {"key": "a", "value": {}}]}}
                """#, #"{"a":null,"b":1}"#
            ),
        ])
    func bodies(body: String, line: String) throws {
        let export = try export(json(#"{"timeUnixNano": 1, "body": \#(body)}"#))
        #expect(export.streams.map(\.labels) == [.empty])
        #expect(export.streams[0].entries.map(\.line) == [Array(line.utf8)])
    }

    @Test("maps are a field for each member, and streams are one for each label set")
    func maps() throws {
        let body = json(
            #"""
            {"timeUnixNano": 1, "attributes": [{"key": "a.b", "value": {"kvlistValue": {"values": [
                {"key": "c", "value": {"intValue": 1}}, {"key": "d", "value": {"kvlistValue": {"values": [
                    \#(text("e-f", "2"))]}}}]}}}]}
            """#)
        #expect(
            try export(body).streams[0].entries[0].metadata == ["a_b_c": "1", "a_b_d_e_f": "2"])
        let rules = LogAttributeRules(
            resource: [], record: [.init(.label, names: ["tenant"]), .init(.drop) { $0 == "x" }])
        let records = ["a", "b", "a"].map { tenant in
            #"{"timeUnixNano": 1, "attributes": [\#(text("tenant", tenant)), \#(text("x", "y"))]}"#
        }
        let export = try export(json(records.joined(separator: ",")), rules: rules)
        #expect(export.streams.map(\.labels) == [["tenant": "a"], ["tenant": "b"]])
        #expect(export.streams.map(\.entries.count) == [2, 1])
        #expect(export.streams[0].entries[0].metadata.isEmpty)
    }

    @Test(
        "times: the record's, else its observation's, else now",
        arguments: [("1", "2", 1, false), ("0", "2", 2, false), ("0", "0", 99, true)])
    func times(time: String, observed: String, expected: Int64, isTimedHere: Bool) throws {
        let export = try export(
            json(#"{"timeUnixNano": "\#(time)", "observedTimeUnixNano": "\#(observed)"}"#))
        #expect(export.streams[0].entries.map(\.timestamp.rawValue) == [expected])
        #expect(export.isTimedHere == isTimedHere)
        #expect(
            export.streams[0].entries[0].metadata
                == (time == "1" ? ["observed_timestamp": "2"] : .empty))
        let late = try self.export(json(#"{"timeUnixNano": "18446744073709551615"}"#))
        #expect(late.streams[0].entries[0].timestamp == TimestampNS(.max))
    }

    @Test("protocol buffers: fields in any order, a body that is no UTF-8 as it is")
    func protobuf() throws {
        func message(_ number: UInt64, _ content: [UInt8], in bytes: inout [UInt8]) {
            ProtobufText.append(number, content: content, to: &bytes)
        }
        var value: [UInt8] = []
        message(1, [0x61, 0xff, 0], in: &value)
        var record: [UInt8] = []
        message(9, Array(1...16), in: &record)
        message(5, value, in: &record)
        ProtobufText.append(2, integer: 9, to: &record)
        record += [8 << 3 | 5, 1, 2, 0, 0]
        record += [11 << 3 | 1, 7, 0, 0, 0, 0, 0, 0, 0]
        // A field of a later version.
        ProtobufText.append(13, integer: 1, to: &record)
        var scope: [UInt8] = []
        message(2, record, in: &scope)
        var logs: [UInt8] = []
        message(2, scope, in: &logs)
        var name: [UInt8] = []
        message(1, Array("lib".utf8), in: &name)
        var late: [UInt8] = []
        message(1, name, in: &scope)
        message(2, scope, in: &late)
        var request: [UInt8] = []
        message(1, logs, in: &request)
        message(1, late, in: &request)
        let export = try export(request, .protobuf)
        let fields: Labels = [
            "flags": "513", "severity_number": "9",
            "trace_id": "0102030405060708090a0b0c0d0e0f10",
        ]
        #expect(
            export.streams == [
                LogStream(
                    labels: .empty,
                    entries: [fields, fields.setting("scope_name", "lib")].map {
                        LogEntry(timestamp: TimestampNS(7), line: [0x61, 0xff, 0], metadata: $0)
                    })
            ])
        for count in 1..<request.count {
            let cut = try? self.export(Array(request.prefix(count)), .protobuf)
            #expect((cut?.recordCount ?? 0) < 2)
        }
    }

    @Test("limits are held, also by what a resource gives to every record")
    func limits() throws {
        let body = json(
            [String](repeating: #"{"timeUnixNano": 1, "body": {"stringValue": "line"}}"#, count: 10)
                .joined(separator: ","), resource: text("a", "b") + "," + text("c", "d"))
        func error(_ change: (inout LogsExport.Limits) -> Void) -> OTLPError? {
            var limits = LogsExport.Limits()
            change(&limits)
            do {
                _ = try export(body, limits: limits)
                return nil
            } catch { return error as? OTLPError }
        }
        #expect(error { $0.recordsMax = 10 } == nil)
        #expect(error { $0.recordsMax = 9 } == .tooMany("log records", max: 9))
        #expect(error { $0.resourcesMax = 1 } == .tooMany("resources and scopes", max: 1))
        // Twice two for the resource and its scope's records.
        #expect(error { $0.fieldsMax = 22 } == nil)
        #expect(
            error { $0.fieldsMax = 21 } == .tooMany("attributes of all log records", max: 21))
        #expect(error { $0.bytesMax = 80 } == nil)
        #expect(
            error { $0.bytesMax = 79 }
                == .tooMany("bytes of log records and their attributes", max: 79))
        #expect(error { $0.attributesMax = 3 } == .tooMany("attributes", max: 3))
        let problem = #"{"timeUnixNano": "x"}"#
        #expect(throws: OTLPError.self) { try export(json(problem)) }
    }

    @Test(
        "names",
        arguments: [
            ("a_b", "a_b"), ("http.method", "http_method"), ("a..b", "a_b"), ("a__b", "a_b"),
            ("1st", "key_1st"), ("_a", "_a"), ("__name__", "__name__"), ("__a.b__", "__a_b__"),
            ("Größe", "Gr_e"), ("", nil), ("--", nil), ("____", nil), ("__", nil),
        ] as [(String, String?)])
    func names(name: String, expected: String?) {
        #expect(LogFieldName.normalized(name) == expected)
    }
}
