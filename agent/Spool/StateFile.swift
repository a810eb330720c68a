import World

/// The file of the two ledger slots, beside the segments. The slot with the higher version that is intact counts.
struct StateFile: Sendable {
    private let file: any WorldFile
    private var version: UInt64
    /// After a failed write the file is suspect and not written again until the spool is opened anew.
    private(set) var isSuspect = false

    /// Opens or makes the file; the ledger is nil where no slot is intact.
    static func open(
        _ tree: any WorldFileTree, _ directory: String
    ) throws(FileError) -> (StateFile, SpoolLedger?) {
        let path = directory + "/state"
        let file: any WorldFile
        do {
            file = try tree.open(path, .readWrite)
        } catch {
            guard error.errno == 2 else { throw error }
            file = try tree.open(path, .createNew)
            try file.allocate(size: Int64(2 * SpoolLedger.slotBytes))
            try file.synchronize()
            try tree.synchronizeDirectory(directory)
        }
        // A killed process may have left its last slot in the page cache alone.
        try file.synchronize()
        var best: (ledger: SpoolLedger, version: UInt64)?
        for slot in 0..<2 {
            let bytes = try file.read(
                at: Int64(slot * SpoolLedger.slotBytes), count: SpoolLedger.slotBytes)
            if let found = SpoolLedger.decode(bytes), found.version > best?.version ?? 0 {
                best = found
            }
        }
        return (StateFile(file: file, version: best?.version ?? 0), best?.ledger)
    }

    /// Writes the ledger into the older slot; durable on return. False where the disk refused.
    mutating func write(_ ledger: SpoolLedger) -> Bool {
        guard !isSuspect else { return false }
        version += 1
        let slot = Int64(version % 2) * Int64(SpoolLedger.slotBytes)
        do {
            try file.write(ledger.encoded(version: version), at: slot)
            try file.synchronize()
            return true
        } catch {
            isSuspect = true
            return false
        }
    }

    func close() { file.close() }
}
