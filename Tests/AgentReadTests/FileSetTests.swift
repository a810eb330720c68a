import AgentRead
import Model
import Synchronization
import Testing
import World

/// A tree that counts open files and denies some.
final class ObservedTree: WorldFileTree {
    final class File: WorldFile {
        let file: any WorldFile
        let tree: ObservedTree
        init(_ file: any WorldFile, _ tree: ObservedTree) {
            self.file = file
            self.tree = tree
        }
        func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
            try file.read(at: offset, count: count)
        }
        func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {}
        func synchronize() throws(FileError) {}
        func truncate(to size: Int64) throws(FileError) {}
        func allocate(size: Int64) throws(FileError) {}
        func status() throws(FileError) -> FileStatus { try file.status() }
        func close() { tree.counts.withLock { $0.open -= 1 } }
    }

    let files = MemoryTree([:])
    let counts = Mutex((open: 0, openMax: 0, opened: 0))
    let denied = Mutex<Set<String>>([])
    /// Times of folders, in seconds; the files in memory have none.
    let folderTimes = Mutex<[String: Int64]>([:])
    let listed = Mutex(0)

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        if denied.withLock({ $0.contains(path) }) {
            throw FileError(operation: "open", path: path, errno: 13)
        }
        let file = try files.open(path, mode)
        counts.withLock { counts in
            counts.open += 1
            counts.opened += 1
            counts.openMax = max(counts.openMax, counts.open)
        }
        return File(file, self)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        if denied.withLock({ $0.contains(path) }) {
            throw FileError(operation: "opendir", path: path, errno: 13)
        }
        listed.withLock { $0 += 1 }
        return try files.list(path)
    }
    func status(_ path: String) throws(FileError) -> FileStatus {
        guard let seconds = folderTimes.withLock({ $0[path] }) else {
            return try files.status(path)
        }
        return FileStatus(
            identity: FileIdentity(device: 1, inode: 1), size: 0, isDirectory: true,
            modified: TimestampNS(seconds * 1_000_000_000))
    }
    func rename(_ from: String, to: String) throws(FileError) {}
    func remove(_ path: String) throws(FileError) {}
    func makeDirectory(_ path: String) throws(FileError) {}
    func synchronizeDirectory(_ path: String) throws(FileError) {}
    func readLink(_ path: String) throws(FileError) -> String { try files.readLink(path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { 1 << 30 }
}

/// A set of files in memory, with what a spool would keep of its positions.
struct SetBench {
    let tree = ObservedTree()
    var files: MemoryTree { tree.files }
    var configuration: FileSetConfiguration
    let budget: LogFileBudget
    var set: FileSet
    var seconds: Int64 = 1000
    var gaps: [GapRecord] = []
    /// What the spool holds.
    var positions: [String: [UInt8]] = [:]
    /// Positions without entries go with the next chunk that has some.
    private var waiting: [SourcePosition] = []
    /// Each position is stored by itself, as where another source has entries all the time.
    var storesAtOnce = false

    init(
        _ path: String = "/log/*.log", exclude: [String] = [],
        start: FileTailConfiguration.Start = .head,
        openFilesMax: Int = 256, positionBytesMax: Int = 28 << 10
    ) throws {
        configuration = FileSetConfiguration(
            path: path, exclude: exclude,
            tail: FileTailConfiguration(
                path: "", start: start, rotationGraceNanoseconds: 2_000_000_000))
        budget = LogFileBudget(openFilesMax: openFilesMax, positionBytesMax: positionBytesMax)
        set = try FileSet(configuration, budget: budget)
    }

    mutating func poll(max: Int = 3) throws -> LogReadChunk? {
        let now = TimestampNS(seconds * 1_000_000_000)
        guard let chunk = try set.poll(tree, now: now, max: max) else { return nil }
        gaps += chunk.gaps
        if chunk.items.isEmpty, chunk.gaps.isEmpty, !storesAtOnce {
            waiting.append(chunk.position)
            return chunk
        }
        for position in waiting + [chunk.position] {
            positions[position.source] = position.bytes.isEmpty ? nil : position.bytes
        }
        waiting = []
        return chunk
    }

    /// Looks for files, and reads until nothing comes: `name: line`, in the order of reading.
    mutating func lines(max: Int = 3) throws -> [String] {
        seconds += 5
        var lines: [String] = []
        var quiet = 0
        for _ in 0..<10_000 {
            guard let chunk = try poll(max: max) else {
                quiet += 1
                if quiet > 4 { break }
                seconds += 1
                continue
            }
            lines += chunk.items.map {
                let name = $0.stream["filename"].split(separator: "/").last ?? ""
                return "\(name): \(String(decoding: $0.entry.line, as: UTF8.self))"
            }
        }
        return lines
    }

    /// As after a kill: what the spool holds survives. `path` is another one in the configuration.
    mutating func restart(path: String? = nil) throws {
        set.close()
        if let path { configuration.pattern = PathPattern(path) }
        waiting = []
        set = try FileSet(
            configuration,
            positions: positions.sorted { $0.key < $1.key }.map {
                SourcePosition(source: $0.key, bytes: $0.value)
            },
            budget: LogFileBudget())
    }
}

@Suite("File sets")
struct FileSetTests {
    @Test("a set that is retired gives back the room for its files' positions")
    func retire() throws {
        // Room for two files of these names.
        var bench = try SetBench("/log/*", positionBytesMax: 160)
        for name in ["a", "b", "c"] { bench.files.create("/log/\(name)", "\(name)\n") }
        #expect(try bench.lines().sorted() == ["a: a", "b: b"])
        let next = bench.configuration
        #expect(bench.set.problems.count == 1)
        bench.set.retire()
        #expect(bench.set.paths.isEmpty)
        bench.set = try FileSet(next, budget: bench.budget)
        #expect(try bench.lines().sorted() == ["a: a", "b: b"])
    }

    @Test("files of a pattern, new ones, none that is excluded, rotated or compressed")
    func pattern() throws {
        var bench = try SetBench("/log/*", exclude: ["debug*", "/log/no.log"])
        for name in [
            "a.log", "a.log.1", "b.log", "b.log-20261126", "b.log.2.gz", "debug.log", "no.log",
        ] {
            bench.files.create("/log/" + name, "\(name)\n")
        }
        #expect(try bench.lines() == ["b.log: b.log", "a.log: a.log"])
        #expect(bench.set.paths == ["/log/a.log", "/log/b.log"])
        bench.files.create("/log/c.log", "new\n")
        bench.files.append("/log/a.log", "more\n")
        #expect(try bench.lines().sorted() == ["a.log: more", "c.log: new"])
        #expect(bench.gaps.isEmpty)
        #expect(bench.set.problems.isEmpty)
    }

    @Test("the service is the file's name up to its first dot, where none is given")
    func service() throws {
        var bench = try SetBench()
        bench.files.create("/log/shop.access.log", "x\n")
        let chunk = try #require(try bench.poll())
        #expect(chunk.items[0].stream["service_name"] == "shop")
        #expect(chunk.items[0].stream["filename"] == "/log/shop.access.log")
        #expect(chunk.position.source == "file:/log/*.log#0")
    }

    @Test("what is there at the first start may be read from its end, what comes later never")
    func start() throws {
        var bench = try SetBench(start: .tail)
        bench.files.create("/log/a.log", "old\n")
        #expect(try bench.lines() == [])
        bench.files.append("/log/a.log", "new\n")
        bench.files.create("/log/b.log", "first\n")
        #expect(try bench.lines().sorted() == ["a.log: new", "b.log: first"])
        try bench.restart()
        bench.files.create("/log/c.log", "first\n")
        #expect(try bench.lines() == ["c.log: first"])
    }

    @Test(
        "a file that was idle since it was found at its end is read on from there after a restart")
    func idleFromEnd() throws {
        var bench = try SetBench(start: .tail)
        bench.files.create("/log/a.log", "old\n")
        bench.files.create("/log/b.log", "old\n")
        bench.files.create("/log/empty.log", "")
        #expect(try bench.lines() == [])
        bench.files.append("/log/a.log", "new\n")
        #expect(try bench.lines() == ["a.log: new"])
        try bench.restart()
        bench.files.append("/log/b.log", "new\n")
        bench.files.append("/log/empty.log", "new\n")
        #expect(try bench.lines().sorted() == ["b.log: new", "empty.log: new"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a file that was read to its end and removed is no loss after a restart")
    func leftAndRemoved() throws {
        var bench = try SetBench()
        bench.files.create("/log/job.log", "x\n")
        bench.files.create("/log/keep.log", "1\n")
        #expect(try bench.lines().count == 2)
        bench.files.delete("/log/job.log")
        #expect(try bench.lines() == [])
        bench.seconds += 700
        #expect(try bench.lines() == [])
        bench.files.append("/log/keep.log", "2\n")
        #expect(try bench.lines() == ["keep.log: 2"])
        try bench.restart()
        #expect(try bench.lines() == [])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a disk that is away for days makes nothing be forgotten or read again")
    func folderAway() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "1\n")
        #expect(try bench.lines() == ["a.log: 1"])
        bench.files.move("/log/a.log", "/away/a.log")
        for _ in 0..<6 {
            bench.seconds += 30_000
            #expect(try bench.lines() == [])
        }
        bench.files.move("/away/a.log", "/log/a.log")
        bench.files.append("/log/a.log", "2\n")
        #expect(try bench.lines() == ["a.log: 2"])
        // Nor does a folder that can't be listed.
        bench.tree.denied.withLock { _ = $0.insert("/log") }
        for _ in 0..<6 {
            bench.seconds += 30_000
            #expect(try bench.lines() == [])
        }
        bench.tree.denied.withLock { $0 = [] }
        bench.files.append("/log/a.log", "3\n")
        #expect(try bench.lines() == ["a.log: 3"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("files that are gone cost no listing while their folder does not change")
    func goneIsCheap() throws {
        var bench = try SetBench("/log/a.log")
        bench.files.create("/log/a.log", "1\n")
        bench.files.touch("/log/a.log", seconds: 900)
        #expect(try bench.lines() == ["a.log: 1"])
        bench.files.delete("/log/a.log")
        bench.tree.folderTimes.withLock { $0["/log"] = 1000 }
        #expect(try bench.lines() == [])
        bench.seconds += 700
        #expect(try bench.lines() == [])
        let before = bench.tree.listed.withLock { $0 }
        for _ in 0..<20 { #expect(try bench.lines() == []) }
        #expect(bench.tree.listed.withLock { $0 } == before)
        bench.files.create("/log/a.log", "2\n")
        bench.tree.folderTimes.withLock { $0["/log"] = 1800 }
        #expect(try bench.lines() == ["a.log: 2"])
    }

    @Test("a new file that was rotated before it was found is read from its beginning")
    func rotatedUnseen() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "a\n")
        bench.files.touch("/log/a.log", seconds: 950)
        #expect(try bench.lines() == ["a.log: a"])
        func add(_ name: String, at seconds: Int64) {
            bench.files.create("/log/" + name, "\(name)\n")
            bench.files.touch("/log/" + name, seconds: seconds)
        }
        // One was there before, and is no part of what is new.
        add("b.log.9", at: 900)
        add("b.log.2", at: bench.seconds + 1)
        add("b.log.1", at: bench.seconds + 2)
        add("b.log", at: bench.seconds + 3)
        #expect(
            try bench.lines() == ["b.log: b.log.2", "b.log: b.log.1", "b.log: b.log"])
        // And while the agent was away.
        add("c.log.2", at: 900)
        add("c.log.1", at: bench.seconds + 1)
        add("c.log", at: bench.seconds + 2)
        try bench.restart()
        #expect(try bench.lines() == ["c.log: c.log.1", "c.log: c.log"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("a restart reads every file on, through renames, and forgets nothing")
    func restart() throws {
        var bench = try SetBench()
        for name in ["a", "b", "c"] { bench.files.create("/log/\(name).log", "1\n2\n") }
        #expect(try bench.lines().count == 6)
        bench.files.append("/log/a.log", "3\n")
        bench.files.move("/log/a.log", "/log/a.log.1")
        bench.files.create("/log/a.log", "4\n")
        bench.files.append("/log/c.log", "3\n")
        try bench.restart()
        #expect(try bench.lines().sorted() == ["a.log: 3", "a.log: 4", "c.log: 3"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("one fast file holds up no other")
    func fairness() throws {
        var bench = try SetBench()
        bench.files.create(
            "/log/fast.log", (0..<50_000).map { "line \($0)\n" }.joined())
        for name in 0..<20 { bench.files.create("/log/slow\(name).log", "x\n") }
        var fast = 0
        var slow: Set<String> = []
        for _ in 0..<23 {
            guard let chunk = try bench.poll(max: 1000) else { continue }
            let name = chunk.items[0].stream["filename"]
            if name == "/log/fast.log" { fast += 1 } else { slow.insert(name) }
        }
        #expect(slow.count == 20)
        #expect(fast <= 3)
        // While it goes on, what comes to another file comes with one of the next two chunks.
        for _ in 0..<10 {
            bench.files.append("/log/slow7.log", "y\n")
            bench.seconds += 1
            let names = try (0..<2).compactMap { _ in
                try bench.poll(max: 1000)?.items[0].stream["filename"]
            }
            #expect(names.contains("/log/slow7.log"))
        }
    }

    @Test("more files than may be open take turns, and lose nothing")
    func openFiles() throws {
        var bench = try SetBench(openFilesMax: 4)
        for round in 0..<5 {
            for name in 0..<20 {
                let path = "/log/f\(name).log"
                if round == 0 { bench.files.create(path) }
                bench.files.append(path, "\(round)\nhalf")
            }
            let lines = try bench.lines()
            #expect(Set(lines).count == 20)
            #expect(lines.allSatisfy { $0.hasSuffix(round == 0 ? ": 0" : "\(round)") }, "\(lines)")
            // One more is open for a moment where a file is looked for.
            #expect(bench.tree.counts.withLock { $0.openMax } <= 6)
            #expect(bench.tree.counts.withLock { $0.open } <= 4)
        }
        #expect(bench.gaps.isEmpty)
    }

    @Test("a file that does not change is not opened or read, only looked at")
    func idle() throws {
        var bench = try SetBench()
        for name in 0..<10 {
            bench.files.create("/log/f\(name).log", "x\n")
            bench.files.touch("/log/f\(name).log", seconds: 900)
        }
        #expect(try bench.lines().count == 10)
        try bench.restart()
        let before = bench.tree.counts.withLock { $0.opened }
        #expect(try bench.lines() == [])
        #expect(bench.tree.counts.withLock { $0.opened } == before)
        bench.files.append("/log/f3.log", "y\n")
        bench.files.touch("/log/f3.log", seconds: 990)
        #expect(try bench.lines() == ["f3.log: y"])
    }

    @Test("what has no size is not opened: a FIFO would wait for its writer")
    func sizeless() throws {
        var bench = try SetBench()
        bench.files.create("/log/pipe.log", "")
        #expect(try bench.lines() == [])
        #expect(bench.tree.counts.withLock { $0.opened } == 0)
        var single = try SetBench("/log/pipe.log")
        single.files.create("/log/pipe.log", "")
        #expect(try single.lines() == [])
        #expect(single.tree.counts.withLock { $0.opened } == 0)
    }

    @Test("a file that is renamed to another name of the pattern is not read again")
    func renamedWithin() throws {
        var bench = try SetBench()
        bench.files.create("/log/app.log", "1\n2\n")
        #expect(try bench.lines().count == 2)
        bench.files.move("/log/app.log", "/log/app-2026-11-25.log")
        bench.files.create("/log/app.log", "3\n")
        #expect(try bench.lines() == ["app.log: 3"])
        // What is written to it late comes under its new name.
        bench.files.append("/log/app-2026-11-25.log", "late\n")
        bench.files.append("/log/app.log", "4\n")
        #expect(
            try bench.lines().sorted() == ["app-2026-11-25.log: late", "app.log: 4"])
        try bench.restart()
        #expect(try bench.lines() == [])
        // And while away.
        bench.files.append("/log/app.log", "5\n")
        bench.files.move("/log/app.log", "/log/app-2026-11-26.log")
        bench.files.create("/log/app.log", "6\n")
        try bench.restart()
        #expect(try bench.lines().sorted() == ["app-2026-11-26.log: 5", "app.log: 6"])
        try bench.restart()
        #expect(try bench.lines() == [])
        #expect(bench.gaps.isEmpty)
    }

    @Test("two names of one file: it is read once")
    func links() throws {
        var bench = try SetBench()
        bench.files.create("/log/app-1.log", "1\n")
        bench.files.link("/log/app-1.log", "/log/current.log")
        #expect(try bench.lines() == ["app-1.log: 1"])
        bench.files.append("/log/app-1.log", "2\n")
        #expect(try bench.lines() == ["app-1.log: 2"])
        bench.files.create("/log/app-2.log", "3\n")
        bench.files.link("/log/app-2.log", "/log/current.log")
        #expect(try bench.lines() == ["app-2.log: 3"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("an inode used again is a new file")
    func reusedInode() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "aaaa\n")
        #expect(try bench.lines() == ["a.log: aaaa"])
        // The same node under another name with other content: as if the inode had been given anew.
        bench.files.empty("/log/a.log")
        bench.files.append("/log/a.log", "b\n")
        bench.files.move("/log/a.log", "/log/b.log")
        try bench.restart()
        #expect(try bench.lines() == ["b.log: b"])
    }

    @Test("positions of files that are gone for a day are forgotten and their slots used again")
    func forgotten() throws {
        var bench = try SetBench()
        bench.files.create("/log/keep.log", "0\n")
        for day in 0..<30 {
            let path = "/log/day\(day).log"
            bench.files.create(path, "x\n")
            #expect(try bench.lines().contains("day\(day).log: x"))
            bench.files.delete(path)
            for _ in 0..<4 {
                bench.seconds += 30_000
                _ = try bench.lines()
            }
            bench.files.append("/log/keep.log", "\(day)\n")
            _ = try bench.lines()
        }
        #expect(bench.set.paths.count <= 3)
        #expect(bench.positions.count <= 4)
        #expect(bench.positions.values.filter { !$0.isEmpty }.count <= 3)
        #expect(bench.gaps.isEmpty)
    }

    @Test("files for which no position has room are left out, and that is said")
    func positionRoom() throws {
        var bench = try SetBench(positionBytesMax: 500)
        for name in 0..<20 { bench.files.create("/log/f\(name).log", "x\n") }
        let read = try bench.lines().count
        #expect((2..<8).contains(read))
        #expect(bench.set.problems.count == 1)
        #expect(bench.set.problems[0].contains("\(20 - read) files are not read"))
        let bytes = bench.positions.reduce(0) { $0 + $1.key.utf8.count + $1.value.count + 6 }
        #expect(bytes <= 500)
        var single = try SetBench("/log/f1.log", positionBytesMax: 50)
        #expect(try single.lines() == [])
        #expect(single.set.problems.count == 1)
    }

    @Test("a file that can't be read holds up no other, and is said until it can")
    func denied() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "a\n")
        bench.files.create("/log/b.log", "b\n")
        bench.tree.denied.withLock { _ = $0.insert("/log/a.log") }
        #expect(try bench.lines() == ["b.log: b"])
        #expect(bench.set.problems.count == 1)
        #expect(bench.set.problems[0].contains("/log/a.log"))
        bench.tree.denied.withLock { $0 = [] }
        #expect(try bench.lines() == ["a.log: a"])
        #expect(bench.set.problems.isEmpty)
        var closed = try SetBench()
        closed.tree.denied.withLock { _ = $0.insert("/log") }
        #expect(try closed.lines() == [])
        #expect(closed.set.problems.count == 1)
        #expect(closed.set.problems.allSatisfy { $0.contains("opendir /log") })
        var single = try SetBench("/log/a.log")
        single.files.create("/log/a.log", "a\n")
        single.tree.denied.withLock { _ = $0.insert("/log/a.log") }
        #expect(throws: FileError.self) { try single.poll() }
    }

    @Test(
        "a position goes over from path to pattern, to another pattern and back, and leaves nothing"
    )
    func adopted() throws {
        var bench = try SetBench("/log/a.log")
        bench.files.create("/log/a.log", "1\n")
        #expect(try bench.lines() == ["a.log: 1"])
        #expect(Array(bench.positions.keys) == ["file:/log/a.log"])
        for (number, path) in ["/log/*.log", "/log/a*.log", "/log/a.log"].enumerated() {
            try bench.restart(path: path)
            bench.files.append("/log/a.log", "\(number + 2)\n")
            #expect(try bench.lines() == ["a.log: \(number + 2)"])
            let slot = path == "/log/a.log" ? "" : "#0"
            #expect(Array(bench.positions.keys) == ["file:\(path)\(slot)"])
        }
        #expect(bench.gaps.isEmpty)
        let position = SourcePosition(
            source: "file:/log/a.log", bytes: bench.positions["file:/log/a.log"] ?? [])
        #expect(FileSetConfiguration(path: "/log/*.log").takes(position))
        #expect(!FileSetConfiguration(path: "/log/b*.log").takes(position))
        #expect(!FileSetConfiguration(path: "/log/*.log", exclude: ["a*"]).takes(position))
    }

    @Test("a clock that is set back stops nothing")
    func clock() throws {
        var bench = try SetBench()
        bench.files.create("/log/a.log", "1\n")
        #expect(try bench.lines().count == 1)
        bench.seconds = 10
        bench.files.append("/log/a.log", "2\n")
        bench.files.create("/log/b.log", "1\n")
        bench.tree.folderTimes.withLock { $0["/log"] = 10 }
        #expect(try bench.lines().sorted() == ["a.log: 2", "b.log: 1"])
    }
}

@Suite("Path patterns")
struct PathPatternTests {
    @Test(
        "what matches",
        arguments: [
            ("/log/*.log", "/log/a.log", true), ("/log/*.log", "/log/a.log.1", false),
            ("/log/*.log", "/log/b/a.log", false), ("/log/*/a.log", "/log/b/a.log", true),
            ("/log/*", "/log/.hidden", false), ("/log/.*", "/log/.hidden", true),
            ("/log/a?c", "/log/abc", true), ("/log/a?c", "/log/ac", false),
            ("/log/[a-c]x", "/log/bx", true), ("/log/[!a-c]x", "/log/bx", false),
            ("/log/[a", "/log/[a", true), ("/log/*a*b*c", "/log/xaybzc", true),
            ("/log/*a*b*c", "/log/xaybz", false), ("/log/\\*", "/log/*", true),
            ("/log/\\*", "/log/x", false), ("*.log", "/log/deep/a.log", true),
            ("*.log", "/log/a.txt", false), ("/log/*é", "/log/aé", true),
        ])
    func matches(pattern: String, path: String, expected: Bool) {
        #expect(PathPattern(pattern).matches(path) == expected)
    }

    @Test("a long pattern of stars takes no long time")
    func stars() {
        let pattern = PathPattern("/log/" + String(repeating: "*a", count: 200) + "b")
        #expect(!pattern.matches("/log/" + String(repeating: "a", count: 5000)))
    }

    @Test("folders may be patterns too")
    func folders() {
        let tree = MemoryTree([
            "/log/a/x.log": "", "/log/b/x.log": "", "/log/b/y.txt": "", "/log/x.log": "",
        ])
        let configuration = FileSetConfiguration(path: "/log/*/*.log")
        #expect(configuration.paths(in: tree) == ["/log/a/x.log", "/log/b/x.log"])
        #expect(
            FileSetConfiguration(path: "/log/none.log").paths(in: tree) == ["/log/none.log"])
    }
}
