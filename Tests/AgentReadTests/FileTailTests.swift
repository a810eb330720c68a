import AgentRead
import Model
import Testing
import World

/// A tail over files in memory, with a clock that a test moves.
struct TailBench {
    let tree = MemoryTree([:])
    var tail: FileTail
    var seconds: Int64 = 1000
    var gaps: [GapRecord] = []
    /// What a spool would hold: the position as of the last entries, or of the last move.
    private var stored: FilePosition?
    let configuration: FileTailConfiguration

    init(
        start: FileTailConfiguration.Start = .head, grace: Int64 = 0,
        multiline: MultilineConfiguration? = nil
    ) {
        configuration = FileTailConfiguration(
            path: "/log/app.log", serviceName: "app", start: start,
            rotationGraceNanoseconds: grace * 1_000_000_000, multiline: multiline)
        tail = FileTail(configuration)
    }

    mutating func poll(
        max: Int
    ) throws -> (items: [LogReadChunk.Item], gaps: [GapRecord]) {
        let (items, gaps) = try tail.poll(
            tree, now: TimestampNS(seconds * 1_000_000_000), max: max)
        if !items.isEmpty || !gaps.isEmpty || tail.hasMoved { stored = tail.position }
        return (items, gaps)
    }

    /// Polls until nothing comes; returns the lines.
    mutating func lines(max: Int = 3) throws -> [String] {
        try entries(max: max).map { String(decoding: $0.line, as: UTF8.self) }
    }

    mutating func entries(max: Int = 3) throws -> [LogEntry] {
        var entries: [LogEntry] = []
        for _ in 0..<1000 {
            let (items, gaps) = try poll(max: max)
            self.gaps += gaps
            guard !items.isEmpty || !gaps.isEmpty else { break }
            #expect(items.count <= max)
            entries += items.map(\.entry)
        }
        return entries
    }

    /// As after a kill: only the encoded position survives.
    mutating func restart() throws {
        let stored = try #require(stored)
        let decoded = try #require(FilePosition(bytes: stored.bytes))
        #expect(decoded == stored)
        tail = FileTail(configuration, position: decoded)
    }
}

@Suite("File tail")
struct FileTailTests {
    static let log = "/log/app.log"

    @Test("lines, empty lines, CR, any bytes; a line without end waits")
    func lines() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "one\n\ntwo\r\nthr")
        bench.tree.append(Self.log, bytes: [0xff, 0x00])
        let first = try bench.entries()
        #expect(first.map(\.line) == [Array("one".utf8), [], Array("two\r".utf8)])
        #expect(zip(first, first.dropFirst()).allSatisfy { $0.timestamp < $1.timestamp })
        #expect(bench.tail.position?.offset == 10)
        bench.seconds += 4
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log, "ee\nfour")
        #expect(
            try bench.entries().map(\.line) == [Array("thr".utf8) + [0xff, 0] + Array("ee".utf8)])
        bench.seconds += 5
        let flushed = try bench.entries()
        #expect(flushed.map(\.line) == [Array("four".utf8)])
        #expect(flushed[0].metadata["petrel_partial"] == "true")
        bench.tree.append(Self.log, " more\n")
        let rest = try bench.entries()
        #expect(rest.map(\.line) == [Array(" more".utf8)])
        #expect(rest[0].metadata["petrel_continued"] == "true")
        #expect(bench.gaps.isEmpty)
    }

    @Test("labels and fields")
    func labels() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "{\"level\":\"WARN\",\"trace_id\":\"abc\"}\n")
        let (items, _) = try bench.tail.poll(bench.tree, now: TimestampNS(5), max: 10)
        #expect(
            items == [
                .init(
                    stream: [
                        "source": "file", "filename": Self.log, "service_name": "app",
                    ],
                    entry: LogEntry(
                        timestamp: TimestampNS(5),
                        line: Array("{\"level\":\"WARN\",\"trace_id\":\"abc\"}".utf8),
                        level: "warn",
                        metadata: ["trace_id": "abc"]))
            ])
    }

    @Test("a line past the limit is cut and marked", arguments: [0, 1, 100_000])
    func cut(excess: Int) throws {
        var bench = TailBench()
        let length = LogEntry.lineBytesMax + excess
        bench.tree.create(Self.log, String(repeating: "x", count: length) + "\nnext\n")
        let entries = try bench.entries()
        #expect(entries.map(\.line.count) == [LogEntry.lineBytesMax, 4])
        #expect(entries[0].metadata["petrel_cut"] == (excess == 0 ? "" : "\(length)"))
        #expect(bench.tail.position?.offset == Int64(length + 6))
    }

    @Test("start at the end, or from the start where the file appears later")
    func start() throws {
        var bench = TailBench(start: .tail)
        bench.tree.create(Self.log, "old\n")
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log, "new\n")
        #expect(try bench.lines() == ["new"])
        var later = TailBench(start: .tail)
        #expect(try later.lines() == [])
        later.tree.create(Self.log, "first\n")
        #expect(try later.lines() == ["first"])
    }

    @Test("rename: the old file to its end, writes after the rename too, then the new one")
    func rename() throws {
        var bench = TailBench(grace: 2)
        bench.tree.create(Self.log, "a\nb\n")
        #expect(try bench.lines() == ["a", "b"])
        bench.tree.append(Self.log, "c\n")
        bench.tree.move(Self.log, Self.log + ".1")
        #expect(try bench.lines() == ["c"])
        bench.tree.create(Self.log, "e\n")
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log + ".1", "d\nhalf")
        bench.seconds += 1
        #expect(try bench.lines() == ["d"])
        // It still grew a second ago.
        bench.seconds += 1
        #expect(try bench.lines() == [])
        bench.seconds += 1
        #expect(try bench.lines() == ["half", "e"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("several rotations between two looks: every file in order")
    func rotatedTwice() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.append(Self.log, "b\n")
        bench.tree.move(Self.log, Self.log + ".3")
        bench.tree.create(Self.log + ".2", "c\n")
        bench.tree.create(Self.log + ".1", "d\n")
        bench.tree.create(Self.log, "e\n")
        #expect(try bench.lines() == ["b", "c", "d", "e"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("copy and truncate: the rest comes from the copy", arguments: [true, false])
    func copyTruncate(hasCopy: Bool) throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "header\na\n")
        #expect(try bench.lines() == ["header", "a"])
        bench.tree.append(Self.log, "b\n")
        if hasCopy { bench.tree.copy(Self.log, Self.log + ".1") }
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "c\n")
        #expect(try bench.lines() == (hasCopy ? ["b", "c"] : ["c"]))
        #expect(bench.gaps.map(\.reason) == (hasCopy ? [] : [.fileLost]))
    }

    @Test("truncated and grown past the old offset before the next look: seen by its head")
    func truncatedAndGrown() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "aaaa\n")
        #expect(try bench.lines() == ["aaaa"])
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "bbbb\ncccc\n")
        #expect(try bench.lines() == ["bbbb", "cccc"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("a restart resumes exactly, also within a rotated file")
    func restart() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\nb\nc\nhalf")
        let (items, _) = try bench.poll(max: 2)
        #expect(items.count == 2)
        try bench.restart()
        #expect(try bench.lines() == ["c"])
        try bench.restart()
        bench.tree.append(Self.log, " whole\n")
        bench.tree.move(Self.log, Self.log + ".2")
        bench.tree.create(Self.log + ".1", "d\n")
        bench.tree.create(Self.log, "e\n")
        #expect(try bench.lines() == ["half whole", "d", "e"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a file replaced while away is a gap, then the new one")
    func replaced() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.create(Self.log, "b\n")
        try bench.restart()
        #expect(try bench.lines() == ["b"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
        #expect(bench.gaps.map(\.source) == ["file:/log/app.log"])
    }

    @Test("an inode used again is not the same file")
    func reusedInode() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "aaaa\n")
        #expect(try bench.lines() == ["aaaa"])
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "bbbbbbbb\n")
        try bench.restart()
        #expect(try bench.lines() == ["bbbbbbbb"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("positions of another version are refused")
    func positions() throws {
        #expect(FilePosition(bytes: []) == nil)
        #expect(FilePosition(bytes: [UInt8](repeating: 2, count: 35)) == nil)
        #expect(FilePosition(bytes: [UInt8](repeating: 3, count: 44)) == nil)
        // As an agent wrote it before positions had times.
        let old = [1, 7] + [UInt8](repeating: 0, count: 33)
        #expect(
            FilePosition(bytes: old)
                == FilePosition(
                    identity: FileIdentity(device: 7, inode: 0), offset: 0,
                    signature: FilePosition(bytes: old)?.signature ?? FileSignature(head: [])))
        let tree = MemoryTree([:])
        #expect(throws: ReadError.self) {
            try FileTailReader(
                FileSetConfiguration(path: Self.log), tree: tree, clock: ManualClock(),
                positions: [SourcePosition(source: "file:/log/app.log", bytes: [9])])
        }
        let clock = ManualClock()
        let reader = try FileTailReader(
            FileSetConfiguration(path: Self.log), tree: tree, clock: clock)
        #expect(try reader.next(max: 1, waitMilliseconds: 0) == nil)
        tree.create(Self.log, "x\n")
        clock.advance(1_000_000_000)
        let chunk = try #require(try reader.next(max: 1, waitMilliseconds: 0))
        #expect(chunk.position.source == "file:/log/app.log")
        #expect(FilePosition(bytes: chunk.position.bytes)?.offset == 2)
    }

    @Test("a pattern of which there is no file says so, and no longer when one comes")
    func empty() throws {
        let tree = MemoryTree([:])
        let clock = ManualClock()
        let reader = try FileTailReader(
            FileSetConfiguration(path: "/log/*.log"), tree: tree, clock: clock)
        #expect(try reader.next(max: 1, waitMilliseconds: 0) == nil)
        #expect(reader.isEmpty)
        tree.create(Self.log, "x\n")
        clock.advance(10_000_000_000)
        let chunk = try #require(try reader.next(max: 1, waitMilliseconds: 0))
        #expect(chunk.items.count == 1)
        #expect(!reader.isEmpty)
    }
}
