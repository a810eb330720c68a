package import Model

/// A push of Loki in its protocol buffers, read. Source: Loki 3.6 `pkg/push/push.proto`.
package struct LokiPushMessage: Sendable {
    /// What one message may hold; more is `RemoteWriteError.tooMany`.
    package struct Limits: Hashable, Sendable {
        package var streamsMax = 100_000
        package var entriesMax = 500_000
        /// Fields beside the lines, of all entries together.
        package var fieldsMax = 2_000_000

        package init() {}
    }

    /// A stream as it was sent.
    package struct Stream: Hashable, Sendable {
        /// `{job="a"}`, as it was written.
        package var labels: String
        package var entries: [LogEntry]

        package init(labels: String, entries: [LogEntry]) {
            self.labels = labels
            self.entries = entries
        }
    }

    package private(set) var streams: [Stream] = []
    private let limits: Limits
    private var entryRoom: Int
    private var fieldRoom: Int

    /// Reads a decompressed body. Lines are kept byte by byte; of names and values what is no UTF-8 becomes U+FFFD. Throws
    /// `truncated`, `oversizedNumber`, `badField`, `tooMany`.
    package init(_ body: [UInt8], limits: Limits = Limits()) throws(RemoteWriteError) {
        self.limits = limits
        entryRoom = limits.entriesMax
        fieldRoom = limits.fieldsMax
        var failure: RemoteWriteError?
        body.withUnsafeBytes { bytes in
            do throws(RemoteWriteError) { try read(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private mutating func read(_ bytes: UnsafeRawBufferPointer) throws(RemoteWriteError) {
        var cursor = WriteCursor(bytes, 0..<bytes.count, .pushRequest)
        while let key = try cursor.key() {
            guard key == 1 << 3 | 2 else {
                try cursor.skip(key, known: 1...1)
                continue
            }
            guard streams.count < limits.streamsMax else {
                throw .tooMany("streams", max: limits.streamsMax)
            }
            streams.append(try stream(try cursor.nested(.stream)))
        }
    }

    private mutating func stream(_ message: WriteCursor) throws(RemoteWriteError) -> Stream {
        var cursor = message
        var stream = Stream(labels: "", entries: [])
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: stream.labels = Self.text(cursor, try cursor.content())
            case 2 << 3 | 2:
                guard entryRoom > 0 else { throw .tooMany("entries", max: limits.entriesMax) }
                entryRoom -= 1
                stream.entries.append(try entry(try cursor.nested(.entry)))
            default: try cursor.skip(key, known: 1...2)
            }
        }
        return stream
    }

    private mutating func entry(_ message: WriteCursor) throws(RemoteWriteError) -> LogEntry {
        var cursor = message
        var entry = LogEntry(timestamp: TimestampNS(0), line: [])
        var fields: [Label] = []
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: entry.timestamp = try Self.time(try cursor.nested(.timestamp))
            case 2 << 3 | 2: entry.line = Array(cursor.slice(try cursor.content()))
            case 3 << 3 | 2:
                guard fieldRoom > 0 else {
                    throw .tooMany("fields of entries", max: limits.fieldsMax)
                }
                fieldRoom -= 1
                fields.append(try Self.field(try cursor.nested(.label)))
            default: try cursor.skip(key, known: 1...3)
            }
        }
        if !fields.isEmpty { entry.metadata = Labels(fields) }
        return entry
    }

    /// Source: `google.protobuf.Timestamp`. Beyond the bounds of `TimestampNS` the nearest one.
    private static func time(_ message: WriteCursor) throws(RemoteWriteError) -> TimestampNS {
        var cursor = message
        var seconds: Int64 = 0
        var nanoseconds: Int64 = 0
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: seconds = try cursor.integer()
            case 2 << 3: nanoseconds = Int64(Int32(truncatingIfNeeded: try cursor.integer()))
            default: try cursor.skip(key, known: 1...2)
            }
        }
        let (whole, isBeyond) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !isBeyond else { return TimestampNS(seconds < 0 ? .min : .max) }
        return TimestampNS(whole).advanced(byNanoseconds: nanoseconds)
    }

    private static func field(_ message: WriteCursor) throws(RemoteWriteError) -> Label {
        var cursor = message
        var field = Label("", "")
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: field.name = text(cursor, try cursor.content())
            case 2 << 3 | 2: field.value = text(cursor, try cursor.content())
            default: try cursor.skip(key, known: 1...2)
            }
        }
        return field
    }

    private static func text(_ cursor: WriteCursor, _ place: Range<Int>) -> String {
        String(decoding: cursor.slice(place), as: UTF8.self)
    }
}
