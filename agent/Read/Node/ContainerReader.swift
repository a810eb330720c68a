package import Model
import Synchronization
package import World

/// What Docker says of a container beside its cgroup.
package struct ContainerFacts: Hashable, Sendable {
    /// Docker's name, with or without the slash that its API puts in front.
    package var name: String
    /// As it was asked for, `nginx:1.27`; empty where it isn't known.
    package var image: String
    /// The labels that are to be shown, each as `container_label_…`; Docker's helper lets 64 of a container pass.
    package var labels: [String: String]

    package init(name: String, image: String = "", labels: [String: String] = [:]) {
        self.name = name
        self.image = image
        self.labels = labels
    }
}

/// Who knows the names of containers. Asked in each reading for each container, from the reader's thread, which it may
/// keep for a second in all.
package protocol ContainerNames: Sendable {
    /// The facts of a container by its id of 64 hex digits; nil where it isn't known (yet).
    func facts(_ containerID: String) -> ContainerFacts?
    /// What keeps it from knowing, with what to do.
    var problem: String? { get }
    /// Containers that run, as they are known now, in no order; for who can't see them otherwise. Asked every few seconds.
    var ids: [String] { get }
}

extension ContainerNames {
    package var ids: [String] { [] }
}

/// Knows no container: each is named by the first 12 digits of its id, as in `docker ps`.
package struct NoContainerNames: ContainerNames {
    package init() {}
    package func facts(_ containerID: String) -> ContainerFacts? { nil }
    package var problem: String? { nil }
}

/// The resources of systemd's units and Docker's containers from the cgroup file system, under cAdvisor's names.
///
/// Each has the label `id`, the cgroup's path; a unit has `unit`, a container `name` and, where they are known, `image`
/// and `container_label_…`. A host without cgroups gives nothing.
///
/// Other than cAdvisor: CPU time is never split by CPU (its label `cpu` is `total`, as cAdvisor's on version 2);
/// `container_oom_events_total` counts the kernel's kills in the cgroup, not lines of the kernel's log;
/// `container_memory_failcnt` on version 2 is `max` of `memory.events`, not 0; memory disks and loop devices are left
/// out, as in node_exporter's diskstats; the reservation of a unit is there where it is set.
/// Source: cAdvisor 0.60 `metrics/prometheus.go`, `container/libcontainer/handler.go`,
/// `container/common/helpers.go`.
package struct ContainerReader: NodeReader {
    /// Cgroups of one reading; `petrel_agent_cgroups_left_out` tells how many more there are.
    package static let cgroupsMax = 512
    /// For a minute it is believed what limits are, that a file isn't there, and what a cgroup that does not run has.
    /// Cgroups that come together are looked at again in so many turns of that minute, not all at once.
    private static let turnCount = 4
    private static let turnNanoseconds: Int64 = 15_000_000_000

    package let name = "container"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let names: any ContainerNames
    private let cgroupsMax: Int
    private let tellsAllOfUnits: Bool
    private let excludesDevice: @Sendable (String) -> Bool
    private let memory = SeenControlGroups()
    private let faults = ReaderProblems()

    /// Without `tellsAllOfUnits` a unit has CPU time, memory, kills, bytes of disks, threads and what limits them, and no
    /// more; a container always has everything. `cgroupsMax` is cut at `ContainerReader.cgroupsMax`; `excludesDevice` is
    /// asked with a block device's name
    /// without `/dev/`.
    package init(
        tree: any WorldFileTree, paths: NodePaths, names: any ContainerNames = NoContainerNames(),
        cgroupsMax: Int = ContainerReader.cgroupsMax, tellsAllOfUnits: Bool = true,
        excludesDevice: @escaping @Sendable (String) -> Bool = DiskReader.isExcludedByDefault
    ) {
        self.tree = tree
        self.paths = paths
        self.names = names
        self.cgroupsMax = min(max(0, cgroupsMax), Self.cgroupsMax)
        self.tellsAllOfUnits = tellsAllOfUnits
        self.excludesDevice = excludesDevice
    }

    /// Which cgroups could not be read whole, and why names are not known; of the last reading.
    package var problems: [String] { faults.all }

    /// Reads at most 30 files of a cgroup; on version 2 about 11, and 4 of one that has not run since the last reading.
    /// A cgroup that ends meanwhile is left out, and so is what follows a malformed file of one.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        guard let groups = try ControlGroups.detect(tree: tree, paths: paths) else { return [] }
        let (found, leftOut) = try groups.groups(tree: tree, countMax: cgroupsMax)
        let before = memory.all
        var after: [String: SeenControlGroup] = [:]
        after.reserveCapacity(found.count)
        var points = ContainerPoints()
        var devices = BlockDeviceNames(tree: tree, path: paths.proc("diskstats"))
        var problems: [String] = []
        for (index, group) in found.enumerated() {
            guard var seen = sighting(of: group, groups, before: before[group.id]) else {
                continue
            }
            do throws(ReadError) {
                try add(
                    group, groups, now: now, turn: index % Self.turnCount, &seen, &devices,
                    &points)
            } catch {
                guard case .malformed = error else { throw error }
                problems.append("\(error)")
            }
            after[group.id] = seen
        }
        memory.all = after
        if let problem = names.problem { problems.insert(problem, at: 0) }
        faults.all = problems
        return points.families + [
            .gauge(
                "petrel_agent_cgroups_left_out",
                help: "Cgroups that were not read because there are too many.", Double(leftOut))
        ] + (try machine())
    }

    /// Reads one cgroup. `turn` says when it is looked at again.
    private func add(
        _ group: ControlGroup, _ groups: ControlGroups, now: TimestampNS, turn: Int,
        _ seen: inout SeenControlGroup, _ devices: inout BlockDeviceNames,
        _ points: inout ContainerPoints
    ) throws(ReadError) {
        let isFull = group.isContainer || tellsAllOfUnits
        let isFresh = seen.isFresh(at: now)
        var files = ControlGroupFiles(
            tree: tree, id: group.id, missing: isFresh ? seen.missing : [])
        let limits = try isFresh ? seen.limits : ControlGroupLimits.read(groups, &files)
        let statistics = try ControlGroupStatistics.read(
            groups, isContainer: group.isContainer, isFull: isFull,
            last: isFresh ? seen.last : nil, &files)
        if !isFresh {
            let turns = seen.refreshedAt == nil ? Self.turnCount - turn : Self.turnCount
            seen.refreshAt = now.advanced(byNanoseconds: Int64(turns) * Self.turnNanoseconds)
            seen.refreshedAt = now
        }
        seen.limits = limits
        seen.last = statistics
        seen.missing = files.missing
        points.isShort = !isFull
        let labels = labels(of: group)
        add(seen, now: now, labels, &points)
        add(limits, statistics, labels, isContainer: group.isContainer, &points)
        add(statistics.memory, labels, &points)
        add(pressure: statistics, labels, &points)
        try add(statistics.devices, labels, &devices, &points)
        if group.isContainer, let pid = statistics.firstProcess {
            try addNetwork(of: pid, labels, &points)
        }
    }

    /// The cgroup's identity and start in the first tree that has it; nil where it has ended.
    ///
    /// The kernel may forget a directory's times and take the present for them when it is looked at again, but an inode
    /// number is one cgroup's alone: the earliest time that was ever seen of it is kept.
    private func sighting(
        of group: ControlGroup, _ groups: ControlGroups, before: SeenControlGroup?
    ) -> SeenControlGroup? {
        for root in groups.listedRoots {
            let path = root + group.id
            guard let status = try? tree.status(path) else { continue }
            if var seen = before, seen.inode == status.identity.inode {
                seen.started = min(seen.started, status.modified)
                return seen
            }
            var started = status.modified
            for file in ["cgroup.events", "cgroup.clone_children"] {
                guard let status = try? tree.status(path + "/" + file) else { continue }
                started = min(started, status.modified)
                break
            }
            return SeenControlGroup(inode: status.identity.inode, started: started)
        }
        return nil
    }

    private func labels(of group: ControlGroup) -> Labels {
        switch group.kind {
        case .unit(let unit):
            return .two("id", group.id, "unit", unit)
        case .container(let containerID):
            let facts = names.facts(containerID)
            let named = facts.map { $0.name.hasPrefix("/") ? $0.name.dropFirst() : $0.name[...] }
            let name = named.flatMap { $0.isEmpty ? nil : String($0) }
            var labels = [
                Label("id", group.id), Label("image", facts?.image ?? ""),
                Label("name", name ?? String(containerID.prefix(12))),
            ]
            // Of two names that become one the first counts.
            var taken: Set<String> = []
            for (key, value) in (facts?.labels ?? [:]).sorted(by: { bytesPrecede($0.key, $1.key) })
            {
                let label = "container_label_" + Self.labelName(key)
                if taken.insert(label).inserted { labels.append(Label(label, value)) }
            }
            return Labels(labels)
        }
    }

    /// Every character that can't be in a label's name becomes `_`.
    private static func labelName(_ key: String) -> String {
        var name = ""
        for scalar in key.unicodeScalars {
            let isKept =
                ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
                || ("0"..."9").contains(scalar) || scalar == "_"
            name.unicodeScalars.append(isKept ? scalar : "_")
        }
        return name
    }

    private func machine() throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        if let line = try tree.firstLine(paths.sys("devices/system/cpu/online")) {
            families.append(
                .gauge(
                    "machine_cpu_cores", help: "Number of logical CPU cores.",
                    Double(ProcText.list(Array(line.utf8)[...]).count)))
        }
        if let line = try tree.firstLine(paths.proc("meminfo")) {
            let fields = ProcText.fields(Array(line.utf8)[...])
            if fields.count >= 2, ProcText.equals(fields[0], "MemTotal:"),
                let kilobytes = ProcText.number(fields[1])
            {
                families.append(
                    .gauge(
                        "machine_memory_bytes",
                        help: "Amount of memory installed on the machine.", kilobytes * 1024))
            }
        }
        return families
    }
}

extension ContainerReader {
    private func add(
        _ seen: SeenControlGroup, now: TimestampNS, _ labels: Labels,
        _ points: inout ContainerPoints
    ) {
        points.add(.lastSeen, labels, Double(now.rawValue / 1_000_000_000))
        // The epoch is that of a tree without times.
        guard seen.started.rawValue > 0 else { return }
        points.add(.startTime, labels, Double(seen.started.rawValue / 1_000_000_000))
    }

    private func add(
        _ limits: ControlGroupLimits, _ statistics: ControlGroupStatistics, _ labels: Labels,
        isContainer: Bool, _ points: inout ContainerPoints
    ) {
        if let times = statistics.processor {
            points.add(.cpuUser, labels, Double(times.user) / 1e9)
            points.add(.cpuSystem, labels, Double(times.system) / 1e9)
            points.add(.cpuUsage, labels.setting("cpu", "total"), Double(times.usage) / 1e9)
        }
        if limits.processorQuota > 0 {
            points.add(.cpuQuota, labels, limits.processorQuota)
            if let throttling = statistics.throttling {
                points.add(.cpuPeriods, labels, throttling.periods)
                points.add(.cpuThrottledPeriods, labels, throttling.throttledPeriods)
                points.add(.cpuThrottledSeconds, labels, Double(throttling.throttled) / 1e9)
            }
        }
        points.add(.cpuPeriod, labels, limits.processorPeriod)
        points.add(.memoryLimit, labels, limits.memory)
        if let bytes = limits.memoryReserved, isContainer || bytes > 0 {
            points.add(.memoryReservation, labels, bytes)
        }
        points.add(.processes, labels, statistics.processes.map { Double($0) })
        points.add(.threads, labels, statistics.threads)
    }

    private func add(
        _ memory: ControlGroupStatistics.Memory?, _ labels: Labels,
        _ points: inout ContainerPoints
    ) {
        guard let memory else { return }
        points.add(.memoryCache, labels, memory.cache)
        points.add(.memoryRSS, labels, memory.anonymous)
        points.add(.memorySwap, labels, memory.swap)
        points.add(.memoryFailures, labels, memory.failures)
        points.add(.memoryUsage, labels, memory.usage)
        points.add(.memoryWorkingSet, labels, memory.workingSet)
        points.add(.memoryHighEvents, labels, memory.high)
        points.add(.memoryMaxEvents, labels, memory.max)
        points.add(.oomEvents, labels, memory.kills)
    }

    private func add(
        pressure statistics: ControlGroupStatistics, _ labels: Labels,
        _ points: inout ContainerPoints
    ) {
        func seconds(_ microseconds: UInt64?) -> Double? { microseconds.map { Double($0) / 1e6 } }
        points.add(.cpuStalled, labels, seconds(statistics.processorPressure?.full))
        points.add(.cpuWaiting, labels, seconds(statistics.processorPressure?.some))
        points.add(.memoryStalled, labels, seconds(statistics.memoryPressure?.full))
        points.add(.memoryWaiting, labels, seconds(statistics.memoryPressure?.some))
        points.add(.ioStalled, labels, seconds(statistics.ioPressure?.full))
        points.add(.ioWaiting, labels, seconds(statistics.ioPressure?.some))
    }

    /// Devices as `/dev/sda`; one that the kernel has no name for as `8:0`.
    private func add(
        _ devices: [ControlGroupStatistics.Device], _ labels: Labels,
        _ names: inout BlockDeviceNames, _ points: inout ContainerPoints
    ) throws(ReadError) {
        for device in devices {
            let name = try names[device.number]
            if let name, excludesDevice(name) { continue }
            let labels = labels.setting("device", name.map { "/dev/" + $0 } ?? device.number)
            points.add(.fsReadBytes, labels, device.readBytes)
            points.add(.fsReads, labels, device.reads)
            points.add(.fsWrittenBytes, labels, device.writtenBytes)
            points.add(.fsWrites, labels, device.writes)
        }
    }

    /// The devices that a process sees, without loopback and the host's ends of containers' links.
    private func addNetwork(
        of pid: UInt64, _ labels: Labels, _ points: inout ContainerPoints
    ) throws(ReadError) {
        let path = paths.proc("\(pid)/net/dev")
        // The process may have ended meanwhile.
        guard let bytes = try tree.bytesIfReadable(path, bytesMax: 1 << 20) else { return }
        let columns: [(Int, ContainerMetric)] = [
            (0, .receivedBytes), (1, .receivedPackets), (2, .receiveErrors),
            (3, .receivedDropped), (8, .sentBytes), (9, .sentPackets), (10, .sendErrors),
            (11, .sentDropped),
        ]
        var malformed: String?
        ProcText.forEachLine(bytes) { line in
            // The two head lines have no colon.
            guard let colon = line.lastIndex(of: UInt8(ascii: ":")) else { return }
            let device = ProcText.string(ProcText.trimmed(line[..<colon]))
            let values = ProcText.fields(line[(colon + 1)...])
            guard values.count >= 16 else {
                malformed = device
                return
            }
            let lower = device.lowercased()
            guard !Self.hiddenDevices.contains(where: { lower.hasPrefix($0) }) else { return }
            let labels = labels.setting("interface", device)
            for (column, metric) in columns {
                points.add(metric, labels, ProcText.number(values[column]))
            }
        }
        if let malformed { throw .malformed(path: path, detail: "too few columns: \(malformed)") }
    }

    private static let hiddenDevices = ["lo", "veth", "docker", "nerdctl"]
}

/// What is kept of a cgroup between readings.
private struct SeenControlGroup {
    var inode: UInt64
    var started: TimestampNS
    var limits = ControlGroupLimits()
    var last: ControlGroupStatistics?
    var missing: Set<String> = []
    /// When everything was last read, and is to be again; none before the first time.
    var refreshedAt: TimestampNS?
    var refreshAt = TimestampNS(0)

    init(inode: UInt64, started: TimestampNS) {
        self.inode = inode
        self.started = started
    }

    /// False too where the clock was set back.
    func isFresh(at now: TimestampNS) -> Bool {
        guard let refreshedAt else { return false }
        return refreshedAt <= now && now < refreshAt
    }
}

private final class SeenControlGroups: Sendable {
    private let groups = Mutex<[String: SeenControlGroup]>([:])

    var all: [String: SeenControlGroup] {
        get { groups.withLock { $0 } }
        set { groups.withLock { $0 = newValue } }
    }
}

/// Names of block devices by number, from `/proc/diskstats`, which is read if it is asked for at all.
private struct BlockDeviceNames {
    private let tree: any WorldFileTree
    private let path: String
    private var names: [String: String]?

    init(tree: any WorldFileTree, path: String) {
        self.tree = tree
        self.path = path
    }

    /// The name of `8:0`, without `/dev/`.
    subscript(number: String) -> String? {
        mutating get throws(ReadError) {
            if let names { return names[number] }
            let read = try read()
            names = read
            return read[number]
        }
    }

    private func read() throws(ReadError) -> [String: String] {
        var names: [String: String] = [:]
        guard let bytes = try tree.bytesIfReadable(path, bytesMax: 16 << 20) else { return names }
        ProcText.forEachLine(bytes) { line in
            let fields = line.split(separator: 32, maxSplits: 3)
            guard fields.count >= 3 else { return }
            let number = ProcText.string(fields[0]) + ":" + ProcText.string(fields[1])
            names[number] = ProcText.string(fields[2])
        }
        return names
    }
}
