import LogQL
import LogQLSyntax
import Model
import Storage
import Synchronization

/// Reads the lines around lines that a query found: of the same stream, as they are stored, marked in a field.
struct LogContextReader {
    /// The field's name; `before` or `after` is its value.
    static let fieldName = "petrel_context"
    /// How far from a line its neighbours are looked for, in nanoseconds: a day.
    private static let distanceMax: Int64 = 86_400_000_000_000
    /// Lines of one time that are looked at to find the place of a line among them.
    private static let sameTimeMax = 10_000
    /// Bytes of lines, those found included.
    private static let lineBytesMax = 64 << 20

    private enum Item {
        case found(LogFoundEntry)
        case near(LogEntry, mark: String)

        var entry: LogEntry {
            switch self {
            case .found(let found): found.entry
            case .near(let entry, _): entry
            }
        }
    }

    private let service: LogQueryService
    private let request: LogRangeRequest

    init(_ service: LogQueryService, _ request: LogRangeRequest) {
        self.service = service
        self.request = request
    }

    /// The answer's streams with what is around their lines; `found` is in the request's direction. A line that is near
    /// two lines is given once. Throws `LogQLError.limit` (`lineBytes`), and what the reader throws.
    func streams(of found: [LogFoundEntry]) async throws -> [LogResultStream] {
        let ordered = request.direction == .forward ? found : found.reversed()
        var indexOfStream: [Labels: Int] = [:]
        var answer: [LogResultStream] = []
        func add(_ entry: LogResultEntry, to labels: Labels) {
            let index = indexOfStream[labels] ?? answer.count
            if index == answer.count {
                indexOfStream[labels] = index
                answer.append(LogResultStream(labels: labels))
            }
            answer[index].entries.append(entry)
        }
        var byteCount = 0
        let run = PipelineRun(try Pipeline(LogSelector(matchers: [])))
        for (stream, lines) in Dictionary(grouping: ordered, by: \.stream) {
            let prepared = run.forStream(stream)
            for item in try await items(around: lines, of: stream) {
                byteCount += item.entry.line.count
                guard byteCount <= Self.lineBytesMax else {
                    throw LogQLError.limit(.lineBytes(max: Self.lineBytesMax))
                }
                switch item {
                case .found(let found): add(found.result, to: found.labels)
                case .near(let entry, let mark):
                    _ = run.process(entry, of: prepared)
                    let (labels, result) = near(entry, run.labelSet, mark)
                    add(result, to: labels)
                }
            }
        }
        for index in answer.indices {
            // The sort is stable: lines of one time stay in their stream's order.
            answer[index].entries.sort { $0.timestamp < $1.timestamp }
            if request.direction == .backward { answer[index].entries.reverse() }
        }
        return answer.sorted { $0.labels < $1.labels }
    }

    private func near(
        _ entry: LogEntry, _ set: EntryLabelSet, _ mark: String
    ) -> (Labels, LogResultEntry) {
        var result = LogResultEntry(timestamp: entry.timestamp, line: entry.line)
        guard request.hasCategories else { return (set.all.setting(Self.fieldName, mark), result) }
        result.structuredMetadata = set.structuredMetadata.setting(Self.fieldName, mark)
        return (set.stream, result)
    }

    /// The lines of a stream, oldest first, with those around them.
    private func items(
        around lines: [LogFoundEntry], of stream: Labels
    ) async throws -> [Item] {
        let count = request.contextCount
        var items: [Item] = []
        /// Index after the line found last.
        var open = 0
        var seen: [LogEntry: Int] = [:]
        for line in lines {
            let time = line.entry.timestamp
            // Of lines that are the same in everything each is found in its turn.
            let repeats = seen[line.entry, default: 0]
            seen[line.entry] = repeats + 1
            var (sameTime, after) = try await following(line.entry, repeats, of: stream)
            if let place = items[open...].firstIndex(where: { $0.entry == line.entry }) {
                items.removeSubrange(place...)
            } else {
                if sameTime.count < count {
                    let older = try await read(
                        stream, from: time.advanced(byNanoseconds: -Self.distanceMax), to: time,
                        .backward, count: count - sameTime.count)
                    sameTime = older.reversed() + sameTime
                }
                let before = Array(sameTime.suffix(count))
                let known = Self.overlap(items[open...].map(\.entry), before)
                items += before.dropFirst(known).map { .near($0, mark: "before") }
            }
            items.append(.found(line))
            open = items.count
            if after.count > count { after.removeLast(after.count - count) }
            items += after.map { .near($0, mark: "after") }
        }
        return items
    }

    /// What has an entry's time and comes before it, and what comes after it, oldest first.
    private func following(
        _ entry: LogEntry, _ repeats: Int, of stream: Labels
    ) async throws -> (sameTime: [LogEntry], after: [LogEntry]) {
        let count = request.contextCount
        var wanted = count + repeats + 1
        while true {
            let found = try await read(
                stream, from: entry.timestamp,
                to: entry.timestamp.advanced(byNanoseconds: Self.distanceMax), .forward,
                count: wanted)
            let places = found.indices.filter { found[$0] == entry }
            if places.count > repeats {
                let place = places[repeats]
                if place + count < found.count || found.count < wanted {
                    return (Array(found[..<place]), Array(found[(place + 1)...]))
                }
            } else if found.count < wanted {
                // It is not there any more.
                return ([], found)
            }
            guard wanted < Self.sameTimeMax else { return ([], []) }
            wanted = min(4 * wanted, Self.sameTimeMax)
        }
    }

    /// How many entries at the end of `a` are those at the start of `b`, in this order.
    private static func overlap(_ a: [LogEntry], _ b: [LogEntry]) -> Int {
        for count in stride(from: min(a.count, b.count), to: 0, by: -1)
        where a.suffix(count).elementsEqual(b.prefix(count)) {
            return count
        }
        return 0
    }

    /// At most `count` entries of a stream, in the direction.
    private func read(
        _ stream: Labels, from: TimestampNS, to: TimestampNS, _ direction: LogSelection.Direction,
        count: Int
    ) async throws -> [LogEntry] {
        let found = Mutex<[LogEntry]>([])
        let selection = LogSelection(
            matchers: stream.map { LabelMatcher($0.name, .equal, $0.value) }, from: from, to: to,
            direction: direction)
        try await service.forEachPage(selection) { page in
            found.withLock { found in
                for (index, entry) in zip(page.streamIndexes, page.entries)
                where found.count < count && page.streams[index] == stream {
                    found.append(entry)
                }
                return found.count < count
            }
        }
        return found.withLock { $0 }
    }
}
