import AgentRead
import Model
import Synchronization
import Testing

@Suite("Journal: losses and suppression")
struct JournalLossTests {
    private static func drain(
        _ reader: JournalReader
    ) throws -> (lines: [String], gaps: [GapRecord], position: SourcePosition?) {
        try JournalReaderTests.drain(reader)
    }

    @Test("numbers that are missing while running are counted, every time")
    func whileRunning() throws {
        let journal = FakeJournal()
        journal.add(1...3)
        let reader = JournalReaderTests.reader(journal, start: .head)
        _ = try Self.drain(reader)
        journal.add(4...4)
        // No word of it from the library, and the first entry follows: what is lost comes later.
        journal.add(10...11)
        journal.add(20...20)
        let read = try Self.drain(reader)
        #expect(read.lines == ["line 4", "line 10", "line 11", "line 20"])
        #expect(read.gaps.map(\.reason) == [.journaldVacuum, .journaldVacuum])
        #expect(read.gaps.map(\.count) == [5, 8])
        #expect(read.gaps.map(\.from) == [TimestampNS(40_000), TimestampNS(110_000)])
        #expect(read.gaps.map(\.to) == [TimestampNS(100_000), TimestampNS(200_000)])
    }

    @Test("entries in a file that the handle does not know are found by opening anew")
    func unknownFile() throws {
        let journal = FakeJournal()
        let clock = ManualClock()
        journal.add(1...3)
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        _ = try Self.drain(reader)
        clock.advance(2_000_000_000)
        journal.add(4...9)
        journal.state.withLock { $0.unseenSequences = [4, 5, 6] }
        let opens = journal.state.withLock { $0.opens }
        let read = try Self.drain(reader)
        #expect(read.lines == JournalReaderTests.lines(4...9))
        #expect(read.gaps.isEmpty)
        #expect(journal.state.withLock { $0.opens } == opens + 1)
    }

    @Test("many holes are no more than one opening a second")
    func holes() throws {
        let journal = FakeJournal()
        let clock = ManualClock()
        journal.add(1...1)
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        _ = try Self.drain(reader)
        clock.advance(5_000_000_000)
        for sequence in 1...50 as ClosedRange<UInt64> { journal.add(sequence * 3...sequence * 3) }
        let read = try Self.drain(reader)
        #expect(read.lines.count == 50)
        #expect(read.gaps.reduce(0) { $0 + $1.count } == 1 + 49 * 2)
        #expect(journal.state.withLock { $0.opens } == 2)
    }

    @Test("numbers of files that can't be read are no loss, and the files are named")
    func unreadable() throws {
        let journal = FakeJournal()
        journal.state.withLock { $0.unreadable = ["/var/log/journal/m/user-1000.journal"] }
        journal.add(1...3)
        journal.add(7...9)
        let reader = JournalReaderTests.reader(journal, start: .head)
        let read = try Self.drain(reader)
        #expect(read.lines.count == 6)
        #expect(read.gaps.isEmpty)
        #expect(reader.problems.count == 1)
        #expect(reader.problems.first?.contains("user-1000.journal") == true)
        #expect(reader.problems.first?.contains("systemd-journal") == true)
        // The entry of the position is gone: something was lost, how much can't be told.
        journal.vacuum(6)
        journal.add(20...21)
        let resumed = try Self.drain(JournalReaderTests.reader(journal, position: read.position))
        #expect(resumed.gaps.map(\.reason) == [.journaldVacuum])
        #expect(resumed.gaps.map(\.count) == [0])
    }

    @Test("files that become readable are no problem any more")
    func readableAgain() throws {
        let journal = FakeJournal()
        journal.state.withLock { $0.unreadable = ["a.journal"] }
        let reader = JournalReaderTests.reader(journal, start: .head)
        _ = try Self.drain(reader)
        #expect(!reader.problems.isEmpty)
        journal.state.withLock { state in
            state.unreadable = []
            state.change = .invalidated
        }
        _ = try Self.drain(reader)
        #expect(reader.problems.isEmpty)
    }

    @Test("several sequences interleave without false alarms, and a hole in one is counted")
    func interleaved() throws {
        let journal = FakeJournal()
        for step in 0..<20 as Range<UInt64> {
            journal.add(100 + step...100 + step, id: "aa")
            journal.add(700 + step * 1...700 + step, id: "bb")
        }
        journal.add(740...740, id: "bb")
        journal.add(120...120, id: "aa")
        let read = try Self.drain(JournalReaderTests.reader(journal, start: .head))
        #expect(read.lines.count == 42)
        #expect(read.gaps.map(\.count) == [20])
    }

    @Test("a sequence that counts on from an older number is read")
    func restarted() throws {
        let journal = FakeJournal()
        journal.add(1...9)
        journal.add(5...6) { record in
            let number = String(record.cursor.sequence ?? 0, radix: 16)
            record.realtimeMicroseconds += 1000
            let time = String(record.realtimeMicroseconds, radix: 16)
            record.cursor = JournalCursor("s=aa;i=\(number);b=c;m=1;t=\(time);x=1")
        }
        let read = try Self.drain(JournalReaderTests.reader(journal, start: .head))
        #expect(read.lines == JournalReaderTests.lines(1...9) + ["line 5", "line 6"])
        #expect(read.gaps.isEmpty)
    }

    @Test("a file that is removed while it is read is no error: the rest is read at once")
    func removedFile() throws {
        let journal = FakeJournal()
        journal.add(1...8)
        let reader = JournalReaderTests.reader(journal, start: .head)
        #expect(try reader.next(max: 3, waitMilliseconds: 0)?.items.count == 3)
        journal.state.withLock { $0.failingSequences = [4] }
        #expect(try reader.next(max: 3, waitMilliseconds: 0) == nil)
        journal.state.withLock { $0.failingSequences = [] }
        journal.vacuum(5)
        let read = try JournalReaderTests.drain(reader)
        #expect(read.lines == JournalReaderTests.lines(6...8))
        #expect(read.gaps.map(\.reason) == [.journaldVacuum])
        #expect(read.gaps.map(\.count) == [2])
    }

    @Test("entries past damage are counted as damaged")
    func damage() throws {
        let journal = FakeJournal()
        journal.add(1...1000)
        journal.state.withLock { $0.failingSequences = [300] }
        let reader = JournalReaderTests.reader(journal, start: .head)
        var lines: Set<String> = []
        var gaps: [GapRecord] = []
        for _ in 0..<1000 where !lines.contains("line 1000") {
            guard let chunk = try? reader.next(max: 50, waitMilliseconds: 0) else { continue }
            for item in chunk.items {
                lines.insert(String(decoding: item.entry.line, as: UTF8.self))
            }
            gaps += chunk.gaps
        }
        #expect(gaps.allSatisfy { $0.reason == .decodeError })
        #expect(gaps.reduce(0) { $0 + $1.count } == UInt64(1000 - lines.count))
    }

    @Test("an entry whose message is gone is a loss, no empty line")
    func damagedEntry() throws {
        let journal = FakeJournal()
        journal.add(1...1)
        journal.add(2...2) { $0.isDamaged = true }
        journal.add(3...3) {
            $0.parting.streamID = Array("s".utf8)
            $0.parting.isLineCut = true
        }
        journal.add(4...4) { $0.isDamaged = true }
        journal.add(5...5) { $0.parting.streamID = Array("s".utf8) }
        let read = try Self.drain(JournalReaderTests.reader(journal, start: .head))
        #expect(read.lines == ["line 1", "line 3line 5"])
        #expect(read.gaps.map(\.reason) == [.decodeError, .decodeError])
        #expect(read.gaps.map(\.count) == [1, 1])
    }

    @Test(
        "an entry that journald is just linking is read again, and once more from a journal opened anew"
    )
    func partialEntry() throws {
        let journal = FakeJournal()
        let clock = ManualClock()
        journal.add(1...1)
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        _ = try Self.drain(reader)
        clock.advance(2_000_000_000)
        journal.add(2...9)
        journal.state.withLock { $0.partialReadings = [3: 1, 5: 3, 7: 2] }
        let read = try Self.drain(reader)
        // The journal was opened for the fifth; so soon after it is not opened for the seventh.
        #expect(read.lines == JournalReaderTests.lines(2...6) + JournalReaderTests.lines(8...9))
        #expect(read.gaps.map(\.reason) == [.decodeError])
        #expect(read.gaps.map(\.count) == [1])
        #expect(journal.state.withLock { $0.opens } == 2)
    }

    @Test("a silent journal is opened anew every minute; what the handle did not see is read")
    func watchdog() throws {
        let journal = FakeJournal()
        let clock = ManualClock()
        journal.add(1...3)
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        _ = try Self.drain(reader)
        journal.add(4...6)
        journal.state.withLock { $0.unseenSequences = [4, 5, 6] }
        clock.advance(59_999_999_999)
        #expect(try Self.drain(reader).lines.isEmpty)
        #expect(journal.state.withLock { $0.opens } == 1)
        clock.advance(1)
        #expect(try Self.drain(reader).lines == JournalReaderTests.lines(4...6))
        for _ in 0..<100 {
            _ = try Self.drain(reader)
            clock.advance(1_000_000_000)
        }
        #expect(journal.state.withLock { $0.opens } == 3)
    }

    @Test("begun at the tail of an empty journal, what comes is read from its head")
    func emptyTail() throws {
        let journal = FakeJournal()
        let clock = ManualClock()
        let reader = JournalReaderTests.reader(journal, clock: clock)
        #expect(try Self.drain(reader).lines.isEmpty)
        journal.add(1...2)
        journal.state.withLock { $0.unseenSequences = [1, 2] }
        clock.advance(60_000_000_000)
        #expect(try Self.drain(reader).lines == JournalReaderTests.lines(1...2))
    }

    @Test("what is lost right behind the tail is counted too")
    func lostBehindTail() throws {
        let journal = FakeJournal()
        journal.add(1...5)
        let reader = JournalReaderTests.reader(journal)
        #expect(try Self.drain(reader).lines.isEmpty)
        journal.add(9...9)
        let read = try Self.drain(reader)
        #expect(read.lines == ["line 9"])
        #expect(read.gaps.map(\.count) == [3])
    }

    // MARK: suppression

    private static func suppress(
        _ record: inout JournalRecord, _ text: String, dropped: UInt64?, isOfJournald: Bool = true
    ) {
        record.message = Array(text.utf8)
        record.messageBytes = record.message.count
        record.suppression.isSuppression = true
        record.suppression.isOfJournald = isOfJournald
        record.suppression.droppedCount = dropped
    }

    @Test("what journald suppressed is a gap of its unit; the entry stays")
    func suppression() throws {
        let journal = FakeJournal()
        journal.add(1...1)
        journal.add(2...2) {
            Self.suppress(&$0, "Suppressed 41 messages from app.service", dropped: 41)
        }
        journal.add(3...3) {
            Self.suppress(&$0, "Suppressed 7 messages from /system.slice/old.service", dropped: nil)
        }
        journal.add(4...4) { Self.suppress(&$0, "in another language", dropped: 5) }
        let read = try Self.drain(JournalReaderTests.reader(journal, start: .head))
        #expect(read.lines.count == 4)
        #expect(read.gaps.map(\.reason) == Array(repeating: .journaldSuppressed, count: 3))
        #expect(read.gaps.map(\.count) == [41, 7, 5])
        #expect(
            read.gaps.map(\.source) == ["journal app.service", "journal old.service", "journal"])
        #expect(read.gaps.map(\.to) == [20_000, 30_000, 40_000].map { TimestampNS($0) })
    }

    @Test("what another program writes under journald's message id is no gap")
    func forged() throws {
        let journal = FakeJournal()
        journal.add(1...1) {
            Self.suppress(
                &$0, "Suppressed 41 messages from app.service", dropped: 41, isOfJournald: false)
        }
        journal.add(2...2) { $0.suppression.isOfJournald = true }
        let read = try Self.drain(JournalReaderTests.reader(journal, start: .head))
        #expect(read.lines.count == 2)
        #expect(read.gaps.isEmpty)
    }

    @Test("suppressed messages are counted by unit")
    func suppressionMetric() throws {
        let journal = FakeJournal()
        for (sequence, unit) in ["app.service", "session-2.scope", "app.service"].enumerated() {
            let number = UInt64(sequence + 1)
            journal.add(number...number) {
                Self.suppress(&$0, "Suppressed 10 messages from \(unit)", dropped: 10)
            }
        }
        let refinement = LogRefinement()
        let source = RefinedLogSource(
            JournalReaderTests.reader(journal, start: .head), refinement)
        _ = try source.next(max: 10, waitMilliseconds: 0)
        let family = try #require(
            refinement.families().first { $0.name == "petrel_agent_journal_suppressed_total" })
        #expect(family.points.map(\.labels) == [["unit": ""], ["unit": "app.service"]])
        #expect(family.points.map(\.value) == [10, 20])
    }
}
