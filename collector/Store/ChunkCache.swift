import ChunkCodec
import Synchronization

/// A group's sealed samples of two hours: what the cache holds and forgets as one.
struct ChunkWindow: Hashable, Sendable {
    var group: Int32
    /// Windows since the epoch.
    var number: Int64

    init(group: Int32, holding milliseconds: Int64) {
        self.group = group
        number = Self.number(of: milliseconds)
    }

    init(group: Int32, number: Int64) {
        self.group = group
        self.number = number
    }

    /// The window that holds a time.
    static func number(of milliseconds: Int64) -> Int64 {
        let quotient = milliseconds / MetricHead.windowMilliseconds
        return milliseconds % MetricHead.windowMilliseconds < 0 ? quotient - 1 : quotient
    }
}

/// The sealed windows that queries read last, in their compressed form: all chunks of a window, in the order of their
/// seals, or none where the database has none.
///
/// Who changes rows of `petrel.chunk` calls `forget` after the commit and before the head gives up what it wrote. What was
/// read from the database before that is not taken in any more. Safe from any thread.
final class ChunkCache: Sendable {
    /// Beyond it the windows that were not read for longest go.
    static let bytesMax = 24 << 20
    /// A single read puts in as much at most, so that one look at everything does not push all else out.
    static let bytesPerReadMax = bytesMax / 2
    /// What an entry weighs beside its chunks.
    private static let entryBytes = 160

    private struct Entry {
        var chunks: [Chunk]
        var byteCount: Int
        var lastRead: UInt64
    }

    private struct State {
        var entries: [ChunkWindow: Entry] = [:]
        var byteCount = 0
        var reads: UInt64 = 0
        /// Changes of `petrel.chunk`.
        var generation: UInt64 = 0
        var hits = 0
        var misses = 0
    }

    private let state = Mutex(State())

    struct Found {
        /// Of each group the windows that are here.
        var chunks: [Int32: [(window: Int64, chunks: [Chunk])]] = [:]
        /// The first and the last window that any group lacks; nil: all are here.
        var missing: ClosedRange<Int64>?
    }

    /// Of the rows of `petrel.chunk`, for `put`.
    var generation: UInt64 { state.withLock { $0.generation } }

    /// The windows of `groups`; of each group in order of time.
    func windows(_ numbers: ClosedRange<Int64>, of groups: [Int32]) -> Found {
        state.withLock { state in
            state.reads += 1
            var found = Found()
            for group in groups {
                var ofGroup: [(window: Int64, chunks: [Chunk])] = []
                for number in numbers {
                    let window = ChunkWindow(group: group, number: number)
                    guard let index = state.entries.index(forKey: window) else {
                        let missing = found.missing ?? number...number
                        found.missing =
                            min(missing.lowerBound, number)...max(missing.upperBound, number)
                        state.misses += 1
                        continue
                    }
                    state.entries.values[index].lastRead = state.reads
                    ofGroup.append((number, state.entries.values[index].chunks))
                    state.hits += 1
                }
                found.chunks[group] = ofGroup
            }
            return found
        }
    }

    /// Takes in windows that were read from the database as a whole since `generation` was told.
    func put(_ windows: [ChunkWindow: [Chunk]], generation: UInt64) {
        state.withLock { state in
            guard state.generation == generation else { return }
            for (window, chunks) in windows {
                let byteCount = Self.byteCount(chunks)
                state.byteCount += byteCount - (state.entries[window]?.byteCount ?? 0)
                state.entries[window] = Entry(
                    chunks: chunks, byteCount: byteCount, lastRead: state.reads)
            }
            guard state.byteCount > Self.bytesMax else { return }
            // An eighth more than needed, so that this is rare.
            let byAge = state.entries.sorted { $0.value.lastRead < $1.value.lastRead }
            for (window, entry) in byAge {
                guard state.byteCount > Self.bytesMax / 8 * 7 else { break }
                state.entries[window] = nil
                state.byteCount -= entry.byteCount
            }
        }
    }

    /// The database's chunks of these windows changed; nil: of any.
    func forget(_ windows: Set<ChunkWindow>?) {
        state.withLock { state in
            state.generation += 1
            guard let windows else {
                state.entries = [:]
                state.byteCount = 0
                return
            }
            for window in windows {
                guard let entry = state.entries.removeValue(forKey: window) else { continue }
                state.byteCount -= entry.byteCount
            }
        }
    }

    struct Counts: Hashable {
        var hits: Int
        var misses: Int
        var byteCount: Int
    }

    /// Windows asked for since the start, and bytes held.
    var counts: Counts {
        state.withLock { Counts(hits: $0.hits, misses: $0.misses, byteCount: $0.byteCount) }
    }

    static func byteCount(_ chunks: [Chunk]) -> Int {
        chunks.reduce(entryBytes) { $0 + $1.memoryByteCount }
    }
}
