import Model

/// Sequences whose content is gone: they are read as gap batches, the first with the count of all, the rest with 0.
struct SpoolLoss: Hashable, Sendable {
    var first: UInt64
    /// Inclusive.
    var last: UInt64
    var reason: GapReason
    /// Data records lost.
    var data: UInt64
    /// What the gap batch of `first` says: the data lost and the gaps that stood among it.
    var present: UInt64
    /// Totals through `last`.
    var through: Cumulative
    /// It was read as a gap, so its content is fixed.
    var isPresented = false

    func contains(_ sequence: UInt64) -> Bool { first <= sequence && sequence <= last }
}

/// What must survive a restart beside the segments: how far the collector has acknowledged, and what is lost.
///
/// Pure; kept in two slots of 4 KiB written in turn (`docs/formats/spool.md`).
struct SpoolLedger: Hashable, Sendable {
    /// Losses that fit a slot.
    static let lossesMax = 64
    /// Losses held in memory; what a slot has no room for is found again by reading the segments.
    static let heldMax = 4096

    var epoch: UInt64
    var acknowledged: UInt64 = 0
    /// Totals through `acknowledged`.
    var acknowledgedThrough = Cumulative()
    /// Data records of losses at or before `acknowledged`.
    var lostPassed: UInt64 = 0
    /// Sequences may have been sent that no segment holds: the next opening begins a new epoch.
    var isVolatile = false
    /// Ascending, disjoint, each ending after `acknowledged`.
    var losses: [SpoolLoss] = []

    /// Data records of losses, those passed included.
    var lostData: UInt64 {
        losses.reduce(lostPassed) { $0 + ($1.first > acknowledged ? $1.data : 0) }
    }

    func loss(at sequence: UInt64) -> SpoolLoss? { losses.first { $0.contains(sequence) } }

    /// Notes a loss; joins it to its neighbour where neither was read as a gap yet. False where the table is full.
    mutating func add(_ loss: SpoolLoss) -> Bool {
        let at = losses.firstIndex { $0.first > loss.first } ?? losses.count
        if at > 0, losses[at - 1].last + 1 == loss.first, losses[at - 1].reason == loss.reason,
            !losses[at - 1].isPresented, !loss.isPresented, losses[at - 1].first > acknowledged
        {
            losses[at - 1].last = loss.last
            losses[at - 1].data += loss.data
            losses[at - 1].present += loss.present
            losses[at - 1].through = loss.through
            return true
        }
        guard losses.count < Self.heldMax else { return false }
        losses.insert(loss, at: at)
        return true
    }

    /// Notes a loss that stays by itself. False where the table is full.
    mutating func insert(_ loss: SpoolLoss) -> Bool {
        guard losses.count < Self.heldMax else { return false }
        losses.insert(loss, at: losses.firstIndex { $0.first > loss.first } ?? losses.count)
        return true
    }

    mutating func markPresented(_ sequence: UInt64) {
        guard let index = losses.firstIndex(where: { $0.first == sequence }) else { return }
        losses[index].isPresented = true
    }

    /// The collector has everything through `sequence`; `through` are the totals there. A loss that was never read as a
    /// gap can't have been sent as one: what was acknowledged is the content itself, and the loss is undone.
    mutating func acknowledge(_ sequence: UInt64, through: Cumulative) {
        guard sequence > acknowledged else { return }
        for index in losses.indices {
            let loss = losses[index]
            guard loss.first > acknowledged, loss.first <= sequence else { continue }
            if loss.isPresented {
                lostPassed += loss.data
            } else if loss.last > sequence {
                // How much of it was stored is not known any more: all of it stays a loss of the rest.
                losses[index].first = sequence + 1
                losses[index].through = loss.through
            }
        }
        losses.removeAll { $0.last <= sequence }
        acknowledged = sequence
        acknowledgedThrough = through
    }

    // MARK: the slot

    static let slotBytes = 4096
    private static let magic: UInt64 = 0x3154_5453_4c52_5450  // "PTRLSTT1"
    private static let lossBytes = 56

    /// One slot, 4,096 bytes.
    func encoded(version: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put(Self.magic)
        for word in [
            version, epoch, acknowledged, acknowledgedThrough.data, acknowledgedThrough.gap,
            lostPassed, isVolatile ? 1 : 0,
            UInt64(min(losses.count, Self.lossesMax)),
        ] { bytes.put(word) }
        for loss in losses.prefix(Self.lossesMax) {
            for word in [
                loss.first, loss.last, loss.data, loss.present, loss.through.data, loss.through.gap,
            ] { bytes.put(word) }
            bytes.put(UInt32(GapReason.allCases.firstIndex(of: loss.reason) ?? 0))
            bytes.put(UInt32(loss.isPresented ? 1 : 0))
        }
        bytes += [UInt8](repeating: 0, count: Self.slotBytes - 4 - bytes.count)
        var crc = CRC32C()
        crc.add(bytes)
        bytes.put(crc.value)
        return bytes
    }

    /// Nil where the slot is empty or broken.
    static func decode(_ bytes: [UInt8]) -> (ledger: SpoolLedger, version: UInt64)? {
        guard bytes.count == slotBytes else { return nil }
        var crc = CRC32C()
        crc.add(Array(bytes[0..<(slotBytes - 4)]))
        guard bytes.u32(slotBytes - 4) == crc.value, bytes.u64(0) == magic else { return nil }
        var ledger = SpoolLedger(epoch: bytes.u64(16))
        ledger.acknowledged = bytes.u64(24)
        ledger.acknowledgedThrough = Cumulative(data: bytes.u64(32), gap: bytes.u64(40))
        ledger.lostPassed = bytes.u64(48)
        ledger.isVolatile = bytes.u64(56) != 0
        let count = Int(clamping: bytes.u64(64))
        guard count <= lossesMax else { return nil }
        for index in 0..<count {
            let at = 72 + index * lossBytes
            let reasons = GapReason.allCases
            let reason = Int(bytes.u32(at + 48))
            ledger.losses.append(
                SpoolLoss(
                    first: bytes.u64(at), last: bytes.u64(at + 8),
                    reason: reason < reasons.count ? reasons[reason] : .corruptSegment,
                    data: bytes.u64(at + 16), present: bytes.u64(at + 24),
                    through: Cumulative(data: bytes.u64(at + 32), gap: bytes.u64(at + 40)),
                    isPresented: bytes.u32(at + 52) != 0))
        }
        return (ledger, bytes.u64(8))
    }
}
