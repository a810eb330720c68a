import Model
import Storage
import Wire
import World

/// Reading, acknowledging and dropping.
extension SpoolStore {
    /// Lowest sequence that can be read.
    var firstHeld: UInt64 {
        let held = sealed.first?.header.first ?? active?.header.first ?? pending.first?.sequence
        return min(held ?? last + 1, ledger.acknowledged + 1)
    }

    func status() -> SpoolStatus {
        let lostAhead = ledger.losses.reduce(UInt64(0)) {
            $0 + ($1.first > ledger.acknowledged ? $1.data : 0)
        }
        return SpoolStatus(
            epoch: ledger.epoch, firstSequence: firstHeld, lastSequence: visible,
            producedRecords: through.data + through.gap,
            gapRecords: through.gap + ledger.lostData,
            spoolRecords: through.data - ledger.acknowledgedThrough.data - lostAhead,
            spoolBytes: UInt64(
                sealed.reduce((active?.offset ?? 0) + pendingBytes) { $0 + $1.bytes }))
    }

    mutating func read(from sequence: UInt64, bytesMax: Int) throws(SpoolError) -> [SpooledBatch] {
        var batches: [SpooledBatch] = []
        var bytes = 0
        var next = max(sequence, 1)
        guard next >= firstHeld || next > visible else {
            throw .notHeld(sequence: next, first: firstHeld)
        }
        while next <= visible, batches.isEmpty || bytes < bytesMax, batches.count < Self.batchesMax
        {
            let batch: SpooledBatch
            do {
                batch = try self.batch(at: next)
            } catch {
                guard batches.isEmpty else { break }
                throw error
            }
            bytes += batch.payload.count
            batches.append(batch)
            next += 1
        }
        if let end = batches.last { readThrough = max(readThrough, end.sequence) }
        return batches
    }

    /// Batches of one read.
    static let batchesMax = 256

    /// The batch of a sequence, or the gap in its place.
    mutating func batch(at sequence: UInt64) throws(SpoolError) -> SpooledBatch {
        if ledger.loss(at: sequence) == nil, let record = record(at: sequence) {
            return SpooledBatch(
                sequence: sequence, kind: record.kind, dictionary: dictionary(of: sequence),
                recordCount: Int(clamping: record.recordCount), payload: record.payload)
        }
        if ledger.loss(at: sequence) == nil { try noteDurably(sequence) }
        guard let loss = ledger.loss(at: sequence) else {
            throw .notHeld(sequence: sequence, first: firstHeld)
        }
        if sequence == loss.first, !loss.isPresented {
            ledger.markPresented(sequence)
            isLedgerDirty = true
        }
        let count = sequence == loss.first ? loss.present : 0
        let gap = GapRecord(
            reason: loss.reason, count: count,
            detail: "batches \(loss.first) to \(loss.last) of the agent's \(kind.name) spool")
        return SpooledBatch(
            sequence: sequence, kind: .gap, dictionary: dictionary(of: sequence),
            recordCount: Int(clamping: count), payload: GapPayload.encode(gap))
    }

    private func dictionary(of sequence: UInt64) -> UInt64 {
        if active == nil, let first = pending.first, first.sequence <= sequence {
            return memoryDictionary
        }
        if let active, active.header.first <= sequence { return active.header.first }
        if let segment = segment(of: sequence) { return segment.header.first }
        return ledger.loss(at: sequence)?.first ?? sequence
    }

    /// When the first record that is neither acknowledged nor lost was appended.
    mutating func oldestAt() -> TimestampNS? {
        var next = ledger.acknowledged + 1
        while let loss = ledger.loss(at: next) { next = loss.last + 1 }
        guard next <= last else { return nil }
        return record(at: next).map { TimestampNS($0.timestamp) }
    }

    func segment(of sequence: UInt64) -> SealedSegment? {
        sealed.last { $0.header.first <= sequence && sequence <= $0.last }
    }

    /// The record as it was appended; nil where it can't be read.
    private mutating func record(at sequence: UInt64) -> SegmentRecord? {
        if active == nil, let record = pending.first(where: { $0.sequence == sequence }) {
            return record
        }
        if let active, active.header.first <= sequence {
            let entry = active.entries.find(sequence)
            return entry.flatMap { Self.load($0, active.file, active.header) }
        }
        guard let segment = segment(of: sequence), let (scan, file) = scan(segment) else {
            return nil
        }
        let entry = scan.entries.find(sequence)
        return entry.flatMap { Self.load($0, file, segment.header) }
    }

    static func load(
        _ entry: SegmentEntry, _ file: any WorldFile, _ header: SegmentHeader
    ) -> SegmentRecord? {
        let read = { try? file.read(at: Int64(entry.offset), count: entry.bytes + 8) }
        // Twice: what once could not be read stays a gap for good.
        guard let bytes = read() ?? read(), let frame = RecordFrame.decode(bytes, at: 0, header),
            let record = SegmentRecord(frame), frame.sequence == entry.sequence
        else { return nil }
        return record
    }

    /// The segment's index, from the one kept or from its file.
    mutating func scan(_ segment: SealedSegment) -> (SegmentScan, any WorldFile)? {
        let header = segment.header
        if let kept = scanned, kept.first == header.first, kept.epoch == header.epoch {
            return (kept.scan, kept.file)
        }
        scanned?.file.close()
        scanned = nil
        guard let file = try? tree.open(segment.path, .read),
            let size = try? file.status().size, size <= 1 << 30,
            let bytes = try? file.read(at: 0, count: Int(size))
        else { return nil }
        let scan = SegmentScan(bytes, header, limit: segment.last + 1)
        scanned = (header.first, header.epoch, scan, file)
        return (scan, file)
    }

    /// A loss is read as a gap only when it is written down: else the content might come back at the next opening.
    private mutating func noteDurably(_ sequence: UInt64) throws(SpoolError) {
        let before = ledger
        try noteUnreadable(sequence)
        guard ledger.losses.count <= SpoolLedger.lossesMax, writeLedger() else {
            ledger = before
            throw .file(FileError(operation: "write", path: directory + "/state", errno: 5))
        }
    }

    /// Notes the run of unreadable sequences around `sequence` as a loss.
    private mutating func noteUnreadable(_ sequence: UInt64) throws(SpoolError) {
        var entries: [SegmentEntry] = []
        var bounds: (first: UInt64, last: UInt64, before: Cumulative, after: Cumulative)
        if let active, active.header.first <= sequence, let end = active.entries.last {
            bounds = (active.header.first, end.sequence, active.header.before, end.through)
            entries = active.entries
        } else if let segment = segment(of: sequence) {
            bounds = (segment.header.first, segment.last, segment.header.before, segment.after)
            entries = scan(segment)?.0.entries ?? []
        } else {
            return
        }
        if entries.contains(where: { $0.sequence == sequence }) {
            // Indexed but no longer intact: this record alone.
            bounds.first = sequence
            bounds.last = sequence
        }
        if let before = entries.last(where: { $0.sequence < sequence }) {
            bounds.first = max(bounds.first, before.sequence + 1)
            bounds.before = before.through
        }
        if let entry = entries.find(sequence) {
            bounds.after = entry.through
        } else if let after = entries.first(where: { $0.sequence > sequence }) {
            bounds.last = after.sequence - 1
            bounds.after = after.through
            if after.kind == .gap {
                bounds.after.gap -= after.recordCount
            } else {
                bounds.after.data -= after.recordCount
            }
        }
        let data = bounds.after.data - bounds.before.data
        let loss = SpoolLoss(
            first: bounds.first, last: bounds.last, reason: .corruptSegment, data: data,
            present: data + bounds.after.gap - bounds.before.gap, through: bounds.after)
        guard ledger.add(loss) else {
            throw .full(bytes: ledger.losses.count, maximum: SpoolLedger.heldMax)
        }
        isLedgerDirty = true
    }

    /// Payloads with the definitions that batches from `sequence` on may refer to; nil where one can't be read.
    mutating func definitions(
        in segment: SealedSegment, before sequence: UInt64
    ) -> [SegmentRecord]? {
        guard let (scan, file) = scan(segment) else { return nil }
        let wanted =
            scan.preambles
            + scan.entries.filter {
                $0.sequence < sequence && $0.kind != .gap
            }
        var records: [SegmentRecord] = []
        for entry in wanted {
            guard let record = Self.load(entry, file, segment.header) else { return nil }
            records.append(record)
        }
        return records
    }

    /// The readable batches before `sequence` in its dictionary, definitions carried over from older segments first.
    mutating func preceding(_ sequence: UInt64) -> [SpooledBatch] {
        var found: [SegmentRecord] = []
        var number = memoryDictionary
        if let active, active.header.first <= sequence {
            number = active.header.first
            let wanted = active.preambles + active.entries.filter { $0.sequence < sequence }
            found = wanted.compactMap { Self.load($0, active.file, active.header) }
        } else if active == nil, let first = pending.first, first.sequence <= sequence {
            if let source = memorySource {
                found = definitions(in: source, before: source.last + 1) ?? []
            }
            found += pending.filter { $0.sequence < sequence }
        } else if let segment = segment(of: sequence), let (scan, file) = scan(segment) {
            number = segment.header.first
            let wanted = scan.preambles + scan.entries.filter { $0.sequence < sequence }
            found = wanted.compactMap { Self.load($0, file, segment.header) }
        }
        return found.filter { $0.kind != .gap }.map {
            SpooledBatch(
                sequence: $0.sequence, kind: $0.kind, dictionary: number,
                recordCount: Int(clamping: $0.recordCount), payload: $0.payload)
        }
    }

    // MARK: acknowledging

    mutating func acknowledge(through sequence: UInt64) {
        let end = min(sequence, visible)
        guard end > ledger.acknowledged, let totals = totals(at: end) else { return }
        ledger.acknowledge(end, through: totals)
        isLedgerDirty = true
        dropAcknowledged()
        if active == nil, let end = pending.last, end.sequence <= ledger.acknowledged {
            pending.removeAll()
            pendingBytes = 0
            memorySource = nil
            memoryDictionary = last + 1
            encoderDictionary = last + 1
        }
    }

    /// Totals through `sequence`, which is held; nil where nothing says them.
    mutating func totals(at sequence: UInt64) -> Cumulative? {
        if sequence == ledger.acknowledged { return ledger.acknowledgedThrough }
        if sequence == last { return through }
        if let loss = ledger.loss(at: sequence) {
            guard !loss.isPresented, sequence < loss.last else { return loss.through }
            return Cumulative(
                data: loss.through.data - loss.data,
                gap: loss.through.gap - (loss.present - loss.data))
        }
        if let segment = segment(of: sequence), sequence == segment.last { return segment.after }
        if let active, let entry = active.entries.find(sequence) {
            return entry.through
        }
        if let record = pending.first(where: { $0.sequence == sequence }) { return record.through }
        guard let segment = segment(of: sequence), let (scan, _) = scan(segment) else { return nil }
        return scan.entries.find(sequence)?.through
    }

    /// Frees the segments that are acknowledged whole; the ledger is durable before their names go.
    mutating func dropAcknowledged() {
        let count = sealed.prefix { $0.last <= ledger.acknowledged }.count
        guard count > 0, writeLedger() else { return }
        removeSegments(count)
    }

    private mutating func removeSegments(_ count: Int) {
        for segment in sealed.prefix(count) {
            if scanned?.first == segment.header.first {
                scanned?.file.close()
                scanned = nil
            }
            try? tree.remove(segment.path)
        }
        sealed.removeFirst(count)
    }

    /// The oldest sealed segment goes and stands as a gap. False where there is none, or the loss can't be written down.
    mutating func dropOldest() -> Bool {
        guard let oldest = sealed.first, ledger.losses.count < SpoolLedger.lossesMax - 20 else {
            return false
        }
        let from = max(oldest.header.first, ledger.acknowledged + 1)
        // What may be in flight keeps a loss of its own a sequence, so that a late ack finds its exact count.
        let inFlight = min(readThrough, oldest.last, from + 15)
        var next = from
        while next <= oldest.last {
            if let covered = ledger.loss(at: next) {
                next = covered.last + 1
                continue
            }
            let ahead = ledger.losses.first { $0.first > next }?.first ?? .max
            let end = next <= inFlight ? next : min(oldest.last, ahead - 1)
            let before =
                next == oldest.header.first
                ? oldest.header.before : totals(at: next - 1) ?? oldest.header.before
            let after = totals(at: end) ?? oldest.after
            let data = after.data - before.data
            let loss = SpoolLoss(
                first: next, last: end, reason: .spoolFull, data: data,
                present: data + after.gap - before.gap, through: after)
            guard next <= inFlight ? ledger.insert(loss) : ledger.add(loss) else { return false }
            next = end + 1
        }
        guard writeLedger() else { return false }
        removeSegments(1)
        return true
    }

    /// The batch is refused for good.
    mutating func reject(_ sequence: UInt64) {
        guard sequence > ledger.acknowledged, ledger.loss(at: sequence) == nil,
            let record = record(at: sequence)
        else { return }
        let isGap = record.kind == .gap
        _ = ledger.insert(
            SpoolLoss(
                first: sequence, last: sequence, reason: .rejected,
                data: isGap ? 0 : record.recordCount, present: record.recordCount,
                through: record.through, isPresented: true))
        writeLedger()
    }
}
