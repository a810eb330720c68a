import Glibc
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

    @Test(
        "a file is read whole whatever its size", arguments: [0, 1, 16_384, 16_385, 81_920, 99_999])
    func contents(size: Int) throws {
        defer { clean("whole") }
        let path = directory + "/whole"
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let file = try tree.open(path, .createNew)
        defer { file.close() }
        try file.write(bytes, at: 0)
        #expect(try tree.contents(path, bytesMax: size) == bytes)
        #expect(try tree.piece(path, bytesMax: size + 1) == bytes)
        #expect(try tree.piece(path, bytesMax: 10) == Array(bytes.prefix(10)))
        guard size > 0 else { return }
        #expect(throws: FileError(operation: "read", path: path, errno: 27)) {
            try tree.contents(path, bytesMax: size - 1)
        }
    }

    @Test("files of /proc, whose size is 0, are read whole")
    func proc() throws {
        defer { clean() }
        #expect(try tree.contents("/proc/self/status").starts(with: Array("Name:".utf8)))
        #expect(throws: FileError.self) { try tree.readLink("/proc/self/status") }
        // The kernel gives it by the page, and one step of a reading takes several.
        let maps = try tree.contents("/proc/self/smaps")
        #expect(maps.count > 16 * 1024)
        #expect(
            String(decoding: maps, as: UTF8.self).split(separator: "\n").last?
                .hasPrefix("VmFlags:") == true)
    }

    @Test("a pipe that nobody writes to is not waited for")
    func pipe() throws {
        defer { clean("pipe") }
        let path = directory + "/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        #expect(throws: FileError(operation: "read", path: path, errno: ESPIPE)) {
            try tree.contents(path)
        }
        #expect(throws: FileError(operation: "read", path: path, errno: ESPIPE)) {
            try tree.piece(path)
        }
    }

    @Test("a file's time may be in a year that nanoseconds do not reach")
    func farTime() throws {
        defer { clean("far") }
        let path = directory + "/far"
        try tree.open(path, .createNew).close()
        // 2300-01-01
        let times = Array(repeating: timespec(tv_sec: 10_413_792_000, tv_nsec: 5), count: 2)
        try #require(utimensat(AT_FDCWD, path, times, 0) == 0)
        var facts = stat()
        try #require(stat(path, &facts) == 0)
        let modified = try tree.status(path).modified
        // A file system may have a bound of its own.
        let isKept = facts.st_mtim.tv_sec == times[0].tv_sec
        #expect(!isKept || modified == TimestampNS(.max))
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
