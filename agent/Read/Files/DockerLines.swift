import Model

/// Joins the parts of a container's lines, for each of its two streams. Pure.
///
/// While a line is incomplete, what comes after its first part waits behind it: lines leave in the order of their first
/// parts, and all that waits leaves together. So a position in the file is enough to say what has left.
///
/// Bounds: a line keeps `LogEntry.lineBytesMax`, bytes past it are counted and dropped. Behind an incomplete one at most
/// `waitingMax` others wait, with `waitingBytesMax`, and for the time that the caller allows; then it leaves as it is,
/// marked as partial, and what goes on with it as continued. So it does before a line that can't be understood.
struct DockerLines: Sendable {
    struct Line: Hashable, Sendable {
        var bytes: [UInt8]
        /// What the container wrote, without the line end: more than `bytes` where the line was cut.
        var length: Int64
        /// When its first part was written; nil where that is not known.
        var time: TimestampNS?
        /// Nil for a line that is no record of Docker's, as it stands in the file.
        var stream: DockerRecord.Stream?
        var isPartial = false
        var isContinuation = false
    }

    static let waitingMax = 128
    static let waitingBytesMax = 32 << 10

    private var lines: [Line] = []
    /// Places in `lines` of those that are incomplete.
    private var open: [DockerRecord.Stream: Int] = [:]
    /// Streams whose last line left before its end.
    private var broken: Set<DockerRecord.Stream> = []
    private var waitingBytes = 0
    private(set) var openedAt = TimestampNS(0)

    /// A line is incomplete: nothing is to be taken yet.
    var isOpen: Bool { !open.isEmpty }

    /// Takes a line of the file.
    mutating func add(_ record: LineAssembler.Record, now: TimestampNS) {
        guard record.length == Int64(record.bytes.count), let part = DockerRecord(record.bytes)
        else {
            close()
            lines.append(
                Line(
                    bytes: record.bytes, length: record.length, isPartial: record.isPartial,
                    isContinuation: record.isContinuation))
            return
        }
        if let place = open[part.stream] {
            let room = LogEntry.lineBytesMax - lines[place].bytes.count
            lines[place].bytes += part.text.prefix(room)
            lines[place].length += Int64(part.text.count)
            if part.isEnded { open[part.stream] = nil }
        } else {
            if isOpen {
                waitingBytes += part.text.count
            } else if !part.isEnded {
                openedAt = now
            }
            lines.append(
                Line(
                    bytes: part.text, length: Int64(part.text.count), time: part.time,
                    stream: part.stream, isContinuation: broken.remove(part.stream) != nil))
            if !part.isEnded { open[part.stream] = lines.count - 1 }
        }
        if isOpen, lines.count > Self.waitingMax || waitingBytes > Self.waitingBytesMax { close() }
    }

    /// Ends the incomplete lines as they are.
    mutating func close() {
        for (stream, place) in open {
            lines[place].isPartial = true
            broken.insert(stream)
        }
        open = [:]
    }

    /// The lines that are whole, or were ended; none while one is incomplete.
    mutating func take() -> [Line] {
        guard !isOpen else { return [] }
        defer {
            lines = []
            waitingBytes = 0
        }
        return lines
    }
}
