package import Model
import Wire

/// Whole chunks of one or more sources, with the positions that they reach.
package struct CollectedLogs: Sendable {
    package var items: [LogReadChunk.Item] = []
    package var gaps: [GapRecord] = []
    /// The newest position of each source in `items` or `gaps`.
    package var positions: [SourcePosition] = []
    /// At least the bytes that `items` take in a payload.
    package var bytes = 0

    package init() {}
}

/// Collects what log readers read until there is enough of it or it has waited long enough. Pure.
///
/// A chunk is never split, so that a batch's positions say exactly what it holds. Chunks should stay within
/// `Configuration.bytesMax`; one that alone is larger than a payload is split by the writer.
package struct LogBatchCollector: Sendable {
    /// When a batch is ready, and how much may wait.
    package struct Configuration: Hashable, Sendable {
        package var recordsMax: Int
        package var bytesMax: Int
        /// Nanoseconds (monotonic) that the first chunk of a batch waits at most.
        package var delayNanoseconds: Int64
        /// Bytes beyond which readers must wait.
        package var heldBytesMax: Int

        package init(
            recordsMax: Int = 2000, bytesMax: Int = 256 * 1024,
            delayNanoseconds: Int64 = 200_000_000, heldBytesMax: Int = 2 << 20
        ) {
            self.recordsMax = recordsMax
            self.bytesMax = bytesMax
            self.delayNanoseconds = delayNanoseconds
            self.heldBytesMax = heldBytesMax
        }
    }

    package let configuration: Configuration
    private var ready: [CollectedLogs] = []
    private var open = CollectedLogs()
    private var openedAt: Int64?

    package init(_ configuration: Configuration = Configuration()) {
        self.configuration = configuration
    }

    /// Bytes held.
    package var heldBytes: Int { ready.reduce(open.bytes) { $0 + $1.bytes } }

    /// How far sources are read by what is held: the newest position of each, in no order.
    package var positions: [SourcePosition] {
        (ready + [open]).reduce([]) { $0.moved(by: $1.positions) }
    }

    /// Readers must wait until batches are taken.
    package var isFull: Bool { heldBytes >= configuration.heldBytesMax }

    /// When the open batch becomes ready by waiting (monotonic nanoseconds); nil where nothing waits.
    package var deadline: Int64? { openedAt.map { $0 + configuration.delayNanoseconds } }

    /// Takes a chunk. An empty one moves its source's position all the same.
    package mutating func add(_ chunk: LogReadChunk, now: Int64) {
        let bytes = chunk.items.reduce(0) { $0 + LogPayloadBuilder.bytesBound($1.entry) }
        let isTooMuch =
            open.bytes + bytes > configuration.bytesMax
            || open.items.count + chunk.items.count > configuration.recordsMax
        if isTooMuch, !open.items.isEmpty { close() }
        if openedAt == nil { openedAt = now }
        open.items += chunk.items
        open.gaps += chunk.gaps
        open.bytes += bytes
        open.positions.removeAll { $0.source == chunk.position.source }
        open.positions.append(chunk.position)
        if open.bytes >= configuration.bytesMax || open.items.count >= configuration.recordsMax {
            close()
        }
    }

    /// The oldest batch that is ready at `now`; nil where there is none.
    package mutating func take(now: Int64) -> CollectedLogs? {
        if ready.isEmpty, let deadline, now >= deadline { close() }
        return ready.isEmpty ? nil : ready.removeFirst()
    }

    /// The oldest batch whether ready or not: at shutdown.
    package mutating func drain() -> CollectedLogs? {
        if ready.isEmpty, openedAt != nil { close() }
        return ready.isEmpty ? nil : ready.removeFirst()
    }

    /// A batch that the spool refused comes first again.
    package mutating func putBack(_ batch: CollectedLogs) { ready.insert(batch, at: 0) }

    private mutating func close() {
        ready.append(open)
        open = CollectedLogs()
        openedAt = nil
    }
}

extension [SourcePosition] {
    /// These positions with `newer` in the place of those of the same sources. O(n²) in the sources.
    package func moved(by newer: [SourcePosition]) -> [SourcePosition] {
        filter { position in !newer.contains { $0.source == position.source } } + newer
    }
}
