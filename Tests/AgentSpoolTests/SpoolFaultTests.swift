import AgentSpool
import Model
import Simulation
import Storage
import Testing
import Wire
import World

@Suite("spool under faults")
struct SpoolFaultTests {
    /// A fixed short life: appends, flushes, reads, acks; returns the scenario for judgement.
    static func life(
        seed: UInt64, failAt: Int?, isLasting: Bool, errno: Int32
    ) -> (scenario: SpoolScenario, operations: Int, opened: Bool) {
        var scenario = SpoolScenario(seed: seed)
        scenario.tree.setFailures(.init(at: failAt, isLasting: isLasting, errno: errno))
        do { try scenario.open() } catch { return (scenario, scenario.tree.operationCount, false) }
        for _ in 0..<40 {
            do { try scenario.step() } catch { scenario.clock.advance(nanoseconds: 1_000_000_000) }
        }
        let operations = scenario.tree.operationCount
        scenario.tree.setFailures(.init())
        scenario.flush()
        scenario.tree.cutPower()
        do {
            try scenario.open()
            try scenario.drain()
        } catch {
            scenario.oracle.note("\(error)")
        }
        return (scenario, operations, true)
    }

    @Test("an empty position ends its source; positions that are replaced take up their room once")
    func positionsEnd() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        func move(_ spool: Spool, _ bytes: [UInt8]) throws {
            let dictionary = try spool.dictionary(forPayloadBytes: 100)
            _ = try spool.append(
                .metrics, recordCount: 1, payload: [1],
                positions: (0..<40).map { SourcePosition(source: "file:\($0)", bytes: bytes) },
                dictionary: dictionary)
            spool.flush()
        }
        let spool = try Self.open(tree, segmentBytes: 256 << 10)
        for byte in 0...2 as ClosedRange<UInt8> {
            try move(spool, [UInt8](repeating: byte, count: 1000))
        }
        #expect(spool.positions.count == 40)
        try move(spool, [])
        #expect(spool.positions.isEmpty)
        spool.close()
        #expect(try Self.open(tree, segmentBytes: 256 << 10).positions.isEmpty)
    }

    @Test("every operation fails once", arguments: [5, 28] as [Int32], [false, true])
    func everyOperation(errno: Int32, isLasting: Bool) {
        let operations = Self.life(seed: 3, failAt: nil, isLasting: false, errno: errno).operations
        #expect(operations > 40)
        for number in 1...operations {
            var (scenario, _, opened) = Self.life(
                seed: 3, failAt: number, isLasting: isLasting, errno: errno)
            guard opened else { continue }
            scenario.checkLaw()
            let problems = scenario.oracle.problems
            #expect(problems.isEmpty, "operation \(number): \(problems.prefix(3))")
            let gaps = scenario.oracle.stored.values.contains { $0.kind == .gap }
            #expect(gaps || scenario.lost.isEmpty, "operation \(number): lost \(scenario.lost)")
        }
    }

    static func open(
        _ tree: SimulatedFileTree, overflow: SpoolConfiguration.Overflow = .dropOldest,
        bytesMax: Int = 1 << 20, segmentBytes: Int = 4096
    ) throws -> Spool {
        try SpoolScenario.make(
            tree, VirtualClock(), SeededRandom(seed: 7),
            SpoolConfiguration(
                segmentBytes: segmentBytes, bytesMax: bytesMax, freeBytesMin: 0,
                memoryBytesMax: 8192, overflow: overflow, retryNanoseconds: 0))
    }

    static func append(_ spool: Spool, _ number: UInt64, bytes: Int = 500) throws {
        let payload = number.bytes + [UInt8](repeating: 1, count: bytes)
        let dictionary = try spool.dictionary(forPayloadBytes: payload.count)
        let outcome = try spool.append(
            .metrics, recordCount: 10, payload: payload, positions: [], dictionary: dictionary)
        #expect(outcome != .dictionaryChanged(dictionary))
    }

    static func readAll(_ spool: Spool) throws -> [SpooledBatch] {
        var batches: [SpooledBatch] = []
        var next = spool.status().firstSequence
        while true {
            let read = try spool.read(from: next, bytesMax: 1 << 20)
            guard let last = read.last else { return batches }
            batches += read
            next = last.sequence + 1
        }
    }

    @Test("a full spool drops its oldest segments and says so, over a restart too")
    func dropsOldest() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        var spool = try Self.open(tree, bytesMax: 16 * 1024)
        for number in 1...60 as ClosedRange<UInt64> { try Self.append(spool, number) }
        spool.flush()
        let before = try Self.readAll(spool)
        tree.cutPower()
        spool = try Self.open(tree, bytesMax: 16 * 1024)
        let after = try Self.readAll(spool)
        #expect(before.map(\.sequence) == Array(1...60))
        #expect(after.prefix(60).map(\.payload) == before.map(\.payload))
        let lost = before.filter { $0.kind == .gap }
        #expect(lost.reduce(0) { $0 + $1.recordCount } == lost.count * 10)
        #expect(lost.count > 20 && lost.count < 60)
        let status = spool.status()
        #expect(status.producedRecords == 600)
        #expect(status.gapRecords == UInt64(lost.count * 10))
        spool.acknowledge(through: 60)
        #expect(spool.acknowledgedRecords == UInt64((60 - lost.count) * 10))
        #expect(spool.status().spoolRecords == 0)
    }

    @Test("a full spool of logs refuses, and takes more when its space is freed")
    func refuses() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let spool = try Self.open(tree, overflow: .refuse, bytesMax: 16 * 1024)
        var held: UInt64 = 0
        #expect(throws: SpoolError.self) {
            for number in 1...100 as ClosedRange<UInt64> {
                try Self.append(spool, number)
                held = number
            }
        }
        #expect(held > 10 && spool.isFull)
        spool.flush()
        spool.acknowledge(through: spool.status().lastSequence)
        try Self.append(spool, held + 1)
        #expect(!spool.isFull)
        #expect(spool.status().gapRecords == 0)
    }

    @Test("a flipped bit costs the records it hits and no others", arguments: 0..<24)
    func bitRot(part: Int) throws {
        for offset in stride(from: part * 160, to: (part + 1) * 160, by: 23) {
            let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
            var spool = try Self.open(tree)
            for number in 1...20 as ClosedRange<UInt64> { try Self.append(spool, number) }
            spool.flush()
            let epoch = spool.status().epoch
            let before = try Self.readAll(spool)
            tree.killProcess()
            let digits = String(epoch, radix: 16)
            let directory = String(repeating: "0", count: 16 - digits.count) + digits
            let names = try tree.list("/spool/" + directory).sorted()
            tree.corrupt("/spool/\(directory)/\(names[0])", at: offset, bit: offset)
            spool = try Self.open(tree)
            let after = try Self.readAll(spool)
            #expect(after.map(\.sequence) == before.map(\.sequence))
            let gaps = after.filter { $0.kind == .gap }
            #expect(gaps.reduce(0) { $0 + $1.recordCount } == gaps.count * 10, "offset \(offset)")
            #expect(gaps.count <= (offset < 64 ? 7 : 1), "offset \(offset): \(gaps.count) gaps")
            let status = spool.status()
            let sum = spool.acknowledgedRecords + status.gapRecords + status.spoolRecords
            #expect(sum == status.producedRecords && status.producedRecords == 200)
        }
    }

    @Test("rejected batches are gaps; their definitions still precede")
    func rejects() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        var spool = try Self.open(tree, segmentBytes: 1 << 16)
        for number in 1...5 as ClosedRange<UInt64> { try Self.append(spool, number) }
        spool.flush()
        spool.reject(3, detail: "test")
        for _ in 0..<2 {
            let third = try spool.read(from: 3, bytesMax: 1)[0]
            #expect(third.kind == .gap && third.recordCount == 10)
            #expect(try GapPayload.decode(third.payload).reason == .rejected)
            #expect(try spool.preceding(5).map(\.sequence) == [1, 2, 3, 4])
            #expect(spool.status().gapRecords == 10 && spool.status().spoolRecords == 40)
            tree.cutPower()
            spool = try Self.open(tree, segmentBytes: 1 << 16)
        }
    }

    @Test("a restored collector gets what is held under a new epoch, and a gap for the rest")
    func restore() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        var spool = try Self.open(tree)
        for number in 1...30 as ClosedRange<UInt64> { try Self.append(spool, number) }
        spool.flush()
        spool.acknowledge(through: 20)
        let first = spool.status().firstSequence
        #expect(first > 5 && first <= 21)
        let held = try Self.readAll(spool)
        let old = spool.status().epoch
        let epoch = try spool.beginEpochAfterRestore(lastCommitted: 5)
        #expect(epoch != old && spool.status().epoch == epoch)
        for _ in 0..<2 {
            let batches = try Self.readAll(spool)
            #expect(batches.map(\.sequence) == Array(1...UInt64(batches.count)))
            #expect(try GapPayload.decode(batches[0].payload).reason == .restore)
            #expect(batches.dropFirst().map(\.payload) == held.map(\.payload))
            tree.cutPower()
            spool = try Self.open(tree)
            #expect(spool.status().epoch == epoch)
        }
    }

    @Test("one process at a time; waiting ends with a flush or by cancelling")
    func lockAndWait() async throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let spool = try Self.open(tree)
        #expect(throws: SpoolError.locked(path: "/spool")) { try Self.open(tree) }
        try Self.append(spool, 1)
        #expect(try spool.read(from: 1, bytesMax: 1 << 20).isEmpty, "not durable, not visible")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await spool.waitForBatch(after: 0) }
            group.addTask { spool.flush() }
            try await group.waitForAll()
        }
        await #expect(throws: CancellationError.self) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await spool.waitForBatch(after: 1) }
                group.cancelAll()
                try await group.waitForAll()
            }
        }
        spool.close()
        try Self.open(tree).close()
    }

    @Test("CRC-32C of RFC 3720 B.4")
    func checksum() {
        let cases: [([UInt8], UInt32)] = [
            ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
            ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43), (Array(0..<32), 0x46dd_794e),
            (Array("123456789".utf8), 0xe306_9283),
        ]
        for (bytes, expected) in cases {
            var crc = CRC32C()
            crc.add(bytes)
            #expect(crc.value == expected)
        }
    }
}
