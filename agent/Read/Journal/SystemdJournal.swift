import CSystemd
import Glibc
import Model
import Synchronization

/// The journal of this machine, or of a directory, through libsystemd.
///
/// journald empties files that it removes while they are mapped here. What is read of them after that is zeros where
/// the filesystem can punch holes, and a fault where it truncates (`MappedRead`). Either ends the call with an error,
/// and what it read is not used; a journal opened anew has no such file.
package final class SystemdJournal: JournalAccess {
    private struct Handle {
        var pointer: UnsafeMutableRawPointer?

        mutating func close() {
            guard let opened = pointer else { return }
            pointer = nil
            MappedRead.begin()
            petrel_journal_close(opened)
            _ = MappedRead.end()
        }
    }

    private let directory: String?
    /// Held during every call: libsystemd allows one thread at a time per handle.
    private let handle = Mutex(Handle())

    /// `directory` holds `*.journal` files, or folders of machine ids with them; nil is this machine's journal.
    package init(directory: String? = nil) { self.directory = directory }

    deinit {
        handle.withLock { $0.close() }
    }

    package func open() throws(ReadError) {
        if let reason = petrel_journal_load() {
            throw .journalUnavailable(
                detail: "\(String(cString: reason)); install libsystemd0, or list log files instead"
            )
        }
        MappedRead.prepare()
        try handle.withLock { (handle) throws(ReadError) in
            handle.close()
            MappedRead.begin()
            var opened: UnsafeMutableRawPointer?
            let code = petrel_journal_open(&opened, directory)
            if let opened { petrel_journal_set_data_threshold(opened, 0) }
            handle.pointer = opened
            let isWhole = MappedRead.end()
            guard isWhole, code >= 0, opened != nil else {
                handle.close()
                throw .journal(
                    operation: "open \(directory ?? "")", errno: isWhole ? -code : EIO)
            }
        }
    }

    package func seekHead() throws(ReadError) {
        _ = try call("seek_head") { petrel_journal_seek_head($0) }
    }

    /// After seek_tail alone, next returns older entries of each file (systemd issue 9934): stepping back once settles it.
    package func seekTail() throws(ReadError) -> JournalCursor? {
        _ = try call("seek_tail") { petrel_journal_seek_tail($0) }
        guard try call("previous", { petrel_journal_previous($0) }) > 0 else { return nil }
        return try cursor()
    }

    package func seek(realtimeMicroseconds: UInt64) throws(ReadError) {
        _ = try call("seek_realtime") { petrel_journal_seek_realtime($0, realtimeMicroseconds) }
    }

    package func seek(cursor: String) throws(ReadError) -> Bool {
        let code = try code("seek_cursor") { petrel_journal_seek_cursor($0, cursor) }
        if code == -EINVAL { return false }
        guard code >= 0 else { throw .journal(operation: "seek_cursor", errno: -code) }
        return true
    }

    package func next() throws(ReadError) -> Bool {
        try call("next") { petrel_journal_next($0) } > 0
    }

    package func isAt(cursor: String) throws(ReadError) -> Bool {
        try call("test_cursor") { petrel_journal_test_cursor($0, cursor) } > 0
    }

    package func wait(milliseconds: Int) throws(ReadError) -> JournalChange {
        switch try call("wait", { petrel_journal_wait($0, UInt64(max(0, milliseconds)) * 1000) }) {
        case 0: .none
        case 1: .appended
        default: .invalidated
        }
    }

    package func unreadableFiles() -> [String] {
        var paths = [CChar](repeating: 0, count: Self.unreadableBytesMax)
        petrel_journal_unreadable(directory, &paths, paths.count)
        return paths.prefix { $0 != 0 }.split(separator: CChar(10)).map {
            String(decoding: $0.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    package func releaseMemory() { petrel_journal_release_mappings() }

    package func read(into record: inout JournalRecord) throws(ReadError) {
        record.removeAll()
        record.realtimeMicroseconds = try realtime()
        record.cursor = try cursor()
        record.isDamaged = true
        // The fields lie in the mapped file until they are copied.
        _ = try call("enumerate_data") { Self.readFields($0, into: &record) }
        // Emptied files read as zeros from their first page to their last at once: where the entry is still there, what
        // was read before it was too.
        guard try realtime() == record.realtimeMicroseconds else {
            throw .journal(operation: "get_realtime", errno: EBADMSG)
        }
    }

    private static func readFields(
        _ pointer: UnsafeMutableRawPointer, into record: inout JournalRecord
    ) -> Int32 {
        petrel_journal_restart_data(pointer)
        while true {
            var data: UnsafeRawPointer?
            var length = 0
            let code = petrel_journal_enumerate_data(pointer, &data, &length)
            // Before version 246 a field that can't be decompressed ends the reading of the entry, which counts
            // all the same; later ones pass over it.
            if [-EBADMSG, -E2BIG, -ENOBUFS, -EPROTONOSUPPORT].contains(code) { return 0 }
            guard code > 0, let data else { return code }
            keep(UnsafeRawBufferPointer(start: data, count: length), in: &record)
        }
    }

    /// Stores a field that Petrel keeps. `field` is `NAME=value`; the value may hold any byte.
    private static func keep(_ field: UnsafeRawBufferPointer, in record: inout JournalRecord) {
        func value(of name: StaticString) -> UnsafeRawBufferPointer.SubSequence? {
            let count = name.utf8CodeUnitCount
            guard field.count > count, field[count] == UInt8(ascii: "="),
                let base = field.baseAddress, memcmp(base, name.utf8Start, count) == 0
            else { return nil }
            return field[(count + 1)...]
        }
        switch field.first {
        case UInt8(ascii: "M"):
            if let text = value(of: "MESSAGE") {
                record.isDamaged = false
                guard record.messageBytes == 0 else { return }
                record.messageBytes = text.count
                record.message += text.prefix(LogEntry.lineBytesMax)
            } else if let text = value(of: "MESSAGE_ID") {
                record.suppression.isSuppression = text.elementsEqual(
                    JournalSuppression.messageID.utf8)
            }
        case UInt8(ascii: "_"):
            if let text = value(of: "_PID") {
                record.pid = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_COMM") {
                record.command = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_SYSTEMD_UNIT") {
                record.unit = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_STREAM_ID") {
                record.parting.streamID = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_LINE_BREAK") {
                record.parting.isLineCut = text.elementsEqual("line-max".utf8)
            } else if let text = value(of: "_TRANSPORT") {
                record.suppression.isOfJournald = text.elementsEqual("driver".utf8)
                // What programs write with journald's own protocol need have no message.
                if text.elementsEqual("journal".utf8) { record.isDamaged = false }
            }
        case UInt8(ascii: "S"):
            if let text = value(of: "SYSLOG_IDENTIFIER") {
                record.identifier = Array(text.prefix(shortBytesMax))
            } else {
                keepCommon(field, in: &record)
            }
        case UInt8(ascii: "C"):
            keepContainer(field, value, in: &record)
        case UInt8(ascii: "N"):
            if let text = value(of: "N_DROPPED") {
                record.suppression.droppedCount = number(text)
            }
        case UInt8(ascii: "P"):
            if let text = value(of: "PRIORITY") {
                record.priority = Array(text.prefix(shortBytesMax))
            }
        case UInt8(ascii: "T"), UInt8(ascii: "R"), UInt8(ascii: "U"), UInt8(ascii: "A"):
            keepCommon(field, in: &record)
        default: break
        }
    }

    /// Stores a field of a container, or of a part of one of its lines.
    private static func keepContainer(
        _ field: UnsafeRawBufferPointer,
        _ value: (StaticString) -> UnsafeRawBufferPointer.SubSequence?,
        in record: inout JournalRecord
    ) {
        if let text = value("CONTAINER_NAME") {
            record.container = Array(text.prefix(shortBytesMax))
        } else if let text = value("CONTAINER_ID_FULL") {
            record.parting.containerID = Array(text.prefix(shortBytesMax))
        } else if let text = value("CONTAINER_ID") {
            guard record.parting.containerID.isEmpty else { return }
            record.parting.containerID = Array(text.prefix(shortBytesMax))
        } else if let text = value("CONTAINER_PARTIAL_MESSAGE") {
            record.parting.isPartial = text.elementsEqual("true".utf8)
        } else if let text = value("CONTAINER_PARTIAL_ID") {
            record.parting.partialID = Array(text.prefix(shortBytesMax))
        } else if let text = value("CONTAINER_PARTIAL_ORDINAL") {
            record.parting.partialOrdinal = number(text) ?? 0
        } else if let text = value("CONTAINER_PARTIAL_LAST") {
            record.parting.isPartialLast = text.elementsEqual("true".utf8)
        }
    }

    /// A number in decimal text; nil where it is none, or longer than one can be.
    private static func number(_ text: UnsafeRawBufferPointer.SubSequence) -> UInt64? {
        text.count <= 20 ? UInt64(String(decoding: text, as: UTF8.self)) : nil
    }

    private static func keepCommon(
        _ field: UnsafeRawBufferPointer, in record: inout JournalRecord
    ) {
        guard field.count <= FieldExtractor.valueBytesMax + 16 else { return }
        let bytes = Array(field)
        guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")),
            let name = FieldExtractor.commonName(bytes[..<equals])
        else { return }
        record.extracted.set(name, ProcText.string(bytes[(equals + 1)...]))
    }

    private func realtime() throws(ReadError) -> UInt64 {
        var microseconds: UInt64 = 0
        _ = try call("get_realtime") { petrel_journal_get_realtime($0, &microseconds) }
        return microseconds
    }

    private func cursor() throws(ReadError) -> JournalCursor {
        var text: UnsafeMutablePointer<CChar>?
        defer { free(text) }
        _ = try call("get_cursor") { petrel_journal_get_cursor($0, &text) }
        guard let text else { throw .journal(operation: "get_cursor", errno: EBADMSG) }
        return JournalCursor(String(cString: text))
    }

    private func call(
        _ operation: String, _ body: (UnsafeMutableRawPointer) -> Int32
    ) throws(ReadError) -> Int32 {
        let code = try code(operation, body)
        guard code >= 0 else { throw .journal(operation: operation, errno: -code) }
        return code
    }

    /// What a function of libsystemd returned. After a fault the journal is closed: its next reads would find zeros.
    private func code(
        _ operation: String, _ body: (UnsafeMutableRawPointer) -> Int32
    ) throws(ReadError) -> Int32 {
        try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw Self.closed }
            MappedRead.begin()
            let code = body(pointer)
            guard MappedRead.end() else {
                handle.close()
                // What libsystemd returns to systemd's own programs.
                throw .journal(operation: operation, errno: EIO)
            }
            return code
        }
    }

    private static let closed = ReadError.journal(operation: "use before open", errno: EBADF)
    /// A few paths; the rest are not named.
    private static let unreadableBytesMax = 2048
    /// Longer values of the short fields are cut: they become labels.
    private static let shortBytesMax = 256
}
