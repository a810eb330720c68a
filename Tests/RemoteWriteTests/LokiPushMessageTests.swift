import Model
import RemoteWrite
import Testing

/// Loki's push in protocol buffers.
@Suite("Loki's push message")
struct LokiPushMessageTests {
    private func message(_ body: (inout MessageWriter) -> Void) -> [UInt8] {
        MessageWriter.bytes(body)
    }

    private func time(_ writer: inout MessageWriter, _ seconds: Int64, _ nanoseconds: Int64) {
        writer.message(1) { time in
            time.integer(1, seconds)
            time.integer(2, nanoseconds)
        }
    }

    @Test("streams, times, lines byte by byte, fields; what is unknown is stepped over")
    func reads() throws {
        let body = message { push in
            push.message(1) { stream in
                stream.message(2) { entry in
                    entry.bytes(2, [0xff, 0, 0x61])
                    time(&entry, -1, 999_999_999)
                    for (name, value) in [("b", "2"), ("a", "1"), ("b", "3"), ("c", "")] {
                        entry.message(3) { field in
                            field.text(1, name)
                            field.text(2, value)
                        }
                    }
                    // `parsed`.
                    entry.message(4) { $0.text(1, "x") }
                }
                stream.text(1, #"{job="j"}"#)
                stream.integer(3, 77)
            }
            push.text(2, "loki")
            push.message(1) { $0.message(2) { _ in } }
        }
        #expect(
            try LokiPushMessage(body).streams == [
                LokiPushMessage.Stream(
                    labels: #"{job="j"}"#,
                    entries: [
                        LogEntry(
                            timestamp: TimestampNS(-1), line: [0xff, 0, 0x61],
                            metadata: ["a": "1", "b": "3"])
                    ]),
                LokiPushMessage.Stream(
                    labels: "", entries: [LogEntry(timestamp: TimestampNS(0), line: [])]),
            ])
        #expect(try LokiPushMessage([]).streams.isEmpty)
    }

    @Test(
        "times beyond the bounds are the nearest",
        arguments: [
            (Int64.max, 0, Int64.max), (Int64.min, 5, Int64.min),
            (9_223_372_036, 854_775_807, .max),
            (9_223_372_036, 999_999_999, .max), (2, 5, 2_000_000_005), (0, -1, -1),
        ] as [(Int64, Int64, Int64)])
    func times(seconds: Int64, nanoseconds: Int64, expected: Int64) throws {
        let body = message { push in
            push.message(1) { $0.message(2) { time(&$0, seconds, nanoseconds) } }
        }
        #expect(
            try LokiPushMessage(body).streams[0].entries[0].timestamp == TimestampNS(expected))
    }

    @Test("a body cut anywhere is refused or is a shorter push, and limits are held")
    func bounds() throws {
        let body = message { push in
            for number in 0..<3 {
                push.message(1) { stream in
                    stream.text(1, #"{job="j"}"#)
                    stream.message(2) { entry in
                        time(&entry, Int64(number), 1)
                        entry.text(2, "line")
                        entry.message(3) { $0.text(1, "a") }
                    }
                }
            }
        }
        for count in 0..<body.count {
            let cut = try? LokiPushMessage(Array(body.prefix(count)))
            #expect((cut?.streams.count ?? 0) < 3)
        }
        func error(_ change: (inout LokiPushMessage.Limits) -> Void) -> RemoteWriteError? {
            var limits = LokiPushMessage.Limits()
            change(&limits)
            do throws(RemoteWriteError) {
                _ = try LokiPushMessage(body, limits: limits)
                return nil
            } catch { return error }
        }
        #expect(error { $0.streamsMax = 3 } == nil)
        #expect(error { $0.streamsMax = 2 } == .tooMany("streams", max: 2))
        #expect(error { $0.entriesMax = 2 } == .tooMany("entries", max: 2))
        #expect(error { $0.fieldsMax = 2 } == .tooMany("fields of entries", max: 2))
        #expect(throws: RemoteWriteError.badField(.pushRequest, field: 1, wireType: 0, at: 1)) {
            try LokiPushMessage([0x08, 1])
        }
    }
}
