import Glibc
import Model
import Synchronization

/// How many lines the targets of an agent remember together.
package final class SeriesBudget: Sendable {
    package let max: Int
    private let used = Mutex(0)

    package init(max: Int = ScrapeLimits.seriesTotalMax) { self.max = max }

    package var count: Int { used.withLock { $0 } }

    /// False where all are taken.
    package func reserve() -> Bool {
        used.withLock { used in
            guard used < max else { return false }
            used += 1
            return true
        }
    }

    package func release(_ count: Int) { used.withLock { $0 -= count } }
}

/// The series of a target, found by the text of their lines.
///
/// A line that the scrape before had is found without any allocation: mostly it is the one that followed then too, and
/// one comparison of bytes does; else a hash of its bytes, seeded anew in each process, leads to it. Several lines may
/// be one series (labels in another order, labels that relabeling took away); a line that relabeling drops has none.
/// Lines: at most `SeriesBudget.max` over all targets.
struct SeriesTable: Sendable {
    /// What becomes of a line.
    enum Meaning: Hashable, Sendable {
        case series(Int)
        case dropped
    }

    struct SeriesState: Sendable {
        var lines = 0
        /// The target had it in its last scrape, at the scrape's own time: its end deserves a staleness marker.
        var isLive = false
        /// The last round that tracked it.
        var round: UInt32 = 0
        /// The last round that it had a sample, 0 where none is sent; the sample's time and the bits of its value.
        var rowRound: UInt32 = 0
        var rowTime: Int64 = 0
        var rowBits: UInt64 = 0
        /// Hash of the exemplar that was taken last, as it is written; 0: none was. A target shows the same one again and
        /// again.
        var exemplar = 0
    }

    private struct Line: Sendable {
        /// Empty where the place is free.
        var key: [UInt8] = []
        var hash = 0
        /// -1 where relabeling drops the line.
        var slot: Int32 = -1
        /// The next line of the same hash; -1 at the end.
        var next: Int32 = -1
        /// The line that came after it last time; -1 where none did.
        var follower: Int32 = -1
        var round: UInt32 = 0
    }

    private(set) var series: [TargetSeries] = []
    var states: [SeriesState] = []
    private var lines: [Line] = []
    private var heads: [Int: Int32] = [:]
    private var slots: [Labels: Int32] = [:]
    private var freeLines: [Int32] = []
    private var freeSlots: [Int32] = []
    private var firstLine: Int32 = -1
    /// Texts that many series share.
    private var texts: Set<ExactText> = []
    /// Lines that a scrape created, for taking it back.
    private var created: [Int32] = []

    /// Lines that are held, and so what of the budget is taken.
    var lineCount: Int { lines.count - freeLines.count }

    /// A series without a line: it stays until the end. Returns its slot.
    mutating func addOwn(_ own: TargetSeries) -> Int {
        let slot = place(own)
        states[slot].lines = 1
        return slot
    }

    /// Where the line with these bytes stands, given the one before it; nil where it is new.
    mutating func find(_ bytes: UnsafeRawBufferPointer, after previous: Int) -> Int? {
        let guess = previous < 0 ? firstLine : lines[previous].follower
        if guess >= 0, Self.isEqual(lines[Int(guess)].key, bytes) { return Int(guess) }
        guard var at = heads[Self.hash(bytes)] else { return nil }
        while at >= 0 {
            if Self.isEqual(lines[Int(at)].key, bytes) {
                follow(previous, Int(at))
                return Int(at)
            }
            at = lines[Int(at)].next
        }
        return nil
    }

    /// Marks `line` as seen in `round`, and says what it means.
    mutating func see(_ line: Int, _ round: UInt32) -> Meaning {
        lines[line].round = round
        let slot = lines[line].slot
        return slot < 0 ? .dropped : .series(Int(slot))
    }

    /// Remembers a new line; `series` is nil where relabeling drops it. Returns its place.
    mutating func add(
        _ bytes: UnsafeRawBufferPointer, _ new: TargetSeries?, after previous: Int
    ) -> Int {
        var line = Line(key: Array(bytes), hash: Self.hash(bytes))
        if let new {
            let slot = slots[new.labels].map { Int($0) } ?? place(shared(new))
            states[slot].lines += 1
            line.slot = Int32(slot)
        }
        line.next = heads[line.hash] ?? -1
        let at = freeLines.popLast() ?? Int32(lines.count)
        if Int(at) == lines.count { lines.append(line) } else { lines[Int(at)] = line }
        heads[line.hash] = at
        created.append(at)
        follow(previous, Int(at))
        return Int(at)
    }

    /// A scrape begins: nothing is created yet.
    mutating func begin() { created = [] }

    /// Forgets the lines that this scrape created; returns how many.
    mutating func takeBack() -> Int {
        for line in created { remove(line) }
        defer { created = [] }
        return created.count
    }

    /// Forgets the lines that `round` did not see; returns how many. Slots of the series that ended are free then.
    mutating func forget(notSeenIn round: UInt32) -> Int {
        var count = 0
        for line in lines.indices where !lines[line].key.isEmpty && lines[line].round != round {
            remove(Int32(line))
            count += 1
        }
        if count > 0 { trimTexts() }
        return count
    }

    private mutating func follow(_ previous: Int, _ line: Int) {
        if previous < 0 { firstLine = Int32(line) } else { lines[previous].follower = Int32(line) }
    }

    private mutating func place(_ new: TargetSeries) -> Int {
        let slot = freeSlots.popLast() ?? Int32(series.count)
        if Int(slot) == series.count {
            series.append(new)
            states.append(SeriesState())
        } else {
            series[Int(slot)] = new
            states[Int(slot)] = SeriesState()
        }
        slots[new.labels] = slot
        return Int(slot)
    }

    /// A follower may point at a place that is used anew: it is a guess, and its bytes are compared.
    private mutating func remove(_ at: Int32) {
        let line = lines[Int(at)]
        if heads[line.hash] == at {
            heads[line.hash] = line.next >= 0 ? line.next : nil
        } else if var before = heads[line.hash] {
            while lines[Int(before)].next != at { before = lines[Int(before)].next }
            lines[Int(before)].next = line.next
        }
        lines[Int(at)] = Line()
        freeLines.append(at)
        guard line.slot >= 0 else { return }
        let slot = Int(line.slot)
        states[slot].lines -= 1
        guard states[slot].lines == 0 else { return }
        slots[series[slot].labels] = nil
        series[slot] = TargetSeries(labels: .empty, family: "")
        states[slot] = SeriesState()
        freeSlots.append(line.slot)
    }

    // MARK: - Texts and bytes

    /// The series with texts that others have too, so that they are held once.
    private mutating func shared(_ new: TargetSeries) -> TargetSeries {
        TargetSeries(
            labels: Labels(
                sortedUnchecked: new.labels.map { Label(shared($0.name), shared($0.value)) }),
            family: shared(new.family),
            metadata: MetricMetadata(
                type: new.metadata.type, help: shared(new.metadata.help),
                unit: shared(new.metadata.unit)))
    }

    /// Texts of up to 15 bytes need no memory of their own.
    private mutating func shared(_ text: String) -> String {
        text.utf8.count <= 15 ? text : texts.insert(ExactText(text)).memberAfterInsert.text
    }

    private mutating func trimTexts() {
        if texts.count > 4 * lineCount + 64 { texts = [] }
    }

    static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        return hasher.finalize()
    }

    private static func isEqual(_ key: [UInt8], _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard key.count == bytes.count, let start = bytes.baseAddress else { return false }
        return key.withUnsafeBytes { own in
            own.baseAddress.map { memcmp($0, start, bytes.count) == 0 } ?? false
        }
    }
}
