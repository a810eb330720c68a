import Model
import Synchronization
import World

/// Files in memory with identities that survive renames, as a log's rotation needs.
final class MemoryTree: WorldFileTree {
    final class Node: Sendable {
        let inode: UInt64
        let bytes: Mutex<[UInt8]>
        let modified = Mutex(TimestampNS(0))
        init(_ inode: UInt64, _ bytes: [UInt8]) {
            self.inode = inode
            self.bytes = Mutex(bytes)
        }
        var status: FileStatus {
            FileStatus(
                identity: FileIdentity(device: 1, inode: inode),
                size: Int64(bytes.withLock { $0.count }), isDirectory: false,
                modified: modified.withLock { $0 })
        }
    }

    final class File: WorldFile {
        let node: Node
        init(_ node: Node) { self.node = node }
        func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
            node.bytes.withLock { bytes in
                let start = min(Int(offset), bytes.count)
                return Array(bytes[start..<min(start + count, bytes.count)])
            }
        }
        func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {}
        func synchronize() throws(FileError) {}
        func truncate(to size: Int64) throws(FileError) {}
        func allocate(size: Int64) throws(FileError) {}
        func status() throws(FileError) -> FileStatus { node.status }
        func close() {}
    }

    private struct State {
        var files: [String: Node] = [:]
        var inode: UInt64 = 100
    }
    private let state = Mutex(State())

    convenience init(_ files: [String: String]) {
        self.init()
        for (path, text) in files { create(path, text) }
    }

    /// A new file, with an identity of its own, in place of what was there.
    func create(_ path: String, _ text: String = "") {
        state.withLock { state in
            state.inode += 1
            state.files[path] = Node(state.inode, Array(text.utf8))
        }
    }
    func create(_ path: String, bytes: [UInt8]) {
        create(path)
        append(path, bytes: bytes)
    }
    /// Sets the file's time; it is the epoch otherwise, as in a tree that keeps none.
    func touch(_ path: String, seconds: Int64) {
        state.withLock { $0.files[path] }?.modified.withLock {
            $0 = TimestampNS(seconds * 1_000_000_000)
        }
    }
    /// A second name for the same file.
    func link(_ from: String, _ to: String) {
        state.withLock { $0.files[to] = $0.files[from] }
    }
    func append(_ path: String, _ text: String) { append(path, bytes: Array(text.utf8)) }
    func append(_ path: String, bytes: [UInt8]) {
        state.withLock { $0.files[path] }?.bytes.withLock { $0 += bytes }
    }
    func move(_ from: String, _ to: String) {
        state.withLock { $0.files[to] = $0.files.removeValue(forKey: from) }
    }
    func copy(_ from: String, _ to: String) {
        let bytes = state.withLock { $0.files[from] }?.bytes.withLock { $0 } ?? []
        create(to, String(decoding: bytes, as: UTF8.self))
    }
    func empty(_ path: String) { state.withLock { $0.files[path] }?.bytes.withLock { $0 = [] } }
    func has(_ path: String) -> Bool { state.withLock { $0.files[path] != nil } }
    func delete(_ path: String) { state.withLock { $0.files[path] = nil } }

    private func node(_ path: String, _ operation: String) throws(FileError) -> Node {
        guard let node = state.withLock({ $0.files[path] }) else {
            throw FileError(operation: operation, path: path, errno: 2)
        }
        return node
    }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        File(try node(path, "open"))
    }
    func list(_ path: String) throws(FileError) -> [String] {
        let prefix = path + "/"
        return state.withLock { state in
            Set(
                state.files.keys.filter { $0.hasPrefix(prefix) }.map {
                    String($0.dropFirst(prefix.count).prefix { $0 != "/" })
                })
        }.sorted()
    }
    func status(_ path: String) throws(FileError) -> FileStatus { try node(path, "stat").status }
    func rename(_ from: String, to: String) throws(FileError) { move(from, to) }
    func remove(_ path: String) throws(FileError) { delete(path) }
    func makeDirectory(_ path: String) throws(FileError) {}
    func synchronizeDirectory(_ path: String) throws(FileError) {}
    func readLink(_ path: String) throws(FileError) -> String { path }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { 1 << 30 }
}
