import CSystemd

/// Reads of mapped files that others may truncate.
///
/// A read past the new end of such a file is SIGBUS, which ends a process that does not handle it. journald removes
/// files that its readers have mapped; libsystemd survives that in systemd's own programs, and leaves others alone.
package enum MappedRead {
    /// Installs the handler of SIGBUS, the first time. False where the system refuses; reads are not guarded then.
    @discardableResult
    package static func prepare() -> Bool { petrel_fault_install() == 0 }

    /// Guards what this thread reads until `end`, which it calls on each path and before it suspends. No nesting.
    package static func begin() { petrel_fault_begin() }

    /// False where this thread has read past the end of a mapped file since `begin`: it found zeros there. What was
    /// read is to be thrown away and the mapping to be closed, since its next reads find zeros too.
    package static func end() -> Bool { petrel_fault_end() == 0 }
}
