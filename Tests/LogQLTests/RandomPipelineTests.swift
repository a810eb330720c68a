import LogQL
import LogQLSyntax
import Model
import Testing

/// Random pipelines on random lines against an evaluator that is nothing but slow and obvious.
///
/// A pipeline is made as a list of stages, which is written down for the real parser and walked through by the naive
/// evaluator (`NaivePipeline.swift`). The evaluator can be told to make one mistake: that has to be noticed.
@Suite("LogQL pipelines, at random")
struct RandomPipelineTests {
    @Test("as the naive evaluator has it, in any order", arguments: 0..<8 as Range<UInt64>)
    func pipelines(seed: UInt64) throws {
        var world = RandomWorld(seed)
        var (keptCount, failedCount, changedCount) = (0, 0, 0)
        var entries: [RandomEntry] = []
        for number in 0..<375 {
            let stages = world.stages()
            // A set of lines is for a few pipelines, which saves time.
            if number.isMultiple(of: 4) { entries = world.entries(20) }
            var pairs = entries.map { ($0, NaiveEvaluator.answer(to: stages, $0)) }
            for (entry, answer) in pairs {
                guard let answer, answer != .disputed else { continue }
                keptCount += 1
                if answer.labels["__error__"] != nil { failedCount += 1 }
                if answer.line != entry.line { changedCount += 1 }
            }
            let query = try LogQueryTests.query(Self.text(stages))
            var complaint = try Self.complaint(query, stages, pairs)
            pairs.shuffle(using: &world.dice)
            if complaint == nil {
                complaint = try Self.complaint(query, stages, pairs, hasCategories: false)
            }
            if let complaint {
                Issue.record("seed \(seed), pipeline \(number): \(complaint)")
                return
            }
        }
        // Lines that are all dropped show nothing.
        #expect(keptCount > 1500 && failedCount > 100 && changedCount > 100)
    }

    @Test("a mistake is noticed", arguments: NaiveMistake.allCases)
    func mistakes(mistake: NaiveMistake) throws {
        var world = RandomWorld(77)
        for _ in 0..<3000 {
            let stages = world.stages()
            let pairs = world.entries(4).map {
                ($0, NaiveEvaluator.answer(to: stages, $0, mistake))
            }
            // Where it makes no difference nobody can notice it.
            let isVisible = pairs.contains { entry, wrong in
                let right = NaiveEvaluator.answer(to: stages, entry)
                return right != wrong && right != .disputed && wrong != .disputed
            }
            guard isVisible else { continue }
            let query = try LogQueryTests.query(Self.text(stages))
            #expect(try Self.complaint(query, stages, pairs) != nil)
            return
        }
        Issue.record("no line shows it: \(mistake)")
    }

    private static func text(_ stages: [RandomStage]) -> String {
        stages.map(\.text).joined(separator: " ")
    }

    /// What is wrong with the first entry that is answered otherwise than expected.
    private static func complaint(
        _ query: LogQuery, _ stages: [RandomStage], _ pairs: [(RandomEntry, PipelineAnswer?)],
        hasCategories: Bool = true
    ) throws -> String? {
        var options = LogQueryOptions(entriesMax: pairs.count)
        options.keepsFound = true
        options.hasCategories = hasCategories
        let collection = LogCollection(query: query, options: options)
        let entries = pairs.enumerated().map { index, pair in
            LogEntry(
                timestamp: TimestampNS(Int64(index)), line: pair.0.line, metadata: pair.0.metadata)
        }
        _ = try collection.process(
            entries, streamIndexes: Array(pairs.indices), streams: pairs.map(\.0.stream))
        var found = [PipelineAnswer?](repeating: nil, count: pairs.count)
        for one in collection.found {
            found[Int(one.entry.timestamp.rawValue)] = PipelineAnswer(
                line: one.result.line,
                [
                    (.stream, one.labels), (.structuredMetadata, one.result.structuredMetadata),
                    (.parsed, one.result.parsed),
                ])
        }
        for (index, (entry, answer)) in pairs.enumerated() where answer != .disputed {
            let expected = hasCategories ? answer : answer?.withoutCategories
            guard found[index] != expected else { continue }
            return """
                {app="x"} \(text(stages))
                line     \(shown(entry.line))
                stream   \(shown(entry.stream))
                metadata \(shown(entry.metadata))
                expected \(expected?.description ?? "dropped")
                found    \(found[index]?.description ?? "dropped")
                """
        }
        return nil
    }
}

struct RandomEntry {
    var stream: Labels
    var metadata: Labels
    var line: [UInt8]
}

/// Bytes as a LogQL string.
func shown(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    var text = "\""
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            text += "\\" + String(Character(Unicode.Scalar(byte)))
        case 0x20..<0x7f: text.append(Character(Unicode.Scalar(byte)))
        default: text += "\\x\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
        }
    }
    return text + "\""
}

func shown(_ text: String) -> String { shown(Array(text.utf8)) }

func shown(_ labels: Labels) -> String {
    labels.map { "\($0.name)=\(shown($0.value))" }.joined(separator: ", ")
}

// MARK: - Stages

enum RandomStage {
    /// `|=`, or `|~` where there are expressions.
    case lines(texts: [[UInt8]], [RandomRegex], isNegated: Bool)
    case json
    case logfmt
    case labels(RandomCondition)
    case drop([Selection])
    case keep([Selection])
    case labelFormat([(target: String, value: FormatValue)])
    case lineFormat([TemplatePart])

    struct Selection {
        var name: String
        var value: String?
    }

    enum FormatValue {
        case rename(String)
        case text(String)
    }

    enum TemplatePart {
        case text(String)
        case label(String)
    }

    var text: String {
        switch self {
        case .lines(let texts, let expressions, let isNegated):
            let operation = (isNegated ? "!" : "|") + (expressions.isEmpty ? "=" : "~")
            let found = texts.map { shown($0) } + expressions.map { shown($0.text) }
            return operation + " " + found.joined(separator: " or ")
        case .json: return "| json"
        case .logfmt: return "| logfmt"
        case .labels(let condition): return "| " + condition.text
        case .drop(let selections): return "| drop " + Self.text(selections)
        case .keep(let selections): return "| keep " + Self.text(selections)
        case .labelFormat(let formats):
            let texts = formats.map { format in
                switch format.value {
                case .rename(let source): "\(format.target)=\(source)"
                case .text(let text): "\(format.target)=\(shown(text))"
                }
            }
            return "| label_format " + texts.joined(separator: ", ")
        case .lineFormat(let parts):
            let texts = parts.map { part in
                switch part {
                case .text(let text): text
                case .label(let name): "{{.\(name)}}"
                }
            }
            return "| line_format " + shown(texts.joined())
        }
    }

    private static func text(_ selections: [Selection]) -> String {
        selections.map { $0.name + ($0.value.map { "=" + shown($0) } ?? "") }
            .joined(separator: ", ")
    }

    /// Whether a `!=` or `!~` behind it would be taken for a part of it.
    var endsWithName: Bool {
        switch self {
        case .drop(let selections), .keep(let selections): selections.last?.value == nil
        case .lines, .json, .logfmt, .labels, .labelFormat, .lineFormat: false
        }
    }
}

indirect enum RandomCondition {
    case equal(String, String, isNegated: Bool)
    case matches(String, RandomRegex, isNegated: Bool)
    case number(String, LabelFilter.Comparison, Double)
    case and(RandomCondition, RandomCondition)
    case or(RandomCondition, RandomCondition)

    var text: String {
        switch self {
        case .equal(let name, let value, let isNegated):
            return name + (isNegated ? "!=" : "=") + shown(value)
        case .matches(let name, let regex, let isNegated):
            return name + (isNegated ? "!~" : "=~") + shown(regex.text)
        case .number(let name, let comparison, let value):
            let whole = Int(value)
            return "\(name) \(comparison.rawValue) "
                + (Double(whole) == value ? "\(whole)" : "\(value)")
        case .and(let left, let right): return "\(left.operand) and \(right.operand)"
        case .or(let left, let right): return "\(left.text) or \(right.text)"
        }
    }

    /// `and` binds tighter.
    private var operand: String {
        if case .or = self { "(\(text))" } else { text }
    }
}

indirect enum RandomRegex {
    case text(String)
    case oneOf(String, isNegated: Bool)
    case anything
    case begin
    case end
    /// At least so often.
    case repeated(RandomRegex, Int)
    case sequence([RandomRegex])
    case either([RandomRegex])

    var text: String {
        switch self {
        case .text(let text):
            text.map { (#"\.+*?()|[]{}^$"#.contains($0) ? "\\" : "") + String($0) }.joined()
        case .oneOf(let letters, let isNegated): "[\(isNegated ? "^" : "")\(letters)]"
        case .anything: "."
        case .begin: "^"
        case .end: "$"
        case .repeated(let part, let minimum): part.text + (minimum == 0 ? "*" : "+")
        case .sequence(let parts): parts.map(\.text).joined()
        case .either(let parts): "(?:" + parts.map(\.text).joined(separator: "|") + ")"
        }
    }

    /// Tries all there is: whether it matches from `at` up to a place that `then` likes.
    func match(_ text: [Unicode.Scalar], _ at: Int, _ then: (Int) -> Bool) -> Bool {
        switch self {
        case .text(let wanted):
            var at = at
            for scalar in wanted.unicodeScalars {
                guard at < text.count, text[at] == scalar else { return false }
                at += 1
            }
            return then(at)
        case .oneOf(let letters, let isNegated):
            return at < text.count && letters.unicodeScalars.contains(text[at]) != isNegated
                && then(at + 1)
        case .anything: return at < text.count && then(at + 1)
        case .begin: return at == 0 && then(at)
        case .end: return at == text.count && then(at)
        case .repeated(let part, let minimum):
            if minimum == 0, then(at) { return true }
            return part.match(text, at) { end in
                end > at && RandomRegex.repeated(part, 0).match(text, end, then)
            }
        case .sequence(let parts):
            guard let first = parts.first else { return then(at) }
            if parts.count == 1 { return first.match(text, at, then) }
            return first.match(text, at) { end in
                RandomRegex.sequence(Array(parts.dropFirst())).match(text, end, then)
            }
        case .either(let parts): return parts.contains { $0.match(text, at, then) }
        }
    }

    func isFound(in bytes: [UInt8]) -> Bool {
        let text = scalars(bytes).map { $0 ?? "\u{fffd}" }
        return (0...text.count).contains { match(text, $0) { _ in true } }
    }

    func isAll(of bytes: [UInt8]) -> Bool {
        let text = scalars(bytes).map { $0 ?? "\u{fffd}" }
        return match(text, 0) { $0 == text.count }
    }
}

// MARK: - Chance

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

private struct RandomWorld {
    private static let names = [
        "app", "env", "level", "a", "b", "a_b", "status", "user_name", "_1x", "a_extracted",
        "app_extracted",
    ]
    private static let values = [
        "1", "5", "10", "-3", "2.5", "1e2", "0", "x", "y", "err", "warn", "5x", "inf", "x y",
        "caf\u{e9}", "a=b", "",
    ]
    /// As they stand in JSON and behind quotes.
    private static let escaped =
        values + [
            #"a\nb"#, #"q\"r"#, #"\u00e9"#, #"\/\\"#, #"bad \x"#, #"it's"#, "}", "]", "\u{fffd}",
        ]
    private static let keys =
        names + ["a b", "user-name", "1x", " a ", "\u{e9}", #"a\"b"#, #"bad \x"#, "b.c"]
    private static let needles = ["err", "x", "a", "1", "\u{e9}", "\":", "=", "}", "5"]
    private static let odd: [[UInt8]] =
        [[0xff], [0xc3], [0xef, 0xbf, 0xbd]] + "\"\\{}[] =,\0".utf8.map { [$0] }

    var dice: Dice

    init(_ seed: UInt64) { dice = Dice(state: seed) }

    private mutating func upTo(_ count: Int) -> Int { Int.random(in: 0..<count, using: &dice) }

    private mutating func pick<Item>(_ items: [Item]) -> Item { items[upTo(items.count)] }

    private mutating func some<Item>(
        _ counts: ClosedRange<Int>, _ make: (inout RandomWorld) -> Item
    ) -> [Item] {
        (0..<Int.random(in: counts, using: &dice)).map { _ in make(&self) }
    }

    mutating func stages() -> [RandomStage] {
        var stages: [RandomStage] = []
        for stage in some(1...6, { $0.stage() }) {
            if case .lines(_, _, true) = stage, stages.last?.endsWithName == true { continue }
            stages.append(stage)
        }
        return stages
    }

    private mutating func stage() -> RandomStage {
        switch upTo(14) {
        case 0:
            let texts = some(1...3) { Array($0.pick(Self.needles + [""]).utf8) }
            return .lines(
                texts: texts + (upTo(9) == 0 ? [[0xff]] : []), [], isNegated: upTo(2) == 0)
        case 1: return .lines(texts: [], some(1...2) { $0.regex() }, isNegated: upTo(2) == 0)
        case 2...4: return .json
        case 5, 6: return .logfmt
        case 7, 8: return .labels(condition(2))
        case 9: return .drop(some(1...3) { $0.selection() })
        case 10: return .keep(some(3...7) { $0.selection() })
        case 11, 12:
            let targets = Self.names.shuffled(using: &dice).prefix(1 + upTo(2))
            return .labelFormat(
                targets.map { target in
                    (target, upTo(2) == 0 ? .text(pick(Self.values)) : .rename(pick(Self.names)))
                })
        default:
            let texts = [#"{"x":""#, #"","b":1}"#, "a=", #" b=""#, "\" ", "err "]
            return .lineFormat(
                some(1...4) {
                    $0.upTo(2) == 0 ? .text($0.pick(texts)) : .label($0.pick(Self.names))
                })
        }
    }

    private mutating func selection() -> RandomStage.Selection {
        if upTo(5) == 0 {
            return .init(name: pick(["__error__", "__error_details__"]), value: nil)
        }
        return .init(name: pick(Self.names), value: upTo(3) == 0 ? pick(["1", "5", "x"]) : nil)
    }

    private mutating func condition(_ depth: Int) -> RandomCondition {
        if depth > 0, upTo(2) == 0 {
            let (left, right) = (condition(depth - 1), condition(depth - 1))
            return upTo(3) == 0 ? .and(left, right) : .or(left, right)
        }
        let isError = upTo(8) == 0
        let name = isError ? "__error__" : pick(Self.names)
        let values = isError ? ["", "JSONParserErr", "LabelFilterErr"] : Self.values
        switch upTo(4) {
        case 0: return .equal(name, pick(values), isNegated: upTo(2) == 0)
        case 1:
            let regexes: [RandomRegex] = [
                .either([.text(pick(values)), .text(pick(values))]), .repeated(.anything, 1),
                .sequence([.repeated(.anything, 0), .text(pick(Self.needles))]),
                .repeated(.oneOf("0123456789", isNegated: false), 1),
            ]
            return .matches(name, pick(regexes), isNegated: upTo(2) == 0)
        default:
            let number = pick([0, 1, 5, 10, -3, 2.5])
            return .number(pick(Self.names), pick(LabelFilter.Comparison.allCases), number)
        }
    }

    private mutating func regex() -> RandomRegex {
        let atoms = some(2...2) { world -> RandomRegex in
            switch world.upTo(4) {
            case 0: .oneOf(world.pick(["0123456789", "abx", "\u{e9}r{"]), isNegated: false)
            case 1: .repeated(.oneOf("\"a1", isNegated: true), 1)
            default: .text(world.pick(Self.needles))
            }
        }
        switch upTo(6) {
        case 0: return atoms[0]
        case 1: return .either(atoms)
        case 2: return .sequence([atoms[0], .repeated(.anything, upTo(2)), atoms[1]])
        case 3: return .sequence([.begin, .either(atoms)])
        case 4: return .sequence([atoms[0], .end])
        default: return .sequence(atoms)
        }
    }

    // MARK: - Entries

    mutating func entries(_ count: Int) -> [RandomEntry] {
        let streams = some(3...3) { $0.labels(["app"], 0...3) }
        return (0..<count).map { _ in
            RandomEntry(stream: pick(streams), metadata: labels([], 0...3), line: line())
        }
    }

    private mutating func labels(_ always: [String], _ counts: ClosedRange<Int>) -> Labels {
        let names = always + some(counts) { $0.pick(Self.names) }
        return Labels(names.map { Label($0, pick(Self.values.dropLast())) })
    }

    private mutating func line() -> [UInt8] {
        var line = [UInt8]()
        switch upTo(7) {
        case 0...3: line = Array(object(0).utf8)
        case 4, 5: line = Array(some(0...6) { $0.pair() }.joined(separator: " ").utf8)
        default: line = Array(some(0...6) { $0.pick(Self.values) }.joined(separator: " ").utf8)
        }
        guard upTo(4) == 0 else { return line }
        for _ in 0...upTo(2) {
            let (at, odd) = (upTo(line.count + 1), pick(Self.odd))
            switch upTo(4) {
            case 0: line.insert(contentsOf: odd, at: at)
            case 1: line.replaceSubrange(at..<min(at + 1, line.count), with: odd)
            case 2: line.replaceSubrange(at..<min(at + 1, line.count), with: [])
            default: line.removeLast(line.count - at)
            }
        }
        return line
    }

    private mutating func object(_ depth: Int) -> String {
        let members = some(0...4) { world in
            "\"\(world.pick(Self.keys))\":\(world.pick(["", " "]))\(world.value(depth))"
        }
        return "{" + members.joined(separator: pick([",", " , "])) + pick(["", " "]) + "}"
    }

    private mutating func value(_ depth: Int) -> String {
        switch upTo(6) {
        case 0 where depth < 2, 1 where depth < 2:
            object(depth + 1)
        case 2: pick(["true", "false", "null", #"[1,"]"]"#, #"[{"a":1}]"#, "[]"])
        case 3: pick(["0", "1", "5", "-3", "2.5", "1e2"])
        default: "\"\(pick(Self.escaped))\""
        }
    }

    private mutating func pair() -> String {
        switch upTo(8) {
        case 0: pick(["x", "=x", "a=b=c", "a=b\"c", "a=", "b=\"\"", "\u{fffd}=1"])
        case 1...3: "\(pick(Self.keys))=\"\(pick(Self.escaped))\""
        default: "\(pick(Self.keys))=\(pick(Self.values))"
        }
    }
}
