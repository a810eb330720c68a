import Model
import Storage
import Wire
import World

extension Spool {
    /// The file that the process which has the spool of `directory` holds locked.
    package static func lockFile(directory: String) -> String { directory + "/lock" }
}

/// Opening a spool: what is on the disk becomes the store, or a new epoch where something is lost that can't be told.
extension SpoolStore {
    static func open(
        kind: StreamKind, directory: String, tree: any WorldFileTree, clock: any WorldClock,
        random: any RandomSource, configuration: SpoolConfiguration
    ) throws(SpoolError) -> SpoolStore {
        do {
            try tree.makeDirectory(directory)
            let lock = try takeLock(tree, directory)
            let (state, known) = try StateFile.open(tree, directory)
            let epochs = try tree.list(directory).compactMap { epochNumber(directoryName: $0) }
            let epoch = known?.epoch ?? epochs.min() ?? nonZero(random)
            var store = SpoolStore(
                kind: kind, directory: directory, tree: tree, clock: clock, random: random,
                configuration: configuration, lock: lock, state: state,
                ledger: known ?? SpoolLedger(epoch: epoch))
            for other in epochs where other != epoch { store.removeEpoch(other) }
            try tree.makeDirectory(store.segmentDirectory)
            try tree.synchronizeDirectory(directory)
            let isNew = known == nil && epochs.isEmpty
            let isWhole = try store.recoverSegments(hasLedger: known != nil)
            if !isNew, !isWhole || store.ledger.isVolatile {
                _ = try store.beginEpoch(after: store.ledger.acknowledged, lead: nil)
            } else {
                try store.begin()
            }
            return store
        } catch let error as SpoolError {
            throw error
        } catch let error as FileError {
            throw .file(error)
        } catch {
            preconditionFailure("an error of another type: \(error)")
        }
    }

    private static func takeLock(
        _ tree: any WorldFileTree, _ directory: String
    ) throws -> any WorldFile {
        do {
            return try tree.lock(Spool.lockFile(directory: directory))
        } catch {
            throw error.errno == 11 ? SpoolError.locked(path: directory) : SpoolError.file(error)
        }
    }

    static func nonZero(_ random: any RandomSource) -> UInt64 {
        let bits = random.next()
        return bits == 0 ? 1 : bits
    }

    private static func epochNumber(directoryName name: String) -> UInt64? {
        name.utf8.count == 16 ? UInt64(name, radix: 16) : nil
    }

    /// Starts the first segment of this life: records are never added to a file that was open before.
    private mutating func begin() throws(FileError) {
        durable = last
        durablePositions = positions
        encoderDictionary = last + 1
        memoryDictionary = last + 1
        if ledger.acknowledged > last { ledger.acknowledged = last }
        guard writeLedger() else {
            throw FileError(operation: "write", path: directory + "/state", errno: 5)
        }
        dropAcknowledged()
        leaveMemory()
        if active == nil, configuration.overflow == .dropOldest, dropOldest() { leaveMemory() }
        if active == nil { markVolatile() }
    }

    /// Reads the segments' heads and the last one whole. False where sequences were used that nothing accounts for.
    private mutating func recoverSegments(hasLedger: Bool) throws(FileError) -> Bool {
        // What a killed process left may be in the page cache alone: it is durable before it is believed.
        try tree.synchronizeDirectory(segmentDirectory)
        let names = try tree.list(segmentDirectory)
        let firsts = names.compactMap { SegmentFormat.first(fileName: $0) }.sorted()
        var isWhole = true
        for (index, first) in firsts.enumerated() {
            let path = segmentDirectory + "/" + SegmentFormat.fileName(first: first)
            let next = index + 1 < firsts.count ? firsts[index + 1] : nil
            let file = try tree.open(path, next == nil ? .readWrite : .read)
            defer { file.close() }
            if next == nil { try file.synchronize() }
            let bytes = try file.read(at: 0, count: SegmentFormat.headerBytes)
            guard let header = SegmentHeader(bytes), header.first == first,
                header.epoch == ledger.epoch, header.kind == kind
            else {
                // Its name was given when it was whole: this is rot. The hole is noted by its neighbours.
                if next == nil { isWhole = false }
                try? tree.remove(path)
                continue
            }
            closeHole(before: header, hasLedger: hasLedger)
            let size = Int(try file.status().size)
            if let next {
                sealed.append(
                    SealedSegment(
                        header: header, last: next - 1, after: header.before, path: path,
                        bytes: size))
            } else {
                let scan = SegmentScan(
                    try file.read(at: 0, count: size), header, limit: nil)
                last = scan.entries.last?.sequence ?? first - 1
                through = scan.entries.last?.through ?? header.before
                positions = scan.positions
                if !scan.entries.isEmpty {
                    sealed.append(
                        SealedSegment(
                            header: header, last: last, after: through, path: path, bytes: size))
                } else if !scan.preambles.isEmpty {
                    // Only definitions, and a new life defines anew.
                    try? tree.remove(path)
                }
            }
        }
        if firsts.isEmpty { return !hasLedger || ledger.acknowledged == 0 }
        if ledger.acknowledged > last { isWhole = false }
        return isWhole
    }

    /// Sets the end of the segment before this one, and notes what is missing between them.
    private mutating func closeHole(before header: SegmentHeader, hasLedger: Bool) {
        if let index = sealed.indices.last {
            sealed[index].after = header.before
            sealed[index].last = header.first - 1
            return
        }
        guard hasLedger else {
            ledger.acknowledged = header.first - 1
            ledger.acknowledgedThrough = header.before
            return
        }
        var from = ledger.acknowledged + 1
        var before = ledger.acknowledgedThrough
        for loss in ledger.losses where loss.first == from {
            from = loss.last + 1
            before = loss.through
        }
        guard from < header.first, header.before.data >= before.data,
            header.before.gap >= before.gap
        else { return }
        let data = header.before.data - before.data
        _ = ledger.insert(
            SpoolLoss(
                first: from, last: header.first - 1, reason: .corruptSegment, data: data,
                present: data + header.before.gap - before.gap, through: header.before))
    }

    // MARK: a new epoch

    /// Copies what is held after `base` into segments of a new epoch, renumbered from 1, `lead` first. Batches through
    /// `base` stay as definitions for those after them. The old epoch is removed when the new one is durable.
    mutating func beginEpoch(
        after base: UInt64, lead: GapRecord?
    ) throws(SpoolError) -> UInt64 {
        let epoch = Self.nonZero(random)
        do {
            try tree.makeDirectory(Self.segmentDirectory(directory, epoch: epoch))
            try tree.synchronizeDirectory(directory)
        } catch { throw .file(error) }
        var copy = EpochCopy(store: self, epoch: epoch)
        if let lead { try copy.add(lead) }
        var next = max(base + 1, firstHeld)
        while next <= last {
            if let segment = segment(of: next) {
                let definitions = definitions(in: segment, before: next) ?? []
                try copy.begin(definitions, bytes: segment.bytes)
                while next <= segment.last {
                    try copy.add(try batch(at: next), record(next)?.timestamp ?? 0)
                    next += 1
                }
            } else if let loss = ledger.loss(at: next) {
                try copy.add(
                    GapRecord(reason: loss.reason, count: next == loss.first ? loss.present : 0))
                next = loss.last + 1
            } else {
                try copy.begin(
                    preceding(next).map { SegmentRecord(preamble: $0) }, bytes: pendingBytes)
                while next <= last {
                    try copy.add(try batch(at: next), clock.now.rawValue)
                    next += 1
                }
            }
        }
        try copy.finish()
        let old = ledger.epoch
        ledger = SpoolLedger(epoch: epoch)
        sealed = copy.sealed
        last = copy.last
        through = copy.totals
        pending = []
        pendingBytes = 0
        active = nil
        memorySource = nil
        scanned = nil
        readThrough = 0
        do { try begin() } catch { throw .file(error) }
        removeEpoch(old)
        return epoch
    }

    private func record(_ sequence: UInt64) -> SegmentRecord? {
        guard let active, let entry = active.entries.find(sequence) else { return nil }
        return Self.load(entry, active.file, active.header)
    }

    func removeEpoch(_ epoch: UInt64) {
        let path = Self.segmentDirectory(directory, epoch: epoch)
        for name in (try? tree.list(path)) ?? [] { try? tree.remove(path + "/" + name) }
        try? tree.remove(path)
    }
}

/// Writes the segments of a new epoch.
private struct EpochCopy {
    let store: SpoolStore
    let epoch: UInt64
    var sealed: [SealedSegment] = []
    var last: UInt64 = 0
    var totals = Cumulative()
    private var file: SegmentFile?

    init(store: SpoolStore, epoch: UInt64) {
        self.store = store
        self.epoch = epoch
    }

    /// A segment for records that need `definitions`.
    mutating func begin(_ definitions: [SegmentRecord], bytes: Int) throws(SpoolError) {
        try finish()
        let header = SegmentHeader(
            kind: store.kind, epoch: epoch, first: last + 1, salt: store.random.next(),
            before: totals)
        do {
            file = try SegmentFile.create(
                store.tree,
                directory: SpoolStore.segmentDirectory(store.directory, epoch: epoch),
                header: header, capacity: bytes + 4096, positions: store.list(store.positions),
                preambles: definitions)
        } catch { throw .file(error) }
    }

    mutating func add(_ gap: GapRecord) throws(SpoolError) {
        if file == nil { try begin([], bytes: 4096) }
        try add(
            SpooledBatch(
                sequence: 0, kind: .gap, dictionary: 0, recordCount: Int(clamping: gap.count),
                payload: GapPayload.encode(gap)), store.clock.now.rawValue)
    }

    mutating func add(_ batch: SpooledBatch, _ timestamp: Int64) throws(SpoolError) {
        last += 1
        if batch.kind == .gap {
            totals.gap += UInt64(batch.recordCount)
        } else {
            totals.data += UInt64(batch.recordCount)
        }
        do {
            try file?.append(
                SegmentRecord(
                    kind: batch.kind, sequence: last, timestamp: timestamp,
                    recordCount: UInt64(batch.recordCount), through: totals, durable: last,
                    positions: [], payload: batch.payload))
        } catch { throw .file(error) }
    }

    /// Makes the open segment durable.
    mutating func finish() throws(SpoolError) {
        guard let done = file else { return }
        do { try done.file.synchronize() } catch { throw .file(error) }
        done.trim()
        if done.entries.isEmpty {
            try? store.tree.remove(done.path)
        } else {
            sealed.append(done.sealed(last: last, after: totals))
        }
        file = nil
    }
}

extension SegmentRecord {
    /// Definitions of an earlier batch.
    init(preamble batch: SpooledBatch) {
        self.init(
            kind: batch.kind, sequence: 0, timestamp: 0, recordCount: 0, through: Cumulative(),
            durable: 0, positions: [], payload: batch.payload)
    }
}
