import World

/// The state of `SimulatedFileTree`: files by number, names to numbers, each as it is and as it is durable.
struct SimulatedDisk {
    struct Node {
        var content: [UInt8] = []
        /// Content after the last synchronize.
        var durable: [UInt8] = []
        /// Writes since then, in order.
        var writes: [(offset: Int, bytes: [UInt8])] = []
    }

    let random: SeededRandom
    var capacity: Int64?
    let honoursSynchronize: Bool
    var nodes: [Node] = []
    /// Full paths to node numbers.
    var names: [String: Int] = [:]
    var durableNames: [String: Int] = [:]
    var directories: Set<String> = ["/"]
    var locks: Set<Int> = []
    /// Counts processes: handles of an older one are stale.
    var life = 0
    var operations = 0
    var failures = SimulatedFileTree.Failures()

    init(random: SeededRandom, capacity: Int64?, honoursSynchronize: Bool) {
        self.random = random
        self.capacity = capacity
        self.honoursSynchronize = honoursSynchronize
    }

    var usedBytes: Int64 {
        Set(names.values).reduce(0) { $0 + Int64(nodes[$1].content.count) }
    }

    mutating func count(_ operation: String, _ path: String) throws(FileError) {
        guard operation != "note" else { return }
        operations += 1
        guard let at = failures.at, operations == at || (failures.isLasting && operations > at)
        else { return }
        throw FileError(operation: operation, path: path, errno: failures.errno)
    }

    // MARK: names

    mutating func open(_ path: String, _ mode: FileMode) throws(FileError) -> (node: Int, life: Int)
    {
        switch mode {
        case .read, .readWrite:
            guard let node = names[path] else {
                throw FileError(operation: "open", path: path, errno: 2)
            }
            return (node, life)
        case .createNew:
            guard names[path] == nil else {
                throw FileError(operation: "open", path: path, errno: 17)
            }
            guard directories.contains(Self.parent(path)) else {
                throw FileError(operation: "open", path: path, errno: 2)
            }
            nodes.append(Node())
            names[path] = nodes.count - 1
            return (nodes.count - 1, life)
        }
    }

    mutating func lock(_ path: String) throws(FileError) -> (node: Int, life: Int) {
        let opened = try open(path, names[path] == nil ? .createNew : .readWrite)
        guard locks.insert(opened.node).inserted else {
            throw FileError(operation: "flock", path: path, errno: 11)
        }
        return opened
    }

    func list(_ path: String) throws(FileError) -> [String] {
        guard directories.contains(path) else {
            throw FileError(operation: "list", path: path, errno: 2)
        }
        let all = Array(names.keys) + directories.filter { $0 != "/" }
        return all.filter { Self.parent($0) == path }.map { String($0.dropFirst(path.count + 1)) }
            .sorted()
    }

    func status(_ path: String) throws(FileError) -> FileStatus {
        if let node = names[path] { return status(node) }
        guard directories.contains(path) else {
            throw FileError(operation: "stat", path: path, errno: 2)
        }
        return FileStatus(identity: FileIdentity(device: 1, inode: 0), size: 0, isDirectory: true)
    }

    func status(_ node: Int) -> FileStatus {
        FileStatus(
            identity: FileIdentity(device: 1, inode: UInt64(node + 1)),
            size: Int64(nodes[node].content.count), isDirectory: false)
    }

    mutating func rename(_ from: String, _ to: String) throws(FileError) {
        guard let node = names.removeValue(forKey: from) else {
            throw FileError(operation: "rename", path: from, errno: 2)
        }
        names[to] = node
    }

    mutating func remove(_ path: String) throws(FileError) {
        if names.removeValue(forKey: path) != nil { return }
        guard directories.remove(path) != nil else {
            throw FileError(operation: "remove", path: path, errno: 2)
        }
    }

    /// Directories themselves are durable at once: only the names of files are simulated.
    mutating func makeDirectory(_ path: String) {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/" + part
            directories.insert(made)
        }
    }

    mutating func synchronizeDirectory(_ path: String) {
        guard honoursSynchronize else { return }
        durableNames = durableNames.filter { Self.parent($0.key) != path }
        for (name, node) in names where Self.parent(name) == path { durableNames[name] = node }
    }

    static func parent(_ path: String) -> String {
        let cut = path.lastIndex(of: "/") ?? path.startIndex
        return cut == path.startIndex ? "/" : String(path[..<cut])
    }

    // MARK: content

    mutating func write(
        _ bytes: [UInt8], at offset: Int, _ node: Int, _ path: String
    ) throws(FileError) {
        let grown = offset + bytes.count - nodes[node].content.count
        if grown > 0 { try reserve(grown, "write", path) }
        nodes[node].writes.append((offset, bytes))
        Self.apply(bytes, at: offset, &nodes[node].content)
    }

    mutating func allocate(_ node: Int, size: Int, _ path: String) throws(FileError) {
        let grown = size - nodes[node].content.count
        guard grown > 0 else { return }
        try reserve(grown, "posix_fallocate", path)
        nodes[node].content += [UInt8](repeating: 0, count: grown)
    }

    private func reserve(_ bytes: Int, _ operation: String, _ path: String) throws(FileError) {
        guard let capacity, usedBytes + Int64(bytes) > capacity else { return }
        throw FileError(operation: operation, path: path, errno: 28)
    }

    mutating func truncate(_ node: Int, to size: Int) {
        let content = nodes[node].content
        nodes[node].content =
            size <= content.count
            ? Array(content[0..<size])
            : content + [UInt8](repeating: 0, count: size - content.count)
    }

    mutating func synchronize(_ node: Int) {
        guard honoursSynchronize else { return }
        for write in nodes[node].writes {
            Self.apply(write.bytes, at: write.offset, &nodes[node].durable)
        }
        nodes[node].writes = []
        let (size, held) = (nodes[node].content.count, nodes[node].durable.count)
        if size <= held {
            nodes[node].durable.removeSubrange(size...)
        } else {
            nodes[node].durable += [UInt8](repeating: 0, count: size - held)
        }
    }

    /// After a failed sync a later one says nothing of the writes before it: some of them are lost for good.
    mutating func spoil(_ node: Int) {
        for write in nodes[node].writes where random.below(2) == 0 {
            Self.apply(write.bytes, at: write.offset, &nodes[node].durable)
        }
        nodes[node].writes = []
    }

    mutating func corrupt(_ path: String, at offset: Int, bit: Int) {
        guard let node = names[path], offset < nodes[node].content.count else { return }
        nodes[node].content[offset] ^= 1 << UInt8(bit & 7)
        if offset < nodes[node].durable.count { nodes[node].durable[offset] ^= 1 << UInt8(bit & 7) }
    }

    // MARK: faults

    mutating func killProcess() {
        life += 1
        locks = []
    }

    mutating func cutPower() {
        killProcess()
        for index in nodes.indices { tear(index) }
        let changed = Set(names.keys).union(durableNames.keys).filter {
            names[$0] != durableNames[$0]
        }
        for name in changed.sorted() where random.below(2) == 0 { durableNames[name] = names[name] }
        names = durableNames
    }

    private mutating func tear(_ index: Int) {
        var content = nodes[index].durable
        let sector = 512
        for write in nodes[index].writes {
            switch random.below(4) {
            case 0: continue
            case 1: Self.apply(write.bytes, at: write.offset, &content)
            default:
                var at = write.offset
                let end = write.offset + write.bytes.count
                while at < end {
                    let next = min(end, (at / sector + 1) * sector)
                    if random.below(2) == 0 {
                        let part = write.bytes[(at - write.offset)..<(next - write.offset)]
                        Self.apply(Array(part), at: at, &content)
                    }
                    at = next
                }
            }
        }
        // The length is a fact of its own: as before, as now, or in between.
        let length = [nodes[index].durable.count, nodes[index].content.count][random.below(2)]
        if content.count < length {
            content += [UInt8](repeating: 0, count: length - content.count)
        }
        nodes[index] = Node(content: content, durable: content)
    }

    private static func apply(_ bytes: [UInt8], at offset: Int, _ content: inout [UInt8]) {
        let end = offset + bytes.count
        if content.count < end { content += [UInt8](repeating: 0, count: end - content.count) }
        content.replaceSubrange(offset..<end, with: bytes)
    }
}
