import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

/// A journal in memory: entries with sequence numbers, that tests add, vacuum and damage.
final class FakeJournal: JournalAccess {
    struct State {
        var entries: [JournalRecord] = []
        /// Index of the current entry; -1 before the first.
        var index = -1
        var change = JournalChange.none
        var failingSequences: Set<UInt64> = []
        var releases = 0
        var opens = 0
        /// Sequences that are seen only once the journal is opened anew, as those of a file that a handle does not know.
        var unseenSequences: Set<UInt64> = []
        var unreadable: [String] = []
        /// Readings of an entry that lack its message, before it is whole.
        var partialReadings: [UInt64: Int] = [:]
    }
    let state = Mutex(State())

    static func cursor(_ id: String, _ sequence: UInt64) -> String {
        let time = String(sequence * 10, radix: 16)
        return "s=\(id);i=\(String(sequence, radix: 16));b=b;m=1;t=\(time);x=0"
    }

    func add(
        _ sequences: ClosedRange<UInt64>, id: String = "aa",
        _ edit: (inout JournalRecord) -> Void = { _ in }
    ) {
        state.withLock { state in
            for sequence in sequences {
                var record = JournalRecord()
                record.cursor = JournalCursor(Self.cursor(id, sequence))
                record.realtimeMicroseconds = sequence * 10
                record.message = Array("line \(sequence)".utf8)
                record.messageBytes = record.message.count
                record.unit = Array("app.service".utf8)
                record.priority = [54]
                edit(&record)
                state.entries.append(record)
            }
        }
    }
    /// Removes the oldest entries, as journald's limits do.
    func vacuum(_ count: Int) {
        state.withLock { state in
            state.entries.removeFirst(count)
            state.index = max(-1, state.index - count)
            state.change = .invalidated
        }
    }

    func open() throws(ReadError) {
        state.withLock { state in
            state.opens += 1
            state.unseenSequences = []
        }
    }
    func seekHead() throws(ReadError) { state.withLock { $0.index = -1 } }
    func seekTail() throws(ReadError) -> JournalCursor? {
        state.withLock { state in
            state.index = state.entries.count - 1
            return state.entries.last?.cursor
        }
    }
    func unreadableFiles() -> [String] { state.withLock { $0.unreadable } }
    func seek(realtimeMicroseconds: UInt64) throws(ReadError) {
        state.withLock { state in
            state.index =
                (state.entries.firstIndex { $0.realtimeMicroseconds >= realtimeMicroseconds }
                    ?? state.entries.count) - 1
        }
    }
    func seek(cursor: String) throws(ReadError) -> Bool {
        let wanted = JournalCursor(cursor)
        guard let sequence = wanted.sequence else { return false }
        state.withLock { state in
            let same = state.entries.firstIndex { $0.cursor.text == cursor }
            let nearest = state.entries.firstIndex {
                $0.cursor.sequenceID == wanted.sequenceID && ($0.cursor.sequence ?? 0) >= sequence
                    || $0.realtimeMicroseconds > wanted.realtimeMicroseconds
            }
            state.index = (same ?? nearest ?? state.entries.count) - 1
        }
        return true
    }
    func next() throws(ReadError) -> Bool {
        let outcome: Bool? = state.withLock { state in
            let unseen = state.unseenSequences
            guard
                let next = state.entries[(state.index + 1)...].firstIndex(where: {
                    !unseen.contains($0.cursor.sequence ?? 0)
                })
            else { return false }
            let sequence = state.entries[next].cursor.sequence ?? 0
            guard !state.failingSequences.contains(sequence) else { return nil }
            state.index = next
            return true
        }
        guard let outcome else { throw .journal(operation: "next", errno: 74) }
        return outcome
    }
    func isAt(cursor: String) throws(ReadError) -> Bool {
        state.withLock { $0.entries[$0.index].cursor.text == cursor }
    }
    func read(into record: inout JournalRecord) throws(ReadError) {
        record = state.withLock { state in
            var entry = state.entries[state.index]
            let sequence = entry.cursor.sequence ?? 0
            if let count = state.partialReadings[sequence], count > 0 {
                state.partialReadings[sequence] = count - 1
                entry.isDamaged = true
            }
            return entry
        }
    }
    func wait(milliseconds: Int) throws(ReadError) -> JournalChange {
        state.withLock { state in
            defer { state.change = .none }
            return state.change
        }
    }
    func releaseMemory() { state.withLock { $0.releases += 1 } }
}

@Suite("Journal reader")
struct JournalReaderTests {
    static func reader(
        _ journal: FakeJournal, start: JournalConfiguration.Start = .tail,
        position: SourcePosition? = nil, clock: any WorldClock = ManualClock()
    ) -> JournalReader {
        JournalReader(
            access: journal, configuration: .init(start: start), position: position, clock: clock)
    }

    static func drain(
        _ reader: JournalReader, max: Int = 7
    ) throws -> (lines: [String], gaps: [GapRecord], position: SourcePosition?) {
        var lines: [String] = []
        var gaps: [GapRecord] = []
        var position: SourcePosition?
        for _ in 0..<10_000 {
            guard let chunk = try reader.next(max: max, waitMilliseconds: 0) else { break }
            lines += chunk.items.map { String(decoding: $0.entry.line, as: UTF8.self) }
            gaps += chunk.gaps
            position = chunk.position
        }
        return (lines, gaps, position)
    }

    static func lines(_ range: ClosedRange<UInt64>) -> [String] { range.map { "line \($0)" } }

    @Test("head, follow, resume: every entry once")
    func follow() throws {
        let journal = FakeJournal()
        journal.add(1...20)
        let reader = Self.reader(journal, start: .head)
        let first = try Self.drain(reader)
        #expect(first.lines == Self.lines(1...20))
        #expect(first.position?.source == "journal")
        #expect(
            first.position.map { String(decoding: $0.bytes, as: UTF8.self) }
                == FakeJournal.cursor("aa", 20))
        journal.add(21...25)
        #expect(try Self.drain(reader).lines == Self.lines(21...25))
        journal.add(26...30)
        let again = Self.reader(journal, position: first.position)
        let resumed = try Self.drain(again)
        #expect(resumed.lines == Self.lines(21...30))
        #expect(resumed.gaps.isEmpty)
    }

    @Test("tail begins with what comes next")
    func tail() throws {
        let journal = FakeJournal()
        journal.add(1...5)
        let reader = Self.reader(journal)
        #expect(try Self.drain(reader).lines == [])
        journal.add(6...7)
        #expect(try Self.drain(reader).lines == Self.lines(6...7))
    }

    @Test("vacuumed while away: the exact count", arguments: [0, 3, 9])
    func vacuum(vacuumed: Int) throws {
        let journal = FakeJournal()
        journal.add(1...10)
        let first = try Self.drain(
            Self.reader(journal, start: .head))
        journal.add(11...30)
        journal.vacuum(10 + vacuumed)
        let resumed = try Self.drain(Self.reader(journal, position: first.position))
        #expect(resumed.lines == Self.lines(UInt64(11 + vacuumed)...30))
        #expect(resumed.gaps.map(\.reason) == (vacuumed == 0 ? [] : [.journaldVacuum]))
        #expect(resumed.gaps.map(\.count) == (vacuumed == 0 ? [] : [UInt64(vacuumed)]))
    }

    @Test("vacuumed to nothing: counted when the next entry comes")
    func vacuumAll() throws {
        let journal = FakeJournal()
        journal.add(1...10)
        let first = try Self.drain(
            Self.reader(journal, start: .head))
        journal.add(11...14)
        journal.vacuum(14)
        let reader = Self.reader(journal, position: first.position)
        #expect(try Self.drain(reader).lines == [])
        journal.add(15...15)
        let resumed = try Self.drain(reader)
        #expect(resumed.lines == ["line 15"])
        #expect(resumed.gaps.map(\.count) == [4])
    }

    @Test("a journal begun anew is a gap of unknown size")
    func anew() throws {
        let journal = FakeJournal()
        journal.add(1...10)
        let first = try Self.drain(
            Self.reader(journal, start: .head))
        journal.vacuum(10)
        journal.add(20...22, id: "bb")
        let resumed = try Self.drain(Self.reader(journal, position: first.position))
        #expect(resumed.lines == Self.lines(20...22))
        #expect(resumed.gaps.map(\.count) == [0])
    }

    @Test("an entry in two files is read once")
    func twice() throws {
        let journal = FakeJournal()
        journal.add(1...3)
        journal.add(3...3)
        journal.add(4...5)
        let read = try Self.drain(Self.reader(journal, start: .head))
        #expect(read.lines == Self.lines(1...5))
        #expect(read.gaps.isEmpty)
    }

    @Test("a damaged entry is passed with a gap, and nothing is read twice")
    func damage() throws {
        let journal = FakeJournal()
        journal.add(1...1000)
        journal.state.withLock { $0.failingSequences = [300] }
        let reader = Self.reader(journal, start: .head)
        var lines: [String] = []
        var gaps: [GapRecord] = []
        for _ in 0..<1000 where lines.last != "line 1000" {
            guard let chunk = try? reader.next(max: 50, waitMilliseconds: 0) else { continue }
            lines += chunk.items.map { String(decoding: $0.entry.line, as: UTF8.self) }
            gaps += chunk.gaps
        }
        #expect(lines.prefix(299).elementsEqual(Self.lines(1...299)))
        #expect(lines.last == "line 1000")
        #expect(Set(lines).count == lines.count)
        #expect(gaps.contains { $0.reason == .decodeError })
    }

    @Test("a position that is no cursor is a gap, not an end")
    func badPosition() throws {
        let journal = FakeJournal()
        journal.add(1...2)
        let reader = Self.reader(
            journal, start: .head,
            position: SourcePosition(source: "journal", bytes: Array("nonsense".utf8)))
        let read = try Self.drain(reader)
        #expect(read.lines == Self.lines(1...2))
        #expect(read.gaps.map(\.reason) == [.decodeError])
    }

    @Test("stream labels, level and metadata")
    func labels() throws {
        let journal = FakeJournal()
        journal.add(1...1) {
            $0.pid = Array("42".utf8)
            $0.identifier = Array("app".utf8)
            $0.command = Array("node".utf8)
            $0.container = Array("web".utf8)
            $0.messageBytes = 999
        }
        journal.add(2...2) {
            $0.unit = Array("session-3.scope".utf8)
            $0.identifier = []
            $0.command = Array("sshd".utf8)
            $0.message = Array("{\"level\":\"error\",\"user_id\":7}".utf8)
            $0.messageBytes = $0.message.count
            $0.priority = []
        }
        let reader = Self.reader(journal, start: .head)
        let items = try #require(try reader.next(max: 5, waitMilliseconds: 0)).items
        #expect(
            items[0].stream == [
                "source": "journal", "unit": "app.service", "service_name": "app",
                "container": "web",
            ])
        #expect(items[0].entry.level == "info")
        #expect(items[0].entry.timestamp == TimestampNS(10_000))
        #expect(
            items[0].entry.metadata == [
                "_PID": "42", "identifier": "app", "petrel_cut": "999", "priority": "6",
            ])
        #expect(items[1].stream == ["source": "journal", "service_name": "sshd"])
        #expect(items[1].entry.level == "error")
        #expect(items[1].entry.metadata == ["user_id": "7"])
    }

    @Test("mapped memory is given back every so many entries")
    func memory() throws {
        let journal = FakeJournal()
        journal.add(1...100)
        let reader = JournalReader(
            access: journal, configuration: .init(start: .head, entriesPerRelease: 10),
            clock: ManualClock())
        #expect(try Self.drain(reader).lines.count == 100)
        #expect(journal.state.withLock { $0.releases } == 10)
    }
}

/// The real library on a journal that `Tests/live-journal.sh` has a real journald write meanwhile.
@Suite("Live journal", .serialized)
struct LiveJournalTests {
    static let folder: String? = getenv("PETREL_LIVE_JOURNAL").map { String(cString: $0) }
    static let lineCount = 100_000

    @Test(
        "100,000 lines over two rotations: all once, in order",
        .enabled(
            if: folder != nil,
            "needs root and systemd-journald: run Tests/live-journal.sh"))
    func live() throws {
        let folder = try #require(Self.folder)
        var reader = JournalReader(
            access: SystemdJournal(directory: folder), configuration: .init(start: .head),
            clock: ManualClock())
        var next = 0
        var position: SourcePosition?
        var emptyRounds = 0
        var longLines: [Int] = []
        while next < Self.lineCount, emptyRounds < 120 {
            guard let chunk = try reader.next(max: 4000, waitMilliseconds: 500) else {
                emptyRounds += 1
                continue
            }
            emptyRounds = 0
            #expect(chunk.gaps.isEmpty)
            longLines += chunk.items.filter {
                $0.entry.metadata["identifier"] == "petrel-live-long"
            }
            .map(\.entry.line.count)
            for item in chunk.items where item.entry.metadata["identifier"] == "petrel-live" {
                let line = String(decoding: item.entry.line, as: UTF8.self)
                try #require(line == "line \(next)")
                #expect(item.entry.level == "warn")
                #expect(!item.entry.metadata["_PID"].isEmpty)
                next += 1
            }
            position = chunk.position
            // Half of the chunks are followed by a restart from the position.
            if next % 2 == 1 {
                reader = JournalReader(
                    access: SystemdJournal(directory: folder), position: position,
                    clock: ManualClock())
            }
        }
        #expect(next == Self.lineCount)
        #expect(longLines == [150_000])
    }
}
