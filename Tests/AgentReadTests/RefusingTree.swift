import Model
import World

/// A tree some of whose files and folders answer every call with an errno, as sysfs and procfs do.
struct RefusingTree: WorldFileTree {
    let files: MemoryTree
    let refused: [String: Int32]

    init(_ files: MemoryTree, refused: [String: Int32]) {
        self.files = files
        self.refused = refused
    }
    init(_ files: [String: String] = [:], refused: [String: Int32]) {
        self.init(MemoryTree(files), refused: refused)
    }

    private func pass(_ operation: String, _ path: String) throws(FileError) {
        if let errno = refused[path] {
            throw FileError(operation: operation, path: path, errno: errno)
        }
    }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        try pass("open", path)
        return try files.open(path, mode)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        try pass("list", path)
        return try files.list(path)
    }
    func status(_ path: String) throws(FileError) -> FileStatus { try files.status(path) }
    func rename(_ from: String, to: String) throws(FileError) { try files.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try files.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) { try files.makeDirectory(path) }
    func synchronizeDirectory(_ path: String) throws(FileError) {
        try files.synchronizeDirectory(path)
    }
    func readLink(_ path: String) throws(FileError) -> String { try files.readLink(path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { try files.freeBytes(path) }
}
