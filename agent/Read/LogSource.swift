package import Model

/// A source of log entries that is read in chunks by one caller at a time. Calls block: run them on a `DedicatedThread`.
package protocol LogSource: AnyObject, Sendable {
    /// The `source` of its positions.
    var source: String { get }
    /// Up to `max` entries, or nil where none came within `waitMilliseconds`. The chunk's position resumes after it.
    /// Throws where the source can't be read now; a later call tries again.
    /// A chunk without entries and gaps moves a position alone, which is to be kept with what is written next.
    func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk?
    /// What of the source can't be read while the rest is, a sentence each; bounded. From any thread.
    var problems: [String] { get }
    /// There is nothing to read from now, such as no file of a pattern. From any thread.
    var isEmpty: Bool { get }
    /// Gives back what the source holds, as the room that sources share. Nothing may be called afterwards.
    func close()
}

extension LogSource {
    package var problems: [String] { [] }
    package var isEmpty: Bool { false }
    package func close() {}
}

/// Limits that hold for every log source.
package enum LogLimits {
    /// A chunk ends after the entry that passes this, whatever `max` says. Bytes.
    /// With one longest line more and what redaction adds it still fits one payload: a split chunk would be read again in
    /// part after a crash.
    package static let chunkBytesMax = 384 << 10
    /// How many stream label sets a source keeps ready.
    static let streamsMax = 512
}

/// A log source on a thread of its own, for callers that must not block.
package final class LogSourceRunner: Sendable {
    private let log: any LogSource
    private let thread: DedicatedThread

    /// Throws `system` where the host refuses a thread.
    package convenience init(_ log: any LogSource) throws(ReadError) {
        self.init(log, thread: try DedicatedThread())
    }

    /// `thread` is the source's alone.
    package init(_ log: any LogSource, thread: DedicatedThread) {
        self.log = log
        self.thread = thread
    }

    package var source: String { log.source }
    package var problems: [String] { log.problems }
    package var isEmpty: Bool { log.isEmpty }

    /// `LogSource.next` without blocking the caller's thread. Returns within about `waitMilliseconds`.
    package func next(max: Int, waitMilliseconds: Int) async throws(ReadError) -> LogReadChunk? {
        let log = log
        let result: Result<LogReadChunk?, ReadError> = await thread.run {
            do throws(ReadError) {
                return .success(try log.next(max: max, waitMilliseconds: waitMilliseconds))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// `LogSource.close`, after what is under way.
    package func close() async {
        let log = log
        await thread.run { log.close() }
    }
}
