package import World

/// Why the spool could not do what it was asked.
package enum SpoolError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another process has the spool open.
    case locked(path: String)
    /// The file system refused at opening; later failures put the spool into memory mode instead.
    case file(FileError)
    /// At its bound: read the sources later. Nothing was held.
    case full(bytes: Int, maximum: Int)
    /// A payload (with its positions) past the bound of a record.
    case payloadTooLarge(bytes: Int, maximum: Int)
    /// The sequence was acknowledged and freed; `first` is the lowest still held.
    case notHeld(sequence: UInt64, first: UInt64)
    /// The positions don't fit a segment's snapshot.
    case positionsTooLarge(bytes: Int, maximum: Int)

    package var description: String {
        switch self {
        case .locked(let path):
            "\(path) is in use by another agent: stop it, or give this one a --state-dir of its own"
        case .file(let error):
            "\(error): check that the state directory exists, is writable and has space"
        case .full(let bytes, let maximum):
            "the spool holds \(bytes) of at most \(maximum) bytes: sources wait"
        case .payloadTooLarge(let bytes, let maximum):
            "a payload of \(bytes) bytes, at most \(maximum): split it"
        case .notHeld(let sequence, let first):
            "sequence \(sequence) is freed, the spool begins at \(first): begin a new epoch"
        case .positionsTooLarge(let bytes, let maximum):
            "source positions of \(bytes) bytes, at most \(maximum): follow fewer files"
        }
    }
}

/// The bounds of one spool. The defaults are the formats' and the design's.
package struct SpoolConfiguration: Hashable, Sendable {
    /// What happens to an append that finds the spool at its bound.
    package enum Overflow: Hashable, Sendable {
        /// The oldest segment goes, and stands as a gap (metrics: the source can't be read again).
        case dropOldest
        /// `SpoolError.full` (logs: the journal and the files wait).
        case refuse
    }

    /// Bytes of a segment file, allocated when it is made.
    package var segmentBytes: Int
    /// Bytes of all segment files.
    package var bytesMax: Int
    /// Free bytes that the file system must keep; no further segment below it (but two always).
    package var freeBytesMin: Int64
    /// Bytes held in memory while not durable.
    package var memoryBytesMax: Int
    package var overflow: Overflow
    /// Nanoseconds (monotonic) between attempts to leave memory mode.
    package var retryNanoseconds: Int64

    package init(
        segmentBytes: Int = 8 << 20, bytesMax: Int = 512 << 20, freeBytesMin: Int64 = 1 << 30,
        memoryBytesMax: Int = 8 << 20, overflow: Overflow, retryNanoseconds: Int64 = 5_000_000_000
    ) {
        self.segmentBytes = segmentBytes
        self.bytesMax = bytesMax
        self.freeBytesMin = freeBytesMin
        self.memoryBytesMax = memoryBytesMax
        self.overflow = overflow
        self.retryNanoseconds = retryNanoseconds
    }
}
