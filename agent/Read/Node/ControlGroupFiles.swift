import Model
import World

/// The files of one cgroup during one reading.
///
/// A file that the kernel lacks, or that may not be read, is not opened again while `missing` is kept: a failed open
/// costs nearly what a reading does.
struct ControlGroupFiles {
    /// Most of these files have less, and come in one piece. Lists of processes come by the page: what is shorter than
    /// a page by more than a number is all there is.
    private static let pieceBytes = 4096
    private static let numberBytesMax = 16
    private static let fileBytesMax = 1 << 20
    /// ENOENT, EACCES and EOPNOTSUPP stay as they are; ENODEV and the like are of the moment.
    private static let lasting: Set<Int32> = [2, 13, 95]

    private let tree: any WorldFileTree
    private let id: String
    private(set) var missing: Set<String>

    init(tree: any WorldFileTree, id: String, missing: Set<String>) {
        self.tree = tree
        self.id = id
        self.missing = missing
    }

    func path(_ root: String, _ name: String) -> String { "\(root)\(id)/\(name)" }

    /// The content; nil without a root, without the file, or where the cgroup ended meanwhile. Throws a lack of the
    /// agent's own.
    mutating func bytes(_ root: String?, _ name: String) throws(ReadError) -> [UInt8]? {
        guard let root else { return nil }
        let path = path(root, name)
        guard !missing.contains(path) else { return nil }
        do {
            let file = try tree.open(path, .read)
            defer { file.close() }
            let bytes = try file.readOnce(count: Self.pieceBytes)
            guard bytes.count >= Self.pieceBytes - Self.numberBytesMax else { return bytes }
            return try file.contents(path, bytesMax: Self.fileBytesMax)
        } catch {
            try error.throwIfLack()
            if Self.lasting.contains(error.errno) { missing.insert(path) }
            return nil
        }
    }

    /// The whole number of a file, `UInt64.max` where it says `max` or, as version 1's quota may, less than nothing.
    mutating func number(_ root: String?, _ name: String) throws(ReadError) -> UInt64? {
        guard let root, let bytes = try bytes(root, name) else { return nil }
        let text = bytes.prefix { $0 != 10 }
        if ProcText.equals(text, "max") || text.first == UInt8(ascii: "-") { return .max }
        guard let value = ProcText.unsigned(text) else {
            throw .malformed(path: path(root, name), detail: "no number")
        }
        return value
    }

    /// The values of `keys` in a file of lines `key value`, in the order of `keys`; nil for one that isn't there.
    mutating func values(
        _ root: String?, _ name: String, _ keys: [StaticString]
    ) throws(ReadError) -> [UInt64?]? {
        guard let root, let bytes = try bytes(root, name) else { return nil }
        var values = [UInt64?](repeating: nil, count: keys.count)
        var isMalformed = false
        ProcText.forEachLine(bytes) { line in
            guard let space = line.firstIndex(of: 32) else { return }
            let key = line[..<space]
            for index in keys.indices where ProcText.equals(key, keys[index]) {
                values[index] = ProcText.unsigned(line[(space + 1)...])
                isMalformed = isMalformed || values[index] == nil
                return
            }
        }
        guard !isMalformed else { throw .malformed(path: path(root, name), detail: "no number") }
        return values
    }
}

/// What the kernel says of one cgroup, in its own units. A part is nil where the kernel or the host's settings lack it.
struct ControlGroupStatistics {
    struct Processor {
        /// Nanoseconds.
        var usage: UInt64 = 0
        var user: UInt64 = 0
        var system: UInt64 = 0
    }

    struct Throttling {
        var periods: UInt64 = 0
        var throttledPeriods: UInt64 = 0
        /// Nanoseconds.
        var throttled: UInt64 = 0
    }

    /// Bytes, but for the counts of events.
    struct Memory {
        var usage: UInt64 = 0
        var workingSet: UInt64 = 0
        var anonymous: UInt64 = 0
        var cache: UInt64 = 0
        var swap: UInt64 = 0
        /// How often the limit was hit.
        var failures: UInt64?
        var kills: UInt64?
        /// How often `memory.high` throttled; version 2 alone.
        var high: UInt64?
        /// How often `memory.max` was hit; version 2 alone.
        var max: UInt64?
    }

    /// One block device, `8:0`.
    struct Device {
        var number: String
        var readBytes: UInt64?
        var writtenBytes: UInt64?
        var reads: UInt64?
        var writes: UInt64?
    }

    /// Microseconds in which some of the tasks, or all of them, waited.
    struct Pressure {
        var some: UInt64?
        var full: UInt64?
    }

    var processor: Processor?
    var throttling: Throttling?
    var memory: Memory?
    var devices: [Device] = []
    var processes: Int?
    /// The first process that this namespace sees.
    var firstProcess: UInt64?
    var threads: UInt64?
    var processorPressure: Pressure?
    var memoryPressure: Pressure?
    var ioPressure: Pressure?
}

/// What is set for a cgroup; 0 for no limit.
struct ControlGroupLimits {
    /// Bytes.
    var memory: UInt64?
    var memoryReserved: UInt64?
    /// Microseconds.
    var processorPeriod: UInt64?
    var processorQuota: UInt64 = 0

    /// Above it a number of bytes means "no limit": version 1 rounds 2^63 - 1 to pages.
    /// Source: cAdvisor 0.60 `prometheus.go` maxMemorySize.
    private static let memoryMax: UInt64 = 1 << 62

    /// Reads up to five files.
    static func read(
        _ groups: ControlGroups, _ files: inout ControlGroupFiles
    ) throws(ReadError) -> ControlGroupLimits {
        var limits = ControlGroupLimits()
        if let root = groups.root(.memory) {
            limits.memory = try files.number(root, "memory.max").map(bounded)
            limits.memoryReserved = try files.number(root, "memory.min").map(bounded)
        } else {
            let root = groups.legacyRoot("memory")
            limits.memory = try files.number(root, "memory.limit_in_bytes").map(bounded)
            limits.memoryReserved = try files.number(root, "memory.soft_limit_in_bytes").map(
                bounded)
        }
        if let root = groups.root(.cpu) {
            guard let bytes = try files.bytes(root, "cpu.max") else { return limits }
            let fields = ProcText.fields(bytes[...])
            guard fields.count == 2, let period = ProcText.unsigned(fields[1]) else {
                throw .malformed(path: files.path(root, "cpu.max"), detail: "no period")
            }
            limits.processorPeriod = period
            if !ProcText.equals(fields[0], "max") {
                guard let quota = ProcText.unsigned(fields[0]) else {
                    throw .malformed(path: files.path(root, "cpu.max"), detail: "no quota")
                }
                limits.processorQuota = quota
            }
        } else {
            let root = groups.legacyRoot("cpu")
            limits.processorPeriod = try files.number(root, "cpu.cfs_period_us")
            let quota = try files.number(root, "cpu.cfs_quota_us") ?? 0
            limits.processorQuota = quota == .max ? 0 : quota
        }
        return limits
    }

    private static func bounded(_ bytes: UInt64) -> UInt64 { bytes > memoryMax ? 0 : bytes }
}
