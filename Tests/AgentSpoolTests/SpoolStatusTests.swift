import AgentSpool
import Dispatch
import Model
import Simulation
import Storage
import Synchronization
import Testing
import World

/// A disk that has a question put during each of its operations, by another thread, and remembers those that had no
/// answer before the operation was over.
private final class AskingTree: WorldFileTree {
    let base = SimulatedFileTree(random: SeededRandom(seed: 1))
    private let question = Mutex<(@Sendable () -> Void)?>(nil)
    private let heard = Mutex<(asked: Set<String>, unanswered: [String])>(([], []))

    var asked: Set<String> { heard.withLock { $0.asked } }
    var unanswered: [String] { heard.withLock { $0.unanswered } }

    func ask(_ body: (@Sendable () -> Void)?) { question.withLock { $0 = body } }

    fileprivate func during(_ operation: String) {
        guard let body = question.withLock({ $0 }) else { return }
        let answered = DispatchSemaphore(value: 0)
        DispatchQueue.global().async {
            body()
            answered.signal()
        }
        let isAnswered = answered.wait(timeout: .now() + 10) == .success
        heard.withLock {
            $0.asked.insert(operation)
            if !isAnswered { $0.unanswered.append(operation) }
        }
        // One is enough, and each costs its time.
        if !isAnswered { ask(nil) }
    }

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        during("open")
        return AskingFile(base: try base.open(path, mode), tree: self)
    }
    func lock(_ path: String) throws(FileError) -> any WorldFile { try base.lock(path) }
    func list(_ path: String) throws(FileError) -> [String] { try base.list(path) }
    func status(_ path: String) throws(FileError) -> FileStatus { try base.status(path) }
    func rename(_ from: String, to: String) throws(FileError) { try base.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) {
        during("remove")
        try base.remove(path)
    }
    func makeDirectory(_ path: String) throws(FileError) { try base.makeDirectory(path) }
    func synchronizeDirectory(_ path: String) throws(FileError) {
        during("fsync")
        try base.synchronizeDirectory(path)
    }
    func readLink(_ path: String) throws(FileError) -> String { try base.readLink(path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { try base.freeBytes(path) }
}

private final class AskingFile: WorldFile {
    private let base: any WorldFile
    private let tree: AskingTree

    init(base: any WorldFile, tree: AskingTree) {
        self.base = base
        self.tree = tree
    }

    func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        tree.during("read")
        return try base.read(at: offset, count: count)
    }
    func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {
        tree.during("write")
        try base.write(bytes, at: offset)
    }
    func synchronize() throws(FileError) {
        tree.during("fdatasync")
        try base.synchronize()
    }
    func truncate(to size: Int64) throws(FileError) { try base.truncate(to: size) }
    func allocate(size: Int64) throws(FileError) {
        tree.during("allocate")
        try base.allocate(size: size)
    }
    func status() throws(FileError) -> FileStatus { try base.status() }
    func close() { base.close() }
}

@Suite("A spool's figures")
struct SpoolStatusTests {
    @Test("whatever the disk does meanwhile, the figures are there")
    func neverWaits() throws {
        let tree = AskingTree()
        let spool = try Spool(
            kind: .metrics, directory: "/spool", tree: tree, clock: VirtualClock(),
            random: SeededRandom(seed: 7),
            configuration: SpoolConfiguration(
                segmentBytes: 4096, bytesMax: 16 * 1024, freeBytesMin: 0, memoryBytesMax: 8192,
                overflow: .dropOldest, retryNanoseconds: 0))
        tree.ask {
            _ = spool.status()
            _ = spool.isDegraded
        }
        for number in 1...30 as ClosedRange<UInt64> {
            try SpoolFaultTests.append(spool, number)
            spool.flush()
        }
        _ = try spool.read(from: 20, bytesMax: 1 << 20)
        spool.acknowledge(through: 25)
        tree.ask(nil)
        #expect(tree.unanswered.isEmpty)
        #expect(
            tree.asked == ["open", "read", "write", "fdatasync", "fsync", "allocate", "remove"])
    }

    @Test(
        "the oldest record that is neither acknowledged nor lost, over segments and a new opening")
    func oldest() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let clock = VirtualClock()
        let start = clock.now
        func open() throws -> Spool {
            try Spool(
                kind: .metrics, directory: "/spool", tree: tree, clock: clock,
                random: SeededRandom(seed: 7),
                configuration: SpoolConfiguration(
                    segmentBytes: 4096, bytesMax: 64 * 1024, freeBytesMin: 0, overflow: .dropOldest)
            )
        }
        var spool = try open()
        #expect(spool.oldestAt == nil && !spool.isAtBound)
        for number in 1...30 as ClosedRange<UInt64> {
            clock.advance(nanoseconds: 1_000_000_000)
            try SpoolFaultTests.append(spool, number)
            spool.flush()
        }
        func seconds() -> Int64? {
            spool.oldestAt.map { ($0.rawValue - start.rawValue) / 1_000_000_000 }
        }
        #expect(seconds() == 1)
        spool.acknowledge(through: 7)
        #expect(seconds() == 8)
        spool.reject(8, detail: "test")
        #expect(seconds() == 9)
        spool.close()
        spool = try open()
        #expect(seconds() == 9)
        spool.acknowledge(through: 30)
        #expect(spool.oldestAt == nil)
    }

    @Test("the figures are those of the last change")
    func follows() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let spool = try SpoolFaultTests.open(tree)
        #expect(spool.status().producedRecords == 0)
        try SpoolFaultTests.append(spool, 1)
        #expect(spool.status().producedRecords == 10)
        spool.flush()
        #expect(spool.status().lastSequence == 1)
        spool.reject(1, detail: "test")
        #expect(spool.status().gapRecords == 10)
        spool.acknowledge(through: 1)
        #expect(spool.status().spoolRecords == 0)
        #expect(!spool.isDegraded)
        tree.setFailures(.init(at: 1, isLasting: true, errno: 5))
        try SpoolFaultTests.append(spool, 2)
        spool.flush()
        #expect(spool.isDegraded)
    }
}
