package import LogQL
package import Model
package import Storage
package import World

/// What is followed, and how much of what was before is given first.
package struct LogFollowRequest: Hashable, Sendable {
    /// A log query.
    package var text: String
    /// Of what was committed before, the newest `entriesMax` entries at or after this time are given first.
    package var from: TimestampNS
    package var entriesMax: Int
    /// Whether an entry's fields stay with it, instead of being labels.
    package var hasCategories: Bool
    /// Entries are held back this long, so that those of several streams are given in the order of their times. 0: not.
    package var delayNanoseconds: Int64

    package init(
        text: String, from: TimestampNS, entriesMax: Int = 100, hasCategories: Bool = false,
        delayNanoseconds: Int64 = 0
    ) {
        self.text = text
        self.from = from
        self.entriesMax = entriesMax
        self.hasCategories = hasCategories
        self.delayNanoseconds = delayNanoseconds
    }
}

/// An entry as a follower sees it.
package struct LogFollowEntry: Hashable, Sendable {
    /// All labels, or those of the stream where fields stay with the entry.
    package var labels: Labels
    package var entry: LogResultEntry

    package init(labels: Labels, entry: LogResultEntry) {
        self.labels = labels
        self.entry = entry
    }
}

/// Some entries, oldest first. Nothing at all where nothing came within the time given.
package struct LogFollowPart: Sendable {
    package var entries: [LogFollowEntry]
    /// Entries, by their streams' labels, that came too fast for whoever follows.
    package var dropped: [(labels: Labels, timestamp: TimestampNS)]
    /// How many in all; `dropped` names only some of many.
    package var droppedCount: Int

    package init(
        entries: [LogFollowEntry] = [],
        dropped: [(labels: Labels, timestamp: TimestampNS)] = [], droppedCount: Int = 0
    ) {
        self.entries = entries
        self.dropped = dropped
        self.droppedCount = droppedCount
    }

    package var isEmpty: Bool { entries.isEmpty && droppedCount == 0 }
}

/// A log query that goes on: first what was committed before, then everything that is committed, in the order of the
/// commits and whatever its time is.
///
/// There is no gap between the two: following begins first, then what was before is read. What lies in both is given
/// once: each entry that was read stands for one equal entry that comes live, however late, which is left out. A repeat
/// with the same nanosecond that is stored later is taken for it as well.
///
/// For one caller at a time.
package actor LogFollow {
    /// Entries and bytes of lines of one part, about.
    static let partEntriesMax = 500
    static let partBytesMax = 512 << 10
    /// How much is held back at most, whatever the delay is.
    private static let heldEntriesMax = 20_000
    /// Bytes of their lines likewise.
    private static let heldBytesMax = 8 << 20
    /// How far ahead of the clock an entry may be to belong to what was before.
    private static let aheadNanoseconds: Int64 = 3600 * 1_000_000_000

    private struct SeamKey: Hashable {
        var timestamp: TimestampNS
        /// 64 bits of a keyed hash; entries of one nanosecond alone can be taken for each other.
        var hash: Int

        init(_ entry: LogFollowEntry) {
            timestamp = entry.entry.timestamp
            hash = entry.hashValue
        }
    }

    private let request: LogFollowRequest
    private let query: LogQuery
    private let logs: LogQueryService
    private let clock: any WorldClock
    private let following: any LogFollowing
    private var isStarted = false
    /// Processed and not given yet, from `given` on.
    private var ready: [LogFollowEntry] = []
    private var given = 0
    /// How many entries that were read have not come live yet, for the life of the follower.
    private var seam: [SeamKey: Int] = [:]

    /// Begins to follow. Throws `QueryFailure`: a text that is no log query, or too many that follow.
    package init(
        _ request: LogFollowRequest, logs: LogQueryService, feed: any LogFeed,
        clock: any WorldClock
    ) throws(QueryFailure) {
        self.request = request
        query = try LogQueryService.prepareLog(request.text)
        self.logs = logs
        self.clock = clock
        do { following = try feed.follow(query.matchers) } catch {
            if case .limitExceeded(_, let maximum) = error {
                throw QueryFailure(
                    .unavailable,
                    "too many follow the logs already: \(maximum); end one of them, or try again "
                        + "later")
            }
            throw QueryFailure(error)
        }
    }

    /// Throws `QueryFailure` where `text` is no log query.
    package static func check(_ text: String) throws(QueryFailure) {
        _ = try LogQueryService.prepareLog(text)
    }

    /// The next entries, as soon as there are some; an empty part after `patienceNanoseconds` without any; nil at the end.
    /// Throws `QueryFailure` and `CancellationError`.
    package func next(patienceNanoseconds: Int64) async throws -> LogFollowPart? {
        if !isStarted {
            try await readHistory()
            isStarted = true
        }
        let deadline = clock.monotonicNanoseconds + patienceNanoseconds
        while true {
            let entries = takeReady()
            if !entries.isEmpty { return LogFollowPart(entries: entries) }
            let patience = max(0, deadline - clock.monotonicNanoseconds)
            switch try await gather(patience) {
            case .end: return nil
            case .nothing:
                return LogFollowPart()
            case .batch(let batch):
                do { ready = try process(batch) } catch { throw QueryFailure(error) }
                given = 0
                guard batch.droppedCount > 0 else { continue }
                return LogFollowPart(
                    entries: takeReady(), dropped: batch.dropped,
                    droppedCount: batch.droppedCount)
            }
        }
    }

    /// The newest entries of what was committed before, to be given first.
    private func readHistory() async throws {
        let to = max(
            clock.now.advanced(byNanoseconds: Self.aheadNanoseconds),
            request.from.advanced(byNanoseconds: 1))
        var range = LogRangeRequest(
            text: request.text, from: request.from, to: to, entriesMax: request.entriesMax,
            direction: .backward, stepNanoseconds: Int64.max)
        range.hasCategories = request.hasCategories
        guard case .streams(let streams) = try await logs.range(range).value else { return }
        ready = Self.flat(
            streams.map { stream in
                LogResultStream(labels: stream.labels, entries: stream.entries.reversed())
            })
        for entry in ready { seam[SeamKey(entry), default: 0] += 1 }
    }

    private func takeReady() -> [LogFollowEntry] {
        var end = given
        var byteCount = 0
        while end < ready.count, end - given < Self.partEntriesMax, byteCount < Self.partBytesMax {
            byteCount += ready[end].entry.line.count
            end += 1
        }
        let part = Array(ready[given..<end])
        given = end
        if given == ready.count {
            ready = []
            given = 0
        }
        return part
    }

    /// What the query makes of a batch.
    private func process(_ batch: LogFeedBatch) throws(LogQLError) -> [LogFollowEntry] {
        var items = batch.streams.indices.flatMap { index in
            batch.streams[index].entries.map { (index, $0) }
        }
        items.sort { $0.1.timestamp < $1.1.timestamp }
        var options = LogQueryOptions(entriesMax: items.count)
        options.direction = .forward
        options.hasCategories = request.hasCategories
        options.now = clock.now
        options.locations = logs.locations
        let collection = LogCollection(query: query, options: options)
        _ = try collection.process(
            items.map(\.1), streamIndexes: items.map(\.0), streams: batch.streams.map(\.labels))
        let entries = Self.flat(collection.streams)
        return seam.isEmpty ? entries : entries.filter { !wasGiven($0) }
    }

    private func wasGiven(_ entry: LogFollowEntry) -> Bool {
        let key = SeamKey(entry)
        guard let count = seam[key] else { return false }
        seam[key] = count > 1 ? count - 1 : nil
        return true
    }

    /// Entries of streams, each oldest first, in the order of time.
    private static func flat(_ streams: [LogResultStream]) -> [LogFollowEntry] {
        var entries = streams.flatMap { stream in
            stream.entries.map { LogFollowEntry(labels: stream.labels, entry: $0) }
        }
        // The sort is stable: entries of one time keep the order of their stream.
        entries.sort { $0.entry.timestamp < $1.entry.timestamp }
        return entries
    }
}

// What comes live.
extension LogFollow {
    private enum Gathered: Sendable {
        case batch(LogFeedBatch)
        case nothing
        case end
    }

    private static func size(of streams: [LogStream]) -> (entryCount: Int, byteCount: Int) {
        var size = (entryCount: 0, byteCount: 0)
        for stream in streams {
            size.entryCount += stream.entries.count
            for entry in stream.entries { size.byteCount += entry.line.count }
        }
        return size
    }

    /// The next batch, and with a delay everything that comes within it.
    private func gather(_ patienceNanoseconds: Int64) async throws -> Gathered {
        let first = try await live(within: patienceNanoseconds)
        guard request.delayNanoseconds > 0, case .batch(var batch) = first else { return first }
        let deadline = clock.monotonicNanoseconds + request.delayNanoseconds
        var (entryCount, byteCount) = Self.size(of: batch.streams)
        while entryCount < Self.heldEntriesMax, byteCount < Self.heldBytesMax {
            let rest = deadline - clock.monotonicNanoseconds
            guard rest > 0, case .batch(let more) = try await live(within: rest) else { break }
            let size = Self.size(of: more.streams)
            entryCount += size.entryCount
            byteCount += size.byteCount
            batch.streams += more.streams
            batch.dropped += more.dropped
            batch.droppedCount += more.droppedCount
        }
        return .batch(batch)
    }

    /// The next batch. When the time is over the waiting is cancelled, and what came at that moment is given all the same.
    private func live(within nanoseconds: Int64) async throws -> Gathered {
        let (following, clock) = (following, clock)
        return try await withThrowingTaskGroup(of: Gathered?.self) { group in
            group.addTask {
                do {
                    return try await following.next().map(Gathered.batch) ?? .end
                } catch is CancellationError { return .nothing }
            }
            group.addTask {
                try? await clock.sleep(nanoseconds: nanoseconds)
                return nil
            }
            var gathered = Gathered.nothing
            while let outcome = try await group.next() {
                if let outcome { gathered = outcome }
                group.cancelAll()
            }
            if case .nothing = gathered { try Task.checkCancellation() }
            return gathered
        }
    }
}
