import CollectorQuery
import Model
import Storage
import World

// `/api/v1/traces/{trace_id}`: every line of every host that carries a trace or request id.
extension PetrelAPI {
    /// How far ahead of the clock a line may be.
    private static let aheadNanoseconds: Int64 = 3600 * 1_000_000_000

    /// `start` and `end` bound the time that is looked through; without them it is all that is kept.
    func trace(_ id: String, _ parameters: FormParameters) async throws -> WebResponse {
        let bytesMax = LogQueryService.traceIDBytesMax
        guard (1...bytesMax).contains(id.utf8.count) else {
            throw QueryFailure(
                .badData,
                "a trace or request id has 1 to \(bytesMax) bytes, this one has \(id.utf8.count)")
        }
        let now = dependencies.clock.now
        let start = parameters["start"].isEmpty ? nil : try Self.time("start", parameters)
        let end = parameters["end"].isEmpty ? nil : try Self.time("end", parameters)
        let from = start ?? TimestampNS(0)
        let to = end ?? now.advanced(byNanoseconds: Self.aheadNanoseconds)
        guard from < to else { throw QueryFailure(.badData, "start must be before end") }
        let answer = try await dependencies.logs.trace(
            id, from: from, to: to, exemplars: dependencies.exemplars)
        guard !answer.lines.isEmpty else {
            let since = start.map { "since " + RFC3339.text($0) } ?? "in all that is kept"
            let until = end.map { " and before " + RFC3339.text($0) } ?? ""
            throw QueryFailure(
                .notFound, "no line has the trace or request id \(id) \(since)\(until)")
        }
        return .json(TracePieces(id, answer))
    }
}

/// The object that tells of a trace; its lines are let go as they are written.
struct TracePieces: JSONPieces {
    /// Bytes of lines that are written between two looks at how much there is.
    private static let lineBytesPerRun = 64 << 10

    private enum Place {
        case start
        case lines(from: Int)
        case over
    }

    private let id: String
    private var answer: TraceAnswer
    private let hosts: [String]
    private let durationSeconds: Double
    private var place = Place.start

    init(_ id: String, _ answer: TraceAnswer) {
        self.id = id
        self.answer = answer
        var hosts: [String] = []
        for line in answer.lines {
            let host = line.labels["host"]
            if !host.isEmpty, !hosts.contains(host) { hosts.append(host) }
        }
        self.hosts = hosts
        let first = answer.lines.first?.entry.timestamp.rawValue ?? 0
        let last = answer.lines.last?.entry.timestamp.rawValue ?? 0
        durationSeconds = Double(last - first) / 1e9
    }

    mutating func write(to json: inout JSONWriter) -> Bool {
        switch place {
        case .start:
            begin(&json)
            place = .lines(from: 0)
        case .lines(let first):
            var next = first
            var byteCount = 0
            while next < answer.lines.count, byteCount < Self.lineBytesPerRun {
                Self.write(answer.lines[next], &json)
                byteCount += answer.lines[next].entry.line.count + 256
                answer.lines[next].entry.line = []
                next += 1
            }
            place = .lines(from: next)
            guard next == answer.lines.count else { return true }
            json.endArray()
            end(&json)
            place = .over
        case .over: return false
        }
        return true
    }

    private func begin(_ json: inout JSONWriter) {
        json.beginObject()
        json.key("traceID")
        json.string(id)
        json.key("hosts")
        PrometheusEnvelope.strings(hosts, to: &json)
        json.key("durationSeconds")
        json.number(durationSeconds)
        json.key("isCut")
        json.boolean(answer.isCut)
        json.key("lines")
        json.beginArray()
    }

    private static func write(_ line: TraceAnswer.Line, _ json: inout JSONWriter) {
        json.object { json in
            json.key("ts")
            json.string(String(line.entry.timestamp.rawValue))
            json.key("time")
            json.string(RFC3339.text(line.entry.timestamp))
            for (name, value) in [
                ("host", line.labels["host"]), ("service", service(line.labels)),
                ("level", line.entry.level ?? ""),
            ] {
                json.key(name)
                json.string(value)
            }
            json.key("line")
            json.string(bytes: line.entry.line)
            json.key("labels")
            PrometheusEnvelope.labels(line.labels, to: &json)
            json.key("metadata")
            PrometheusEnvelope.labels(line.entry.metadata, to: &json)
        }
    }

    /// What a person calls the source of the line.
    private static func service(_ labels: Labels) -> String {
        ["service_name", "unit", "container", "filename", "source"].lazy.map { labels[$0] }
            .first { !$0.isEmpty } ?? ""
    }

    private func end(_ json: inout JSONWriter) {
        json.key("exemplars")
        json.array { json in
            for series in answer.exemplars {
                for exemplar in series.exemplars {
                    json.object { json in
                        json.key("series")
                        PrometheusEnvelope.labels(series.labels, to: &json)
                        json.key("labels")
                        PrometheusEnvelope.labels(exemplar.labels, to: &json)
                        json.key("value")
                        json.number(exemplar.value)
                        json.key("timestamp")
                        json.seconds(ofMilliseconds: exemplar.timestamp.rawValue)
                    }
                }
            }
        }
        json.key("hasAllExemplars")
        json.boolean(answer.hasAllExemplars)
        json.endObject()
    }
}
