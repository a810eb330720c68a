import AgentRead
import Gzip
import Model
import Testing
import World

/// What rotation does to a file while its reader is away or looks elsewhere.
@Suite("File rotation")
struct FileRotationTests {
    static let log = "/log/app.log"

    private func compress(_ bench: TailBench, _ path: String) throws {
        let file = try bench.tree.open(path, .read)
        bench.tree.create(
            path + ".gz", bytes: try Gzip.compress(file.read(at: 0, count: 10_000_000)))
        bench.tree.delete(path)
    }

    @Test("compressed before it was read to its end: the rest comes from the compressed file")
    func compressedAway() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\nb\nc\n")
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        bench.tree.move(Self.log, Self.log + ".1")
        bench.tree.append(Self.log + ".1", "d\nhalf")
        try compress(bench, Self.log + ".1")
        bench.tree.create(Self.log, "e\n")
        try bench.restart()
        #expect(try bench.lines(max: 2) == ["b", "c", "d", "half", "e"])
        #expect(bench.gaps.isEmpty)
        // Nothing of it is read again.
        try bench.restart()
        #expect(try bench.lines() == [])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a restart in the middle of a compressed file, and a long one")
    func compressedRestart() throws {
        var bench = TailBench()
        let lines = (0..<20_000).map {
            "line \($0) of a file that is long enough for several pieces"
        }
        bench.tree.create(Self.log, lines.joined(separator: "\n") + "\n")
        var read: [String] = []
        func readSome(_ bench: inout TailBench) throws {
            let (items, gaps) = try bench.poll(max: 700)
            read += items.map { String(decoding: $0.entry.line, as: UTF8.self) }
            #expect(gaps.isEmpty)
        }
        try readSome(&bench)
        bench.tree.move(Self.log, Self.log + ".2")
        try compress(bench, Self.log + ".2")
        bench.tree.create(Self.log + ".1", "then\n")
        try compress(bench, Self.log + ".1")
        for _ in 0..<5 {
            try bench.restart()
            try readSome(&bench)
        }
        for _ in 0..<40 { try readSome(&bench) }
        #expect(read == lines + ["then"])
    }

    @Test("several rotations, some compressed, some just being compressed")
    func severalCompressed() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.append(Self.log, "b\n")
        bench.tree.move(Self.log, Self.log + ".10")
        try compress(bench, Self.log + ".10")
        bench.tree.create(Self.log + ".9", "c\n")
        try compress(bench, Self.log + ".9")
        for number in 1...8 { bench.tree.create(Self.log + ".\(number)", "d\(number)\n") }
        bench.tree.create(Self.log + ".2.gz", bytes: [0x1f, 0x8b])
        bench.tree.create(Self.log, "e\n")
        try bench.restart()
        let between = (1...8).reversed().map { "d\($0)" }
        #expect(try bench.lines() == ["b", "c"] + between + ["e"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("compressed late, after all was read: read no second time")
    func compressedLate() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.move(Self.log, Self.log + ".1")
        bench.tree.create(Self.log, "b\n")
        #expect(try bench.lines() == ["b"])
        try compress(bench, Self.log + ".1")
        #expect(try bench.lines() == [])
        try bench.restart()
        bench.tree.append(Self.log, "c\n")
        #expect(try bench.lines() == ["c"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("compressed while it is read: the open file is read on")
    func compressedOpen() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\nb\nc\n")
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        bench.tree.move(Self.log, Self.log + ".1")
        try compress(bench, Self.log + ".1")
        bench.tree.create(Self.log, "d\n")
        #expect(try bench.lines() == ["b", "c", "d"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a compressed file that is cut: what can be unpacked, then a gap with the place")
    func compressedCut() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        var state: UInt32 = 1
        let noise = (0..<300_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(97 + (state >> 24) % 20)
        }
        bench.tree.append(Self.log, "b\n")
        bench.tree.append(Self.log, bytes: noise)
        bench.tree.move(Self.log, Self.log + ".1")
        let whole = try bench.tree.open(Self.log + ".1", .read).read(at: 0, count: 1 << 20)
        bench.tree.create(
            Self.log + ".1.gz", bytes: Array(try Gzip.compress(whole).dropLast(50_000)))
        bench.tree.delete(Self.log + ".1")
        bench.tree.create(Self.log, "c\n")
        try bench.restart()
        let lines = try bench.lines()
        #expect(lines.first == "b")
        #expect(lines.last == "c")
        #expect(bench.gaps.map(\.reason) == [.fileLost])
        #expect(bench.gaps[0].detail.contains("app.log.1.gz, which can't be unpacked past byte"))
    }

    @Test("a short compressed file that is cut: the lines before the cut come")
    func compressedCutShort() throws {
        var bench = TailBench()
        let lines = (0..<1000).map { "line \(String($0 &* 2_654_435_761, radix: 36))" }
        bench.tree.create(Self.log, lines[0] + "\n")
        #expect(try bench.lines() == [lines[0]])
        bench.tree.append(Self.log, lines[1...].joined(separator: "\n") + "\n")
        let whole = try bench.tree.open(Self.log, .read).read(at: 0, count: 1 << 20)
        bench.tree.create(
            Self.log + ".1.gz", bytes: Array(try Gzip.compress(whole).dropLast(1000)))
        bench.tree.create(Self.log, "now\n")
        try bench.restart()
        var read = try bench.lines(max: 100)
        #expect(read.popLast() == "now")
        // The last one is cut.
        _ = read.popLast()
        #expect(read.count > 500)
        #expect(read == Array(lines[1...].prefix(read.count)))
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("a rotated file of before that begins alike is no copy of an emptied one")
    func olderAlike() throws {
        var bench = TailBench()
        bench.tree.create(Self.log + ".1", "banner\nyesterday\n")
        bench.tree.touch(Self.log + ".1", seconds: 100)
        bench.tree.create(Self.log, "banner\n")
        bench.tree.touch(Self.log, seconds: 200)
        #expect(try bench.lines() == ["banner"])
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "now\n")
        #expect(try bench.lines() == ["now"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("a newer rotated file in a form that can't be read is a gap that names it")
    func unreadable() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.append(Self.log, "b\n")
        bench.tree.move(Self.log, Self.log + ".2")
        bench.tree.create(Self.log + ".1.xz", "not read")
        bench.tree.create(Self.log, "d\n")
        try bench.restart()
        #expect(try bench.lines() == ["b", "d"])
        #expect(bench.gaps.map(\.detail.count) == [bench.gaps[0].detail.count])
        #expect(bench.gaps[0].detail.contains("/log/app.log.1.xz"))
    }

    @Test("renamed to any name of the folder while away: found again")
    func renamedAway() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.append(Self.log, "b\n")
        bench.tree.move(Self.log, "/log/before-the-upgrade")
        bench.tree.create(Self.log, "c\n")
        try bench.restart()
        #expect(try bench.lines() == ["b", "c"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("gone while away: what was rotated after it is read, what was before it is not")
    func goneAway() throws {
        var bench = TailBench()
        bench.tree.create(Self.log + ".9", "older\n")
        bench.tree.touch(Self.log + ".9", seconds: 100)
        bench.tree.create(Self.log, "a\n")
        bench.tree.touch(Self.log, seconds: 200)
        #expect(try bench.lines() == ["a"])
        bench.tree.delete(Self.log)
        for (name, seconds) in [(".2", Int64(300)), (".1", 400)] {
            bench.tree.create(Self.log + name, "after \(name)\n")
            bench.tree.touch(Self.log + name, seconds: seconds)
        }
        bench.tree.create(Self.log, "now\n")
        try bench.restart()
        #expect(try bench.lines() == ["after .2", "after .1", "now"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("a file that was left at its end and then removed is no loss")
    func finished() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\nhalf")
        #expect(try bench.lines() == ["a"])
        bench.tree.move(Self.log, Self.log + ".1")
        // The new file is there and empty: nothing is left before something is in it.
        bench.tree.create(Self.log, "")
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log + ".1", " whole\n")
        #expect(try bench.lines() == ["half whole"])
        bench.seconds += 700
        #expect(try bench.lines() == [])
        bench.tree.delete(Self.log + ".1")
        try bench.restart()
        bench.tree.append(Self.log, "b\n")
        #expect(try bench.lines() == ["b"])
        #expect(bench.gaps.isEmpty)
    }

    @Test(
        "a rotated file removed while it is read: those written after it, and a gap, as more may be gone"
    )
    func removedWhileRead() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\nb\n")
        bench.tree.touch(Self.log, seconds: 100)
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        bench.tree.delete(Self.log)
        bench.tree.create(Self.log + ".1", "c\n")
        bench.tree.touch(Self.log + ".1", seconds: 200)
        bench.tree.create(Self.log, "d\n")
        #expect(try bench.lines() == ["b", "c", "d"])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
    }

    @Test("the newest rotated file is read until its writer has left it")
    func newestRotated() throws {
        var bench = TailBench(grace: 2)
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.move(Self.log, Self.log + ".2")
        bench.tree.create(Self.log + ".1", "b\n")
        bench.tree.create(Self.log, "d\n")
        #expect(try bench.lines() == [])
        bench.seconds += 2
        #expect(try bench.lines() == ["b"])
        bench.tree.append(Self.log + ".1", "c\n")
        bench.seconds += 1
        #expect(try bench.lines() == ["c"])
        bench.seconds += 2
        #expect(try bench.lines() == ["d"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a file that was empty when it was seen, filled, copied and emptied before the next look")
    func blank() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "")
        bench.tree.touch(Self.log, seconds: 100)
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log, "a\n")
        bench.tree.copy(Self.log, Self.log + ".1")
        bench.tree.touch(Self.log + ".1", seconds: 200)
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "b\n")
        #expect(try bench.lines() == ["a", "b"])
        var renamed = TailBench()
        renamed.tree.create(Self.log, "")
        #expect(try renamed.lines() == [])
        renamed.tree.append(Self.log, "a\n")
        renamed.tree.move(Self.log, Self.log + ".1")
        renamed.tree.create(Self.log, "b\n")
        #expect(try renamed.lines() == ["a", "b"])
        #expect(bench.gaps.isEmpty && renamed.gaps.isEmpty)
    }

    @Test("several truncations while away: every copy in order")
    func copies() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        #expect(try bench.lines() == ["a"])
        bench.tree.append(Self.log, "b\n")
        bench.tree.copy(Self.log, Self.log + ".2")
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "c\n")
        bench.tree.copy(Self.log, Self.log + ".1")
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, "d\n")
        try bench.restart()
        #expect(try bench.lines() == ["b", "c", "d"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("the hole that a writer leaves which keeps its offset is stepped over")
    func hole() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "aaaa\n")
        #expect(try bench.lines() == ["aaaa"])
        bench.tree.copy(Self.log, Self.log + ".1")
        bench.tree.empty(Self.log)
        bench.tree.append(Self.log, bytes: [UInt8](repeating: 0, count: 200_000))
        bench.tree.append(Self.log, "bbbb\n")
        #expect(try bench.lines() == ["bbbb"])
        #expect(bench.gaps.isEmpty)
        #expect(bench.tail.position?.offset == 200_005)
        // Elsewhere NULs are the writer's bytes.
        bench.tree.append(Self.log, bytes: [0, 0, 10])
        #expect(try bench.entries().map(\.line) == [[0, 0]])
    }

    @Test("a link that gets another target: the old file to its end, then the new one")
    func link() throws {
        var bench = TailBench()
        bench.tree.create("/log/app-1", "a\n")
        bench.tree.link("/log/app-1", Self.log)
        #expect(try bench.lines() == ["a"])
        bench.tree.append("/log/app-1", "b\n")
        bench.tree.create("/log/app-2", "c\n")
        bench.tree.link("/log/app-2", Self.log)
        #expect(try bench.lines() == ["b", "c"])
        bench.tree.append("/log/app-2", "d\n")
        bench.tree.create("/log/app-3", "e\n")
        bench.tree.link("/log/app-3", Self.log)
        try bench.restart()
        #expect(try bench.lines() == ["d", "e"])
        #expect(bench.gaps.isEmpty)
    }
}

@Suite("Records of several lines")
struct MultilineTests {
    static let log = "/log/app.log"
    private func makeBench(linesMax: Int = 500) -> TailBench {
        TailBench(
            multiline: MultilineConfiguration(linesMax: linesMax) { line in
                line.first != UInt8(ascii: " ")
            })
    }

    @Test("a record ends before the next, and after a while; a restart repeats nothing")
    func records() throws {
        var bench = makeBench()
        bench.tree.create(Self.log, "one\n at a\n at b\ntwo\n at")
        #expect(try bench.lines() == ["one\n at a\n at b"])
        #expect(bench.tail.position?.offset == 16)
        try bench.restart()
        // A line that is not whole holds the record up.
        bench.seconds += 2
        #expect(try bench.lines() == [])
        bench.tree.append(Self.log, " c\n")
        #expect(try bench.lines() == [])
        bench.seconds += 1
        #expect(try bench.lines() == ["two\n at c"])
        bench.tree.append(Self.log, "three\n at d")
        bench.seconds += 1
        #expect(try bench.lines() == [])
        bench.seconds += 5
        let late = try bench.entries()
        #expect(late.map { String(decoding: $0.line, as: UTF8.self) } == ["three", " at d"])
        #expect(late.map { $0.metadata["petrel_partial"] } == ["", "true"])
    }

    @Test("a record has at most so many lines and bytes; it goes on in the next one, marked")
    func bounds() throws {
        var bench = makeBench(linesMax: 2)
        bench.tree.create(Self.log, "one\n a\n b\n c\n d\ntwo\nend\n")
        let entries = try bench.entries()
        #expect(
            entries.map { String(decoding: $0.line, as: UTF8.self) }
                == ["one\n a", " b\n c", " d", "two"])
        #expect(
            entries.map { $0.metadata["petrel_continued"] } == ["", "true", "true", ""])
        var wide = makeBench()
        let line = " " + String(repeating: "x", count: 99_999)
        wide.tree.create(Self.log, "one\n\(line)\n\(line)\n\(line)\ntwo\nend\n")
        let parts = try wide.entries()
        #expect(parts.map(\.line.count) == [200_005, 100_000, 3])
        #expect(parts.map { $0.metadata["petrel_cut"] } == ["", "", ""])
    }

    @Test("the last record of a rotated file is whole")
    func rotated() throws {
        var bench = makeBench()
        bench.tree.create(Self.log, "one\n a\n")
        #expect(try bench.lines() == [])
        bench.tree.move(Self.log, Self.log + ".1")
        bench.tree.create(Self.log, "two\nthree\n")
        #expect(try bench.lines() == ["one\n a", "two"])
    }

    @Test("a pattern that is none is refused")
    func pattern() throws {
        #expect(throws: ReadError.self) { try MultilineConfiguration(pattern: "(") }
        let found = try MultilineConfiguration(pattern: "^[0-9]{4}-")
        #expect(found.startsRecord(Array("2026-11-26 x".utf8)))
        #expect(!found.startsRecord(Array(" 2026-11-26".utf8)))
    }
}
