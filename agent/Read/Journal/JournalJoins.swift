import Model

/// Joins the parts of lines that were split on their way into the journal, and keeps the order of all entries.
///
/// Three writers split lines. Docker does at 16 KiB; newer versions number the parts of each line
/// (CONTAINER_PARTIAL_ID, _ORDINAL, _LAST), older ones mark all parts but the last (CONTAINER_PARTIAL_MESSAGE), and what
/// podman marks so says nothing, since conmon sets it on every line. So an unnumbered part is one of a line only where it
/// is as long as the split, which conmon's buffer of 8 KiB never is; it ends with the first shorter entry of the
/// container's output. journald does at LineMax: `_LINE_BREAK=line-max`, of one `_STREAM_ID`.
/// Sources: moby `daemon/logger/journald`, `daemon/logger/copier.go`; conmon issue 335; systemd `journald-stream.c`.
///
/// **Order and position.** While a line is incomplete, everything after its first part waits behind it: entries leave in
/// the order of their first parts, in every stream and over all. The cursor of the entry before the oldest one that
/// waits is the position, with the numbers of later parts that left already with an earlier line (`JournalPosition`).
/// So the journal itself is the memory of what waits: after a kill the same entries are read and joined again.
/// Giving others out past an incomplete line would need a list of all of them instead, and would turn the order of a
/// container's lines around.
///
/// **Bounds.** A line waits `waitMicroseconds` at most, by the time of the entries, and where the journal is silent by
/// the clock; so a unit that writes huge lines all day delays others by no more than that. All that waits costs
/// `heldBytesMax` at most and `openMax` lines are incomplete at a time; beyond that the oldest leaves as it is. What
/// leaves before its end, and a numbered rest that comes later, is marked `petrel_partial`. Nothing is remembered of it,
/// so that a restart behind it does the same.
///
/// What can't be told apart: an unnumbered part, or one of `_LINE_BREAK`, whose line ended exactly at the split, takes
/// the next entry of its output with it where that comes in time; journald writes no empty rest.
struct JournalJoins: Sendable {
    /// Incomplete lines at a time. Overflow: the oldest leaves as it is.
    static let openMax = 16
    /// Bytes of all that waits: messages, `entryCost` for each entry, `partCost` for each part that a position may have
    /// to name. Overflow: the oldest incomplete line leaves as it is.
    static let heldBytesMax = 1 << 20
    static let entryCost = 512
    /// So at most 256 parts, some 4 KiB of a position; a line of 16 KiB parts is joined up to 4 MiB, and kept up to
    /// `LogEntry.lineBytesMax`.
    static let partCost = 4096
    /// From the first part of a line to its last.
    static let waitMicroseconds: UInt64 = 1_000_000
    /// Docker's split. Source: moby `daemon/logger/copier.go`, `defaultBufSize`.
    static let dockerSplitBytes = 16 << 10

    private enum Key: Hashable {
        case stream([UInt8])
        case numbered(container: [UInt8], id: [UInt8])
        /// Standard output and error differ by their priority.
        case unnumbered(container: [UInt8], priority: [UInt8])
    }

    private struct Part {
        let key: Key
        /// 0 where parts are not numbered.
        let ordinal: UInt64
        let isLast: Bool
    }

    private struct Given {
        let index: UInt64
        let cursor: JournalCursor
    }

    private struct Element {
        var record: JournalRecord
        var gaps: [GapRecord]
        /// When it was read, counted in entries.
        let index: UInt64
        /// The entry read before it; nil where there was none.
        let before: JournalCursor?
        let openedAt: Int64
        /// Nil once complete.
        var key: Key?
        var ordinal: UInt64
        /// All but the first.
        var parts: [Given] = []

        var cost: Int { record.message.count + entryCost + parts.count * partCost }
    }

    /// In the order of their first parts.
    private var elements: [Element] = []
    /// Of `elements`, those that have left.
    private var leftCount = 0
    /// The places of incomplete ones in `elements`, ascending.
    private var open: [Int] = []
    /// Parts that have left although an earlier entry may still wait.
    private var given: [Given] = []
    private var cost = 0
    private var index: UInt64 = 0

    /// Nothing waits.
    var isEmpty: Bool { leftCount == elements.count }
    /// `next` has something.
    var isReady: Bool { !isEmpty && elements[leftCount].key == nil }

    // MARK: in

    /// Takes the entry that was read; `before` is the one before it. False where it need not wait: it is to be given out
    /// at once, together with `gaps`. `nanoseconds` are the monotonic clock's.
    mutating func take(
        _ record: inout JournalRecord, gaps: [GapRecord], before: JournalCursor?,
        at nanoseconds: @autoclosure () -> Int64
    ) -> Bool {
        index += 1
        if !open.isEmpty { expire(at: record.realtimeMicroseconds) }
        guard let part = part(record) else {
            guard !isEmpty else { return false }
            append(record, gaps, before, nil, nanoseconds())
            return true
        }
        if let place = open.first(where: { elements[$0].key == part.key }) {
            if part.ordinal == 0 || part.ordinal == elements[place].ordinal + 1 {
                absorb(record, gaps, part, at: place)
                return true
            }
            // A part is missing.
            close(place, isFragment: true)
        }
        record.isFragment = part.ordinal > 1
        if part.isLast {
            guard !isEmpty else { return false }
            append(record, gaps, before, nil, nanoseconds())
            return true
        }
        if open.count >= Self.openMax, let oldest = open.first { close(oldest, isFragment: true) }
        append(record, gaps, before, part, nanoseconds())
        return true
    }

    /// Notes that the entry was given out before a restart and is passed over.
    mutating func pass(_ cursor: JournalCursor) {
        index += 1
        guard !isEmpty else { return }
        given.append(Given(index: index, cursor: cursor))
        cost += Self.partCost
        bound()
    }

    /// Notes a gap behind all that waits: it leaves with the last of that. False where nothing waits.
    mutating func add(_ gap: GapRecord) -> Bool {
        guard !isEmpty else { return false }
        elements[elements.count - 1].gaps.append(gap)
        return true
    }

    /// Lines that have waited long enough in a silent journal leave as they are.
    mutating func expire(nanoseconds: Int64) {
        for place in open
        where nanoseconds - elements[place].openedAt >= Int64(Self.waitMicroseconds) * 1000 {
            close(place, isFragment: true)
        }
    }

    /// Until when `expire(nanoseconds:)` finds something; nil where nothing waits.
    var deadlineNanoseconds: Int64? {
        open.first.map { elements[$0].openedAt + Int64(Self.waitMicroseconds) * 1000 }
    }

    // MARK: out

    /// The oldest entry that waits, where it need not wait any more, and the gaps before it.
    mutating func next() -> (record: JournalRecord, gaps: [GapRecord])? {
        guard isReady else { return nil }
        let element = elements[leftCount]
        cost -= element.cost
        given += element.parts
        cost += element.parts.count * Self.partCost
        // What has left is not held.
        elements[leftCount].record = JournalRecord()
        elements[leftCount].gaps = []
        elements[leftCount].parts = []
        leftCount += 1
        if isEmpty { forget() } else { forgetParts(before: elements[leftCount].index) }
        return (element.record, element.gaps)
    }

    /// Where reading goes on after what has left; `last` is the last entry that was read. Nil where none was before.
    func position(last: JournalCursor?) -> JournalPosition? {
        guard !isEmpty else { return last.map { JournalPosition(cursor: $0.text) } }
        let oldest = elements[leftCount]
        guard let before = oldest.before else { return nil }
        var position = JournalPosition(cursor: before.text)
        for part in given where part.index > oldest.index {
            guard let number = part.cursor.sequence else { continue }
            position.given.insert(number, of: part.cursor.sequenceID)
        }
        return position
    }

    // MARK: parts

    /// Which line the entry is a part of; nil where it is one by itself.
    private func part(_ record: JournalRecord) -> Part? {
        let parting = record.parting
        // Without a number a position can't name it.
        guard record.cursor.sequence != nil else { return nil }
        if !parting.containerID.isEmpty {
            if !parting.partialID.isEmpty {
                return Part(
                    key: .numbered(container: parting.containerID, id: parting.partialID),
                    ordinal: parting.partialOrdinal,
                    isLast: parting.isPartialLast || !parting.isPartial)
            }
            let isCut = parting.isPartial && record.messageBytes >= Self.dockerSplitBytes
            guard isCut || !open.isEmpty else { return nil }
            let key = Key.unnumbered(
                container: parting.containerID, priority: record.priority)
            guard isCut || isOpen(key) else { return nil }
            return Part(key: key, ordinal: 0, isLast: !isCut)
        }
        guard !parting.streamID.isEmpty, parting.isLineCut || !open.isEmpty else { return nil }
        let key = Key.stream(parting.streamID)
        guard parting.isLineCut || isOpen(key) else { return nil }
        return Part(key: key, ordinal: 0, isLast: !parting.isLineCut)
    }

    private func isOpen(_ key: Key) -> Bool { open.contains { elements[$0].key == key } }

    private mutating func append(
        _ record: JournalRecord, _ gaps: [GapRecord], _ before: JournalCursor?, _ part: Part?,
        _ nanoseconds: Int64
    ) {
        compact()
        let element = Element(
            record: record, gaps: gaps, index: index, before: before, openedAt: nanoseconds,
            key: part?.key, ordinal: part?.ordinal ?? 0)
        if part != nil { open.append(elements.count) }
        elements.append(element)
        cost += element.cost
        bound()
    }

    private mutating func absorb(
        _ record: JournalRecord, _ gaps: [GapRecord], _ part: Part, at place: Int
    ) {
        let old = elements[place].cost
        let room = LogEntry.lineBytesMax - elements[place].record.message.count
        elements[place].record.message += record.message.prefix(room)
        elements[place].record.messageBytes += record.messageBytes
        elements[place].gaps += gaps
        elements[place].ordinal = part.ordinal
        elements[place].parts.append(Given(index: index, cursor: record.cursor))
        cost += elements[place].cost - old
        if part.isLast { close(place, isFragment: false) }
        bound()
    }

    private mutating func close(_ place: Int, isFragment: Bool) {
        elements[place].key = nil
        if isFragment { elements[place].record.isFragment = true }
        open.removeAll { $0 == place }
    }

    /// Lines whose first part is too old at the time of an entry leave as they are.
    private mutating func expire(at microseconds: UInt64) {
        for place in open {
            let began = elements[place].record.realtimeMicroseconds
            if microseconds > began, microseconds - began > Self.waitMicroseconds {
                close(place, isFragment: true)
            }
        }
    }

    // MARK: bounds

    /// Closes the oldest lines until what waits behind the next is within the bounds.
    private mutating func bound() {
        while cost > Self.heldBytesMax, let oldest = open.first {
            if waitingCost(from: oldest) <= Self.heldBytesMax { return }
            close(oldest, isFragment: true)
        }
    }

    /// What is held once all before the place has left. O(n).
    private func waitingCost(from place: Int) -> Int {
        let first = elements[place].index
        var sum = elements[place...].reduce(0) { $0 + $1.cost }
        sum += given.count { $0.index > first } * Self.partCost
        for element in elements[leftCount..<place] {
            sum += element.parts.count { $0.index > first } * Self.partCost
        }
        return sum
    }

    /// Gives back, now and then, what those that have left took.
    private mutating func compact() {
        guard leftCount > 0, leftCount * 2 >= elements.count || leftCount >= 64 else { return }
        elements.removeFirst(leftCount)
        for place in open.indices { open[place] -= leftCount }
        leftCount = 0
    }

    private mutating func forgetParts(before first: UInt64) {
        let count = given.count
        guard count > 0 else { return }
        given.removeAll { $0.index < first }
        cost -= (count - given.count) * Self.partCost
    }

    private mutating func forget() {
        elements.removeAll(keepingCapacity: true)
        given.removeAll()
        leftCount = 0
        cost = 0
    }
}
