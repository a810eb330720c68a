import ArgumentParser
import Model
import World
import WorldLive

/// `petrel logs SELECTOR`: LogQL.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show log lines that a LogQL query selects.",
        discussion: """
            petrel logs '{host="db"}' --since 15m
            petrel logs '{service_name="caddy"} |= "error"' --follow
            """)

    /// Lines of one answer; the collector's own bound.
    private static let linesMax = 5000
    private static let pollNanoseconds: Int64 = 1_000_000_000

    @OptionGroup var collector: CollectorOptions
    @Argument(help: "A log query: a stream selector with stages.")
    var selector: String
    @Option(help: "Look back this long.")
    var since: String = "1h"
    @Option(help: "At most so many lines, the newest.")
    var limit: Int = 100
    @Flag(help: "Go on with lines as they arrive, until interrupted.")
    var follow = false

    func validate() throws {
        guard PrometheusDuration(since).map({ $0.milliseconds > 0 }) ?? false else {
            throw ValidationError("--since must be a duration above 0 such as 1h30m")
        }
        guard (1...Self.linesMax).contains(limit) else {
            throw ValidationError("--limit must be within 1...\(Self.linesMax)")
        }
        guard !(follow && collector.json) else {
            throw ValidationError("--follow and --json don't go together")
        }
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let clock = LiveClock()
        let body = try await ask(
            client, [("since", since), ("limit", "\(limit)"), ("direction", "backward")])
        guard let answer = try client.decode(LogAnswer.self, body) else { return }
        guard answer.data.result != nil else {
            throw CommandFailure("that is a metric query: --json shows its numbers")
        }
        var position = FollowPosition(started: clock.now)
        let lines = position.advance(over: answer.lines)
        Self.write(lines)
        if lines.isEmpty, !follow {
            Terminal.printError("petrel: no lines within the last \(since)")
        }
        while follow {
            try await clock.sleep(nanoseconds: Self.pollNanoseconds)
            let end = clock.now.advanced(byNanoseconds: 60_000_000_000)
            let body = try await ask(
                client,
                [
                    ("start", "\(position.timestamp)"), ("end", "\(end.rawValue)"),
                    ("limit", "\(Self.linesMax)"), ("direction", "forward"),
                ])
            guard let answer = try client.decode(LogAnswer.self, body) else { return }
            Self.write(position.advance(over: answer.lines))
        }
    }

    private func ask(
        _ client: CollectorClient, _ parameters: [(String, String)]
    ) async throws -> [UInt8] {
        try await client.get(
            "/loki/api/v1/query_range", [("query", selector)] + parameters,
            headers: [("X-Loki-Response-Encoding-Flags", "categorize-labels")])
    }

    private static func write(_ lines: [LogAnswer.Line]) {
        for line in lines {
            let head = [
                RFC3339.text(TimestampNS(line.timestamp).milliseconds), line.host, line.level,
                line.unit,
            ].filter { !$0.isEmpty }.map(Terminal.escaped)
            print((head + [Terminal.escaped(line.text)]).joined(separator: " "))
        }
    }
}

/// How far a followed query has been shown. Lines of the newest nanosecond are remembered, for more of them may come.
struct FollowPosition {
    private(set) var timestamp: Int64
    private var shown: [LogAnswer.Line] = []

    init(started: TimestampNS) { timestamp = started.rawValue }

    /// The lines of `lines` that were not shown yet, oldest first; they count as shown.
    mutating func advance(over lines: [LogAnswer.Line]) -> [LogAnswer.Line] {
        let fresh = lines.filter { !shown.contains($0) }
        guard let newest = lines.last?.timestamp else { return [] }
        shown = lines.filter { $0.timestamp == newest }
        timestamp = newest
        return fresh
    }
}

/// The parts of a Loki answer that are shown.
struct LogAnswer: Decodable {
    struct Line: Hashable {
        var timestamp: Int64
        var host: String
        var level: String
        var unit: String
        var text: String
    }

    struct Value: Decodable {
        struct Fields: Decodable {
            var structuredMetadata: [String: String]?
        }

        var timestamp: Int64
        var text: String
        var fields: [String: String]

        init(from decoder: any Decoder) throws {
            var parts = try decoder.unkeyedContainer()
            let time = try parts.decode(String.self)
            guard let timestamp = Int64(time) else {
                throw DecodingError.dataCorruptedError(
                    in: parts, debugDescription: "no nanoseconds: \(time)")
            }
            self.timestamp = timestamp
            text = try parts.decode(String.self)
            fields = parts.isAtEnd ? [:] : try parts.decode(Fields.self).structuredMetadata ?? [:]
        }
    }

    struct Stream: Decodable {
        var stream: [String: String]
        var values: [Value]
    }

    struct Content: Decodable {
        private enum CodingKeys: CodingKey { case resultType, result }

        /// Nil where the query was for numbers.
        var result: [Stream]?

        init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            guard try fields.decode(String.self, forKey: .resultType) == "streams" else { return }
            result = try fields.decode([Stream].self, forKey: .result)
        }
    }

    var data: Content

    /// Every line, oldest first; of one time in the order of the streams.
    var lines: [Line] {
        (data.result ?? []).flatMap { stream in
            stream.values.map { value in
                Line(
                    timestamp: value.timestamp, host: stream.stream["host"] ?? "",
                    level: value.fields["detected_level"] ?? "",
                    unit: stream.stream["unit"] ?? stream.stream["service_name"]
                        ?? stream.stream["filename"] ?? "",
                    text: value.text)
            }
        }
        .enumerated()
        .sorted { ($0.element.timestamp, $0.offset) < ($1.element.timestamp, $1.offset) }
        .map(\.element)
    }
}
