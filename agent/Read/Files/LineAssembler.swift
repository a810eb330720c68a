import LinearRegex
import Model

/// Which lines begin a record, where a record has several lines, such as a stack trace.
package struct MultilineConfiguration: Sendable {
    /// Whether a line, without its line end, begins a record.
    package var startsRecord: @Sendable ([UInt8]) -> Bool
    /// A record ends at this many lines at the latest; `LogEntry.lineBytesMax` bounds its bytes.
    package var linesMax: Int
    /// After how many nanoseconds without growth a record counts as ended.
    package var waitNanoseconds: Int64

    package init(
        linesMax: Int = 500, waitNanoseconds: Int64 = 1_000_000_000,
        startsRecord: @escaping @Sendable ([UInt8]) -> Bool
    ) {
        self.startsRecord = startsRecord
        self.linesMax = linesMax
        self.waitNanoseconds = waitNanoseconds
    }

    /// `pattern` (RE2) is searched for in a line. Throws `malformed`, with the pattern as its path.
    package init(
        pattern: String, linesMax: Int = 500, waitNanoseconds: Int64 = 1_000_000_000
    ) throws(ReadError) {
        let regex: LinearRegex
        do throws(LinearRegexError) {
            regex = try LinearRegex(pattern, anchored: false)
        } catch { throw .malformed(path: pattern, detail: "\(error)") }
        self.init(linesMax: linesMax, waitNanoseconds: waitNanoseconds) {
            regex.matches(bytes: $0)
        }
    }
}

/// Makes records of the bytes of a file: a line each, or a line that begins a record with those that follow. Pure.
///
/// Bytes past `LogEntry.lineBytesMax` of one line are counted and dropped. A record of several lines that has no room
/// for another line ends before it, and the next goes on with it: nothing of it is dropped.
struct LineAssembler: Sendable {
    struct Record: Hashable, Sendable {
        var bytes: [UInt8]
        /// Bytes of the file, without the last line end: more than `bytes` where a line was cut.
        var length: Int64
        /// Bytes of the file that it takes up.
        var consumed: Int64
        /// Its end is not written: it was given up waiting for.
        var isPartial = false
        /// It goes on with the record before it.
        var isContinuation = false
    }

    private let multiline: MultilineConfiguration?
    private var line: [UInt8] = []
    private var lineLength: Int64 = 0
    private var record: [UInt8] = []
    /// Bytes of the record's lines in the file, line ends included.
    private var recordLength: Int64 = 0
    private var recordLines = 0
    private var isContinuation = false

    init(_ multiline: MultilineConfiguration?) { self.multiline = multiline }

    /// Bytes of the file that were added and are in no record yet.
    var pendingBytes: Int64 { recordLength + lineLength }
    /// A line has begun and has not ended.
    var hasPartialLine: Bool { lineLength > 0 }

    /// Adds bytes of a line, without line ends.
    mutating func add(_ bytes: ArraySlice<UInt8>) {
        line += bytes.prefix(LogEntry.lineBytesMax - line.count)
        lineLength += Int64(bytes.count)
    }

    /// A line end. The record that is whole by it, if any.
    mutating func endLine() -> Record? {
        guard let multiline else {
            defer { startLine() }
            let ended = Record(
                bytes: line, length: lineLength, consumed: lineLength + 1,
                isContinuation: isContinuation)
            isContinuation = false
            return ended
        }
        var ended: Record?
        if recordLines > 0 {
            let starts = multiline.startsRecord(line)
            if starts || record.count + 1 + line.count > LogEntry.lineBytesMax
                || recordLines >= multiline.linesMax
            {
                ended = takeRecord()
                isContinuation = !starts
            } else {
                record.append(10)
            }
        }
        record += line
        recordLength += lineLength + 1
        recordLines += 1
        startLine()
        return ended
    }

    /// The whole lines that wait, as a record.
    mutating func endRecord() -> Record? {
        guard recordLines > 0 else { return nil }
        return takeRecord()
    }

    /// The line that has not ended, as a record.
    mutating func endPartialLine() -> Record? {
        guard lineLength > 0 else { return nil }
        defer { startLine() }
        let ended = Record(
            bytes: line, length: lineLength, consumed: lineLength, isPartial: true,
            isContinuation: isContinuation)
        isContinuation = true
        return ended
    }

    /// Forgets what is in no record yet: another file begins, or it is read again.
    mutating func reset() {
        startLine()
        record = []
        recordLength = 0
        recordLines = 0
        isContinuation = false
    }

    private mutating func startLine() {
        line = []
        lineLength = 0
    }

    private mutating func takeRecord() -> Record {
        let ended = Record(
            bytes: record, length: recordLength - 1, consumed: recordLength,
            isContinuation: isContinuation)
        record = []
        recordLength = 0
        recordLines = 0
        isContinuation = false
        return ended
    }
}
