import Synchronization
package import World

/// A file system in memory that keeps exactly what POSIX promises.
///
/// Bytes are durable after `synchronize`, names after `synchronizeDirectory`. A power cut loses an arbitrary part of the
/// rest: each unsynced write survives whole, in part (512-byte sectors) or not at all, in any order; each unsynced name
/// change survives or not. A killed process loses nothing but its open files and locks. All choices come from the seed.
package final class SimulatedFileTree: WorldFileTree {
    /// Which operations fail, counted from 1 over all that can.
    package struct Failures: Sendable {
        /// The number of the one operation that fails; nil: none.
        package var at: Int?
        /// Every later operation of a failing kind fails too.
        package var isLasting = false
        package var errno: Int32 = 5

        package init(at: Int? = nil, isLasting: Bool = false, errno: Int32 = 5) {
            self.at = at
            self.isLasting = isLasting
            self.errno = errno
        }
    }

    private let state: Mutex<SimulatedDisk>

    /// `capacity`: bytes of all files; nil: without end. `honoursSynchronize` false makes a disk that lies: the control
    /// under which every durability test must fail.
    package init(
        random: SeededRandom, capacity: Int64? = nil, honoursSynchronize: Bool = true
    ) {
        state = Mutex(
            SimulatedDisk(
                random: random, capacity: capacity, honoursSynchronize: honoursSynchronize))
    }

    /// Operations so far that may fail.
    package var operationCount: Int { state.withLock { $0.operations } }

    package func setFailures(_ failures: Failures) {
        state.withLock {
            $0.failures = failures
            $0.operations = 0
        }
    }

    package func setCapacity(_ capacity: Int64?) { state.withLock { $0.capacity = capacity } }

    /// The process dies: locks end, open files go stale; what was written stays.
    package func killProcess() { state.withLock { $0.killProcess() } }

    /// The machine dies: `killProcess`, and what was not synchronized is lost in part or whole.
    package func cutPower() { state.withLock { $0.cutPower() } }

    /// Flips a bit of a file's durable and current content.
    package func corrupt(_ path: String, at offset: Int, bit: Int) {
        state.withLock { $0.corrupt(path, at: offset, bit: bit) }
    }

    package func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        let node = try perform("open", path) { (disk) throws(FileError) in
            try disk.open(path, mode)
        }
        return SimulatedFile(tree: self, node: node.node, life: node.life, path: path)
    }

    package func lock(_ path: String) throws(FileError) -> any WorldFile {
        let node = try perform("flock", path) { (disk) throws(FileError) in try disk.lock(path) }
        return SimulatedFile(tree: self, node: node.node, life: node.life, path: path)
    }

    package func list(_ path: String) throws(FileError) -> [String] {
        try perform("list", path) { (disk) throws(FileError) in try disk.list(path) }
    }

    package func status(_ path: String) throws(FileError) -> FileStatus {
        try perform("stat", path) { (disk) throws(FileError) in try disk.status(path) }
    }

    package func rename(_ from: String, to: String) throws(FileError) {
        try perform("rename", from) { (disk) throws(FileError) in try disk.rename(from, to) }
    }

    package func remove(_ path: String) throws(FileError) {
        try perform("remove", path) { (disk) throws(FileError) in try disk.remove(path) }
    }

    package func makeDirectory(_ path: String) throws(FileError) {
        try perform("mkdir", path) { (disk) throws(FileError) in disk.makeDirectory(path) }
    }

    package func synchronizeDirectory(_ path: String) throws(FileError) {
        try perform("fsync", path) { (disk) throws(FileError) in disk.synchronizeDirectory(path) }
    }

    package func readLink(_ path: String) throws(FileError) -> String {
        throw FileError(operation: "readlink", path: path, errno: 22)
    }

    package func freeBytes(_ path: String) throws(FileError) -> Int64 {
        try perform("statvfs", path) { (disk) throws(FileError) in
            disk.capacity.map { max(0, $0 - disk.usedBytes) } ?? 1 << 50
        }
    }

    fileprivate func perform<Result>(
        _ operation: String, _ path: String,
        _ body: (inout SimulatedDisk) throws(FileError) -> Result
    ) throws(FileError) -> Result {
        let outcome: Swift.Result<Result, FileError> = state.withLock { disk in
            do throws(FileError) {
                try disk.count(operation, path)
                return .success(try body(&disk))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    fileprivate func release(_ node: Int, life: Int) {
        state.withLock { disk in
            if disk.life == life { disk.locks.remove(node) }
        }
    }
}

/// A handle of the simulated disk; stale (EBADF) after its process was killed.
private final class SimulatedFile: WorldFile {
    let tree: SimulatedFileTree
    let node: Int
    let life: Int
    let path: String

    init(tree: SimulatedFileTree, node: Int, life: Int, path: String) {
        self.tree = tree
        self.node = node
        self.life = life
        self.path = path
    }

    func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        try perform("read") { (disk) throws(FileError) in
            let content = disk.nodes[node].content
            let start = min(Int(offset), content.count)
            return Array(content[start..<min(content.count, start + count)])
        }
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {
        try perform("write") { (disk) throws(FileError) in
            try disk.write(bytes, at: Int(offset), node, path)
        }
    }

    func synchronize() throws(FileError) {
        do {
            try perform("fdatasync") { (disk) throws(FileError) in disk.synchronize(node) }
        } catch {
            // A failed sync may have written anything, and the kernel forgets what it did not.
            try? tree.perform("note", path) { (disk) throws(FileError) in disk.spoil(node) }
            throw error
        }
    }

    func truncate(to size: Int64) throws(FileError) {
        try perform("ftruncate") { (disk) throws(FileError) in disk.truncate(node, to: Int(size)) }
    }

    func allocate(size: Int64) throws(FileError) {
        try perform("fallocate") { (disk) throws(FileError) in
            try disk.allocate(node, size: Int(size), path)
        }
    }

    func status() throws(FileError) -> FileStatus {
        try perform("fstat") { (disk) throws(FileError) in disk.status(node) }
    }

    func close() { tree.release(node, life: life) }

    private func perform<Result>(
        _ operation: String, _ body: (inout SimulatedDisk) throws(FileError) -> Result
    ) throws(FileError) -> Result {
        try tree.perform(operation, path) { (disk) throws(FileError) in
            guard disk.life == life else {
                throw FileError(operation: operation, path: path, errno: 9)
            }
            return try body(&disk)
        }
    }
}
