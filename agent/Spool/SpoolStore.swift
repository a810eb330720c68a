import Model
import Storage
import Wire
import World

/// A segment that is no longer written.
struct SealedSegment: Sendable {
    var header: SegmentHeader
    /// Inclusive.
    var last: UInt64
    /// Totals through `last`.
    var after: Cumulative
    var path: String
    var bytes: Int
}

/// The spool without its locks: segments, ledger, and what is not durable yet.
///
/// Two modes. With an `active` segment, appended records are in its file and in `pending` until a flush makes them
/// durable. Without one (memory mode: the disk refused) they are in `pending` alone; they may then be sent only when the
/// ledger says durably that sequences outside the segments are in use (`isVolatile`), so that the next opening begins a
/// new epoch and no sequence ever gets other content.
struct SpoolStore: Sendable {
    let kind: StreamKind
    let directory: String
    let tree: any WorldFileTree
    let clock: any WorldClock
    let random: any RandomSource
    let configuration: SpoolConfiguration
    let lock: any WorldFile
    var state: StateFile
    var ledger: SpoolLedger
    /// Ascending.
    var sealed: [SealedSegment] = []
    var active: SegmentFile?
    /// Ascending, through `last`; in memory mode it keeps acknowledged ones too, for their definitions.
    var pending: [SegmentRecord] = []
    var pendingBytes = 0
    /// Highest appended sequence.
    var last: UInt64 = 0
    var durable: UInt64 = 0
    /// Totals through `last`.
    var through = Cumulative()
    /// Moves with each append.
    var positions: [String: [UInt8]] = [:]
    /// Moves with each flush.
    var durablePositions: [String: [UInt8]] = [:]
    /// What the batching side compares; changes when ids begin anew.
    var encoderDictionary: UInt64 = 1
    /// What the wire calls the dictionary of `pending`: the segment that it was, or will be, in.
    var memoryDictionary: UInt64 = 1
    /// In memory mode, the sealed segment that holds earlier definitions of the dictionary.
    var memorySource: SealedSegment?
    /// Highest sequence read since opening: what may be in flight.
    var readThrough: UInt64 = 0
    var isLedgerDirty = false
    var ledgerWrittenAt: Int64 = .min
    var retriedAt: Int64 = .min
    /// The sealed segment read last, so that reading on doesn't scan again.
    var scanned: (first: UInt64, epoch: UInt64, scan: SegmentScan, file: any WorldFile)?

    var segmentDirectory: String { Self.segmentDirectory(directory, epoch: ledger.epoch) }

    static func segmentDirectory(_ directory: String, epoch: UInt64) -> String {
        let digits = String(epoch, radix: 16)
        return directory + "/" + String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// Highest sequence that may be sent.
    var visible: UInt64 { active == nil && ledger.isVolatile ? last : durable }

    var isDegraded: Bool { active == nil }

    /// Bytes that the segment files take.
    var heldBytes: Int {
        sealed.reduce(active?.capacity ?? 0) { $0 + $1.bytes }
    }

    // MARK: appending

    /// Makes room for a record with a body of `bytes`.
    mutating func prepare(bodyBytes bytes: Int) throws(SpoolError) {
        if let active {
            if !active.fits(bodyBytes: bytes) { try rotate(isForced: false) }
        } else {
            try makeMemoryRoom(bytes)
        }
    }

    mutating func append(
        _ kind: PayloadKind, recordCount: UInt64, payload: [UInt8],
        positions moved: [SourcePosition]
    ) {
        last += 1
        if kind == .gap { through.gap += recordCount } else { through.data += recordCount }
        let record = SegmentRecord(
            kind: kind, sequence: last, timestamp: clock.now.rawValue, recordCount: recordCount,
            through: through, durable: durable, positions: moved, payload: payload)
        for position in moved { positions.take(position) }
        pending.append(record)
        pendingBytes += payload.count
        guard active != nil else { return }
        do {
            try active?.append(record)
        } catch {
            replaceActive()
        }
    }

    /// Seals the active segment and begins the next, with a dictionary of its own. A forced rotation passes the bounds:
    /// gaps must be told.
    mutating func rotate(isForced: Bool) throws(SpoolError) {
        if !isForced { try makeDiskRoom() }
        guard let old = active else { return }
        do {
            try old.file.synchronize()
        } catch {
            replaceActive()
            return
        }
        markDurable(through: last)
        old.trim()
        active = nil
        memorySource = nil
        memoryDictionary = last + 1
        encoderDictionary = last + 1
        if !old.entries.isEmpty { sealed.append(old.sealed(last: last, after: through)) }
        dropAcknowledged()
        leaveMemory()
        if active == nil, configuration.overflow == .dropOldest, dropOldest() { leaveMemory() }
        if active == nil { markVolatile() }
    }

    private mutating func makeDiskRoom() throws(SpoolError) {
        while isOverBounds {
            if configuration.overflow == .dropOldest, dropOldest() { continue }
            throw .full(bytes: heldBytes, maximum: configuration.bytesMax)
        }
    }

    /// Whether one more segment would pass the cap or the free-space guard.
    var isOverBounds: Bool {
        if heldBytes + configuration.segmentBytes > configuration.bytesMax, !sealed.isEmpty {
            return true
        }
        guard sealed.count >= 1 else { return false }
        let free = (try? tree.freeBytes(directory)) ?? .max
        return free - Int64(configuration.segmentBytes) < configuration.freeBytesMin
    }

    // MARK: durability

    /// Notes that everything through `sequence` is on the disk.
    mutating func markDurable(through sequence: UInt64) {
        guard active != nil, sequence > durable else { return }
        durable = sequence
        let count = pending.firstIndex { $0.sequence > sequence } ?? pending.count
        for record in pending.prefix(count) {
            pendingBytes -= record.payload.count
            for position in record.positions { durablePositions.take(position) }
        }
        pending.removeFirst(count)
    }

    /// After a write or sync error: the file is never written again; what it does not hold durably goes to a new one.
    mutating func replaceActive() {
        guard let old = active else { return }
        active = nil
        let durableEntries = old.entries.prefix { $0.sequence <= durable }
        memoryDictionary = pending.first?.sequence ?? last + 1
        if let end = durableEntries.last {
            let segment = old.sealed(last: end.sequence, after: end.through)
            sealed.append(segment)
            memorySource = segment
        } else if old.preambles.isEmpty {
            memorySource = nil
        } else {
            // Nothing durable of its own, but definitions that the pending records need; its name is taken again.
            memorySource = old.sealed(last: old.header.first - 1, after: old.header.before)
        }
        markVolatile()
        leaveMemory()
    }

    /// Tries to give the pending records a segment; stays in memory mode where the disk still refuses.
    mutating func leaveMemory() {
        guard active == nil else { return }
        retriedAt = clock.monotonicNanoseconds
        if isLedgerDirty { writeLedger() }
        guard let preambles = memoryPreambles() else {
            loseDefinitions()
            return leaveMemory()
        }
        let records = pending.filter { $0.sequence > ledger.acknowledged }
        let first = records.first?.sequence ?? last + 1
        let before = records.first?.before ?? through
        let size = records.reduce(0) { $0 + $1.payload.count + 1024 }
        let spent = preambles.reduce(0) { $0 + $1.payload.count + 1024 }
        let header = SegmentHeader(
            kind: kind, epoch: ledger.epoch, first: first, salt: random.next(), before: before)
        do {
            var segment = try SegmentFile.create(
                tree, directory: segmentDirectory, header: header,
                capacity: max(configuration.segmentBytes, size + spent + 4096),
                positions: list(durablePositions), preambles: preambles)
            for record in records { try segment.append(record) }
            if !records.isEmpty { try segment.file.synchronize() }
            sealed.removeAll { $0.header.first == first }
            active = segment
            markDurable(through: last)
            memorySource = nil
            if ledger.isVolatile {
                ledger.isVolatile = false
                writeLedger()
            }
        } catch {
            // The next attempt makes another file; this one is never synchronized again.
            active = nil
        }
    }

    /// The definitions that pending records may refer to; nil where they can't be read any more.
    private mutating func memoryPreambles() -> [SegmentRecord]? {
        var preambles: [SegmentRecord] = []
        if let source = memorySource {
            guard let earlier = definitions(in: source, before: source.last + 1) else { return nil }
            preambles = earlier
        }
        return preambles
            + pending.filter { $0.sequence <= ledger.acknowledged && $0.kind != .gap }
    }

    /// Pending records whose definitions are gone become gaps.
    private mutating func loseDefinitions() {
        memorySource = nil
        var totals = pending.first?.before ?? through
        for index in pending.indices {
            if pending[index].kind != .gap {
                let gap = GapRecord(
                    reason: .corruptSegment, count: pending[index].recordCount,
                    detail: "the disk failed under the segment that defines these series or streams"
                )
                pending[index].kind = .gap
                pending[index].payload = GapPayload.encode(gap)
            }
            totals.gap += pending[index].recordCount
            pending[index].through = totals
        }
        through = totals
        encoderDictionary = last + 1
    }

    /// Says durably that sequences are in use which no segment holds.
    mutating func markVolatile() {
        guard active == nil, !ledger.isVolatile else { return }
        ledger.isVolatile = true
        if !state.write(ledger) { ledger.isVolatile = false }
    }

    private mutating func makeMemoryRoom(_ bytes: Int) throws(SpoolError) {
        guard pendingBytes + bytes > configuration.memoryBytesMax else { return }
        if pending.last.map({ $0.sequence > ledger.acknowledged }) ?? false {
            guard configuration.overflow == .dropOldest, dropPending() else {
                throw .full(bytes: pendingBytes, maximum: configuration.memoryBytesMax)
            }
        }
        pending.removeAll()
        pendingBytes = 0
        memorySource = nil
        memoryDictionary = last + 1
        encoderDictionary = last + 1
    }

    private mutating func dropPending() -> Bool {
        let lost = pending.filter {
            $0.sequence > ledger.acknowledged && ledger.loss(at: $0.sequence) == nil
        }
        guard let first = lost.first, let end = lost.last else { return true }
        return ledger.add(
            SpoolLoss(
                first: first.sequence, last: end.sequence, reason: .spoolFull,
                data: end.through.data - first.before.data,
                present: end.through.data - first.before.data + end.through.gap - first.before.gap,
                through: end.through))
    }

    // MARK: the ledger

    @discardableResult
    mutating func writeLedger() -> Bool {
        ledgerWrittenAt = clock.monotonicNanoseconds
        isLedgerDirty = false
        return state.write(ledger)
    }

    func list(_ positions: [String: [UInt8]]) -> [SourcePosition] {
        positions.sorted { $0.key < $1.key }.map { SourcePosition(source: $0.key, bytes: $0.value) }
    }
}

extension [String: [UInt8]] {
    /// Moves a source's position; an empty one ends it, so that sources that are gone leave nothing behind.
    mutating func take(_ position: SourcePosition) {
        self[position.source] = position.bytes.isEmpty ? nil : position.bytes
    }
}

extension SegmentRecord {
    /// Totals before this record.
    var before: Cumulative {
        var totals = through
        if kind == .gap { totals.gap -= recordCount } else { totals.data -= recordCount }
        return totals
    }
}

extension SegmentFile {
    func sealed(last: UInt64, after: Cumulative) -> SealedSegment {
        SealedSegment(header: header, last: last, after: after, path: path, bytes: offset)
    }
}
