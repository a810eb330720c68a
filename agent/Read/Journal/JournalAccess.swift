/// Where an entry stands in a journal: the parts of sd_journal_get_cursor(3) that identify and count it.
package struct JournalCursor: Hashable, Sendable {
    /// The whole cursor, as libsystemd wrote it.
    package let text: String
    /// Whose sequence `sequence` counts in; empty where the cursor does not say.
    package let sequenceID: Substring
    /// The entry's number in the sequence of the journald that wrote it; nil where the cursor does not say.
    package let sequence: UInt64?

    /// Cursors look like `s=ID;i=HEX;b=BOOT;m=HEX;t=HEX;x=HEX`; the numbers are in systemd since version 38.
    package init(_ text: String) {
        self.text = text
        var id: Substring = ""
        var number: UInt64?
        for part in text.split(separator: ";") {
            if part.hasPrefix("s=") { id = part.dropFirst(2) }
            if part.hasPrefix("i=") { number = UInt64(part.dropFirst(2), radix: 16) }
        }
        sequenceID = id
        sequence = number
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
    /// So that `next` finds only entries that come later.
    func seekTail() throws(ReadError)
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
    /// Gives memory back that reading has mapped.
    func releaseMemory()
}
