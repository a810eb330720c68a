import Glibc
package import Model
import Synchronization
package import World

/// A log file as a source of entries: `FileTail` with a clock and the real files. The stream labels are `source`,
/// `filename` and `service_name`; an entry's timestamp is the time it was read.
package final class FileTailReader: LogSource {
    package let source: String
    private let tree: any WorldFileTree
    private let clock: any WorldClock
    /// Held during a whole call of `next`: a file has one reader at a time.
    private let tail: Mutex<FileTail>

    /// `position` is one that this reader returned before. Throws `position` where it can't be understood.
    package init(
        _ configuration: FileTailConfiguration, tree: any WorldFileTree, clock: any WorldClock,
        position: SourcePosition? = nil
    ) throws(ReadError) {
        source = Self.source(path: configuration.path)
        self.tree = tree
        self.clock = clock
        var stored: FilePosition?
        if let position, !position.bytes.isEmpty {
            guard let decoded = FilePosition(bytes: position.bytes) else {
                throw .position(
                    source: position.source, detail: "\(position.bytes.count) bytes of no version")
            }
            stored = decoded
        }
        tail = Mutex(FileTail(configuration, position: stored))
    }

    /// The `source` of the positions of the file at `path`.
    package static func source(path: String) -> String { "file:\(path)" }

    package func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        precondition(max > 0, "a chunk of no entries")
        return try tail.withLock { (tail) throws(ReadError) in
            var waited = 0
            while true {
                if let chunk = try chunk(&tail, max) { return chunk }
                guard waited < waitMilliseconds else { return nil }
                let step = min(Self.pollMilliseconds, waitMilliseconds - waited)
                _ = poll(nil, 0, Int32(step))
                waited += step
            }
        }
    }

    private func chunk(_ tail: inout FileTail, _ max: Int) throws(ReadError) -> LogReadChunk? {
        do throws(FileError) {
            let (items, gaps) = try tail.poll(tree, now: clock.now, max: max)
            guard !items.isEmpty || !gaps.isEmpty else { return nil }
            return LogReadChunk(
                items: items, gaps: gaps,
                position: SourcePosition(source: source, bytes: tail.position?.bytes ?? []))
        } catch {
            throw .file(error)
        }
    }

    /// How often a waiting reader looks at its file.
    private static let pollMilliseconds = 250
}
