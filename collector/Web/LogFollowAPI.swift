import CollectorQuery
import LogQL
import Model
import Storage
import World

// `/api/v1/logs/follow`: a log query that goes on, as server-sent events. Source: WHATWG HTML, "Server-sent events".
extension PetrelAPI {
    /// Followers at once.
    static let followsMax = 32
    /// How far back a follower begins that names no start.
    private static let rangeNanoseconds: Int64 = 3600 * 1_000_000_000

    /// `query`, `start` (or `since`) and `limit`: how much of what was before is given first, the newest of it; 0 for nothing.
    func follow(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let entriesMax = dependencies.logs.limits.entriesMax
        let text = parameters["limit"]
        guard let limit = text.isEmpty ? 100 : Int(text), (0...entriesMax).contains(limit) else {
            throw QueryFailure(.badData, "limit must be a number within 0...\(entriesMax)")
        }
        var wanted = LogFollowRequest(
            text: parameters["query"], from: try Self.start(parameters, dependencies.clock.now),
            entriesMax: limit)
        wanted.hasCategories = true
        try LogFollow.check(wanted.text)
        guard let place = follows.take() else {
            return Self.failure(
                429, "\(follows.countMax) follow the logs already; end one of them first")
        }
        let follow = try dependencies.follow(wanted)
        var response = WebResponse(
            contentType: "text/event-stream", headers: [("x-accel-buffering", "no")],
            body: Array(": petrel\n\n".utf8))
        response.live = FollowBody(follow, place: place)
        return response
    }

    private static func start(
        _ parameters: FormParameters, _ now: TimestampNS
    ) throws(QueryFailure) -> TimestampNS {
        if !parameters["start"].isEmpty { return try time("start", parameters) }
        guard !parameters["since"].isEmpty else {
            return now.advanced(byNanoseconds: -rangeNanoseconds)
        }
        guard let since = TimeParameters.durationNanoseconds(parameters["since"]), since >= 0 else {
            throw QueryFailure(.badData, "since must be a duration such as 1h30m")
        }
        return now.advanced(byNanoseconds: -since)
    }

    /// A parameter that is there.
    static func time(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> TimestampNS {
        guard let time = TimeParameters.nanoseconds(parameters[name]) else {
            throw QueryFailure(
                .badData,
                "\(name) must be nanoseconds, seconds or RFC 3339, not \(parameters[name])")
        }
        return time
    }
}

/// The events of a follower: `entry`, `dropped`, at the end `failed` where something is wrong; comments while nothing
/// comes.
actor FollowBody: LiveBody {
    /// Between two signs of life.
    private static let patienceNanoseconds: Int64 = 10 * 1_000_000_000

    private let follow: LogFollow
    private let place: FollowPlaces.Place
    private var isOver = false

    init(_ follow: LogFollow, place: FollowPlaces.Place) {
        self.follow = follow
        self.place = place
    }

    func next() async throws -> [UInt8]? {
        guard !isOver else { return nil }
        do {
            guard
                let part = try await follow.next(patienceNanoseconds: Self.patienceNanoseconds)
            else { return nil }
            return part.isEmpty ? Array(":\n\n".utf8) : FollowEvent.bytes(part)
        } catch let error as QueryFailure where error.kind != .canceled {
            isOver = true
            return FollowEvent.failed(error.message)
        }
    }
}

/// Server-sent events of log entries.
enum FollowEvent {
    static func bytes(_ part: LogFollowPart) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(part.entries.reduce(1024) { $0 + $1.entry.line.count + 256 })
        if part.droppedCount > 0 {
            event("dropped", &bytes) { json in
                json.key("count")
                json.number(Int64(part.droppedCount))
                json.key("entries")
                json.droppedEntries(part.dropped, timeKey: "ts")
            }
        }
        for one in part.entries { event("entry", &bytes) { write(one, &$0) } }
        return bytes
    }

    static func failed(_ message: String) -> [UInt8] {
        var bytes: [UInt8] = []
        event("failed", &bytes) { json in
            json.key("error")
            json.string(message)
        }
        return bytes
    }

    private static func write(_ one: LogFollowEntry, _ json: inout JSONWriter) {
        json.key("ts")
        json.string(String(one.entry.timestamp.rawValue))
        json.key("labels")
        PrometheusEnvelope.labels(one.labels, to: &json)
        json.key("metadata")
        PrometheusEnvelope.labels(one.entry.structuredMetadata, to: &json)
        json.key("parsed")
        PrometheusEnvelope.labels(one.entry.parsed, to: &json)
        json.key("level")
        json.string(one.entry.structuredMetadata["detected_level"])
        json.key("line")
        json.string(bytes: one.entry.line)
    }

    private static func event(
        _ name: String, _ bytes: inout [UInt8], _ write: (inout JSONWriter) -> Void
    ) {
        bytes += Array("event: \(name)\ndata: ".utf8)
        var json = JSONWriter()
        json.object(write)
        bytes += json.bytes
        bytes += Array("\n\n".utf8)
    }
}
