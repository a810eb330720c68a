import AgentSpool
import Model
import Simulation
import Storage
import Testing
import Wire
import World

/// What really happened, kept outside the spool: the oracle of the crash tests.
struct SpoolOracle {
    /// Content under each (epoch, sequence) that was ever read for sending.
    var sent: [BatchPosition: SpooledBatch] = [:]
    /// What the collector has, by epoch and sequence.
    var stored: [BatchPosition: SpooledBatch] = [:]
    /// Payloads that a flush made durable.
    var durable: Set<[UInt8]> = []
    var problems: [String] = []

    mutating func note(_ problem: String) { problems.append(problem) }
}

/// A spool on a simulated disk under a seeded load of appends, flushes, reads, acks and crashes.
struct SpoolScenario {
    let seed: UInt64
    let random: SeededRandom
    let clock = VirtualClock()
    let tree: SimulatedFileTree
    let configuration: SpoolConfiguration
    var oracle = SpoolOracle()
    var spool: Spool?
    /// Next payload number: every payload is different.
    var number: UInt64 = 0
    /// What the source has produced since the last durable position.
    var unflushed: [[UInt8]] = []
    var epochs: Set<UInt64> = []

    init(
        seed: UInt64, overflow: SpoolConfiguration.Overflow = .dropOldest,
        bytesMax: Int = 1 << 20, segmentBytes: Int = 4096, honoursSynchronize: Bool = true
    ) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        tree = SimulatedFileTree(random: random, honoursSynchronize: honoursSynchronize)
        configuration = SpoolConfiguration(
            segmentBytes: segmentBytes, bytesMax: bytesMax, freeBytesMin: 0,
            memoryBytesMax: 4096, overflow: overflow, retryNanoseconds: 0)
    }

    static func make(
        _ tree: SimulatedFileTree, _ clock: VirtualClock, _ random: SeededRandom,
        _ configuration: SpoolConfiguration
    ) throws -> Spool {
        try Spool(
            kind: .metrics, directory: "/spool", tree: tree, clock: clock, random: random,
            configuration: configuration)
    }

    mutating func open() throws {
        let opened = try Self.make(tree, clock, random, configuration)
        spool = opened
        epochs.insert(opened.status().epoch)
        let position = opened.positions.first { $0.source == "s" }?.bytes.u64 ?? 0
        for payload in unflushed where payload.u64 <= position { oracle.durable.insert(payload) }
        for payload in oracle.durable where payload.u64 > position {
            oracle.note("the position \(position) is behind durable payload \(payload.u64)")
            break
        }
        unflushed = []
        number = max(number, position)
        // The source is read on from the position: what is after it comes again.
        number = position
    }

    mutating func append() throws {
        guard let spool else { return }
        number += 1
        let size = 16 + random.below(400)
        var payload = number.bytes
        payload += [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: size)
        let dictionary = try spool.dictionary(forPayloadBytes: payload.count + 64)
        let outcome = try spool.append(
            .metrics, recordCount: 1 + Int(number % 7), payload: payload,
            positions: [SourcePosition(source: "s", bytes: number.bytes)], dictionary: dictionary)
        if case .dictionaryChanged = outcome { oracle.note("dictionary changed at once") }
        unflushed.append(payload)
    }

    mutating func flush() {
        guard let spool else { return }
        spool.flush()
        if !spool.isDegraded {
            oracle.durable.formUnion(unflushed)
            unflushed = []
        }
    }

    /// Sends what can be read, and stores a prefix of it; acknowledges a prefix of that.
    mutating func send(acknowledging: Bool = true) throws {
        guard let spool else { return }
        let status = spool.status()
        var next = max(
            status.firstSequence,
            (oracle.stored.keys.filter { $0.epoch == status.epoch }.map(\.sequence).max() ?? 0) + 1)
        let batches = try spool.read(from: next, bytesMax: 2000)
        for batch in batches {
            if batch.sequence != next { oracle.note("read \(batch.sequence) for \(next)") }
            next += 1
            let position = BatchPosition(epoch: status.epoch, sequence: batch.sequence)
            // Content that can't be read any more becomes a gap; no other change is right.
            if let before = oracle.sent[position], before.payload != batch.payload,
                before.kind == .gap || batch.kind != .gap
            {
                oracle.note("sequence \(batch.sequence) has other content")
            }
            oracle.sent[position] = batch
        }
        for batch in batches.prefix(random.below(batches.count + 1)) {
            oracle.stored[BatchPosition(epoch: status.epoch, sequence: batch.sequence)] = batch
        }
        guard acknowledging else { return }
        let through = oracle.stored.keys.filter { $0.epoch == status.epoch }.map(\.sequence).max()
        if let through { spool.acknowledge(through: through) }
    }

    /// Produced = acknowledged + gaps + in spool, with each figure counted by the oracle where it can.
    mutating func checkLaw() {
        guard let spool else { return }
        let status = spool.status()
        let sum = spool.acknowledgedRecords + status.gapRecords + status.spoolRecords
        if sum != status.producedRecords {
            oracle.note("law: \(status) acknowledged \(spool.acknowledgedRecords)")
        }
    }

    mutating func step() throws {
        switch random.below(20) {
        case 0..<9: try append()
        case 9..<14: flush()
        case 14..<18: try send()
        case 18: clock.advance(nanoseconds: 1_100_000_000)
        default: try send(acknowledging: false)
        }
        checkLaw()
    }

    /// Sends all that is left, then compares.
    mutating func drain() throws {
        flush()
        guard let spool else { return }
        for _ in 0..<10_000 {
            let status = spool.status()
            let stored = oracle.stored.keys.filter { $0.epoch == status.epoch }.map(\.sequence)
                .max()
            if stored ?? 0 >= status.lastSequence { break }
            try send()
        }
        spool.acknowledge(through: spool.status().lastSequence)
        checkLaw()
    }

    /// Durable payloads that the collector has no copy of, gaps aside.
    var lost: [UInt64] {
        let have = Set(oracle.stored.values.filter { $0.kind != .gap }.map(\.payload))
        return oracle.durable.filter { !have.contains($0) }.map(\.u64).sorted()
    }
}

extension UInt64 {
    var bytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self >> UInt64($0 * 8)) } }
}

extension [UInt8] {
    var u64: UInt64 { prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}
