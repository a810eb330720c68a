import LogQL
import LogQLSyntax
import Model
import Testing

/// Random filters on random lines: short ways and needles must not change what is kept.
@Suite("LogQL line filters, at random")
struct LineFilterSoundnessTests {
    private struct Dice: RandomNumberGenerator {
        var state: UInt64

        /// Source: SplitMix64, Steele and others, 2014.
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var mixed = state
            mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
            return mixed ^ mixed >> 31
        }
    }

    private static let letters = ["a", "b", "k", "S", "é", ".", " ", "1"]

    private static func text(_ dice: inout Dice, max: Int) -> String {
        (0..<Int.random(in: 1...max, using: &dice)).map { _ in
            letters.randomElement(using: &dice) ?? ""
        }.joined()
    }

    /// A regular expression without backquotes.
    private static func regex(_ dice: inout Dice, depth: Int) -> String {
        func inner() -> String { regex(&dice, depth: depth - 1) }
        guard depth > 0 else {
            let atoms = [
                "a", "b", "k", "S", "é", #"\."#, ".", " ", "[ab]", "[^a]", #"\d"#, #"\w"#, ".*",
                ".+", "^", "$", "ab", "aS", "[]a]", "[[:alpha:]]",
            ]
            return atoms.randomElement(using: &dice) ?? "a"
        }
        switch Int.random(in: 0..<10, using: &dice) {
        case 0:
            return "(?:\(inner()))"
                + (["*", "+", "?", "{2}", "{0,1}"].randomElement(using: &dice) ?? "")
        case 1: return "(\(inner())|\(inner()))"
        case 2: return inner() + "|" + inner()
        case 3: return "(?i)" + inner()
        case 4: return "(?i:" + inner() + ")"
        case 5: return "(?-s:" + inner() + ")"
        case 6: return ".*" + inner() + ".*"
        default: return inner() + inner()
        }
    }

    private static func line(_ dice: inout Dice) -> [UInt8] {
        var line: [UInt8] = []
        for _ in 0..<Int.random(in: 0...8, using: &dice) {
            let pieces: [[UInt8]] = [
                Array("a".utf8), Array("A".utf8), Array("b".utf8), Array("K".utf8),
                Array("s".utf8), Array("S".utf8), Array("\u{212a}".utf8), Array("\u{17f}".utf8),
                Array("é".utf8), Array("É".utf8), [0xff], [0xe2], [0xc3], Array("\n".utf8),
                Array(".".utf8), Array(" ".utf8), Array("1".utf8), Array("ab".utf8),
                Array("\u{fffd}".utf8),
            ]
            line += pieces.randomElement(using: &dice) ?? []
        }
        return line
    }

    private static func contains(_ line: [UInt8], _ needle: [UInt8]) -> Bool {
        guard !needle.isEmpty else { return true }
        guard needle.count <= line.count else { return false }
        return (0...(line.count - needle.count)).contains { start in
            Array(line[start..<(start + needle.count)]) == needle
        }
    }

    @Test("an expression keeps what RE2 alone keeps", arguments: 0..<8)
    func expressions(seed: UInt64) throws {
        var dice = Dice(state: seed)
        var keptCount = 0
        for _ in 0..<120 {
            let text = Self.regex(&dice, depth: Int.random(in: 0...3, using: &dice))
            // Alone it asks whether there is anything, and no expression is run.
            if text == ".+" { continue }
            // As the value of a label the expression is run as it is.
            let slow = "| pattern \"<all>\" | all=~`(?:.|\\n)*(?:\(text))(?:.|\\n)*`"
            guard let fast = try? PipelineRun(LogQueryTests.query("|~ `\(text)`").pipeline) else {
                continue
            }
            let slowRun = PipelineRun(try LogQueryTests.query(slow).pipeline)
            let (stream, slowStream) = (fast.forStream(.empty), slowRun.forStream(.empty))
            for _ in 0..<30 {
                let line = Self.line(&dice)
                let isKept = fast.process(timestamp: TimestampNS(0), line: line, of: stream)
                guard !line.isEmpty else { continue }
                let expected = slowRun.process(
                    timestamp: TimestampNS(0), line: line, of: slowStream)
                #expect(isKept == expected, "`\(text)` on \(line)")
                if isKept { keptCount += 1 }
            }
        }
        #expect(keptCount > 100)
    }

    private static func stage(_ dice: inout Dice) -> String {
        switch Int.random(in: 0..<9, using: &dice) {
        case 0: return "|= `\(text(&dice, max: 2))`"
        case 1: return "|~ `\(regex(&dice, depth: Int.random(in: 0...3, using: &dice)))`"
        case 2: return "!= `\(text(&dice, max: 3))`"
        case 3: return "|= `\(text(&dice, max: 2))` or `\(text(&dice, max: 2))`"
        case 4: return "|> `<_>\(text(&dice, max: 1))<_>`"
        case 5: return "| decolorize"
        case 6: return "| unpack"
        case 7: return "| json"
        default: return "!~ `\(regex(&dice, depth: 1))`"
        }
    }

    @Test("needles never hide a kept line", arguments: 0..<8)
    func needles(seed: UInt64) throws {
        var dice = Dice(state: seed &+ 1000)
        var checkedCount = 0
        for _ in 0..<200 {
            let stages = (0..<Int.random(in: 1...3, using: &dice)).map { _ in
                Self.stage(&dice)
            }.joined(separator: " ")
            guard let query = try? LogQueryTests.query(stages), !query.needles.isEmpty else {
                continue
            }
            let run = PipelineRun(query.pipeline)
            let stream = run.forStream(.empty)
            for _ in 0..<60 {
                var line = Self.line(&dice)
                if Bool.random(using: &dice) { line += query.needles.flatMap { $0 } }
                guard run.process(timestamp: TimestampNS(0), line: line, of: stream) else {
                    continue
                }
                checkedCount += 1
                for needle in query.needles {
                    #expect(Self.contains(line, needle), "\(stages) on \(line)")
                }
            }
        }
        #expect(checkedCount > 100)
    }
}
