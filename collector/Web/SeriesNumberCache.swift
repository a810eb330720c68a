package import RemoteWrite
package import Storage
import Synchronization

/// Numbers of series by the bytes of their label sets, so that a series that is sent again is not decoded again. Safe from
/// any thread.
///
/// Two generations: what is found in the older one moves to the newer, and when the newer is full the older one is
/// forgotten. A number never becomes another series'; where the storage has removed its own, everything is forgotten.
package final class SeriesNumberCache: Sendable {
    /// Series of a generation, and bytes of their label sets.
    package struct Limits: Hashable, Sendable {
        package var countMax = 400_000
        package var bytesMax = 48 << 20

        package init() {}
    }

    /// What is known of a series.
    package struct Entry: Hashable, Sendable {
        package var number: SeriesID
        /// Of the metadata that was stored for it; 0: none.
        package var metadataHash: Int

        package init(number: SeriesID, metadataHash: Int = 0) {
            self.number = number
            self.metadataHash = metadataHash
        }
    }

    /// An open hash table; its keys lie one after the other in an array.
    private struct Generation {
        private struct Slot {
            var hash: Int
            var start: Int
            var count: Int32
            var entry: Entry
        }

        private var slots: [Slot] = []
        private var bytes: [UInt8] = []
        /// Indexes of `slots` plus 1, 0 where free; a power of two of them, at most half taken.
        private var table = [Int32](repeating: 0, count: 64)

        var count: Int { slots.count }
        var byteCount: Int { bytes.count }

        func find(_ key: RawLabels.Spelling, _ hash: Int) -> Entry? {
            place(key, hash).slot.map { slots[$0].entry }
        }

        mutating func set(_ key: RawLabels.Spelling, _ hash: Int, _ entry: Entry) {
            let (index, known) = place(key, hash)
            if let known {
                slots[known].entry = entry
                return
            }
            table[index] = Int32(slots.count + 1)
            slots.append(
                Slot(hash: hash, start: bytes.count, count: Int32(key.count), entry: entry))
            bytes.append(contentsOf: key.shared)
            bytes.append(contentsOf: key.own)
            if slots.count * 2 > table.count { grow() }
        }

        /// The table's place for a key, and its slot where it is known.
        private func place(
            _ key: RawLabels.Spelling, _ hash: Int
        ) -> (index: Int, slot: Int?) {
            let mask = table.count - 1
            var index = hash & mask
            while table[index] != 0 {
                let slot = Int(table[index] - 1)
                if slots[slot].hash == hash, equals(slots[slot], key) { return (index, slot) }
                index = (index + 1) & mask
            }
            return (index, nil)
        }

        private func equals(_ slot: Slot, _ key: RawLabels.Spelling) -> Bool {
            guard Int(slot.count) == key.count else { return false }
            return bytes.withUnsafeBytes { bytes in
                Self.begins(bytes, at: slot.start, with: key.shared)
                    && Self.begins(bytes, at: slot.start + key.shared.count, with: key.own)
            }
        }

        private static func begins(
            _ bytes: UnsafeRawBufferPointer, at start: Int, with piece: UnsafeRawBufferPointer
        ) -> Bool {
            var at = 0
            while at + 8 <= piece.count {
                let known = bytes.loadUnaligned(fromByteOffset: start + at, as: UInt64.self)
                guard known == piece.loadUnaligned(fromByteOffset: at, as: UInt64.self) else {
                    return false
                }
                at += 8
            }
            return (at..<piece.count).allSatisfy { bytes[start + $0] == piece[$0] }
        }

        private mutating func grow() {
            table = [Int32](repeating: 0, count: table.count * 2)
            let mask = table.count - 1
            for (number, slot) in slots.enumerated() {
                var index = slot.hash & mask
                while table[index] != 0 { index = (index + 1) & mask }
                table[index] = Int32(number + 1)
            }
        }
    }

    private struct State {
        var newer = Generation()
        var older = Generation()
    }

    private let limits: Limits
    private let state = Mutex(State())

    /// Knows nothing yet.
    package init(limits: Limits = Limits()) { self.limits = limits }

    /// Series in memory, those of both generations.
    package var count: Int { state.withLock { $0.newer.count + $0.older.count } }

    /// Forgets everything.
    package func removeAll() { state.withLock { $0 = State() } }

    /// What is known of each series of `request`; nil where nothing is.
    package func entries(of request: WriteRequest) -> [Entry?] {
        request.labelBytes.withUnsafeBytes { bytes in
            let keys = request.series.map { $0.spelling(in: bytes) }
            let hashes = keys.map(Self.hash)
            return state.withLock { state in
                keys.indices.map { index in
                    guard let hash = hashes[index] else { return nil }
                    if let found = state.newer.find(keys[index], hash) { return found }
                    guard let old = state.older.find(keys[index], hash) else { return nil }
                    set(keys[index], hash, old, &state)
                    return old
                }
            }
        }
    }

    /// Takes in what is known of series of `request`, by their index in it.
    package func insert(_ entries: [(index: Int, entry: Entry)], of request: WriteRequest) {
        guard !entries.isEmpty else { return }
        request.labelBytes.withUnsafeBytes { bytes in
            state.withLock { state in
                for (index, entry) in entries {
                    let key = request.series[index].spelling(in: bytes)
                    if let hash = Self.hash(key) { set(key, hash, entry, &state) }
                }
            }
        }
    }

    private func set(
        _ key: RawLabels.Spelling, _ hash: Int, _ entry: Entry, _ state: inout State
    ) {
        if state.newer.count >= limits.countMax || state.newer.byteCount >= limits.bytesMax {
            state.older = state.newer
            state.newer = Generation()
        }
        state.newer.set(key, hash, entry)
    }

    /// Seeded anew in each process: nobody can choose label sets that all fall into one place. Nil for what is too long to be
    /// any series'.
    private static func hash(_ key: RawLabels.Spelling) -> Int? {
        guard key.count <= RawLabels.bytesMax else { return nil }
        var hasher = Hasher()
        hasher.combine(bytes: key.shared)
        hasher.combine(bytes: key.own)
        return hasher.finalize()
    }
}
