import CollectorQuery
import LogQL
import Model
import Storage
import Testing

/// What Petrel has beyond LogQL: context, pages, distinct lines.
@Suite("Log query extensions")
struct LogExtensionTests {
    private static func at(_ number: Int64) -> TimestampNS { TimestampNS(1_000_000 + number) }

    /// Lines `0` to `19` of each stream, one a nanosecond; `hit` stands in 5, 7 and 15 of stream `a`.
    private static func streams() -> [LogStream] {
        ["a", "b"].map { name in
            LogStream(
                labels: ["s": name],
                entries: (0..<20).map { number in
                    let mark = name == "a" && [5, 7, 15].contains(number) ? " hit" : ""
                    return LogEntry(
                        timestamp: at(Int64(number)), line: Array("\(number)\(mark)".utf8),
                        level: number % 2 == 0 ? "info" : "error", metadata: ["m": "\(number % 3)"])
                })
        }
    }

    private static func request(
        _ text: String, _ direction: LogSelection.Direction = .forward, max: Int = 100
    ) -> LogRangeRequest {
        var request = LogRangeRequest(
            text: text, from: at(0), to: at(1000), entriesMax: max, direction: direction)
        request.hasCategories = true
        return request
    }

    private static func service(_ streams: [LogStream] = streams()) -> LogQueryService {
        LogQueryService(reader: StoredLogReader(streams, pageEntries: 3), clock: FixedClock())
    }

    private static func ask(
        _ request: LogRangeRequest, _ streams: [LogStream] = streams()
    ) async throws -> [LogResultStream] {
        guard case .streams(let found) = try await service(streams).range(request).value else {
            Issue.record("no streams")
            return []
        }
        return found
    }

    /// `-5` stands for line 5 before a hit, `5-` for one after, `5` for a hit.
    private static func marked(_ stream: LogResultStream?) -> [String] {
        (stream?.entries ?? []).map { entry in
            let line =
                String(decoding: entry.line, as: UTF8.self)
                .split(separator: " ").first.map(String.init) ?? ""
            return switch entry.structuredMetadata["petrel_context"] {
            case "before": "-" + line
            case "after": line + "-"
            default: line
            }
        }
    }

    @Test("lines around lines come once, in the order of the answer")
    func context() async throws {
        var request = Self.request(#"{s=~".+"} |= "hit""#)
        request.contextCount = 2
        let forward = try await Self.ask(request)
        #expect(forward.map(\.labels) == [["s": "a"]])
        let expected = ["-3", "-4", "5", "6-", "7", "8-", "9-", "-13", "-14", "15", "16-", "17-"]
        #expect(Self.marked(forward.first) == expected)
        request.direction = .backward
        #expect(Self.marked(try await Self.ask(request).first) == expected.reversed())
        // Neighbours that meet.
        request.direction = .forward
        request.contextCount = 5
        #expect(
            Self.marked(try await Self.ask(request).first) == [
                "-0", "-1", "-2", "-3", "-4", "5", "6-", "7", "8-", "9-", "10-", "11-", "12-",
                "-13", "-14", "15", "16-", "17-", "18-", "19-",
            ])
        // Without categories the mark is a label.
        request.contextCount = 1
        request.hasCategories = false
        let merged = try await Self.ask(request)
        #expect(merged.contains { $0.labels["petrel_context"] == "before" })
        #expect(merged.reduce(0) { $0 + $1.entries.count } == 8)
    }

    @Test("what a query makes of a line is not made of those around it")
    func contextOfFormatted() async throws {
        var request = Self.request(#"{s="a"} |= "15" | drop s | line_format "x""#)
        request.contextCount = 1
        let found = try await Self.ask(request)
        #expect(found.map(\.labels) == [.empty, ["s": "a"]])
        #expect(Self.marked(found.first) == ["x"])
        #expect(Self.marked(found.last) == ["-14", "16-"])
        #expect(found.last?.entries.first?.structuredMetadata["detected_level"] == "info")
    }

    @Test("lines of one time and the same text keep their places")
    func contextOfRepeats() async throws {
        let lines = ["a", "hit", "hit", "b", "hit", "c"]
        let stream = LogStream(
            labels: ["s": "a"],
            entries: lines.map { LogEntry(timestamp: Self.at(1), line: Array($0.utf8)) })
        var request = Self.request(#"{s="a"} |= "hit""#)
        request.contextCount = 1
        #expect(
            Self.marked(try await Self.ask(request, [stream]).first)
                == ["-a", "hit", "hit", "b-", "hit", "c-"])
    }

    @Test("pages together are the whole, whatever times lines share", arguments: 0..<40)
    func pages(seed: Int) async throws {
        var dice = Dice(state: UInt64(seed))
        let streams = (0..<3).map { stream in
            LogStream(
                labels: ["s": "\(stream)"],
                entries: (0..<Int.random(in: 0..<30, using: &dice)).map { number in
                    LogEntry(
                        timestamp: Self.at(Int64.random(in: 0..<8, using: &dice)),
                        line: Array("\(stream)/\(number)".utf8))
                })
        }
        let direction: LogSelection.Direction = Bool.random(using: &dice) ? .forward : .backward
        func lines(_ request: LogRangeRequest) async throws -> ([String], LogCursor?) {
            let answer = try await Self.service(streams).range(request)
            guard case .streams(let found) = answer.value else { return ([], nil) }
            return (
                found.flatMap(\.entries).map { String(decoding: $0.line, as: UTF8.self) },
                answer.paging?.next
            )
        }
        let (whole, none) = try await lines(
            Self.request(#"{s=~".+"} !~ "3$""#, direction, max: 5000))
        #expect(none == nil)
        var request = Self.request(
            #"{s=~".+"} !~ "3$""#, direction, max: Int.random(in: 1..<9, using: &dice))
        request.isPaged = true
        var collected: [String] = []
        for _ in 0..<200 {
            let (page, next) = try await lines(request)
            collected += page
            guard let next else { break }
            #expect(LogCursor(next.description) == next)
            request.cursor = next
        }
        #expect(collected.sorted() == whole.sorted())
    }

    @Test("of lines with the same value the first is given")
    func distinct() async throws {
        var request = Self.request(#"{s="a"}"#)
        request.distinctLabel = "m"
        #expect(Self.marked(try await Self.ask(request).first) == ["0", "1", "2"])
        request.direction = .backward
        #expect(Self.marked(try await Self.ask(request).first) == ["19", "18", "17"])
        request.distinctLabel = "nosuch"
        #expect(Self.marked(try await Self.ask(request).first) == ["19"])
        request.distinctLabel = "first"
        request.text = #"{s="a"} | regexp "^(?P<first>.)""#
        #expect(try await Self.ask(request).first?.entries.count == 10)
    }

    @Test("what can't be is refused")
    func refused() async {
        var request = Self.request(#"{s="a"}"#)
        func check(_ part: String) async {
            await #expect {
                try await Self.service().range(request)
            } throws: {
                let failure = $0 as? QueryFailure
                return failure?.kind == .badData && failure?.message.contains(part) == true
            }
        }
        request.contextCount = 101
        await check("between 0 and 100")
        request.contextCount = 1
        request.entriesMax = 501
        await check("(501 > 500)")
        request.contextCount = 0
        request.isPaged = true
        request.distinctLabel = "m"
        await check("can't be combined")
    }

    @Test("texts that are no cursor", arguments: ["", "1", "1_0", "1_-1", "a_1", "1_1_1", "1_x"])
    func cursors(text: String) { #expect(LogCursor(text) == nil) }
}
