import Model
import Synchronization
import World

/// Directories and files of one value as sysfs has them: what a host lacks is absent and no error.
struct DeviceFiles: Sendable {
    let tree: any WorldFileTree

    /// sysfs shows a page per file; more is no file of sysfs.
    static let bytesMax = 64 * 1024

    /// `presentEntries` of the tree.
    func entries(_ path: String) throws(ReadError) -> [String] { try tree.presentEntries(path) }

    /// The content without white space at its ends; nil where the host lacks the file or its driver the value.
    func bytes(_ path: String) throws(ReadError) -> ArraySlice<UInt8>? {
        do {
            return ProcText.stripped(try tree.contents(path, bytesMax: Self.bytesMax)[...])
        } catch {
            guard Self.isAbsent(error.errno) else { throw .file(error) }
            return nil
        }
    }

    /// `bytes` as text.
    func text(_ path: String) throws(ReadError) -> String? {
        try bytes(path).map(ProcText.string)
    }

    /// The one whole number in a file; nil as in `bytes`. Throws `malformed` where anything else is in it.
    func unsigned(_ path: String) throws(ReadError) -> UInt64? {
        guard let bytes = try bytes(path) else { return nil }
        guard let value = ProcText.unsigned(bytes) else {
            throw .malformed(path: path, detail: "no whole number: \(ProcText.string(bytes))")
        }
        return value
    }

    /// The one whole number in a file, which may be negative; otherwise as `unsigned`.
    func signed(_ path: String) throws(ReadError) -> Int64? {
        guard let text = try text(path) else { return nil }
        guard let value = Int64(text) else {
            throw .malformed(path: path, detail: "no whole number: \(text)")
        }
        return value
    }

    /// ENOENT, ENXIO, ENODEV, ENOTDIR, EINVAL, ENODATA and EOPNOTSUPP: how the kernel says that there is no value.
    static func isAbsent(_ errno: Int32) -> Bool { [2, 6, 19, 20, 22, 61, 95].contains(errno) }
}

extension WorldFileTree {
    /// The names in a folder by their bytes; none where there is no such folder, or where listing fails with one of
    /// `codes`.
    func presentEntries(
        _ path: String, orErrors codes: Set<Int32> = []
    ) throws(ReadError) -> [String] {
        do { return try list(path).sorted(by: bytesPrecede) } catch {
            guard DeviceFiles.isAbsent(error.errno) || codes.contains(error.errno) else {
                throw .file(error)
            }
            return []
        }
    }
}

/// What was read of things with names, where reading it again would find the same.
final class KeptReadings<Value: Sendable>: Sendable {
    private let kept = Mutex<[String: Value]>([:])

    /// What is kept under the name where it is still valid; otherwise what `body` reads, which is kept unless it is nil.
    /// `body` is called outside of any lock.
    func value(
        _ name: String, where isValid: (Value) -> Bool = { _ in true },
        read body: () throws(ReadError) -> Value?
    ) throws(ReadError) -> Value? {
        if let value = kept.withLock({ $0[name] }), isValid(value) { return value }
        let value = try body()
        kept.withLock { $0[name] = value }
        return value
    }

    /// Forgets the things that are gone, as each reading must where names come and go.
    func keep(only names: Set<String>) {
        kept.withLock { kept in kept = kept.filter { names.contains($0.key) } }
    }
}
