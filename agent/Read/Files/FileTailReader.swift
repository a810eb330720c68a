import Glibc
package import Model
import Synchronization
package import World

/// Log files as a source of entries: `FileSet` with a clock and the real files. The stream labels are `source`,
/// `filename` and `service_name`; an entry's timestamp is the time it was read.
package final class FileTailReader: LogSource {
    package let source: String
    private let tree: any WorldFileTree
    private let clock: any WorldClock
    /// Held during a whole call of `next`: a file has one reader at a time.
    private let files: Mutex<FileSet>
    private let faults = Mutex<[String]>([])
    private let hasNone = Mutex(false)

    /// `positions` are those that this reader returned before, and those of no entry of the configuration any more.
    /// Throws `position` where one of its own can't be understood.
    package init(
        _ configuration: FileSetConfiguration, tree: any WorldFileTree, clock: any WorldClock,
        positions: [SourcePosition] = [], budget: LogFileBudget = LogFileBudget()
    ) throws(ReadError) {
        source = Self.source(path: configuration.pattern.text)
        self.tree = tree
        self.clock = clock
        files = Mutex(try FileSet(configuration, positions: positions, budget: budget))
    }

    /// The `source` of the files at `path`, a pattern or a file: what failures and `petrel_agent_log_source_up` name.
    package static func source(path: String) -> String { FileSet.source(path: path) }

    package var problems: [String] { faults.withLock { $0 } }
    package var isEmpty: Bool { hasNone.withLock { $0 } }

    package func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        precondition(max > 0, "a chunk of no entries")
        return try files.withLock { (files) throws(ReadError) in
            defer {
                faults.withLock { $0 = files.problems }
                hasNone.withLock { $0 = files.files.isEmpty }
            }
            var waited = 0
            while true {
                do throws(FileError) {
                    if let chunk = try files.poll(tree, now: clock.now, max: max) { return chunk }
                } catch {
                    throw .file(error)
                }
                guard waited < waitMilliseconds else { return nil }
                let step = min(Self.pollMilliseconds, waitMilliseconds - waited)
                _ = poll(nil, 0, Int32(step))
                waited += step
            }
        }
    }

    package func close() { files.withLock { $0.retire() } }

    /// How often a waiting reader looks at its files.
    private static let pollMilliseconds = 250
}
