import AgentRead
import Gzip
import Model
import Testing
import World

/// The names that rotation gives to a file, with several rotations while its reader is stopped or behind.
@Suite("Names of rotated files")
struct FileRotationNameTests {
    static let log = "/log/app.log"

    /// How a writer or a rotating program names the files that it leaves.
    struct Naming: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The name of the n-th rotated file of `count`, the first one being the oldest.
        let name: @Sendable (_ number: Int, _ count: Int) -> String
        var isCompressed = false
    }

    static let namings: [Naming] = [
        Naming(testDescription: "descending") { "app.log.\($1 - $0 + 1)" },
        Naming(testDescription: "ascending") { number, _ in "app.log.\(number)" },
        Naming(testDescription: "ascending past nine") { number, _ in "app.log.\(number + 8)" },
        Naming(testDescription: "logrotate's extension") { "app.\($1 - $0 + 1).log" },
        Naming(testDescription: "ascending before the ending") { number, _ in
            "app.\(number).log"
        },
        Naming(testDescription: "dateext") { number, _ in "app.log-2026112\(number)" },
        Naming(testDescription: "dateext, extension") { number, _ in "app-2026112\(number).log" },
        Naming(testDescription: "dateext, extension, hour") { number, _ in
            "app-20261126-1\(number)00.log"
        },
        Naming(testDescription: "dateext, epoch") { number, _ in
            "app.log-20261126-173264280\(number)"
        },
        Naming(testDescription: "lumberjack") { number, _ in
            "app-2026-11-26T1\(number)-00-00.000.log"
        },
        Naming(
            testDescription: "lumberjack, compressed",
            name: { number, _ in "app-2026-11-26T1\(number)-00-00.000.log" }, isCompressed: true),
        Naming(testDescription: "Python, daily") { number, _ in "app.log.2026-11-2\(number)" },
        Naming(testDescription: "Python, hourly") { number, _ in
            "app.log.2026-11-26_1\(number)"
        },
        Naming(testDescription: "logback") { number, _ in "app.2026-11-2\(number).log" },
        Naming(testDescription: "logback, by size") { number, _ in
            "app-2026-11-26.\(number + 8).log"
        },
        Naming(testDescription: "PM2") { number, _ in "app__2026-11-26_1\(number)-00-00.log" },
        Naming(testDescription: "dates that begin with the day") { number, _ in
            "app-\(31 - number)-1\(number - 1)-2026.log"
        },
        Naming(testDescription: "names of no known kind") { number, _ in "old-\(number)-app" },
    ]

    private func compress(_ tree: MemoryTree, _ path: String, seconds: Int64) throws {
        let whole = try tree.open(path, .read).read(at: 0, count: 1 << 20)
        tree.create(path + ".gz", bytes: try Gzip.compress(whole))
        tree.touch(path + ".gz", seconds: seconds)
        tree.delete(path)
    }

    /// Rotates `count` times, with lines in each file: what is still to be read.
    private func rotate(_ tree: MemoryTree, _ naming: Naming, count: Int) throws -> [String] {
        var lines: [String] = []
        for number in 1...count {
            // Names of before shift, the oldest first.
            for earlier in 1..<number {
                let (old, new) = (naming.name(earlier, number - 1), naming.name(earlier, number))
                for ending in ["", ".gz"]
                where old != new && tree.has("/log/\(old)\(ending)") {
                    tree.move("/log/\(old)\(ending)", "/log/\(new)\(ending)")
                }
            }
            let seconds = Int64(number) * 100
            tree.append(Self.log, "late \(number)\n")
            tree.touch(Self.log, seconds: seconds)
            let path = "/log/\(naming.name(number, number))"
            tree.move(Self.log, path)
            if naming.isCompressed { try compress(tree, path, seconds: seconds + 1) }
            tree.create(Self.log, "early \(number + 1)\n")
            tree.touch(Self.log, seconds: seconds + 50)
            lines += ["late \(number)", "early \(number + 1)"]
        }
        return lines
    }

    @Test("stopped: each line of each rotated file once, in order", arguments: namings, [1, 3])
    func stopped(_ naming: Naming, count: Int) throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "early 1\n")
        bench.tree.touch(Self.log, seconds: 50)
        #expect(try bench.lines() == ["early 1"])
        let expected = try rotate(bench.tree, naming, count: count)
        try bench.restart()
        #expect(try bench.lines() == expected)
        try bench.restart()
        #expect(try bench.lines() == [])
        #expect(bench.gaps.isEmpty)
    }

    @Test("behind: the open file to its end, then each rotated one", arguments: namings, [1, 3])
    func behind(_ naming: Naming, count: Int) throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "early 0\nearly 1\n")
        bench.tree.touch(Self.log, seconds: 50)
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        let expected = try rotate(bench.tree, naming, count: count)
        #expect(try bench.lines() == ["early 1"] + expected)
        #expect(bench.gaps.isEmpty)
    }

    @Test("a pattern that has the rotated names reads each line once", arguments: namings, [1, 3])
    func pattern(_ naming: Naming, count: Int) throws {
        for stops in [false, true] {
            var bench = try SetBench()
            bench.files.create(Self.log, "early 0\nearly 1\n")
            bench.files.touch(Self.log, seconds: 50)
            var read = try bench.poll(max: 1)?.items.count ?? 0
            #expect(read == 1)
            let expected = try rotate(bench.files, naming, count: count)
            if stops { try bench.restart() }
            let lines = try texts(&bench)
            read += lines.count
            #expect(lines.sorted() == (["early 1"] + expected).sorted())
            #expect(bench.gaps.isEmpty)
        }
    }

    @Test("a middle file that is removed is a gap", arguments: [true, false], [true, false])
    func removed(isAscending: Bool, stops: Bool) throws {
        let naming = Self.namings[isAscending ? 1 : 0]
        var bench = TailBench(grace: 2)
        bench.tree.create(Self.log, "early 0\nearly 1\n")
        bench.tree.touch(Self.log, seconds: 50)
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        let lines = try rotate(bench.tree, naming, count: 3)
        bench.tree.delete("/log/app.log.2")
        if stops { try bench.restart() }
        var read: [String] = []
        for _ in 0..<12 {
            read += try bench.lines()
            bench.seconds += 1
        }
        #expect(read == ["early 1", lines[0]] + lines[3...])
        #expect(bench.gaps.map(\.reason) == [.fileLost])
        #expect(bench.gaps.first?.detail.contains("1 between /log/app.log.") == true)
    }

    @Test("names that are just being shifted are no gap")
    func shifting() throws {
        var bench = TailBench(grace: 2)
        bench.tree.create(Self.log, "early 0\nearly 1\n")
        bench.tree.touch(Self.log, seconds: 50)
        let (items, _) = try bench.poll(max: 1)
        #expect(items.count == 1)
        let lines = try rotate(bench.tree, Self.namings[0], count: 3)
        try bench.restart()
        bench.tree.move("/log/app.log.3", "/log/app.log.4")
        bench.tree.move("/log/app.log.2", "/log/app.log.3")
        bench.tree.move("/log/app.log.4", "/log/app.log.5")
        // The first file to its end, and no further.
        var read = try bench.lines()
        bench.seconds += 3
        read += try bench.lines()
        #expect(read == ["early 1", lines[0]])
        bench.tree.move("/log/app.log.5", "/log/app.log.4")
        bench.tree.move("/log/app.log.1", "/log/app.log.2")
        bench.tree.move(Self.log, "/log/app.log.1")
        bench.tree.create(Self.log, "end\n")
        for _ in 0..<12 {
            bench.seconds += 1
            read += try bench.lines()
        }
        #expect(read == ["early 1"] + lines + ["end"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("files that went while the reader was behind are a gap, though others are left")
    func pruned() throws {
        for naming in [Self.namings[0], Self.namings[1], Self.namings[9]] {
            var bench = TailBench()
            bench.tree.create(Self.log, "early 0\nearly 1\n")
            bench.tree.touch(Self.log, seconds: 50)
            let (items, _) = try bench.poll(max: 1)
            #expect(items.count == 1)
            let lines = try rotate(bench.tree, naming, count: 4)
            for number in 1...2 { bench.tree.delete("/log/\(naming.name(number, 4))") }
            // The file is held open, and so read to its end.
            #expect(try bench.lines() == ["early 1", lines[0]] + lines[3...])
            #expect(bench.gaps.map(\.reason) == [.fileLost])
        }
    }

    @Test("a log of another program that has a number behind a dash is none of this one")
    func otherProgram() throws {
        var bench = TailBench()
        bench.tree.create(Self.log, "a\n")
        bench.tree.touch(Self.log, seconds: 50)
        #expect(try bench.lines() == ["a"])
        bench.tree.create("/log/app-2.log", "other\n")
        bench.tree.touch("/log/app-2.log", seconds: 500)
        bench.tree.move(Self.log, Self.log + ".1")
        bench.tree.create(Self.log, "b\n")
        bench.tree.touch(Self.log, seconds: 600)
        try bench.restart()
        #expect(try bench.lines() == ["b"])
        #expect(bench.gaps.isEmpty)
    }

    private func texts(_ bench: inout SetBench) throws -> [String] {
        try bench.lines().map { String($0.drop { $0 != ":" }.dropFirst(2)) }
    }
}
