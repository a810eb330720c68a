import Glibc
import LinearRegex
import LogBlock
import Model
import Testing

/// No filter may hide a line.
@Suite struct FilterTests {
    /// Words of which lines are made: ids, numbers and what stands between them.
    private static func piece(_ random: inout Randomness) -> String {
        switch Int.random(in: 0..<14, using: &random) {
        case 0: random.hex(32)
        case 1: random.hex(16)
        case 2:
            "\(random.hex(8))-\(random.hex(4))-\(random.hex(4))-\(random.hex(4))-\(random.hex(12))"
        case 3:
            "\(Int.random(in: 0..<256, using: &random)).\(Int.random(in: 0..<256, using: &random)).0.1"
        case 4: "\(Int.random(in: 0..<2_000_000_000, using: &random))"
        case 5: "1764193201.\(Int.random(in: 0..<1_000_000_000, using: &random))"
        case 6: random.hex(Int.random(in: 1..<80, using: &random))
        case 7: random.pick(["ERROR", "Timeout", "user", "é", "日本", "k", "K", "req-"])
        case 8: String(decoding: random.bytes(2), as: UTF8.self)
        case 9: random.pick(["\"", "=", " ", "-", ".", ":", "/"])
        default:
            random.pick(["id=", "\"trace_id\":\"", "\",\"", " ", "-", "..", "a1b2c3d4e5", "x"])
        }
    }

    static func line(_ random: inout Randomness) -> [UInt8] {
        var text = ""
        for _ in 0..<Int.random(in: 1..<9, using: &random) { text += piece(&random) }
        var bytes = Array(text.utf8)
        if Int.random(in: 0..<20, using: &random) == 0 {
            bytes.insert(contentsOf: random.bytes(3) + [0x1e, 0], at: bytes.count / 2)
        }
        return bytes
    }

    /// Every part of a line, as a needle, and every field finds the block that has it.
    ///
    /// `PETREL_FILTER_TRIALS` makes it longer.
    @Test func filtersNeverHideALine() {
        var random = Randomness(state: 77)
        let wanted = trialCount
        var trials = 0
        var ruledOut = 0
        var asked = 0
        while trials < wanted {
            let entries = (0..<Int.random(in: 1..<30, using: &random)).map { index -> LogEntry in
                let labels = Labels([
                    Label("trace_id", random.hex(random.pick([32, 32, 16, 5]))),
                    Label("pid", "\(index % 3)"), Label("request_id", Self.text(&random)),
                ])
                return LogEntry(
                    timestamp: TimestampNS(Int64(index)), line: Self.line(&random),
                    metadata: labels)
            }
            let filters = BlockFilters(LogBlockColumns(entries), entries)
            let other = [LogEntry(timestamp: TimestampNS(0), line: Self.line(&random))]
            let otherFilters = BlockFilters(LogBlockColumns(other), other)
            for _ in 0..<200 {
                let entry = random.pick(entries)
                let start = Int.random(in: 0...entry.line.count, using: &random)
                let end = Int.random(in: start...entry.line.count, using: &random)
                let needle = Array(entry.line[start..<end])
                let field = random.pick(Array(entry.metadata))
                let probe = LogProbe(
                    needles: [needle], fields: trials % 2 == 0 ? [field] : [])
                #expect(passes(probe, filters), "\(needle) of \(entry.line)")
                trials += 1
                if needle.count > 6 {
                    asked += 1
                    if !passes(probe, otherFilters) { ruledOut += 1 }
                }
            }
        }
        // They do rule out: another block seldom has a needle's trigrams.
        #expect(Double(ruledOut) > 0.8 * Double(asked), "\(ruledOut) of \(asked)")
    }

    private static func text(_ random: inout Randomness) -> String {
        var text = ""
        for _ in 0..<2 { text += piece(&random) }
        return text
    }

    private func passes(_ probe: LogProbe, _ filters: BlockFilters) -> Bool {
        let traces = BlockFilter(filters.traces, bitsPerHash: 16).bytes
        return probe.blockIds.mayPass(hasLongRun: filters.hasLongRun) {
            mayContain($1, filters.ids)
        }
            && probe.groupIds.mayPass(hasLongRun: filters.hasLongRun) { mayContain($1, traces) }
            && filters.trigrams.withUnsafeBytes { TrigramFilter.mayContain(probe.trigrams, in: $0) }
    }

    /// As the store asks: of the 32 bytes that `substring` gives.
    private func mayContain(_ hash: UInt64, _ filter: [UInt8]) -> Bool {
        let offset = BlockFilter.offset(of: hash, byteCount: filter.count)
        return BlockFilter.mayContain(hash, inBlock: filter.dropFirst(offset).prefix(32))
    }

    @Test func whatIsNotThereIsSeldomFound() {
        var random = Randomness(state: 9)
        var hashes: Set<UInt64> = []
        while hashes.count < 10_000 { hashes.insert(LogHash.hash(random.hex(32).utf8)) }
        let filter = BlockFilter(hashes, bitsPerHash: 16).bytes
        #expect(hashes.allSatisfy { mayContain($0, filter) })
        let found = (0..<100_000).count { _ in
            mayContain(LogHash.hash(random.hex(32).utf8), filter)
        }
        // 0.1 to 0.2 % by the structure's mathematics.
        #expect(found < 500, "\(found) of 100,000")
        #expect(!mayContain(1, BlockFilter([], bitsPerHash: 16).bytes))
    }

    @Test(arguments: [
        ("4bf92f3577b34da6a3ce929d0e0e4736", true), ("\"4bf92f3577b34da6a3ce929d0e0e4736\"", true),
        ("00f067aa0ba902b7", false), ("=00f067aa0ba902b7 ", true), ("hello", false),
        ("550e8400-e29b-41d4-a716-446655440000", true), ("12345678901234567890123456789012", false),
        ("\"10.0.0.5\"", true), ("10.0.0.5", false), ("", false),
    ])
    func idsAreLookedForWhereTheyAreWhole(needle: String, isLookedFor: Bool) {
        #expect(!LogProbe(needles: [Array(needle.utf8)]).blockIds.hashes.isEmpty == isLookedFor)
    }

    @Test func longRunsSwitchTheFilterOff() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        let entry = LogEntry(timestamp: TimestampNS(0), line: Array("sha=\(trace)\(trace)".utf8))
        let filters = BlockFilters(LogBlockColumns([entry]), [entry])
        #expect(filters.hasLongRun)
        #expect(passes(LogProbe(needles: [Array(trace.utf8)]), filters))
    }

    /// Bits as another program must compute them: SQL does (`petrel.log_hash`).
    @Test func hashesAreFixed() {
        #expect(LogHash.hash("".utf8) == LogHash.hash([UInt8]()))
        #expect(LogHash.hash("a".utf8) != LogHash.hash("b".utf8))
        var seen: Set<UInt64> = []
        for number in 0..<200_000 { seen.insert(LogHash.hash("id-\(number)".utf8)) }
        #expect(seen.count == 200_000)
        let low = Set(seen.map { UInt32(truncatingIfNeeded: $0) })
        #expect(low.count > 199_900)
    }
}

/// Trials of the property test.
private var trialCount: Int {
    guard let text = getenv("PETREL_FILTER_TRIALS") else { return 200_000 }
    return Int(String(cString: text)) ?? 200_000
}
