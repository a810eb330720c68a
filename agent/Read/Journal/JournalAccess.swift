/// Where an entry stands in a journal: the parts of sd_journal_get_cursor(3) that identify and count it.
package struct JournalCursor: Hashable, Sendable {
    /// The whole cursor, as libsystemd wrote it.
    package let text: String
    /// Whose sequence `sequence` counts in; empty where the cursor does not say.
    package let sequenceID: Substring
    /// The entry's number in the sequence of the journald that wrote it; nil where the cursor does not say. The same as
    /// sd_journal_get_seqnum(3) gives since version 254.
    package let sequence: UInt64?
    /// When journald received the entry, microseconds since the epoch; 0 where the cursor does not say.
    package let realtimeMicroseconds: UInt64

    /// Cursors look like `s=ID;i=HEX;b=BOOT;m=HEX;t=HEX;x=HEX`; the numbers are in systemd since version 38.
    package init(_ text: String) {
        self.text = text
        var id: Substring = ""
        var number: UInt64?
        var time: UInt64 = 0
        for part in text.split(separator: ";") {
            if part.hasPrefix("s=") { id = part.dropFirst(2) }
            if part.hasPrefix("i=") { number = UInt64(part.dropFirst(2), radix: 16) }
            if part.hasPrefix("t=") { time = UInt64(part.dropFirst(2), radix: 16) ?? 0 }
        }
        sequenceID = id
        sequence = number
        realtimeMicroseconds = time
    }
}

/// The fields of one journal entry that Petrel keeps; buffers are reused from entry to entry.
package struct JournalRecord: Sendable {
    /// When journald received the entry, in microseconds since the epoch.
    package var realtimeMicroseconds: UInt64 = 0
    package var cursor = JournalCursor("")
    /// At most `LogEntry.lineBytesMax` bytes of the message.
    package var message: [UInt8] = []
    /// Bytes of the message as it was written.
    package var messageBytes = 0
    package var unit: [UInt8] = []
    package var identifier: [UInt8] = []
    package var command: [UInt8] = []
    package var container: [UInt8] = []
    package var pid: [UInt8] = []
    package var priority: [UInt8] = []
    /// Fields such as TRACE_ID that the writer set itself.
    package var extracted = ExtractedFields()
    package var parting = JournalParting()
    /// What journald itself says of messages that it dropped.
    package var suppression = JournalSuppressionFields()
    /// Its message is missing although its kind of entry always has one: vacuuming takes a file's content away while it
    /// is read, and libsystemd passes over the fields that are gone.
    package var isDamaged = false
    /// The message is not all of a line, and the rest stands elsewhere.
    var isFragment = false

    package init() {}

    mutating func removeAll() {
        message.removeAll(keepingCapacity: true)
        messageBytes = 0
        unit.removeAll(keepingCapacity: true)
        identifier.removeAll(keepingCapacity: true)
        command.removeAll(keepingCapacity: true)
        container.removeAll(keepingCapacity: true)
        pid.removeAll(keepingCapacity: true)
        priority.removeAll(keepingCapacity: true)
        extracted.fields.removeAll(keepingCapacity: true)
        extracted.level = nil
        parting.removeAll()
        suppression.removeAll()
        isDamaged = false
        isFragment = false
    }
}

/// The fields that say which line an entry is a part of.
package struct JournalParting: Sendable {
    /// _STREAM_ID: the connection of a unit's standard output.
    package var streamID: [UInt8] = []
    /// _LINE_BREAK is `line-max`: the line goes on in the next entry of the stream.
    package var isLineCut = false
    /// CONTAINER_ID_FULL, else CONTAINER_ID.
    package var containerID: [UInt8] = []
    /// CONTAINER_PARTIAL_MESSAGE is `true`.
    package var isPartial = false
    /// CONTAINER_PARTIAL_ID, in newer versions of Docker.
    package var partialID: [UInt8] = []
    /// CONTAINER_PARTIAL_ORDINAL, from 1; 0 where there is none.
    package var partialOrdinal: UInt64 = 0
    /// CONTAINER_PARTIAL_LAST is `true`.
    package var isPartialLast = false

    package init() {}

    mutating func removeAll() {
        streamID.removeAll(keepingCapacity: true)
        isLineCut = false
        containerID.removeAll(keepingCapacity: true)
        isPartial = false
        partialID.removeAll(keepingCapacity: true)
        partialOrdinal = 0
        isPartialLast = false
    }
}

/// The fields of an entry by which journald says that it dropped messages of a unit.
package struct JournalSuppressionFields: Sendable {
    /// _TRANSPORT is `driver`, which journald sets for its own entries alone.
    package var isOfJournald = false
    /// MESSAGE_ID is that of dropped messages.
    package var isSuppression = false
    /// N_DROPPED; nil where it is missing, as before version 235.
    package var droppedCount: UInt64?

    package init() {}

    mutating func removeAll() {
        isOfJournald = false
        isSuppression = false
        droppedCount = nil
    }
}

/// What sd_journal_wait(3) saw.
package enum JournalChange: Hashable, Sendable {
    case none
    case appended
    /// Files came or went: rotation, or vacuuming.
    case invalidated
}

/// A journal as `JournalReader` walks it. One caller at a time.
package protocol JournalAccess: Sendable {
    /// Opens the journal, closing it first where it is open.
    func open() throws(ReadError)
    func seekHead() throws(ReadError)
    /// So that `next` finds only entries that come later. The newest entry there is; nil in an empty journal.
    func seekTail() throws(ReadError) -> JournalCursor?
    func seek(realtimeMicroseconds: UInt64) throws(ReadError)
    /// False where `cursor` is no cursor.
    func seek(cursor: String) throws(ReadError) -> Bool
    /// Moves to the next entry; false at the end.
    func next() throws(ReadError) -> Bool
    /// Whether the current entry is the one of `cursor`.
    func isAt(cursor: String) throws(ReadError) -> Bool
    /// Reads the current entry.
    func read(into record: inout JournalRecord) throws(ReadError)
    func wait(milliseconds: Int) throws(ReadError) -> JournalChange
    /// Files of the journal that exist and can't be read, at most a few of them. O(files), a look at each.
    func unreadableFiles() -> [String]
    /// Gives memory back that reading has mapped.
    func releaseMemory()
}
