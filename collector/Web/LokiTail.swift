package import CollectorQuery
import LogQL
import Model
import Storage

// `/loki/api/v1/tail`: a log query that goes on, as the messages of a WebSocket. Source: Loki's documentation "HTTP API".
extension LokiAPI {
    /// Tails at once. Loki's own bound is 10 for a tenant.
    static let tailsMax = 32
    /// Source: Loki 3.6 `maxDelayForInTailing`.
    private static let delaySecondsMax: Int64 = 5

    /// The acceptance of a WebSocket; what follows is for `TailBody`.
    func tail(_ request: WebRequest) throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        var wanted = LogFollowRequest(
            text: parameters["query"],
            from: try bounds(parameters, rangeNanoseconds: Self.queryRangeNanoseconds).from,
            entriesMax: try limit(parameters))
        wanted.delayNanoseconds = try Self.delay(parameters["delay_for"]) * 1_000_000_000
        wanted.hasCategories = Self.wantsCategories(request)
        try LogFollow.check(wanted.text)
        if let refusal = WebSocketHandshake.refusal(request) { return refusal }
        guard let place = tails.take() else {
            return .text(
                "max concurrent tail requests limit exceeded, count > limit "
                    + "(\(tails.countMax + 1) > \(tails.countMax))", status: 429)
        }
        let follow = try dependencies.follow(wanted)
        var response = WebResponse(status: 101)
        response.live = TailBody(follow, hasCategories: wanted.hasCategories, place: place)
        return response
    }

    /// In seconds.
    private static func delay(_ text: String) throws(QueryFailure) -> Int64 {
        guard !text.isEmpty else { return 0 }
        guard let seconds = Int64(text) else {
            throw QueryFailure(.badData, "strconv.Atoi: parsing \"\(text)\": invalid syntax")
        }
        guard (0...Int64(UInt32.max)).contains(seconds) else {
            throw QueryFailure(
                .badData, "delay_for value \(seconds) is not within 0...\(UInt32.max)")
        }
        guard seconds <= delaySecondsMax else {
            throw QueryFailure(.badData, "delay_for can't be greater than \(delaySecondsMax)")
        }
        return seconds
    }
}

extension WebDependencies {
    /// Begins to follow. Throws `QueryFailure`.
    func follow(_ request: LogFollowRequest) throws(QueryFailure) -> LogFollow {
        guard let logFeed else {
            throw QueryFailure(.unavailable, "this collector gives out no entries as they come")
        }
        return try LogFollow(request, logs: logs, feed: logFeed, clock: clock)
    }
}

/// The messages of a tail.
struct TailBody: LiveBody {
    /// How long the follower waits before it is asked again; the WebSocket has pings of its own.
    private static let patienceNanoseconds: Int64 = 3600 * 1_000_000_000

    private let follow: LogFollow
    private let hasCategories: Bool
    private let place: FollowPlaces.Place

    init(_ follow: LogFollow, hasCategories: Bool, place: FollowPlaces.Place) {
        self.follow = follow
        self.hasCategories = hasCategories
        self.place = place
    }

    func next() async throws -> [UInt8]? {
        while let part = try await follow.next(patienceNanoseconds: Self.patienceNanoseconds) {
            if !part.isEmpty { return TailFrame.bytes(part, hasCategories: hasCategories) }
        }
        return nil
    }
}

/// `{"streams": …, "dropped_entries": …}`. Source: Loki 3.6 `pkg/util/marshal`, its behaviour.
package enum TailFrame {
    /// The text of a part: entries in their order, neighbours of one stream together. `hasCategories` is what the client
    /// asked for.
    package static func bytes(_ part: LogFollowPart, hasCategories: Bool) -> [UInt8] {
        let size = part.entries.reduce(1024) { $0 + $1.entry.line.count + 64 }
        var json = JSONWriter(capacity: size)
        json.object { json in
            json.key("streams")
            json.array { json in
                for stream in streams(part.entries) { write(stream, hasCategories, &json) }
            }
            if !part.dropped.isEmpty {
                json.key("dropped_entries")
                json.droppedEntries(part.dropped, timeKey: "timestamp")
            }
            if hasCategories {
                json.key("encodingFlags")
                PrometheusEnvelope.strings(["categorize-labels"], to: &json)
            }
        }
        return json.bytes
    }

    private static func streams(_ entries: [LogFollowEntry]) -> [LogResultStream] {
        var streams: [LogResultStream] = []
        for one in entries {
            if streams.last?.labels != one.labels {
                streams.append(LogResultStream(labels: one.labels))
            }
            streams[streams.count - 1].entries.append(one.entry)
        }
        return streams
    }

    private static func write(
        _ stream: LogResultStream, _ hasCategories: Bool, _ json: inout JSONWriter
    ) {
        json.object { json in
            json.key("stream")
            LokiEnvelope.streamLabels(stream.labels, to: &json)
            json.key("values")
            json.array { json in
                for entry in stream.entries {
                    json.lokiEntry(entry, hasCategories: hasCategories)
                }
            }
        }
    }
}
