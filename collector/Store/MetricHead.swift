package import ChunkCodec
import Model
import Synchronization

/// A row of `petrel.chunk`, not written yet.
package struct SealedChunk: Hashable, Sendable {
    package var group: Int32
    /// The first and the last time in it, milliseconds since the epoch.
    package var first: Int64
    package var last: Int64
    package var sampleCount: Int
    /// Bit n: slot n has samples.
    package var slots: UInt32
    package var data: [UInt8]
}

/// The samples of committed batches that no row of `petrel.chunk` holds yet.
///
/// A group's newest samples are plain columns; every few thousand of them are frozen into a chunk in memory, so that
/// hours of them weigh about a byte each. `seal` takes out what the database is to hold as chunks; readers see that too
/// until `sealed` says that it is committed. Safe from any thread.
package final class MetricHead: Sendable {
    /// Samples of a group that stay plain columns: 120 of each of its series.
    package static let openSamplesMax = 120 * Chunk.slotsMax
    /// A chunk's window in time; each begins at a multiple since the epoch.
    package static let windowMilliseconds: Int64 = 2 * 3_600_000

    private struct Group {
        var open: [ChunkColumn] = []
        var openCount = 0
        /// In the order of receipt.
        var frozen: [Chunk] = []

        mutating func slot(_ slot: Int) -> Int {
            while open.count <= slot { open.append(ChunkColumn()) }
            return slot
        }

        mutating func freeze() {
            frozen += MetricHead.windows(of: open).map { Chunk(of: $0.columns) }
            open = []
            openCount = 0
        }

        /// How many samples were left out.
        mutating func remove(
            _ slots: [Int], _ first: Int64, through last: Int64
        ) throws(ChunkError) -> Int {
            var removed = 0
            for slot in slots where slot < open.count {
                let before = open[slot].count
                open[slot].remove(first, through: last)
                removed += before - open[slot].count
                openCount -= before - open[slot].count
            }
            var kept: [Chunk] = []
            for chunk in frozen {
                guard first == .min || chunk.overlaps(after: first - 1, through: last) else {
                    kept.append(chunk)
                    continue
                }
                var columns: [ChunkColumn] = []
                for slot in 0..<chunk.slotCount { columns.append(try chunk.column(slot: slot)) }
                let before = columns.reduce(0) { $0 + $1.count }
                for slot in slots where slot < columns.count {
                    columns[slot].remove(first, through: last)
                }
                let left = columns.reduce(0) { $0 + $1.count }
                removed += before - left
                if left == before {
                    kept.append(chunk)
                } else if left > 0 {
                    kept.append(Chunk(of: columns))
                }
            }
            frozen = kept
            return removed
        }

        /// Everything of each slot, merged.
        func columns() throws(ChunkError) -> [ChunkColumn] {
            var columns: [ChunkColumn] = []
            for chunk in frozen {
                for slot in 0..<chunk.slotCount {
                    while columns.count <= slot { columns.append(ChunkColumn()) }
                    columns[slot].merge(try chunk.column(slot: slot))
                }
            }
            for (slot, column) in open.enumerated() {
                while columns.count <= slot { columns.append(ChunkColumn()) }
                columns[slot].merge(column)
            }
            return columns
        }
    }

    private struct State {
        /// By group number: those that have samples, for numbers only grow.
        var groups = NumberTable<Group>()
        /// What is being sealed, by group number.
        var sealing = NumberTable<Group>()
        var sampleCount = 0
        var sealingCount = 0
        /// No chunk of the database holds a later sample; nil: not known.
        var sealedThrough: Int64?

        mutating func change(
            _ place: SeriesPlace, _ body: (inout ChunkColumn) -> Void
        ) {
            var added = 0
            groups.change(place.group, default: MetricHead.Group()) { group in
                let slot = group.slot(Int(place.slot))
                let before = group.open[slot].count
                body(&group.open[slot])
                added = group.open[slot].count - before
                group.openCount += added
                if group.openCount >= MetricHead.openSamplesMax { group.freeze() }
            }
            sampleCount += added
        }
    }

    private let state = Mutex(State())

    /// Nothing is in it yet.
    package init() {}

    /// Samples in memory, those being sealed included.
    package var sampleCount: Int { state.withLock { $0.sampleCount + $0.sealingCount } }

    /// The earliest and the latest time of a sample in memory, milliseconds since the epoch; nil where there is none.
    package var extent: ClosedRange<Int64>? {
        state.withLock { state in
            var result: ClosedRange<Int64>?
            func take(_ first: Int64?, _ last: Int64?) {
                guard let first, let last else { return }
                result =
                    min(
                        result?.lowerBound ?? first, first)...max(
                        result?.upperBound ?? last, last)
            }
            for (_, group) in state.groups.all + state.sealing.all {
                for column in group.open { take(column.first, column.last) }
                for chunk in group.frozen { take(chunk.timestamps.first, chunk.timestamps.last) }
            }
            return result
        }
    }

    // MARK: Taking in

    /// Says that no chunk in the database holds a sample after `time`, milliseconds since the epoch.
    package func startSealed(through time: Int64) { state.withLock { $0.sealedThrough = time } }

    /// Takes in one scrape: `values[i]` of the series at `places[i]`, nil where the series is unknown.
    package func insert(_ timestamp: Int64, _ places: [SeriesPlace?], _ values: [Double]) {
        state.withLock { state in
            for (place, value) in zip(places, values) {
                guard let place else { continue }
                state.change(place) { $0.insert(timestamp, value) }
            }
        }
    }

    /// Takes in columns of single series, as they come with start timestamps or histograms.
    package func insert(_ columns: [(place: SeriesPlace, column: ChunkColumn)]) {
        state.withLock { state in
            for (place, column) in columns { state.change(place) { $0.merge(column) } }
        }
    }

    /// Leaves out what the series at these places have from `first` through `last`, both inclusive. Not during a seal.
    package func remove(
        _ places: [SeriesPlace], _ first: Int64, through last: Int64
    ) throws(ChunkError) {
        var slots: [Int32: [Int]] = [:]
        for place in places { slots[place.group, default: []].append(Int(place.slot)) }
        let wanted = slots
        try state.withLock { state throws(ChunkError) in
            precondition(state.sealing.count == 0, "a seal is under way")
            // All of it is decoded before anything is changed.
            var changed: [(number: Int32, group: Group, removed: Int)] = []
            for (number, slots) in wanted {
                guard var group = state.groups[number] else { continue }
                let removed = try group.remove(slots, first, through: last)
                if removed > 0 { changed.append((number, group, removed)) }
            }
            for (number, group, removed) in changed {
                state.groups[number] = group
                state.sampleCount -= removed
            }
        }
    }

    // MARK: Reading

    /// What a reader decodes: pieces of one group in the order of receipt.
    package struct Pieces: Sendable {
        fileprivate enum Piece {
            case frozen(Chunk)
            case open([ChunkColumn])
        }

        fileprivate var pieces: [Piece] = []

        /// The samples of a slot in (after, through].
        package func column(
            slot: Int, after: Int64, through: Int64
        ) throws(ChunkError) -> ChunkColumn {
            var result = ChunkColumn()
            for piece in pieces {
                switch piece {
                case .frozen(let chunk):
                    guard slot < chunk.slotCount,
                        chunk.overlaps(after: after, through: through)
                    else { continue }
                    result.merge(
                        try chunk.column(slot: slot).cut(after: after, through: through))
                case .open(let columns):
                    guard slot < columns.count else { continue }
                    result.merge(columns[slot].cut(after: after, through: through))
                }
            }
            return result
        }
    }

    /// The pieces of `groups`, each of which is there, empty or not, and the time after which they are all that there is
    /// (nil: not known). Costs no copy of samples.
    package func pieces(
        of groups: [Int32]
    ) -> (pieces: [Int32: Pieces], sealedThrough: Int64?) {
        state.withLock { state in
            var result: [Int32: Pieces] = [:]
            result.reserveCapacity(groups.count)
            for number in groups {
                var pieces = Pieces()
                for case let group? in [state.sealing[number], state.groups[number]] {
                    pieces.pieces += group.frozen.map { .frozen($0) }
                    if group.openCount > 0 { pieces.pieces.append(.open(group.open)) }
                }
                result[number] = pieces
            }
            return (result, state.sealedThrough)
        }
    }

    // MARK: Sealing

    /// Takes out all samples and answers with the chunks of those at or before `through`; the others come back with
    /// `sealed`. One seal at a time.
    package func seal(through: Int64) throws(ChunkError) -> (chunks: [SealedChunk], rest: SealRest)
    {
        let taken = state.withLock { state in
            precondition(state.sealing.count == 0, "a seal is under way")
            state.sealing = state.groups
            state.sealingCount = state.sampleCount
            state.groups = NumberTable()
            state.sampleCount = 0
            return state.sealing.all
        }
        var chunks: [SealedChunk] = []
        var rest = SealRest()
        for (number, group) in taken {
            let columns = try group.columns()
            for window in Self.windows(of: columns.map { $0.cut(after: .min, through: through) }) {
                chunks.append(
                    SealedChunk(
                        group: number, first: window.first, last: window.last,
                        sampleCount: window.columns.reduce(0) { $0 + $1.count },
                        slots: window.columns.enumerated().reduce(0) { bits, column in
                            column.element.isEmpty ? bits : bits | 1 << UInt32(column.offset)
                        },
                        data: Chunk.encode(window.columns)))
            }
            let later = columns.map { $0.cut(after: through, through: .max) }
            if later.contains(where: { !$0.isEmpty }) { rest.groups.append((number, later)) }
        }
        return (chunks, rest)
    }

    /// Samples that a seal left for the next one.
    package struct SealRest: Sendable {
        fileprivate var groups: [(number: Int32, columns: [ChunkColumn])] = []
    }

    /// The chunks are committed: what they hold leaves memory. `chunks` and `rest` are what `seal` answered.
    package func sealed(_ chunks: [SealedChunk], _ rest: SealRest) {
        state.withLock { state in
            state.sealedThrough = state.sealedThrough.map { sealed in
                chunks.reduce(sealed) { max($0, $1.last) }
            }
            state.sealing = NumberTable()
            state.sealingCount = 0
            for (number, columns) in rest.groups {
                // Received before all that is there.
                let chunks = Self.windows(of: columns).map { Chunk(of: $0.columns) }
                state.groups.change(number, default: Group()) { group in
                    group.frozen.insert(contentsOf: chunks, at: 0)
                }
                state.sampleCount += columns.reduce(0) { $0 + $1.count }
            }
        }
    }

    /// The chunks were not committed: everything is as it was before.
    package func unsealed() {
        state.withLock { state in
            let newer = state.groups
            state.groups = state.sealing
            state.sampleCount += state.sealingCount
            state.sealing = NumberTable()
            state.sealingCount = 0
            for (number, late) in newer.all {
                state.groups.change(number, default: Group()) { group in
                    // In the order of receipt.
                    group.freeze()
                    group.frozen += late.frozen
                    group.open = late.open
                    group.openCount = late.openCount
                }
            }
        }
    }

    /// Columns cut at the borders of the windows in which they have samples, in order of time.
    private static func windows(
        of columns: [ChunkColumn]
    ) -> [(first: Int64, last: Int64, columns: [ChunkColumn])] {
        guard let first = columns.compactMap(\.first).min(),
            let last = columns.compactMap(\.last).max()
        else { return [] }
        let end = windowEnd(first)
        guard last > end else { return halves(of: columns, first, last) }
        // The second half of the time is cut off at a border of a window, so that this is no deeper than a logarithm.
        let middle = max(end, windowEnd(first + (last - first) / 2 - windowMilliseconds))
        return windows(of: columns.map { $0.cut(after: .min, through: middle) })
            + windows(of: columns.map { $0.cut(after: middle, through: .max) })
    }

    /// The columns of one window, in several parts where a chunk does not hold so many times.
    private static func halves(
        of columns: [ChunkColumn], _ first: Int64, _ last: Int64
    ) -> [(first: Int64, last: Int64, columns: [ChunkColumn])] {
        guard first < last, !Chunk.fits(columns) else { return [(first, last, columns)] }
        let middle = first + (last - first) / 2
        return windows(of: columns.map { $0.cut(after: .min, through: middle) })
            + windows(of: columns.map { $0.cut(after: middle, through: .max) })
    }

    /// The last millisecond of the window that holds `time`.
    package static func windowEnd(_ time: Int64) -> Int64 {
        let part = time % windowMilliseconds
        return time - (part < 0 ? part + windowMilliseconds : part) + windowMilliseconds - 1
    }
}
