import Model
import Testing
import World
import WorldLive

@Suite("the machine's files")
struct LiveFileTests {
    let tree = LiveFileTree()
    let directory: String

    init() throws {
        directory = "/tmp/petrel-live-\(LiveRandom().next())"
        try tree.makeDirectory(directory + "/a/b")
    }

    func clean(_ names: String...) {
        for name in names { try? tree.remove(directory + "/" + name) }
        for path in ["/a/b", "/a", ""] { try? tree.remove(directory + path) }
    }

    @Test("write, synchronize, read, truncate, rename, list")
    func roundTrip() throws {
        defer { clean("two") }
        let file = try tree.open(directory + "/one", .createNew)
        try file.allocate(size: 8192)
        try file.write([1, 2, 3], at: 5000)
        try file.synchronize()
        #expect(try file.status().size == 8192)
        #expect(try file.read(at: 4999, count: 5) == [0, 1, 2, 3, 0])
        try file.truncate(to: 5002)
        #expect(try file.read(at: 5000, count: 100) == [1, 2])
        #expect(try file.read(at: 9000, count: 100) == [])
        #expect(throws: FileError(operation: "open", path: directory + "/one", errno: 17)) {
            _ = try tree.open(directory + "/one", .createNew)
        }
        try tree.rename(directory + "/one", to: directory + "/two")
        try tree.synchronizeDirectory(directory)
        #expect(try tree.list(directory).sorted() == ["a", "two"])
        #expect(try tree.status(directory).isDirectory)
        #expect(try tree.freeBytes(directory) > 0)
        file.close()
        #expect(throws: FileError.self) { try file.read(at: 0, count: 1) }
    }

    @Test("one lock at a time")
    func lock() throws {
        defer { clean("lock") }
        let first = try tree.lock(directory + "/lock")
        #expect(throws: FileError(operation: "flock", path: directory + "/lock", errno: 11)) {
            _ = try tree.lock(directory + "/lock")
        }
        first.close()
        try tree.lock(directory + "/lock").close()
    }

    @Test("files of /proc, whose size is 0, are read whole")
    func proc() throws {
        defer { clean() }
        #expect(try tree.contents("/proc/self/status").starts(with: Array("Name:".utf8)))
        #expect(throws: FileError.self) { try tree.readLink("/proc/self/status") }
    }

    @Test("clocks go on")
    func clocks() async throws {
        let clock: any WorldClock = LiveClock()
        let (wall, steady) = (clock.now, clock.monotonicNanoseconds)
        try await clock.sleep(nanoseconds: 1_000_000)
        #expect(clock.monotonicNanoseconds - steady >= 1_000_000)
        #expect(wall > TimestampNS(1_600_000_000_000_000_000))
        let random: any RandomSource = LiveRandom()
        #expect(random.next() != random.next())
        #expect(random.bytes(count: 32).count == 32)
    }
}
