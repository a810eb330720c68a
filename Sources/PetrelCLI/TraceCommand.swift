import ArgumentParser
import FoundationEssentials
import Model
import World
import WorldLive

/// `petrel trace ID`: every line that carries an id.
struct TraceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Show every log line of every host that carries a trace or request id.",
        discussion: """
            petrel trace 4bf92f3577b34da6a3ce929d0e0e4736
            """)

    @OptionGroup var collector: CollectorOptions
    @Argument(help: "A trace id or a request id.")
    var id: String
    @Option(help: "Look back this long; all that is kept unless given.")
    var since: String?

    func validate() throws {
        guard (1...200).contains(id.utf8.count) else {
            throw ValidationError("an id has 1 to 200 bytes")
        }
        guard since.map({ (PrometheusDuration($0)?.milliseconds ?? 0) > 0 }) ?? true else {
            throw ValidationError("--since must be a duration above 0 such as 1h30m")
        }
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        var parameters: [(String, String)] = []
        if let since, let duration = PrometheusDuration(since) {
            let start = LiveClock().now.advanced(
                byNanoseconds: -duration.milliseconds * 1_000_000)
            parameters.append(("start", "\(start.rawValue)"))
        }
        let body = try await client.get(
            "/api/v1/traces/" + CollectorClient.encoded(id), parameters)
        guard let trace = try client.decode(TraceAnswer.self, body) else { return }
        try Self.write(trace)
    }

    private static func write(_ trace: TraceAnswer) throws {
        var table = TextTable("TIME", "AFTER", "HOST", "SERVICE", "LEVEL", "LINE")
        let times = try trace.lines.map { try LogLine.time($0.ts) }
        let first = times.first ?? 0
        for (line, time) in zip(trace.lines, times) {
            table.append(styled: [
                (RFC3339.text(TimestampNS(time).milliseconds), .dim),
                (delta(time - first), .plain), (line.host, .cyan), (line.service, .dim),
                (line.level, Terminal.Style(level: line.level)), (line.line, .plain),
            ])
        }
        table.write()
        if !trace.exemplars.isEmpty {
            print("")
            var table = TextTable("TIME", "VALUE", "SERIES")
            for exemplar in trace.exemplars {
                let labels = exemplar.series.sorted { $0.key < $1.key }
                    .map { "\($0.key)=\"\($0.value)\"" }.joined(separator: ", ")
                table.append(
                    RFC3339.text(TimestampMS(Int64((exemplar.timestamp * 1000).rounded()))),
                    exemplar.value.map { "\($0)" } ?? "NaN", "{\(labels)}")
            }
            table.write()
        }
        print("")
        let hosts = trace.hosts.count == 1 ? "1 host" : "\(trace.hosts.count) hosts"
        let lines = trace.lines.count == 1 ? "1 line" : "\(trace.lines.count) lines"
        let length = delta(Int64((trace.durationSeconds * 1e9).rounded())).dropFirst()
        print("\(lines) on \(hosts) within \(length)")
        if trace.isCut {
            Terminal.printError(
                "petrel: there are more lines; these are the first \(trace.lines.count)")
        }
    }

    /// `+12.3ms`: nanoseconds with the three digits that tell, in a unit that a person reads.
    static func delta(_ nanoseconds: Int64) -> String {
        let units: [(String, Int64)] = [
            ("h", 3_600_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1000),
        ]
        guard let (name, size) = units.first(where: { nanoseconds >= $0.1 }) else {
            return "+\(nanoseconds)ns"
        }
        // Thousandths, without zeros at the end.
        var fraction = String(nanoseconds % size * 1000 / size)
        fraction = String(repeating: "0", count: 3 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "+\(nanoseconds / size)" + (fraction.isEmpty ? "" : "." + fraction) + name
    }
}

/// The parts of a trace that are shown.
struct TraceAnswer: Decodable {
    struct Line: Decodable {
        var ts: String
        var host: String
        var service: String
        var level: String
        var line: String
    }

    struct Exemplar: Decodable {
        var series: [String: String]
        /// Nil where JSON can't say it.
        var value: Double?
        /// In seconds.
        var timestamp: Double
    }

    var lines: [Line]
    var hosts: [String]
    var durationSeconds: Double
    var isCut: Bool
    var exemplars: [Exemplar]
}
