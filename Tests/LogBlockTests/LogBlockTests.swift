import LinearRegex
import LogBlock
import Model
import Testing

/// splitmix64.
struct Randomness: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func pick<T>(_ values: [T]) -> T {
        values[Int.random(in: 0..<values.count, using: &self)]
    }

    mutating func hex(_ length: Int) -> String {
        String((0..<length).map { _ in pick(Array("0123456789abcdef")) })
    }

    mutating func bytes(_ length: Int) -> [UInt8] {
        (0..<length).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}

@Suite struct LogBlockTests {
    static let base: Int64 = 1_795_307_400_000_000_000

    private static func decode(_ columns: LogBlockColumns) throws -> [LogEntry] {
        let lines = try LogBlockLines(columns)
        return try (0..<lines.count).map { try lines.entry($0) }
    }

    @Test func everyByteComesBack() throws {
        let lines: [[UInt8]] = [
            [], Array("plain".utf8), Array("ü 日本 😀".utf8), [0], [0x1e], [0xff, 0xfe], [0xc3],
            Array("a\u{0}b\u{1e}c\n\r\t\u{1b}[31mred".utf8), [0xed, 0xa0, 0x80],
            [UInt8](repeating: 0x41, count: 256 * 1024), Array("\u{FFFD}".utf8), [0x0a],
        ]
        for count in 1...lines.count {
            let entries = lines.prefix(count).enumerated().map { index, line in
                LogEntry(timestamp: TimestampNS(Self.base + Int64(index)), line: line)
            }
            let columns = LogBlockColumns(entries)
            #expect(String(validating: columns.text, as: UTF8.self)?.utf8.contains(0) == false)
            #expect(try Self.decode(columns) == entries)
        }
    }

    @Test func fieldsComeBackInEveryForm() throws {
        var random = Randomness(state: 11)
        let names = ["trace_id", "span_id", "pid", "unit", "user", "e\u{301}", "é", "x\u{0}", ""]
        for round in 0..<200 {
            let count = Int.random(in: 1...40, using: &random)
            let constant = random.hex(8)
            let entries = (0..<count).map { index -> LogEntry in
                var labels: [Label] = []
                var line = "at \(index)"
                for name in names where Int.random(in: 0..<4, using: &random) > 0 || round % 3 == 0
                {
                    let value: String
                    switch name {
                    case "trace_id": value = random.hex(32)
                    case "span_id": value = random.hex(round % 2 == 0 ? 16 : 7)
                    case "pid": value = "\(Int.random(in: 0..<3, using: &random))"
                    case "unit": value = constant
                    case "user": value = String(decoding: random.bytes(5), as: UTF8.self)
                    default: value = random.pick(["", "\u{0}", "日本", "a\u{1e}b"])
                    }
                    labels.append(Label(name, value))
                    if name == "trace_id", index % 3 > 0 { line += " trace=\(value)" }
                    if round % 5 == 0, index % 7 == 0 { line += "\u{0}" }
                }
                return LogEntry(
                    timestamp: TimestampNS(Self.base + Int64(index / 2)), line: Array(line.utf8),
                    level: random.pick([nil, "info", "error", "é"]), metadata: Labels(labels))
            }
            let back = try Self.decode(LogBlockColumns(entries))
            #expect(back == entries, "round \(round)")
            for (a, b) in zip(back, entries) {
                #expect(zip(a.metadata, b.metadata).allSatisfy { bytesEqual($0.value, $1.value) })
            }
        }
    }

    @Test func tracesInLinesTakeABytePerLine() throws {
        var random = Randomness(state: 3)
        let entries = (0..<1000).map { index -> LogEntry in
            let trace = random.hex(32)
            return LogEntry(
                timestamp: TimestampNS(Self.base + Int64(index)),
                line: Array("{\"trace_id\":\"\(trace)\",\"n\":\(index)}".utf8),
                metadata: Labels([Label("trace_id", trace)]))
        }
        #expect(LogBlockColumns(entries).metadata.count < 1100)
        // Six lines a trace, as services write them.
        var traces: [String] = []
        let shared = (0..<1000).map { index -> LogEntry in
            if index % 6 == 0 { traces.append(random.hex(32)) }
            let trace = random.pick(Array(traces.suffix(8)))
            return LogEntry(
                timestamp: TimestampNS(Self.base + Int64(index)),
                line: Array("{\"trace_id\":\"\(trace)\",\"n\":\(index)}".utf8),
                metadata: Labels([Label("trace_id", trace)]))
        }
        #expect(LogBlockColumns(shared).metadata.count < 1100)
        #expect(try Self.decode(LogBlockColumns(shared)) == shared)
        let beside = entries.map {
            LogEntry(timestamp: $0.timestamp, line: [0x61], metadata: $0.metadata)
        }
        #expect(LogBlockColumns(beside).metadata.count < 17_200)
    }

    @Test func ratesCountEveryLineOnce() {
        var random = Randomness(state: 5)
        let minute: Int64 = 60_000_000_000
        let start = Self.base / minute * minute
        let times = (0..<500).map { _ in
            random.pick([start, start + 1, start - 1, start + minute]) + Int64.random(
                in: 0...3, using: &random) * minute
        }.sorted()
        let entries = times.map {
            LogEntry(
                timestamp: TimestampNS($0), line: random.bytes(3),
                level: random.pick([nil, "warn"]))
        }
        let columns = LogBlockColumns(entries)
        for start in stride(from: 0, to: columns.rates.count, by: 4) {
            let (end, level) = (columns.rates[start], columns.rates[start + 1])
            let wanted = entries.filter {
                let from = (Int64(end) - 1) * minute
                let name = $0.level ?? ""
                return $0.timestamp.rawValue > from && $0.timestamp.rawValue <= from + minute
                    && columns.levelNames[Int(level)] == name
            }
            #expect(Int(columns.rates[start + 2]) == wanted.count)
            #expect(Int(columns.rates[start + 3]) == wanted.count * 3)
        }
        #expect(
            stride(from: 2, to: columns.rates.count, by: 4).reduce(0) { $0 + columns.rates[$1] }
                == 500)
    }

    @Test func blocksAreCutByDayLinesBytesAndLevels() {
        let day: Int64 = 86_400_000_000_000
        let midnight = Self.base / day * day
        func entries(_ times: [Int64], size: Int = 1, level: (Int) -> String? = { _ in nil })
            -> [LogEntry]
        {
            times.enumerated().map {
                LogEntry(
                    timestamp: TimestampNS($1), line: [UInt8](repeating: 0x61, count: size),
                    level: level($0))
            }
        }
        let two = LogBlockColumns.cut(entries([midnight - 1, midnight, midnight + 1]))
        #expect(two.map(\.count) == [1, 2])
        let many = LogBlockColumns.cut(entries((0..<9_000).map { midnight + $0 }))
        #expect(many.map(\.count) == [3_000, 3_000, 3_000])
        let large = LogBlockColumns.cut(entries((0..<20).map { midnight + $0 }, size: 200_000))
        #expect(
            large.allSatisfy { $0.reduce(0) { $0 + $1.line.count } <= LogBlockColumns.bytesMax })
        #expect(large.joined().count == 20)
        let single = LogBlockColumns.cut(entries([midnight], size: 3 << 20))
        #expect(single.count == 1)
        let levels = LogBlockColumns.cut(entries((0..<600).map { midnight + $0 }) { "level \($0)" })
        #expect(levels.joined().count == 600 && levels.allSatisfy { $0.count <= 255 })
        _ = levels.map { LogBlockColumns($0) }
        #expect(LogBlockColumns.day(of: -1) == -1 && LogBlockColumns.day(of: 0) == 0)
    }

    @Test func damagedColumnsAreRefused() throws {
        var random = Randomness(state: 23)
        let entries = (0..<60).map { index -> LogEntry in
            let plain = Array("line \(index) of \(random.hex(32))".utf8)
            let labels: [Label] = [
                Label("pid", "\(index % 3)"), Label("trace_id", random.hex(32)),
                Label("user", "u\(index)"),
            ]
            return LogEntry(
                timestamp: TimestampNS(Self.base + Int64(index)),
                line: index % 9 == 0 ? [0xff, 0] : plain, level: index % 2 == 0 ? "info" : nil,
                metadata: Labels(labels))
        }
        let whole = LogBlockColumns(entries)
        for _ in 0..<3_000 {
            var columns = whole
            func damage(_ bytes: inout [UInt8], _ random: inout Randomness) {
                guard !bytes.isEmpty else { return }
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
                case 1: bytes[Int.random(in: 0..<bytes.count, using: &random)] = random.bytes(1)[0]
                default: bytes.append(7)
                }
            }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: damage(&columns.metadata, &random)
            case 1: damage(&columns.oddLines, &random)
            case 2: damage(&columns.levels, &random)
            default: damage(&columns.text, &random)
            }
            // Whatever it is, it ends with lines or with an error.
            guard let lines = try? LogBlockLines(columns) else { continue }
            for index in 0..<lines.count { _ = try? lines.entry(index) }
        }
    }
}
