import AgentRead
import Model
import Synchronization
import Testing
import World

/// Files of a pattern whose names change within it, with a kill after every single position.
@Suite("File sets and renames")
struct FileSetRenameTests {
    @Test("a file that is renamed for good goes on under the new name alone, in its own slot")
    func renamedForGood() throws {
        var bench = try SetBench()
        bench.files.create("/log/old.log", "1\n")
        #expect(try bench.lines() == ["old.log: 1"])
        let before = bench.positions
        bench.files.move("/log/old.log", "/log/new.log")
        #expect(try bench.lines() == [])
        #expect(bench.set.paths == ["/log/new.log"])
        bench.files.append("/log/new.log", "2\n")
        #expect(try bench.lines() == ["new.log: 2"])
        #expect(Array(bench.positions.keys) == ["file:/log/*.log#0"])
        try bench.restart()
        #expect(try bench.lines() == [])
        // A kill before the rename was stored.
        bench.positions = before
        try bench.restart()
        bench.files.append("/log/new.log", "3\n")
        #expect(try bench.lines() == ["new.log: 2", "new.log: 3"])
        #expect(Array(bench.positions.keys) == ["file:/log/*.log#0"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a file that is renamed twice, and back, is read on from where it was read to")
    func renamedTwice() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "1\n")
        #expect(try bench.lines() == ["a.log: 1"])
        var last = "/log/a.log"
        for (number, name) in ["/log/b.log", "/log/c.log", "/log/a.log"].enumerated() {
            bench.files.move(last, name)
            last = name
            bench.files.append(name, "\(number + 2)\n")
            let lines = try bench.lines().map { $0.split(separator: " ").last }
            #expect(lines == ["\(number + 2)"])
        }
        #expect(bench.set.paths == ["/log/a.log"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("rotation that keeps the ending shifts names of the pattern: each line once")
    func shifted() throws {
        var bench = try SetBench()
        var read: [String] = []
        for round in 0..<6 {
            bench.files.delete("/log/a.3.log")
            for number in [2, 1] {
                if bench.files.has("/log/a.\(number).log") {
                    bench.files.move("/log/a.\(number).log", "/log/a.\(number + 1).log")
                }
            }
            if round > 0 {
                bench.files.append("/log/a.log", "late \(round)\n")
                bench.files.move("/log/a.log", "/log/a.1.log")
            }
            bench.files.create("/log/a.log", "early \(round)\n")
            read += try texts(&bench)
            if round % 2 == 1 {
                try bench.restart()
                read += try texts(&bench)
            }
        }
        let expected = ["early 0"] + (1..<6).flatMap { ["late \($0)", "early \($0)"] }
        #expect(read.sorted() == expected.sorted())
        // These files have no times, so that nobody can tell whether there was more in one that goes: three do, each by
        // the name under which it was read last.
        #expect(bench.gaps.count <= 3)
        #expect(
            bench.gaps.allSatisfy {
                ["file:/log/a.2.log", "file:/log/a.3.log"].contains($0.source)
            })
    }

    @Test("two files that change names are read on")
    func swapped() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "a1\n")
        bench.files.create("/log/b.log", "b1\n")
        #expect(try texts(&bench).sorted() == ["a1", "b1"])
        bench.files.move("/log/a.log", "/log/x")
        bench.files.move("/log/b.log", "/log/a.log")
        bench.files.move("/log/x", "/log/b.log")
        bench.files.append("/log/a.log", "b2\n")
        bench.files.append("/log/b.log", "a2\n")
        #expect(try bench.lines().sorted() == ["a.log: b2", "b.log: a2"])
        try bench.restart()
        #expect(try bench.lines() == [])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a kill after any position of a rotation that shifts names reads no line twice")
    func killedAnywhere() throws {
        for kill in 0..<40 {
            var bench = try SetBench()
            bench.files.create("/log/a.log", "1\n")
            bench.files.create("/log/a.1.log", "0\n")
            #expect(try texts(&bench).sorted() == ["0", "1"])
            bench.files.move("/log/a.1.log", "/log/a.2.log")
            bench.files.move("/log/a.log", "/log/a.1.log")
            bench.files.create("/log/a.log", "2\n")
            // Another source writes after each position, so that each is stored by itself.
            bench.storesAtOnce = true
            var read: [String] = []
            for _ in 0..<kill {
                bench.seconds += 1
                read += try bench.poll()?.items.map { text($0) } ?? []
            }
            try bench.restart()
            bench.files.append("/log/a.1.log", "late\n")
            read += try texts(&bench)
            #expect(read.sorted() == ["2", "late"], "killed after \(kill)")
            #expect(bench.gaps.isEmpty)
        }
    }

    @Test("a file that was idle at its end since a restart and is removed is no loss")
    func idleRemoved() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "a\n")
        bench.files.create("/log/b.log", "b\n")
        for name in ["a", "b"] { bench.files.touch("/log/\(name).log", seconds: 900) }
        #expect(try texts(&bench).sorted() == ["a", "b"])
        try bench.restart()
        bench.files.delete("/log/b.log")
        #expect(try texts(&bench) == [])
        // Of this one nobody saw the end after the restart.
        #expect(bench.gaps.map(\.source) == ["file:/log/b.log"])
        bench.files.delete("/log/a.log")
        #expect(try texts(&bench) == [])
        #expect(bench.gaps.count == 1)
    }

    @Test("a folder within the pattern that can't be listed is said, and the others are read")
    func refusedFolder() throws {
        var bench = try SetBench("/log/*/x.log")
        bench.files.create("/log/a/x.log", "a\n")
        var wild = try SetBench("/log/*/*.log")
        wild.files.create("/log/a/x.log", "a\n")
        wild.files.create("/log/b/x.log", "b\n")
        wild.tree.denied.withLock { _ = $0.insert("/log/b") }
        #expect(try texts(&bench) == ["a"])
        #expect(try texts(&wild) == ["a"])
        #expect(wild.set.problems.count == 1)
        #expect(wild.set.problems[0].contains("/log/b"))
        wild.tree.denied.withLock { $0 = [] }
        #expect(try texts(&wild) == ["b"])
        #expect(wild.set.problems.isEmpty)
    }

    @Test("where there is no room the position of a file that is gone makes some")
    func roomOfGone() throws {
        var bench = try SetBench(positionBytesMax: 170)
        bench.files.create("/log/a.log", "a\n")
        bench.files.create("/log/b.log", "b\n")
        #expect(try texts(&bench).sorted() == ["a", "b"])
        bench.files.delete("/log/a.log")
        #expect(try texts(&bench) == [])
        // Its tail lets go of it after ten minutes.
        bench.seconds += 700
        #expect(try texts(&bench) == [])
        bench.files.create("/log/c.log", "c\n")
        #expect(try texts(&bench) == ["c"])
        #expect(bench.set.paths.sorted() == ["/log/b.log", "/log/c.log"])
        #expect(bench.set.problems.isEmpty)
    }

    private func text(_ item: LogReadChunk.Item) -> String {
        String(decoding: item.entry.line, as: UTF8.self)
    }

    private func texts(_ bench: inout SetBench) throws -> [String] {
        try bench.lines().map { String($0.drop { $0 != " " }.dropFirst()) }
    }
}
