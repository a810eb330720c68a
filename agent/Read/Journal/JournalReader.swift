package import Model
import Synchronization
package import World

/// How a journal is read.
package struct JournalConfiguration: Hashable, Sendable {
    /// Where reading begins without a stored position.
    package enum Start: Hashable, Sendable {
        /// With the oldest entry that is kept.
        case head
        /// With what is written from now on.
        case tail
    }

    package var start: Start
    /// After how many entries mapped memory is given back.
    package var entriesPerRelease: Int

    package init(start: Start = .tail, entriesPerRelease: Int = 1000) {
        self.start = start
        self.entriesPerRelease = entriesPerRelease
    }
}

/// Reads a journal from a stored cursor on and follows it through rotation and vacuuming.
///
/// The position is the cursor of the last entry that was given out with all before it; what waits for the rest of a line
/// is read again from the journal after a kill (`JournalJoins`).
///
/// Losses are counted by the sequence numbers inside the cursors. Numbers that are missing are entries that journald
/// removed before they were read, or that stand in a damaged file: a gap record with the exact count. Before that the
/// journal is opened anew, since a handle may not know of a new file yet. Where files of the journal can't be read,
/// such as those of other users, missing numbers are theirs and no loss; only where the entry of the stored cursor is
/// gone too there is a gap, of unknown size. `problems` names such files.
///
/// A journal that fails in the middle is reopened at the last cursor, and after that past the damage, with a gap record;
/// reading never stops for it. A silent one is reopened every `quietNanoseconds`: some versions of libsystemd stop seeing
/// new files after a rotation (fluent-bit issue 7019, systemd issue 474), and a folder that comes later is watched by none.
package final class JournalReader: LogSource {
    package static let sourceName = "journal"
    package let source = JournalReader.sourceName

    private let access: any JournalAccess
    private let configuration: JournalConfiguration
    private let clock: any WorldClock
    /// Held during a whole call of `next`: a journal has one reader at a time.
    private let state: Mutex<State>
    private let unreadable = Mutex<[String]>([])

    private struct State {
        var isOpen = false
        /// Reading began at the configuration's start.
        var hasBegun = false
        /// Set by seeking: the current entry is unread.
        var hasCurrent = false
        /// The entry of the cursor that was sought is gone.
        var isCursorGone = false
        /// The next entry lies behind damage.
        var isPastDamage = false
        /// Missing numbers made the journal be opened anew.
        var isRechecked = false
        var openedAt: Int64 = 0
        /// The end was reached at `quietSince`, and nothing came since.
        var isQuiet = false
        var quietSince: Int64 = 0
        /// The last entry that was read.
        var last: JournalCursor?
        /// Parts behind the stored position that were given out before the restart.
        var given = JournalNumbers()
        /// The last entry of each sequence.
        var sequences: [Substring: Known] = [:]
        var lastRealtimeMicroseconds: UInt64 = 0
        var failuresInRow = 0
        var entriesSinceRelease = 0
        var record = JournalRecord()
        var streams = JournalStreams()
        var joins = JournalJoins()
        /// Bytes of the lines in the chunk.
        var chunkBytes = 0
    }

    private struct Known {
        let number: UInt64
        let realtimeMicroseconds: UInt64
    }

    private enum Continuity {
        case follows(after: GapRecord?)
        /// Read already.
        case repeated
        /// Given out before the restart.
        case given
        /// Whether numbers are missing is to be seen in a journal opened anew.
        case unsettled
    }

    /// `position` is one that this reader returned before, nil to begin at the configuration's start.
    package init(
        access: any JournalAccess, configuration: JournalConfiguration = JournalConfiguration(),
        position: SourcePosition? = nil, clock: any WorldClock
    ) {
        self.access = access
        self.configuration = configuration
        self.clock = clock
        var state = State()
        if let position, !position.bytes.isEmpty {
            let stored = JournalPosition(bytes: position.bytes)
            let last = JournalCursor(stored.cursor)
            state.last = last
            state.lastRealtimeMicroseconds = last.realtimeMicroseconds
            state.given = stored.given
        }
        self.state = Mutex(state)
    }

    package var problems: [String] {
        unreadable.withLock { files in
            guard let first = files.first else { return [] }
            return [
                "at least \(files.count) files of the journal can't be read, one is \(first); "
                    + "add the agent's user to group systemd-journal"
            ]
        }
    }

    package func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        precondition(max > 0, "a chunk of no entries")
        return try state.withLock { (state) throws(ReadError) in
            var chunk = LogReadChunk(
                items: [], position: SourcePosition(source: source, bytes: []))
            state.chunkBytes = 0
            do throws(ReadError) {
                try fill(&chunk, max, waitMilliseconds, &state)
            } catch {
                try recover(from: error, &chunk, &state)
            }
            guard !chunk.items.isEmpty || !chunk.gaps.isEmpty else { return nil }
            chunk.position.bytes = position(state)
            return chunk
        }
    }

    private func position(_ state: State) -> [UInt8] {
        guard var position = state.joins.position(last: state.last) else { return [] }
        for (id, ranges) in state.given.ranges {
            for range in ranges { position.given.insert(range, of: id) }
        }
        return position.bytes
    }

    private func fill(
        _ chunk: inout LogReadChunk, _ max: Int, _ waitMilliseconds: Int, _ state: inout State
    ) throws(ReadError) {
        if !state.isOpen { try begin(&chunk, &state) }
        var hasWaited = false
        while true {
            while chunk.items.count < max, state.chunkBytes < LogLimits.chunkBytesMax {
                guard let ready = state.joins.next() else { break }
                give(ready.record, ready.gaps, &chunk, &state)
            }
            guard chunk.items.count < max, state.chunkBytes < LogLimits.chunkBytesMax else {
                return
            }
            let hasEntry = state.hasCurrent ? true : try access.next()
            state.hasCurrent = false
            if hasEntry {
                try take(&chunk, &state)
                continue
            }
            let now = clock.monotonicNanoseconds
            state.joins.expire(nanoseconds: now)
            if state.joins.isReady { continue }
            guard chunk.items.isEmpty, chunk.gaps.isEmpty, !hasWaited else { return }
            if isQuietTooLong(now, &state) {
                try begin(&chunk, &state)
                continue
            }
            let due = state.joins.deadlineNanoseconds.map { ($0 - now) / 1_000_000 + 1 }
            if try access.wait(milliseconds: min(waitMilliseconds, Int(due ?? .max)))
                == .invalidated
            {
                lookForUnreadable()
            }
            hasWaited = true
        }
    }

    /// Notes that the end was reached. True where the journal is to be reopened.
    private func isQuietTooLong(_ now: Int64, _ state: inout State) -> Bool {
        if !state.isQuiet {
            state.isQuiet = true
            state.quietSince = now
        }
        return now - state.quietSince >= Self.quietNanoseconds
    }

    /// Opens the journal and stands before the first unread entry.
    private func begin(_ chunk: inout LogReadChunk, _ state: inout State) throws(ReadError) {
        state.isOpen = false
        state.hasCurrent = false
        try access.open()
        lookForUnreadable()
        state.openedAt = clock.monotonicNanoseconds
        state.isQuiet = false
        if let last = state.last, try !access.seek(cursor: last.text) {
            state.last = nil
            state.given = JournalNumbers()
            chunk.gaps.append(
                GapRecord(
                    reason: .decodeError, count: 0, source: source,
                    detail: "the stored journal position is no cursor; reading starts anew"))
        }
        if let last = state.last {
            // Without this test an entry is lost or read twice: after seek_cursor, next is the entry of the cursor, or
            // the nearest later one where it is gone.
            let hasNext = try access.next()
            state.hasCurrent = hasNext ? try !access.isAt(cursor: last.text) : false
            state.isCursorGone = state.hasCurrent || !hasNext
            note(last, &state)
        } else if state.hasBegun || configuration.start == .head {
            // Where it was begun at the tail and nothing is known, it was empty then.
            try access.seekHead()
        } else if let newest = try access.seekTail() {
            state.last = newest
            state.lastRealtimeMicroseconds = newest.realtimeMicroseconds
            note(newest, &state)
        }
        state.hasBegun = true
        state.isOpen = true
    }

    private func lookForUnreadable() {
        let files = access.unreadableFiles()
        unreadable.withLock { $0 = files }
    }

    private func note(_ cursor: JournalCursor, _ state: inout State) {
        guard let sequence = cursor.sequence else { return }
        if state.sequences.count >= Self.sequencesMax, state.sequences[cursor.sequenceID] == nil {
            state.sequences = [:]
        }
        state.sequences[cursor.sequenceID] = Known(
            number: sequence, realtimeMicroseconds: cursor.realtimeMicroseconds)
    }

    /// Reads the current entry: into `chunk`, or to those that wait.
    private func take(_ chunk: inout LogReadChunk, _ state: inout State) throws(ReadError) {
        try access.read(into: &state.record)
        // journald links an entry before its newest fields; libsystemd passes over a field that it finds half linked.
        if state.record.isDamaged { try access.read(into: &state.record) }
        state.failuresInRow = 0
        state.isQuiet = false
        releaseMemory(&state)
        var gaps: [GapRecord] = []
        switch continuity(&state) {
        case .repeated: return
        case .unsettled:
            state.isRechecked = true
            try begin(&chunk, &state)
            return
        case .given:
            state.joins.pass(state.record.cursor)
            passed(&state)
            return
        case .follows(let gap):
            if let gap { gaps.append(gap) }
        }
        guard !state.record.isDamaged else {
            if state.last != nil, !state.isPastDamage, mayOpenAgain(state) {
                state.isRechecked = true
                try begin(&chunk, &state)
                return
            }
            gaps.append(damagedEntry(state))
            passed(&state)
            for gap in gaps where !state.joins.add(gap) { chunk.gaps.append(gap) }
            return
        }
        if let suppression = JournalSuppression(state.record) {
            gaps.append(suppression.gap(to: Self.time(state.record.realtimeMicroseconds)))
        }
        let waits = state.joins.take(
            &state.record, gaps: gaps, before: state.last, at: clock.monotonicNanoseconds)
        passed(&state)
        if !waits { give(state.record, gaps, &chunk, &state) }
    }

    /// The current entry is the last that was read.
    private func passed(_ state: inout State) {
        let cursor = state.record.cursor
        note(cursor, &state)
        if let number = cursor.sequence {
            state.given.remove(through: number, of: cursor.sequenceID)
        }
        state.last = cursor
        state.lastRealtimeMicroseconds = state.record.realtimeMicroseconds
        state.isRechecked = false
        state.isCursorGone = false
        state.isPastDamage = false
    }

    private func give(
        _ record: JournalRecord, _ gaps: [GapRecord], _ chunk: inout LogReadChunk,
        _ state: inout State
    ) {
        chunk.gaps += gaps
        chunk.items.append(state.streams.item(for: record))
        state.chunkBytes += record.message.count
    }

    private func releaseMemory(_ state: inout State) {
        state.entriesSinceRelease += 1
        guard state.entriesSinceRelease >= configuration.entriesPerRelease else { return }
        state.entriesSinceRelease = 0
        access.releaseMemory()
    }

    // MARK: losses

    /// Compares the entry's number with the last of its sequence.
    private func continuity(_ state: inout State) -> Continuity {
        let cursor = state.record.cursor
        guard let sequence = cursor.sequence else { return .follows(after: nil) }
        if state.given.contains(sequence, of: cursor.sequenceID) { return .given }
        guard let known = state.sequences[cursor.sequenceID] else {
            guard state.isCursorGone, state.last?.sequence != nil, state.sequences.count == 1
            else { return .follows(after: nil) }
            return .follows(
                after: loss(
                    0, "the journal was begun anew since; how much was lost is unknown", state))
        }
        guard sequence > known.number else {
            // Rotation sometimes leaves an entry in two files (systemd issue 29016). A later one with an old number is
            // new: before version 251 a journald that starts again may count on from an older entry.
            return cursor.realtimeMicroseconds <= known.realtimeMicroseconds
                ? .repeated : .follows(after: nil)
        }
        let missing =
            sequence - known.number - 1
            - state.given.count(in: known.number + 1..<sequence, of: cursor.sequenceID)
        guard missing > 0 else { return .follows(after: nil) }
        let numbers = "sequence \(known.number + 1) to \(sequence - 1)"
        guard unreadable.withLock({ $0.isEmpty }) else {
            guard state.isCursorGone || state.isPastDamage else { return .follows(after: nil) }
            let detail = "\(numbers), of which some are in files that can't be read"
            return .follows(after: loss(0, detail, state))
        }
        if !state.isPastDamage, mayOpenAgain(state) { return .unsettled }
        return .follows(after: loss(missing, numbers, state))
    }

    /// Whether the journal may be opened anew to look at what follows the last entry once more.
    private func mayOpenAgain(_ state: State) -> Bool {
        !state.isRechecked
            && clock.monotonicNanoseconds - state.openedAt >= Self.recheckNanoseconds
    }

    private func loss(_ count: UInt64, _ detail: String, _ state: State) -> GapRecord {
        let last = state.lastRealtimeMicroseconds
        return GapRecord(
            reason: state.isPastDamage ? .decodeError : .journaldVacuum, count: count,
            from: last > 0 ? Self.time(last) : nil,
            to: Self.time(state.record.realtimeMicroseconds), source: source,
            detail: state.isPastDamage
                ? "entries stand in a damaged part of the journal: \(detail)"
                : "journald removed entries before they were read: \(detail)")
    }

    private func damagedEntry(_ state: State) -> GapRecord {
        let time = Self.time(state.record.realtimeMicroseconds)
        return GapRecord(
            reason: .decodeError, count: 1, from: time, to: time, source: source,
            detail: "the message of an entry can't be read; its file is damaged or was removed")
    }

    /// Times of damaged entries can be any number.
    static func time(_ microseconds: UInt64) -> TimestampNS {
        TimestampNS(Int64(min(microseconds, UInt64(Int64.max / 1000))) * 1000)
    }

    /// A journal that fails is reopened at its last cursor by the next call; where it fails again, past the damage, by
    /// a step in time that doubles. Rethrows what is no damage of a file, unless there is something to give out first.
    /// A single failure is no error: journald removes files while they are read.
    private func recover(
        from error: ReadError, _ chunk: inout LogReadChunk, _ state: inout State
    ) throws(ReadError) {
        let isEmpty = chunk.items.isEmpty && chunk.gaps.isEmpty
        state.hasCurrent = false
        guard case .journal(let operation, let errno) = error, state.isOpen else {
            state.isOpen = false
            if isEmpty { throw error }
            return
        }
        state.failuresInRow += 1
        state.isOpen = false
        guard state.failuresInRow > 1, state.lastRealtimeMicroseconds > 0 else {
            if isEmpty, state.failuresInRow > 1 { throw error }
            return
        }
        let step = UInt64(1) << min(UInt64(10 + state.failuresInRow), Self.recoveryStepShiftMax)
        let target = min(state.lastRealtimeMicroseconds, UInt64.max - step) + step
        do throws(ReadError) {
            try access.open()
            try access.seek(realtimeMicroseconds: target)
        } catch {
            if isEmpty { throw error }
            return
        }
        state.isOpen = true
        state.isPastDamage = true
        chunk.gaps.append(
            GapRecord(
                reason: .decodeError, count: 0, from: Self.time(target - step),
                to: Self.time(target), source: source,
                detail: "journal damaged, \(operation): errno \(errno); reading goes on after it"))
        state.lastRealtimeMicroseconds = target
    }

    /// Sequences that are told apart: one per journald, in practice a handful. Overflow: all are begun anew.
    private static let sequencesMax = 64
    /// The longest step past damage: 2^32 microseconds, 71 minutes.
    private static let recoveryStepShiftMax: UInt64 = 32
    /// How long a journal may be silent before it is reopened. It costs an open of its files.
    private static let quietNanoseconds: Int64 = 60_000_000_000
    /// A journal that was opened no longer ago is not opened again to settle whether numbers or messages are missing; so
    /// that costs no more than one opening in this time, however damaged the files are.
    private static let recheckNanoseconds: Int64 = 1_000_000_000
}
