import Glibc
package import Model
package import World

/// How many processes and threads the host has, by state, and their limits.
/// Source: node_exporter 1.12 `processes_linux.go`.
///
/// The cost is one open and read of `/proc/<pid>/stat` for each process, and of `/proc/<pid>/task/<tid>/stat` for each
/// further thread. A process of one thread is that thread: its folder `task` is not listed.
package struct ProcessesReader: NodeReader {
    /// The most processes that are walked unless told otherwise.
    package static let processesMaxDefault = 32_768
    /// The most threads beside processes of one thread that are walked unless told otherwise.
    package static let threadsMaxDefault = 16_384

    package let name = "processes"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let hasThreadStates: Bool
    private let processesMax: Int
    private let threadsMax: Int

    /// node_exporter has no flags here. Without `hasThreadStates` there is no `node_processes_threads_state` and
    /// threads cost nothing. Past `processesMax` processes only their number and the limits are told, past `threadsMax`
    /// threads all but their states: no value is better than that of a part.
    package init(
        tree: any WorldFileTree, paths: NodePaths, hasThreadStates: Bool = true,
        processesMax: Int = ProcessesReader.processesMaxDefault,
        threadsMax: Int = ProcessesReader.threadsMaxDefault
    ) {
        self.tree = tree
        self.paths = paths
        self.hasThreadStates = hasThreadStates
        self.processesMax = processesMax
        self.threadsMax = threadsMax
    }

    /// A process that ends between list and read is left out. O(processes + threads).
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = [
            .gauge(
                "node_processes_max_threads", help: "Limit of threads in the system",
                try limit("sys/kernel/threads-max")),
            .gauge(
                "node_processes_max_processes", help: "Number of max PIDs limit",
                try limit("sys/kernel/pid_max")),
        ]
        let numbers = try entries(paths.procfs)
        guard numbers.count <= processesMax else {
            families.append(Self.pids(numbers.count))
            return families
        }
        let walk = try walk(numbers)
        families += [
            Self.pids(walk.processes),
            .gauge("node_processes_threads", help: "Allocated threads in system", walk.threads),
            MetricFamily(
                "node_processes_state", .gauge, help: "Number of processes in each state.",
                points: Self.points("state", walk.states)),
        ]
        if hasThreadStates, let states = try threadStates(walk) {
            families.append(
                MetricFamily(
                    "node_processes_threads_state", .gauge,
                    help: "Number of threads in each state.",
                    points: Self.points("thread_state", states)))
        }
        return families
    }

    private static func pids(_ count: Int) -> MetricFamily {
        .gauge("node_processes_pids", help: "Number of PIDs", Double(count))
    }

    private static func points(_ label: String, _ counts: [String: Double]) -> [MetricFamily.Point]
    {
        counts.keys.sorted(by: bytesPrecede).map { .init(.one(label, $0), counts[$0] ?? 0) }
    }

    private func limit(_ name: String) throws(ReadError) -> Double {
        let path = paths.proc(name)
        let bytes = try tree.bytes(path)
        guard let value = ProcText.fields(bytes[...]).first.flatMap(ProcText.number) else {
            throw .malformed(path: path, detail: "no whole number")
        }
        return value
    }

    /// The names of a folder that are numbers, as those of processes and threads are.
    private func entries(_ folder: String) throws(ReadError) -> [String] {
        do {
            return try tree.list(folder).filter {
                !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) }
            }
        } catch { throw .file(error) }
    }

    /// What the processes' own files say.
    private struct Walk {
        var processes = 0
        var threads = 0.0
        var states: [String: Double] = [:]
        /// States of the threads that are their process's only one.
        var singleStates: [String: Double] = [:]
        var multiThreaded: [(number: String, state: String)] = []
        /// Threads of `multiThreaded`.
        var furtherThreads = 0.0
    }

    private func walk(_ numbers: [String]) throws(ReadError) -> Walk {
        var walk = Walk()
        for number in numbers {
            guard let task = try task("\(paths.procfs)/\(number)/stat") else { continue }
            walk.processes += 1
            walk.threads += task.threads
            walk.states[task.state, default: 0] += 1
            if task.threads > 1 {
                walk.multiThreaded.append((number, task.state))
                walk.furtherThreads += task.threads
            } else {
                walk.singleStates[task.state, default: 0] += 1
            }
        }
        return walk
    }

    /// Threads by state; nil past the bound.
    private func threadStates(_ walk: Walk) throws(ReadError) -> [String: Double]? {
        guard walk.furtherThreads <= Double(threadsMax) else { return nil }
        var states = walk.singleStates
        var left = threadsMax
        for process in walk.multiThreaded {
            let folder = "\(paths.procfs)/\(process.number)/task"
            guard let numbers = try threads(folder) else { continue }
            // The process may have got more threads since its file was read.
            left -= numbers.count
            guard left >= 0 else { return nil }
            for number in numbers {
                if number == process.number {
                    states[process.state, default: 0] += 1
                } else if let task = try task("\(folder)/\(number)/stat") {
                    states[task.state, default: 0] += 1
                }
            }
        }
        return states
    }

    /// The threads of a process; nil where it ended.
    private func threads(_ folder: String) throws(ReadError) -> [String]? {
        do { return try entries(folder) } catch {
            if case .file(let cause) = error, Self.hasEnded(cause) { return nil }
            throw error
        }
    }

    /// Far more than the command and the next 18 fields take.
    private static let statBytes = 1024
    /// Fields after the command: the first is the state, the eighteenth the number of threads.
    private static let threadsField = 17

    /// State and threads from a `stat` file; nil where the process or thread ended.
    private func task(_ path: String) throws(ReadError) -> (state: String, threads: Double)? {
        let bytes: [UInt8]
        do { bytes = try tree.piece(path, bytesMax: Self.statBytes) } catch {
            guard Self.hasEnded(error) else { throw .file(error) }
            return nil
        }
        // The command in parentheses may hold anything: fields are counted after the last one.
        guard let close = bytes.lastIndex(of: UInt8(ascii: ")")) else {
            throw .malformed(path: path, detail: "no command")
        }
        let fields = bytes[(close + 1)...].split(
            separator: 32, maxSplits: Self.threadsField + 1)
        guard fields.count > Self.threadsField + 1, let state = fields.first,
            let threads = ProcText.number(fields[Self.threadsField])
        else { throw .malformed(path: path, detail: "no number of threads") }
        return (ProcText.string(state), threads)
    }

    /// A file that is opened after its process ended is missing; one that is read after it has no process.
    private static func hasEnded(_ error: FileError) -> Bool {
        error.errno == ENOENT || error.errno == ESRCH
    }
}
