import Model
import Postgres
package import Storage
import Synchronization
import World

/// How many chunks the store has, and over which time.
package struct ChunkExtent: Hashable, Sendable {
    package var chunkCount: Int
    /// Milliseconds since the epoch, of the oldest and the newest sample.
    package var first: Int64
    package var last: Int64
}

extension CollectorStore {
    /// Seconds for which an extent is told again.
    static let extentSecondsMax: Int64 = 30

    /// What there is of metrics, deleted samples included until they are cleaned, and the head's samples in the times; nil
    /// while there are none. May be half a minute old: counting looks at each partition's index.
    package func chunkExtent() async throws(StorageError) -> ChunkExtent? {
        let now = clock.now.rawValue
        let kept = metrics.progress.withLock { $0.extent }
        if let kept, now - kept.at < Self.extentSecondsMax * 1_000_000_000, now >= kept.at {
            return kept.extent
        }
        let stored = try await read { session in
            // These are in the index; when chunks end is not. Of the newest day alone it is looked up: no chunk goes on
            // after its day.
            let rows = try session.query(
                "SELECT count(*), min(first_ms), max(day) FROM petrel.chunk")
            guard try rows.integer(0, 0) > 0 else { return nil as ChunkExtent? }
            let last = try session.query(
                "SELECT max(last_ms) FROM petrel.chunk WHERE day = $1", [.int4(try rows.int4(0, 2))]
            )
            return ChunkExtent(
                chunkCount: Int(try rows.integer(0, 0)), first: try rows.integer(0, 1),
                // The day may have been dropped in between.
                last: last.isNull(0, 0) ? try rows.integer(0, 1) : try last.integer(0, 0))
        }
        let head = metrics.head.extent
        var extent = stored
        if let head {
            extent = ChunkExtent(
                chunkCount: stored?.chunkCount ?? 0,
                first: min(stored?.first ?? head.lowerBound, head.lowerBound),
                last: max(stored?.last ?? head.upperBound, head.upperBound))
        }
        let told = extent
        metrics.progress.withLock { $0.extent = (now, told) }
        return told
    }
}
