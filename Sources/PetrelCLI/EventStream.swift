/// Server-sent events, taken from bytes as they come. Source: WHATWG HTML, "Interpreting an event stream".
struct EventStream {
    /// Longest event, bytes; the collector's own are a few hundred KiB.
    static let eventBytesMax = 64 << 20

    struct Event {
        var name = ""
        var data: [UInt8] = []
    }

    private var line: [UInt8] = []
    private var event = Event()

    /// The events that `bytes` complete. Throws `CommandFailure` where one is too long.
    mutating func feed(_ bytes: some Sequence<UInt8>) throws -> [Event] {
        var events: [Event] = []
        for byte in bytes {
            guard byte == UInt8(ascii: "\n") else {
                line.append(byte)
                guard line.count + event.data.count <= Self.eventBytesMax else {
                    throw CommandFailure("the collector sent an event of more than 64 MiB")
                }
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty {
                if !event.data.isEmpty { events.append(event) }
                event = Event()
            } else {
                take()
            }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func take() {
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[colon...].dropFirst()
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "event": event.name = String(decoding: value, as: UTF8.self)
        case "data":
            if !event.data.isEmpty { event.data.append(UInt8(ascii: "\n")) }
            event.data += value
        // A comment, or what we don't use.
        default: break
        }
    }
}

/// What the collector says while its logs are followed.
enum FollowEvent {
    case line(LogLine)
    case dropped(count: Int)
    case failed(String)
    case other

    /// Throws `CommandFailure` for what no collector sends.
    init(_ event: EventStream.Event, client: CollectorClient) throws {
        struct Entry: Decodable {
            var ts: String
            var labels: [String: String]
            var metadata: [String: String]
            var line: String
        }
        struct Dropped: Decodable {
            var count: Int
        }
        struct Failed: Decodable {
            var error: String
        }
        switch event.name {
        case "entry":
            let entry = try client.parse(Entry.self, event.data)
            self = .line(
                LogLine(
                    timestamp: try LogLine.time(entry.ts), labels: entry.labels,
                    metadata: entry.metadata, text: entry.line))
        case "dropped": self = .dropped(count: try client.parse(Dropped.self, event.data).count)
        case "failed": self = .failed(try client.parse(Failed.self, event.data).error)
        default: self = .other
        }
    }
}
