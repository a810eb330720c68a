import World

/// Attributes of sysfs that a driver answers: read once, and absent where the driver has no answer now.
/// Source: procfs `util.SysReadFile`, which node_exporter 1.12 reads sensors with.
extension WorldFileTree {
    /// At most the first 128 bytes; nil where there is no such file, where this user may not open it, and where its driver
    /// answers with an error (broken ones with EAGAIN or EIO: no retry). Any other failure to open it is thrown: a process
    /// without free descriptors says nothing of the hardware.
    func sysAttribute(_ path: String) throws(ReadError) -> [UInt8]? {
        let file: any WorldFile
        do { file = try open(path, .read) } catch {
            // EPERM, EIO, EAGAIN, EACCES.
            guard DeviceFiles.isAbsent(error.errno) || [1, 5, 11, 13].contains(error.errno) else {
                throw .file(error)
            }
            return nil
        }
        defer { file.close() }
        return try? file.readOnce(count: 128)
    }

    /// The attribute without white space at its ends; nil as `sysAttribute`.
    func sysText(_ path: String) throws(ReadError) -> String? {
        try sysAttribute(path).map { ProcText.string(ProcText.stripped($0[...])) }
    }

    /// The whole number that the attribute is, which may be negative; nil as `sysAttribute` or where it is empty. Throws
    /// `malformed` for any other text.
    func sysNumber(_ path: String) throws(ReadError) -> Int64? {
        guard let text = try sysText(path), !text.isEmpty else { return nil }
        guard let value = Int64(text) else {
            throw .malformed(path: path, detail: "no whole number: \(text)")
        }
        return value
    }
}
