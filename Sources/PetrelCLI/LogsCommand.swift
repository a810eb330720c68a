import ArgumentParser
import Glibc
import Model
import World
import WorldLive

/// `petrel logs SELECTOR`: LogQL.
struct LogsCommand: AsyncParsableCommand {
    enum Output: String, ExpressibleByArgument, CaseIterable {
        case text, jsonl
    }

    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show log lines that a LogQL query selects.",
        discussion: """
            petrel logs '{host="db"}' --since 15m
            petrel logs '{service_name="caddy"} |= "error"' --follow
            petrel logs '{source="journal"} |= "panic"' --context 5
            """)

    /// Lines of one answer; the collector's own bound.
    static let linesMax = 5000
    /// Lines before and after another.
    private static let contextMax = 100
    /// Lines that are shown with what stands about them: each takes two questions.
    private static let contextLinesMax = 500

    @OptionGroup var collector: CollectorOptions
    @Argument(help: "A log query: a stream selector with stages.")
    var selector: String
    @Option(help: "Look back this long.")
    var since: String = "1h"
    @Option(help: "At most so many lines, the newest.")
    var limit: Int = 100
    @Option(
        help:
            "Show so many lines of the same stream before and after each; with --follow two seconds late."
    )
    var context: Int = 0
    @Option(help: "How lines are written: text, or jsonl for one JSON object a line.")
    var output: Output = .text
    @Flag(help: "Go on with lines as they arrive, until interrupted.")
    var follow = false

    func validate() throws {
        guard PrometheusDuration(since).map({ $0.milliseconds > 0 }) ?? false else {
            throw ValidationError("--since must be a duration above 0 such as 1h30m")
        }
        guard (1...Self.linesMax).contains(limit) else {
            throw ValidationError("--limit must be within 1...\(Self.linesMax)")
        }
        guard (0...Self.contextMax).contains(context) else {
            throw ValidationError("--context must be within 0...\(Self.contextMax)")
        }
        guard context == 0 || limit <= Self.contextLinesMax else {
            throw ValidationError(
                "--context goes with a --limit of at most \(Self.contextLinesMax)")
        }
        guard context == 0 || follow || !collector.json else {
            throw ValidationError(
                "--json prints one answer as it is: use --output jsonl with --context")
        }
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let clock = LiveClock()
        let query = LogQueryClient(client: client, selector: selector)
        var writer = LogLineWriter(
            isJSON: output == .jsonl || follow && collector.json, marksContext: context > 0)
        guard follow else { return try await show(query, &writer) }
        let nanoseconds = (PrometheusDuration(since)?.milliseconds ?? 0) * 1_000_000
        var follower = LogFollower(
            query: query, clock: clock, begin: clock.now.rawValue - nanoseconds, limit: limit)
        var finder = ContextFinder(query: query, lineCount: context)
        try await follower.run { line in
            guard context > 0 else { return writer.write([line]) }
            // What follows the line has to arrive first.
            let age = clock.now.rawValue - line.timestamp
            try await clock.sleep(nanoseconds: max(0, ContextFinder.delayNanoseconds - age))
            let block: [LogLine]
            do { block = try await finder.block(of: line) } catch is CommandFailure {
                // Without the collector the line comes alone; the follower connects again.
                block = finder.loneBlock(of: line)
            }
            writer.writeBlock(block)
        }
    }

    private func show(_ query: LogQueryClient, _ writer: inout LogLineWriter) async throws {
        let body = try await query.ask([
            ("since", since), ("limit", "\(limit)"), ("direction", "backward"),
        ])
        guard let answer = try query.client.decode(LogAnswer.self, body) else { return }
        guard answer.data.result != nil else {
            throw CommandFailure("that is a metric query: --json shows its numbers")
        }
        let lines = answer.lines(isBackward: true)
        if lines.isEmpty { Terminal.printError("petrel: no lines within the last \(since)") }
        guard context > 0 else { return writer.write(lines) }
        var finder = ContextFinder(query: query, lineCount: context, hits: lines)
        for line in lines { writer.writeBlock(try await finder.block(of: line)) }
    }
}

/// Asks for the lines of one query.
struct LogQueryClient {
    let client: CollectorClient
    let selector: String

    /// The answer to `query_range` with these parameters.
    func ask(_ parameters: [(String, String)], selector: String? = nil) async throws -> [UInt8] {
        try await client.get(
            "/loki/api/v1/query_range", [("query", selector ?? self.selector)] + parameters,
            headers: [("X-Loki-Response-Encoding-Flags", "categorize-labels")])
    }

    /// Lines from `start` to `end`, the latter excluded: of more than `limit` the first, or the last with `isBackward`.
    func lines(
        _ start: Int64, _ end: Int64, limit: Int, isBackward: Bool, selector: String? = nil
    ) async throws -> [LogLine] {
        let body = try await ask(
            [
                ("start", "\(start)"), ("end", "\(end)"), ("limit", "\(limit)"),
                ("direction", isBackward ? "backward" : "forward"),
            ], selector: selector)
        return try client.parse(LogAnswer.self, body).lines(isBackward: isBackward)
    }
}

/// Finds the lines that stand before and after a line in its stream.
struct ContextFinder {
    /// How long what follows a line may take to arrive.
    static let delayNanoseconds: Int64 = 2_000_000_000
    /// How far from the line others are looked for.
    private static let rangeNanoseconds: Int64 = 3600 * 1_000_000_000
    /// Lines of one nanosecond that are seen through.
    private static let equalTimesMax = 100
    /// Lines that are remembered as shown; of more all are forgotten.
    private static let shownMax = 20_000

    private let query: LogQueryClient
    private let lineCount: Int
    /// Lines that are shown for themselves.
    private var hits: Set<LogLine>
    private var shown: Set<LogLine> = []

    init(query: LogQueryClient, lineCount: Int, hits: [LogLine] = []) {
        self.query = query
        self.lineCount = lineCount
        self.hits = Set(hits)
    }

    /// The line and those about it, oldest first, without what was shown before.
    mutating func block(of hit: LogLine) async throws -> [LogLine] {
        let time = hit.timestamp
        let selector = hit.streamSelector
        let before = try await query.lines(
            time - Self.rangeNanoseconds, time, limit: lineCount, isBackward: true,
            selector: selector)
        let after = try await query.lines(
            time, time + Self.rangeNanoseconds, limit: lineCount + Self.equalTimesMax,
            isBackward: false, selector: selector)
        // Stages may have rewritten the line that was found: then nothing of its own time is known to be before it.
        let place = after.firstIndex { $0 == hit } ?? -1
        let isSame = { (line: LogLine) in line.timestamp == time }
        let own = place < 0 ? after.prefix { isSame($0) }.count : place + 1
        var block = (before + after[..<max(place, 0)]).suffix(lineCount) + [hit]
        block += after[own...].prefix(lineCount)
        return unshown(Array(block), hit)
    }

    /// The line without those about it; nothing where it was shown before.
    mutating func loneBlock(of hit: LogLine) -> [LogLine] { unshown([hit], hit) }

    /// Those lines of a block that were not shown before, which then count as shown.
    private mutating func unshown(_ block: [LogLine], _ hit: LogLine) -> [LogLine] {
        if shown.count > Self.shownMax { shown = [] }
        hits.insert(hit)
        return block.compactMap { line in
            guard shown.insert(line).inserted else { return nil }
            var line = line
            line.isContext = !hits.contains(line)
            return line
        }
    }
}

/// Writes lines to standard output.
struct LogLineWriter {
    private static let hostWidthMax = 20

    let isJSON: Bool
    /// Whether lines that were asked for are told from those about them.
    let marksContext: Bool
    private var hostWidth = 0
    private var hasWritten = false

    init(isJSON: Bool, marksContext: Bool) {
        self.isJSON = isJSON
        self.marksContext = marksContext
    }

    /// Lines that belong together, apart from those before.
    mutating func writeBlock(_ lines: [LogLine]) {
        guard !lines.isEmpty else { return }
        if hasWritten, !isJSON { print("--") }
        write(lines)
    }

    mutating func write(_ lines: [LogLine]) {
        let widest = lines.reduce(hostWidth) { max($0, $1.host.count) }
        hostWidth = min(widest, Self.hostWidthMax)
        for line in lines { print(isJSON ? line.json : text(line)) }
        hasWritten = hasWritten || !lines.isEmpty
        // Who reads a pipe wants each line as it comes.
        fflush(nil)
    }

    private func text(_ line: LogLine) -> String {
        let time = RFC3339.text(TimestampNS(line.timestamp).milliseconds)
        let cells: [(String, Terminal.Style, Int)] = [
            (time, .dim, 0), (line.host, .cyan, hostWidth),
            (line.level, Terminal.Style(level: line.level), 5), (line.unit, .dim, 0),
        ]
        var text = marksContext ? (line.isContext ? "  " : "> ") : ""
        for (cell, style, width) in cells where !(cell.isEmpty && width == 0) {
            let escaped = Terminal.escaped(cell)
            text += Terminal.styled(escaped, style)
            text += String(repeating: " ", count: max(0, width - escaped.count) + 1)
        }
        let content = Terminal.escaped(line.text)
        return text + (line.isContext ? Terminal.styled(content, .dim) : content)
    }
}
