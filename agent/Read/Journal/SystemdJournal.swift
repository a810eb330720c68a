import CSystemd
import Glibc
import Model
import Synchronization

/// The journal of this machine, or of a directory, through libsystemd.
package final class SystemdJournal: JournalAccess {
    private struct Handle {
        var pointer: UnsafeMutableRawPointer?
    }

    private let directory: String?
    /// Held during every call: libsystemd allows one thread at a time per handle.
    private let handle = Mutex(Handle())

    /// `directory` holds `*.journal` files, or folders of machine ids with them; nil is this machine's journal.
    package init(directory: String? = nil) { self.directory = directory }

    deinit {
        handle.withLock { if let pointer = $0.pointer { petrel_journal_close(pointer) } }
    }

    package func open() throws(ReadError) {
        if let reason = petrel_journal_load() {
            throw .journalUnavailable(
                detail: "\(String(cString: reason)); install libsystemd0, or list log files instead"
            )
        }
        try handle.withLock { (handle) throws(ReadError) in
            if let pointer = handle.pointer { petrel_journal_close(pointer) }
            handle.pointer = nil
            var opened: UnsafeMutableRawPointer?
            let code = petrel_journal_open(&opened, directory)
            guard code >= 0, let opened else {
                throw .journal(operation: "open \(directory ?? "")", errno: -code)
            }
            petrel_journal_set_data_threshold(opened, 0)
            handle.pointer = opened
        }
    }

    package func seekHead() throws(ReadError) {
        _ = try call("seek_head") { petrel_journal_seek_head($0) }
    }

    /// After seek_tail alone, next returns older entries of each file (systemd issue 9934): stepping back once settles it.
    package func seekTail() throws(ReadError) {
        _ = try call("seek_tail") { petrel_journal_seek_tail($0) }
        _ = try call("previous") { petrel_journal_previous($0) }
    }

    package func seek(realtimeMicroseconds: UInt64) throws(ReadError) {
        _ = try call("seek_realtime") { petrel_journal_seek_realtime($0, realtimeMicroseconds) }
    }

    package func seek(cursor: String) throws(ReadError) -> Bool {
        let code = try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw Self.closed }
            return petrel_journal_seek_cursor(pointer, cursor)
        }
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

    package func releaseMemory() { petrel_journal_release_mappings() }

    package func read(into record: inout JournalRecord) throws(ReadError) {
        record.removeAll()
        record.realtimeMicroseconds = try realtime()
        record.cursor = try cursor()
        try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw Self.closed }
            petrel_journal_restart_data(pointer)
            while true {
                var data: UnsafeRawPointer?
                var length = 0
                let code = petrel_journal_enumerate_data(pointer, &data, &length)
                // A field that can't be decompressed is left out; the entry counts all the same.
                if code == -EBADMSG || code == -E2BIG || code == -EPROTONOSUPPORT { break }
                guard code >= 0 else {
                    throw .journal(operation: "enumerate_data", errno: -code)
                }
                guard code > 0, let data else { break }
                Self.keep(UnsafeRawBufferPointer(start: data, count: length), in: &record)
            }
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
            guard record.messageBytes == 0, let text = value(of: "MESSAGE") else { return }
            record.messageBytes = text.count
            record.message += text.prefix(LogEntry.lineBytesMax)
        case UInt8(ascii: "_"):
            if let text = value(of: "_PID") {
                record.pid = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_COMM") {
                record.command = Array(text.prefix(shortBytesMax))
            } else if let text = value(of: "_SYSTEMD_UNIT") {
                record.unit = Array(text.prefix(shortBytesMax))
            }
        case UInt8(ascii: "S"):
            if let text = value(of: "SYSLOG_IDENTIFIER") {
                record.identifier = Array(text.prefix(shortBytesMax))
            } else {
                keepCommon(field, in: &record)
            }
        case UInt8(ascii: "C"):
            if let text = value(of: "CONTAINER_NAME") {
                record.container = Array(text.prefix(shortBytesMax))
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
        _ = try call("get_cursor") { petrel_journal_get_cursor($0, &text) }
        guard let text else { throw .journal(operation: "get_cursor", errno: EBADMSG) }
        defer { free(text) }
        return JournalCursor(String(cString: text))
    }

    private func call(
        _ operation: String, _ body: (UnsafeMutableRawPointer) -> Int32
    ) throws(ReadError) -> Int32 {
        let code = try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw Self.closed }
            return body(pointer)
        }
        guard code >= 0 else { throw .journal(operation: operation, errno: -code) }
        return code
    }

    private static let closed = ReadError.journal(operation: "use before open", errno: EBADF)
    /// Longer values of the short fields are cut: they become labels.
    private static let shortBytesMax = 256
}
