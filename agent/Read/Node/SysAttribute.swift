import World

/// Attributes of sysfs that a driver answers: read once, and absent where the driver has no answer now.
/// Source: procfs `util.SysReadFile`, which node_exporter 1.12 reads sensors with.
extension WorldFileTree {
    /// At most the first 128 bytes; nil where the file can't be read. Broken drivers answer with EAGAIN or EIO: no retry.
    func sysAttribute(_ path: String) -> [UInt8]? {
        guard let file = try? open(path, .read) else { return nil }
        defer { file.close() }
        return try? file.read(at: 0, count: 128)
    }

    /// The attribute without white space at its ends; nil where it can't be read.
    func sysText(_ path: String) -> String? {
        sysAttribute(path).map { ProcText.string(ProcText.stripped($0[...])) }
    }

    /// The whole number that the attribute is, which may be negative; nil where it can't be read or is empty. Throws
    /// `malformed` for any other text.
    func sysNumber(_ path: String) throws(ReadError) -> Int64? {
        guard let text = sysText(path), !text.isEmpty else { return nil }
        guard let value = Int64(text) else {
            throw .malformed(path: path, detail: "no whole number: \(text)")
        }
        return value
    }
}

extension String {
    /// What follows `prefix` in a name such as `cpu12`; nil where no digit follows it.
    func numbered(_ prefix: String) -> String? {
        guard utf8.starts(with: prefix.utf8) else { return nil }
        let rest = utf8.dropFirst(prefix.utf8.count)
        guard let first = rest.first, (48...57).contains(first) else { return nil }
        return String(Substring(rest))
    }
}
