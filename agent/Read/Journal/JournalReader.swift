package import Model
import Synchronization

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
/// The position is the cursor of the last entry that was read. Where that entry is gone, the sequence number inside the
/// cursor tells how many entries were vacuumed unread: they become a gap record. A journal that fails in the middle is
/// reopened at the last cursor, and after that past the damage, with a gap record; reading never stops for it.
package final class JournalReader: LogSource {
    package static let sourceName = "journal"
    package let source = JournalReader.sourceName

    private let access: any JournalAccess
    private let configuration: JournalConfiguration
    /// Held during a whole call of `next`: a journal has one reader at a time.
    private let state: Mutex<State>

    private struct State {
        var isOpen = false
        /// Set by seeking: the current entry is unread.
        var hasCurrent = false
        /// The next entry may lie behind vacuumed ones.
        var isContinuityDoubtful = false
        /// Numbers were missing without a reason before: files of this journal can't be read, so misses count nothing.
        var isSparse = false
        var last: JournalCursor?
        /// Highest sequence number seen of each sequence.
        var sequences: [Substring: UInt64] = [:]
        var lastRealtimeMicroseconds: UInt64 = 0
        var failuresInRow = 0
        var entriesSinceRelease = 0
        var record = JournalRecord()
        var streams = JournalStreams()
    }

    /// `position` is one that this reader returned before, nil to begin at the configuration's start.
    package init(
        access: any JournalAccess, configuration: JournalConfiguration = JournalConfiguration(),
        position: SourcePosition? = nil
    ) {
        self.access = access
        self.configuration = configuration
        var state = State()
        if let position, !position.bytes.isEmpty {
            state.last = JournalCursor(String(decoding: position.bytes, as: UTF8.self))
        }
        self.state = Mutex(state)
    }

    package func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        precondition(max > 0, "a chunk of no entries")
        return try state.withLock { (state) throws(ReadError) in
            var chunk = LogReadChunk(
                items: [], position: SourcePosition(source: source, bytes: []))
            do throws(ReadError) {
                try fill(&chunk, max, waitMilliseconds, &state)
            } catch {
                try recover(from: error, &chunk, &state)
            }
            guard !chunk.items.isEmpty || !chunk.gaps.isEmpty else { return nil }
            chunk.position.bytes = Array((state.last?.text ?? "").utf8)
            return chunk
        }
    }

    private func fill(
        _ chunk: inout LogReadChunk, _ max: Int, _ waitMilliseconds: Int, _ state: inout State
    ) throws(ReadError) {
        if !state.isOpen { try begin(&chunk, &state) }
        var hasWaited = false
        var bytes = 0
        while chunk.items.count < max, bytes < LogLimits.chunkBytesMax {
            let hasEntry = state.hasCurrent ? true : try access.next()
            state.hasCurrent = false
            if hasEntry {
                bytes += try take(&chunk, &state)
                continue
            }
            guard chunk.items.isEmpty, chunk.gaps.isEmpty, !hasWaited else { return }
            if try access.wait(milliseconds: waitMilliseconds) == .invalidated {
                state.isContinuityDoubtful = true
            }
            hasWaited = true
        }
    }

    /// Opens the journal and stands before the first unread entry.
    private func begin(_ chunk: inout LogReadChunk, _ state: inout State) throws(ReadError) {
        try access.open()
        if let last = state.last {
            if try access.seek(cursor: last.text) {
                if try access.next() {
                    // Without this test an entry is lost or read twice: after seek_cursor, next is the entry of the
                    // cursor, or the nearest later one where it is gone.
                    state.hasCurrent = try !access.isAt(cursor: last.text)
                    state.isContinuityDoubtful = state.hasCurrent
                    note(last, &state)
                } else {
                    state.isContinuityDoubtful = true
                    note(last, &state)
                }
            } else {
                state.last = nil
                chunk.gaps.append(
                    GapRecord(
                        reason: .decodeError, count: 0, source: source,
                        detail: "the stored journal position is no cursor; reading starts anew"))
                try seekStart()
            }
        } else {
            try seekStart()
        }
        state.isOpen = true
    }

    private func seekStart() throws(ReadError) {
        switch configuration.start {
        case .head: try access.seekHead()
        case .tail: try access.seekTail()
        }
    }

    private func note(_ cursor: JournalCursor, _ state: inout State) {
        guard let sequence = cursor.sequence else { return }
        if state.sequences.count >= Self.sequencesMax { state.sequences = [:] }
        state.sequences[cursor.sequenceID] = sequence
    }

    /// Reads the current entry into `chunk`; returns the bytes of its line.
    private func take(_ chunk: inout LogReadChunk, _ state: inout State) throws(ReadError) -> Int {
        try access.read(into: &state.record)
        state.failuresInRow = 0
        releaseMemory(&state)
        guard checkContinuity(&chunk, &state) else { return 0 }
        let record = state.record
        note(record.cursor, &state)
        state.last = record.cursor
        state.lastRealtimeMicroseconds = record.realtimeMicroseconds
        chunk.items.append(state.streams.item(for: record))
        return record.message.count
    }

    private func releaseMemory(_ state: inout State) {
        state.entriesSinceRelease += 1
        guard state.entriesSinceRelease >= configuration.entriesPerRelease else { return }
        state.entriesSinceRelease = 0
        access.releaseMemory()
    }

    /// Compares the entry's number with the last of its sequence. False for an entry that was read already, as rotation
    /// sometimes leaves it in two files (systemd issue 29016).
    private func checkContinuity(_ chunk: inout LogReadChunk, _ state: inout State) -> Bool {
        let isDoubtful = state.isContinuityDoubtful
        state.isContinuityDoubtful = false
        let cursor = state.record.cursor
        guard let sequence = cursor.sequence else { return true }
        guard let known = state.sequences[cursor.sequenceID] else {
            if isDoubtful, let last = state.last, last.sequence != nil, state.sequences.count == 1 {
                addVacuumGap(
                    count: 0, "the journal was begun anew since; how much was lost is unknown",
                    &chunk, state)
            }
            return true
        }
        guard sequence > known else { return false }
        let missing = sequence - known - 1
        guard missing > 0 else { return true }
        guard isDoubtful else {
            state.isSparse = true
            return true
        }
        addVacuumGap(
            count: state.isSparse ? 0 : missing, "sequence \(known + 1) to \(sequence - 1)", &chunk,
            state)
        return true
    }

    private func addVacuumGap(
        count: UInt64, _ detail: String, _ chunk: inout LogReadChunk, _ state: State
    ) {
        let last = state.lastRealtimeMicroseconds
        chunk.gaps.append(
            GapRecord(
                reason: .journaldVacuum, count: count,
                from: last > 0 ? TimestampNS(Int64(clamping: last) * 1000) : nil,
                to: TimestampNS(Int64(clamping: state.record.realtimeMicroseconds) * 1000),
                source: source,
                detail: "journald removed entries before they were read: \(detail)"))
    }

    /// A journal that fails is reopened at its last cursor by the next call; where it fails again, past the damage, by
    /// a step in time that doubles. Rethrows what is no damage of a file.
    private func recover(
        from error: ReadError, _ chunk: inout LogReadChunk, _ state: inout State
    ) throws(ReadError) {
        guard case .journal(let operation, let errno) = error, state.isOpen else { throw error }
        state.hasCurrent = false
        state.failuresInRow += 1
        guard state.failuresInRow > 1, state.lastRealtimeMicroseconds > 0 else {
            state.isOpen = false
            if chunk.items.isEmpty, chunk.gaps.isEmpty { throw error }
            return
        }
        let step = UInt64(1) << min(UInt64(10 + state.failuresInRow), Self.recoveryStepShiftMax)
        let target = state.lastRealtimeMicroseconds + step
        try access.open()
        try access.seek(realtimeMicroseconds: target)
        state.lastRealtimeMicroseconds = target
        chunk.gaps.append(
            GapRecord(
                reason: .decodeError, count: 0,
                from: TimestampNS(Int64(clamping: target - step) * 1000),
                to: TimestampNS(Int64(clamping: target) * 1000), source: source,
                detail: "journal damaged, \(operation): errno \(errno); reading goes on after it"))
    }

    /// Sequences that are told apart: one per journald and user file, in practice a handful.
    private static let sequencesMax = 64
    /// The longest step past damage: 2^32 microseconds, 71 minutes.
    private static let recoveryStepShiftMax: UInt64 = 32
}
