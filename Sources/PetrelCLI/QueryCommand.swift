import ArgumentParser
import Model
import World
import WorldLive

/// `petrel query EXPR`: PromQL.
struct QueryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query", abstract: "Evaluate a PromQL expression.",
        discussion: """
            petrel query 'sum by (host) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'
            petrel query 'up' --range 1h --step 5m
            """)

    @OptionGroup var collector: CollectorOptions
    @Argument(help: "A PromQL expression.")
    var expression: String
    @Option(help: "Evaluate at this time (Unix seconds or RFC 3339), now unless given.")
    var time: String?
    @Option(help: "Evaluate over this long (1h, 7d) up to --time.")
    var range: String?
    @Option(help: "Distance of the points with --range.")
    var step: String = "15s"

    func validate() throws {
        guard range.map({ PrometheusDuration($0) != nil }) ?? true else {
            throw ValidationError("--range must be a duration such as 1h30m")
        }
        guard PrometheusDuration(step).map({ $0.milliseconds > 0 }) ?? false else {
            throw ValidationError("--step must be a duration above 0 such as 15s")
        }
        if let time, Self.milliseconds(time) == nil {
            throw ValidationError("--time must be Unix seconds or RFC 3339")
        }
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        var parameters = [("query", expression)]
        let body: [UInt8]
        if let range, let length = PrometheusDuration(range)?.milliseconds {
            let end = time.flatMap(Self.milliseconds) ?? LiveClock().now.milliseconds.rawValue
            parameters += [
                ("start", Self.seconds(end - length)), ("end", Self.seconds(end)), ("step", step),
            ]
            body = try await client.post("/prometheus/api/v1/query_range", parameters)
        } else {
            if let time { parameters.append(("time", time)) }
            body = try await client.post("/prometheus/api/v1/query", parameters)
        }
        guard let answer = try client.decode(MetricAnswer.self, body) else { return }
        for remark in (answer.warnings ?? []) + (answer.infos ?? []) {
            Terminal.printError("petrel: \(Terminal.escaped(remark))")
        }
        Self.write(answer.data)
    }

    private static func write(_ data: MetricAnswer.Value) {
        switch data {
        case .single(let value): print(Terminal.escaped(value))
        case .series(let series):
            let isInstant = series.allSatisfy { $0.values == nil && $0.histograms == nil }
            var table =
                isInstant ? TextTable("SERIES", "VALUE") : TextTable("SERIES", "TIME", "VALUE")
            for one in series {
                let name = name(one.metric)
                if isInstant {
                    table.append(name, (one.histogram ?? one.value)?.value ?? "")
                } else {
                    let points = (one.values ?? []) + (one.histograms ?? [])
                    for point in points.sorted(by: { $0.seconds < $1.seconds }) {
                        table.append(name, time(point.seconds), point.value)
                    }
                }
            }
            if table.isEmpty {
                Terminal.printError("petrel: no series match")
            } else {
                table.write()
            }
        }
    }

    /// `name{a="b"}`; `{}` for no labels at all.
    private static func name(_ metric: [String: String]) -> String {
        let labels = metric.filter { $0.key != "__name__" }.sorted { $0.key < $1.key }
            .map { "\($0.key)=\"\($0.value)\"" }
        let name = metric["__name__"] ?? ""
        return labels.isEmpty && !name.isEmpty ? name : "\(name){\(labels.joined(separator: ", "))}"
    }

    private static func time(_ seconds: Double) -> String {
        RFC3339.text(TimestampMS(Int64((seconds * 1000).rounded())))
    }

    private static func seconds(_ milliseconds: Int64) -> String {
        "\(Double(milliseconds) / 1000)"
    }

    /// Within the years that RFC 3339 can write.
    private static func milliseconds(_ text: String) -> Int64? {
        if let seconds = Double(text), seconds.magnitude < 253_402_300_800 {
            return Int64((seconds * 1000).rounded())
        }
        return RFC3339.parse(text)?.milliseconds.rawValue
    }
}

/// The parts of a Prometheus answer that are shown.
struct MetricAnswer: Decodable {
    struct Point: Decodable {
        var seconds: Double
        /// A number or text as it came; a native histogram as `{count:4, sum:3, (0.5,1]:4}`.
        var value: String

        init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            seconds = try pair.decode(Double.self)
            if let text = try? pair.decode(String.self) {
                value = text
            } else {
                value = try pair.decode(Histogram.self).text
            }
        }
    }

    struct Histogram: Decodable {
        /// `[which bounds belong to it, "lower", "upper", "count"]`
        struct Bucket: Decodable {
            var text: String

            init(from decoder: any Decoder) throws {
                var parts = try decoder.unkeyedContainer()
                let rule = try parts.decode(Int.self)
                let lower = try parts.decode(String.self)
                let upper = try parts.decode(String.self)
                let count = try parts.decode(String.self)
                text =
                    (rule == 1 || rule == 3 ? "[" : "(") + "\(lower),\(upper)"
                    + (rule == 0 || rule == 3 ? "]" : ")") + ":\(count)"
            }
        }

        var count: String
        var sum: String
        var buckets: [Bucket]?

        var text: String {
            let parts = ["count:\(count)", "sum:\(sum)"] + (buckets ?? []).map(\.text)
            return "{\(parts.joined(separator: ", "))}"
        }
    }

    struct Series: Decodable {
        var metric: [String: String]
        var value: Point?
        var values: [Point]?
        var histogram: Point?
        var histograms: [Point]?
    }

    enum Value: Decodable {
        /// A scalar or a string.
        case single(String)
        case series([Series])

        private enum Key: CodingKey {
            case resultType, result
        }

        init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: Key.self)
            switch try members.decode(String.self, forKey: .resultType) {
            case "scalar", "string":
                self = .single(try members.decode(Point.self, forKey: .result).value)
            default: self = .series(try members.decode([Series].self, forKey: .result))
            }
        }
    }

    var data: Value
    var warnings: [String]?
    var infos: [String]?
}
