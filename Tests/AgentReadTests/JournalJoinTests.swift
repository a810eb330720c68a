import AgentRead
import Model
import Synchronization
import Testing

/// Writes what Docker and journald make of long lines.
struct SplitWriter {
    let journal: FakeJournal
    var sequence: UInt64 = 0
    /// Microseconds since the epoch; grows with each entry.
    var time: UInt64 = 1_000_000
    var stepMicroseconds: UInt64 = 10

    init(_ journal: FakeJournal) { self.journal = journal }

    mutating func add(_ text: [UInt8], _ edit: (inout JournalRecord) -> Void = { _ in }) {
        sequence += 1
        time += stepMicroseconds
        let hex = { (number: UInt64) in String(number, radix: 16) }
        journal.add(sequence...sequence) { record in
            record.cursor = JournalCursor("s=aa;i=\(hex(sequence));b=b;m=1;t=\(hex(time));x=0")
            record.realtimeMicroseconds = time
            record.message = text
            record.messageBytes = text.count
            edit(&record)
        }
    }

    mutating func add(_ text: String) { add(Array(text.utf8)) }

    /// A numbered part, as Docker writes them.
    mutating func numbered(
        _ text: String, _ ordinal: UInt64, isLast: Bool = false, id: String = "1",
        container: String = "c"
    ) {
        add(Array(text.utf8)) { record in
            record.parting.containerID = Array(container.utf8)
            record.parting.partialID = Array(id.utf8)
            record.parting.partialOrdinal = ordinal
            record.parting.isPartial = !isLast
            record.parting.isPartialLast = isLast
        }
    }

    /// An entry of a container whose parts are not numbered.
    mutating func unnumbered(_ text: [UInt8], isPartial: Bool, container: String = "u") {
        add(text) { record in
            record.parting.containerID = Array(container.utf8)
            record.parting.isPartial = isPartial
        }
    }

    /// An entry of a unit's standard output.
    mutating func output(_ text: String, isCut: Bool, stream: String = "s") {
        add(Array(text.utf8)) { record in
            record.parting.streamID = Array(stream.utf8)
            record.parting.isLineCut = isCut
        }
    }
}

@Suite("Journal: lines in parts")
struct JournalJoinTests {
    struct Line: Hashable {
        var text: String
        var isPartial = false
    }

    static func lines(_ chunk: LogReadChunk) -> [Line] {
        chunk.items.map {
            Line(
                text: String(decoding: $0.entry.line, as: UTF8.self),
                isPartial: $0.entry.metadata["petrel_partial"] == "true")
        }
    }

    static func chunks(_ reader: JournalReader, max: Int = 100) throws -> [LogReadChunk] {
        var chunks: [LogReadChunk] = []
        while let chunk = try reader.next(max: max, waitMilliseconds: 0) { chunks.append(chunk) }
        return chunks
    }

    /// All lines, those that wait for an end too.
    static func all(_ journal: FakeJournal, max: Int = 100) throws -> [LogReadChunk] {
        let clock = ManualClock()
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        let now = try chunks(reader, max: max)
        clock.advance(1_000_000_000)
        return try now + chunks(reader, max: max)
    }

    @Test("numbered parts become one line at the place of the first; what came between follows")
    func numbered() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        writer.add("before")
        writer.numbered("{\"level\":", 1)
        writer.add("between")
        writer.numbered("other", 1, isLast: true, container: "d")
        writer.numbered("\"error\"", 2)
        writer.numbered("}", 3, isLast: true)
        writer.add("after")
        let chunks = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
        let items = chunks.flatMap(\.items)
        #expect(
            chunks.flatMap(Self.lines).map(\.text) == [
                "before", "{\"level\":\"error\"}", "between", "other", "after",
            ])
        #expect(chunks.flatMap(Self.lines).allSatisfy { !$0.isPartial })
        #expect(items[1].entry.level == "error")
        #expect(items[1].entry.timestamp == TimestampNS(1_000_020_000))
    }

    @Test("unnumbered parts of the split's length take the rest; output and errors are told apart")
    func unnumbered() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        let part = [UInt8](repeating: 120, count: 16 << 10)
        writer.unnumbered(part, isPartial: true)
        writer.add(Array("an error".utf8)) { record in
            record.parting.containerID = Array("u".utf8)
            record.priority = Array("3".utf8)
        }
        writer.unnumbered(part, isPartial: true)
        writer.unnumbered(Array("end".utf8), isPartial: false)
        writer.unnumbered(Array("next".utf8), isPartial: false)
        let lines = try Self.all(journal).flatMap(Self.lines).map(\.text)
        #expect(lines == [String(repeating: "x", count: 32 << 10) + "end", "an error", "next"])
    }

    @Test("lines that podman marks as partial without reason stay lines")
    func podman() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        for text in ["one", "two", "three"] {
            writer.unnumbered(Array(text.utf8), isPartial: true)
        }
        writer.unnumbered([UInt8](repeating: 121, count: 8 << 10), isPartial: true)
        writer.unnumbered(Array("four".utf8), isPartial: true)
        let lines = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
            .flatMap(Self.lines)
        #expect(lines.map(\.text.utf8.count) == [3, 3, 5, 8192, 4])
        #expect(lines.allSatisfy { !$0.isPartial })
    }

    @Test("what journald split at LineMax is joined by its stream")
    func lineMax() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        writer.output("a1 ", isCut: true)
        writer.output("b1 ", isCut: true, stream: "t")
        writer.output("a2 ", isCut: true)
        writer.output("b2", isCut: false, stream: "t")
        writer.output("a3", isCut: false)
        writer.output("a4", isCut: false)
        let lines = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
            .flatMap(Self.lines)
        #expect(lines == [Line(text: "a1 a2 a3"), Line(text: "b1 b2"), Line(text: "a4")])
    }

    @Test("a joined line is cut at 256 KiB and says how long it was", arguments: [16, 17, 40])
    func cap(parts: Int) throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        let part = String(repeating: "z", count: 16 << 10)
        for ordinal in 1...parts {
            writer.numbered(part, UInt64(ordinal), isLast: ordinal == parts)
        }
        writer.add("after")
        let items = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
            .flatMap(\.items)
        #expect(items.map(\.entry.line.count) == [LogEntry.lineBytesMax, 5])
        #expect(
            items[0].entry.metadata["petrel_cut"]
                == (parts == 16 ? "" : "\(parts * part.utf8.count)"))
    }

    @Test("a part that is missing parts the line: both sides are marked")
    func missingPart() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        writer.numbered("a", 1)
        writer.numbered("c", 3, isLast: true)
        writer.add("after")
        let lines = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
            .flatMap(Self.lines)
        #expect(
            lines == [
                Line(text: "a", isPartial: true), Line(text: "c", isPartial: true),
                Line(text: "after"),
            ])
    }

    @Test("a silent journal gives an incomplete line out after a second, and what waited behind it")
    func silence() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        let clock = ManualClock()
        let reader = JournalReaderTests.reader(journal, start: .head, clock: clock)
        writer.numbered("a", 1)
        writer.add("behind")
        #expect(try Self.chunks(reader).isEmpty)
        clock.advance(999_999_999)
        #expect(try Self.chunks(reader).isEmpty)
        clock.advance(1)
        #expect(
            try Self.chunks(reader).flatMap(Self.lines) == [
                Line(text: "a", isPartial: true), Line(text: "behind"),
            ])
        writer.numbered("b", 2, isLast: true)
        #expect(
            try Self.chunks(reader).flatMap(Self.lines) == [Line(text: "b", isPartial: true)])
    }

    @Test("an entry that is more than a second younger ends what waits, without a clock")
    func ownTime() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        writer.output("a", isCut: true)
        writer.stepMicroseconds = 1_000_001
        writer.output("b", isCut: false)
        let lines = try Self.chunks(JournalReaderTests.reader(journal, start: .head))
            .flatMap(Self.lines)
        #expect(lines == [Line(text: "a", isPartial: true), Line(text: "b")])
    }

    @Test("16 lines are incomplete at a time; one more gives the oldest out")
    func openBound() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        for number in 1...16 { writer.numbered("part \(number)", 1, id: "\(number)") }
        let reader = JournalReaderTests.reader(journal, start: .head)
        #expect(try Self.chunks(reader).isEmpty)
        writer.numbered("part 17", 1, id: "17")
        #expect(
            try Self.chunks(reader).flatMap(Self.lines) == [Line(text: "part 1", isPartial: true)])
    }

    @Test("what waits stays within 1 MiB, whether it is text, entries or parts")
    func bytesBound() throws {
        for kind in 0..<3 {
            let journal = FakeJournal()
            var writer = SplitWriter(journal)
            writer.numbered("open", 1)
            let reader = JournalReaderTests.reader(journal, start: .head)
            var count = 0
            while try Self.chunks(reader).isEmpty {
                count += 1
                try #require(count < 4000)
                switch kind {
                case 0: writer.add([UInt8](repeating: 97, count: 32 << 10))
                case 1: writer.add("x")
                default: writer.numbered("p", UInt64(count + 1))
                }
            }
            #expect([(30...32), (2030...2048), (250...257)][kind].contains(count))
        }
    }

    /// How often each byte occurs.
    static func histogram(_ texts: [[UInt8]]) -> [Int] {
        var counts = [Int](repeating: 0, count: 256)
        for text in texts { for byte in text { counts[Int(byte)] += 1 } }
        return counts
    }

    /// Entries of all kinds, interleaved at random.
    static func mixture(seed: UInt64, isSlow: Bool) -> FakeJournal {
        var random = SplitMix(seed: seed)
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        var ordinals: [Int: UInt64] = [:]
        var lines: [Int: Int] = [:]
        for number in 0..<80 {
            writer.stepMicroseconds = isSlow ? random.next() % 600_000 : 10
            let who = Int(random.next() % 3)
            let isLast = random.next() % 3 == 0
            switch random.next() % 4 {
            case 0: writer.add("plain \(number) ")
            case 1:
                let ordinal = (ordinals[who] ?? 0) + 1
                ordinals[who] = isLast ? 0 : ordinal
                writer.numbered(
                    "docker \(number) ", ordinal, isLast: isLast, id: "\(lines[who] ?? 0)",
                    container: "c\(who)")
                if isLast { lines[who, default: 0] += 1 }
            case 2: writer.output("unit \(number) ", isCut: !isLast, stream: "s\(who)")
            default:
                guard who == 0 else { continue }
                let text = Array("old \(number) ".utf8)
                let filler = [UInt8](repeating: 46, count: isLast ? 0 : 16 << 10)
                writer.unnumbered(text + filler, isPartial: !isLast, container: "u\(who)")
            }
        }
        return journal
    }

    @Test(
        "killed after any chunk, each line comes once and is joined the same",
        arguments: [(1, false), (2, false), (3, true), (4, true)] as [(UInt64, Bool)], [1, 2, 5])
    func kill(mixture: (seed: UInt64, isSlow: Bool), max: Int) throws {
        let journal = Self.mixture(seed: mixture.seed, isSlow: mixture.isSlow)
        let whole = try Self.all(journal, max: max)
        let expected = whole.flatMap(Self.lines)
        // Every byte that was written is in a line once.
        let written = journal.state.withLock { $0.entries.map(\.message) }
        #expect(Self.histogram(whole.flatMap(\.items).map(\.entry.line)) == Self.histogram(written))
        #expect(expected.count > 20)
        for cut in whole.indices.dropLast() {
            let clock = ManualClock()
            let reader = JournalReaderTests.reader(
                journal, position: whole[cut].position, clock: clock)
            var rest = try Self.chunks(reader, max: max)
            clock.advance(1_000_000_000)
            rest += try Self.chunks(reader, max: max)
            let lines = (whole[...cut] + rest).flatMap(Self.lines)
            #expect(lines == expected, "cut after chunk \(cut)")
            #expect(rest.flatMap(\.gaps).isEmpty)
        }
    }

    @Test("killed after every chunk, one after the other", arguments: [11, 12, 13] as [UInt64])
    func killAlways(seed: UInt64) throws {
        let journal = Self.mixture(seed: seed, isSlow: seed == 13)
        let expected = try Self.all(journal, max: 1).flatMap(Self.lines)
        var lines: [Line] = []
        var position: SourcePosition?
        for _ in 0..<200 {
            let clock = ManualClock()
            let reader = JournalReaderTests.reader(
                journal, start: .head, position: position, clock: clock)
            var chunk = try reader.next(max: 1, waitMilliseconds: 0)
            if chunk == nil {
                clock.advance(1_000_000_000)
                chunk = try reader.next(max: 1, waitMilliseconds: 0)
            }
            guard let chunk else { break }
            lines += Self.lines(chunk)
            position = chunk.position
        }
        #expect(lines == expected)
    }

    @Test("killed while a line grows: what was written until then, at every moment")
    func killWhileWriting() throws {
        let complete = Self.mixture(seed: 21, isSlow: false)
        let entries = complete.state.withLock { $0.entries }
        let expected = try Self.all(complete).flatMap(Self.lines)
        for count in 1..<entries.count {
            let journal = FakeJournal()
            journal.state.withLock { $0.entries = Array(entries.prefix(count)) }
            let first = try Self.chunks(JournalReaderTests.reader(journal, start: .head), max: 3)
            journal.state.withLock { $0.entries = entries }
            let clock = ManualClock()
            let reader = JournalReaderTests.reader(
                journal, start: .head, position: first.last?.position, clock: clock)
            var rest = try Self.chunks(reader)
            clock.advance(1_000_000_000)
            rest += try Self.chunks(reader)
            #expect((first + rest).flatMap(Self.lines) == expected, "after \(count) entries")
        }
    }

    @Test("a gap inside what waits is told with it, once, and parts given out are no loss")
    func gaps() throws {
        let journal = FakeJournal()
        var writer = SplitWriter(journal)
        writer.numbered("a1", 1, id: "a", container: "a")
        writer.numbered("b1", 1, id: "b", container: "b")
        writer.numbered("a2", 2, isLast: true, id: "a", container: "a")
        writer.sequence += 5
        writer.add("c")
        writer.numbered("b2", 2, isLast: true, id: "b", container: "b")
        let reader = JournalReaderTests.reader(journal, start: .head)
        let first = try #require(try reader.next(max: 1, waitMilliseconds: 0))
        #expect(Self.lines(first).map(\.text) == ["a1a2"])
        #expect(first.gaps.isEmpty)
        let rest = try Self.chunks(reader)
        #expect(rest.flatMap(Self.lines).map(\.text) == ["b1b2", "c"])
        #expect(rest.flatMap(\.gaps).map(\.count) == [5])
        let again = try Self.chunks(
            JournalReaderTests.reader(journal, position: first.position))
        #expect(again.flatMap(Self.lines).map(\.text) == ["b1b2", "c"])
        #expect(again.flatMap(\.gaps).map(\.count) == [5])
        // b1 and a2 are vacuumed: a2 was given out, so b1 and the five are lost.
        journal.vacuum(3)
        let late = try Self.chunks(JournalReaderTests.reader(journal, position: first.position))
        #expect(
            late.flatMap(Self.lines) == [Line(text: "c"), Line(text: "b2", isPartial: true)])
        #expect(late.flatMap(\.gaps).map(\.count) == [6])
    }
}

/// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
private struct SplitMix {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
