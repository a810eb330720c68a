package import Model
package import World

/// Software RAID: each array's state and progress from `/proc/mdstat`, its disks from sysfs.
/// Source: node_exporter 1.12 `mdadm_linux.go`; procfs `mdstat.go`, `sysfs/mdraid.go`.
package struct RAIDReader: NodeReader {
    package let name = "mdadm"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// No families where the kernel has no md driver. Throws `malformed` where an array's lines are not understood: an
    /// array that were left out would look healthy.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("mdstat")
        guard let bytes = try files.tree.bytesIfPresent(path) else { return [] }
        var families = RAIDFamilies()
        for array in try RAIDArray.all(bytes, path: path) { families.add(array) }
        for device in try files.entries(paths.sys("block")) where device.hasPrefix("md") {
            let path = paths.sys("block/\(device)/md")
            // Another block device has no such folder, an array that was just stopped no longer one.
            guard let level = try files.text(path + "/level") else { continue }
            let labels = Labels.one("device", device)
            if let count = try diskCount(path, level: level) {
                families.raidDisks.points.append(.init(labels, Double(count)))
            }
            var degraded: UInt64 = 0
            if ["raid1", "raid4", "raid5", "raid6", "raid10"].contains(level) {
                guard let count = try files.unsigned(path + "/degraded") else { continue }
                degraded = count
            }
            families.degraded.points.append(.init(labels, Double(degraded)))
        }
        return families.all.filter { !$0.points.isEmpty }
    }

    /// The disks of a whole array; during a reshape the file says `11 (10)`, the second the number before. nil for
    /// containers and where it isn't known.
    private func diskCount(_ path: String, level: String) throws(ReadError) -> UInt64? {
        guard !["container", "imsm", "ddf", ""].contains(level),
            let bytes = try files.bytes(path + "/raid_disks")
        else { return nil }
        return ProcText.fields(bytes).first.flatMap(ProcText.unsigned)
    }
}

/// One array of `/proc/mdstat`: the line of its members, the line of its size and, while it syncs, one of progress.
///
///     md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]
///           195310144 blocks [2/1] [U_]
///           [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec
private struct RAIDArray {
    var device: String
    var state: String
    var disksActive: UInt64 = 0
    var disksFailed: Int
    var disksSpare: Int
    var disksRequired: UInt64 = 0
    /// Blocks of 1 KiB.
    var blocks: UInt64 = 0
    /// As many as `blocks` while the array does not sync.
    var blocksSynced: UInt64 = 0

    static func all(_ bytes: [UInt8], path: String) throws(ReadError) -> [RAIDArray] {
        let lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
        var arrays: [RAIDArray] = []
        for (index, line) in lines.enumerated() {
            guard let first = line.first, first != 32, first != 9,
                !ProcText.hasPrefix(line, "Personalities"), !ProcText.hasPrefix(line, "unused")
            else { continue }
            // The kernel ends the file with a line of unused devices, so that an array's lines are never the last ones.
            guard lines.count > index + 3 else {
                throw .malformed(
                    path: path, detail: "lines are missing after: \(ProcText.string(line))")
            }
            let hasBitmap = ProcText.occurs("bitmap", in: lines[index + 2])
            arrays.append(
                try RAIDArray(
                    line: line, size: lines[index + 1],
                    progress: lines[index + (hasBitmap ? 3 : 2)], path: path))
        }
        return arrays
    }

    private init(
        line: ArraySlice<UInt8>, size: ArraySlice<UInt8>, progress: ArraySlice<UInt8>, path: String
    ) throws(ReadError) {
        let fields = ProcText.fields(line)
        guard fields.count >= 3 else {
            throw .malformed(path: path, detail: "no array: \(ProcText.string(line))")
        }
        device = ProcText.string(fields[0])
        state = ProcText.string(fields[2])
        disksFailed = ProcText.occurrences(of: "(F)", in: line)
        disksSpare = ProcText.occurrences(of: "(S)", in: line)
        try readSize(size, line: line, path: path)
        try readProgress(progress, path: path)
    }

    private mutating func readSize(
        _ size: ArraySlice<UInt8>, line: ArraySlice<UInt8>, path: String
    ) throws(ReadError) {
        let fields = ProcText.fields(size)
        guard let count = fields.first.flatMap(ProcText.unsigned) else {
            throw .malformed(path: path, detail: "no size of \(device): \(ProcText.string(size))")
        }
        (blocks, blocksSynced) = (count, count)
        if ProcText.occurs("raid0", in: line) || ProcText.occurs("linear", in: line) {
            // Neither has spare or missing disks, and only disks have a number in brackets.
            disksRequired = UInt64(ProcText.occurrences(of: "[", in: line))
            disksActive = disksRequired
            return
        }
        guard !ProcText.occurs("inactive", in: line) else { return }
        // [4/3] [U_UU]: required and active disks, then a letter for each.
        for index in fields.indices.dropLast().reversed() {
            guard let disks = Self.pair(fields[index], "[", "]"),
                Self.isDiskMap(fields[index + 1])
            else { continue }
            (disksRequired, disksActive) = disks
            return
        }
        throw .malformed(path: path, detail: "no disks of \(device): \(ProcText.string(size))")
    }

    private mutating func readProgress(
        _ line: ArraySlice<UInt8>, path: String
    ) throws(ReadError) {
        if ProcText.occurs("recovery", in: line) {
            state = "recovering"
        } else if ProcText.occurs("reshape", in: line) {
            state = "reshaping"
        } else if ProcText.occurs("check", in: line) {
            state = "checking"
        } else if ProcText.occurs("resync", in: line) {
            state = "resyncing"
        } else {
            return
        }
        // It waits, or another node of a cluster does it.
        if ProcText.occurs("PENDING", in: line) || ProcText.occurs("DELAYED", in: line)
            || ProcText.occurs("REMOTE", in: line)
        {
            blocksSynced = 0
            return
        }
        guard
            let done = ProcText.fields(line).lazy.compactMap({ Self.pair($0, "(", ")") }).first
        else {
            throw .malformed(
                path: path, detail: "no progress of \(device): \(ProcText.string(line))")
        }
        blocksSynced = done.0
    }

    /// `[2/1]` → (2, 1).
    private static func pair(
        _ field: ArraySlice<UInt8>, _ open: Unicode.Scalar, _ close: Unicode.Scalar
    ) -> (UInt64, UInt64)? {
        guard field.count >= 2, field.first == UInt8(ascii: open),
            field.last == UInt8(ascii: close)
        else { return nil }
        let numbers = field.dropFirst().dropLast().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard numbers.count == 2, let first = ProcText.unsigned(numbers[0]),
            let second = ProcText.unsigned(numbers[1])
        else { return nil }
        return (first, second)
    }

    /// `[U_UU]`.
    private static func isDiskMap(_ field: ArraySlice<UInt8>) -> Bool {
        field.count > 2 && field.first == UInt8(ascii: "[") && field.last == UInt8(ascii: "]")
            && field.dropFirst().dropLast().allSatisfy {
                $0 == UInt8(ascii: "U") || $0 == UInt8(ascii: "_")
            }
    }
}

extension ProcText {
    fileprivate static func occurrences(
        of literal: StaticString, in text: ArraySlice<UInt8>
    ) -> Int {
        text.indices.count(where: { hasPrefix(text[$0...], literal) })
    }

    fileprivate static func occurs(_ literal: StaticString, in text: ArraySlice<UInt8>) -> Bool {
        text.indices.contains(where: { hasPrefix(text[$0...], literal) })
    }
}

private struct RAIDFamilies {
    private var state = MetricFamily(
        "node_md_state", .gauge, help: "Indicates the state of md-device.")
    private var disks = MetricFamily(
        "node_md_disks", .gauge, help: "Number of active/failed/spare disks of device.")
    private var required = MetricFamily(
        "node_md_disks_required", .gauge, help: "Total number of disks of device.")
    private var blocks = MetricFamily(
        "node_md_blocks", .gauge, help: "Total number of blocks on device.")
    private var blocksSynced = MetricFamily(
        "node_md_blocks_synced", .gauge, help: "Number of blocks synced on device.")
    var raidDisks = MetricFamily(
        "node_md_raid_disks", .gauge, help: "Number of raid disks on device.")
    var degraded = MetricFamily(
        "node_md_degraded", .gauge, help: "Number of degraded disks on device.")

    var all: [MetricFamily] {
        [state, disks, required, blocks, blocksSynced, raidDisks, degraded]
    }

    /// The label's value for each state, and what `RAIDArray` calls it. An array that is reshaped is in none of them,
    /// as in node_exporter.
    private static let states = [
        ("active", "active"), ("inactive", "inactive"), ("recovering", "recovering"),
        ("resync", "resyncing"), ("check", "checking"),
    ]

    mutating func add(_ array: RAIDArray) {
        let labels = Labels.one("device", array.device)
        for (value, name) in Self.states {
            state.points.append(.init(labels.setting("state", value), array.state == name ? 1 : 0))
        }
        let counts = [
            ("active", Double(array.disksActive)), ("failed", Double(array.disksFailed)),
            ("spare", Double(array.disksSpare)),
        ]
        for (value, count) in counts {
            disks.points.append(.init(labels.setting("state", value), count))
        }
        required.points.append(.init(labels, Double(array.disksRequired)))
        blocks.points.append(.init(labels, Double(array.blocks)))
        blocksSynced.points.append(.init(labels, Double(array.blocksSynced)))
    }
}
