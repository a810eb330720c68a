import LinearRegex
import LogQL
import LogQLSyntax
import Model
import ScriptReport

/// Reads a `*.logqltest` script command by command.
///
/// A block is what follows a command on lines that begin with a blank; an empty line ends it. `#` begins a comment but in
/// quotes. Source: the format's description in Loki, `pkg/logql/internal/logqltest/README.md`.
struct LogScriptParser {
    /// 2026-01-01T00:00:00Z in seconds: what times in scripts are counted from.
    static let epochSeconds: Int64 = 1_767_225_600
    /// Entries that one line may load.
    private static let entriesMax = 1_000_000
    /// Values that `1+2x…` may stand for.
    private static let valuesMax = 100_000

    private let lines: [Substring]
    private var next = 0
    /// Of the command read last, from 1.
    private(set) var lineNumber = 0

    init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The next command; nil at the end.
    mutating func nextCommand() throws(ScriptFailure) -> LogScriptCommand? {
        while next < lines.count {
            let line = Self.trimmed(Self.withoutComment(lines[next]))
            next += 1
            lineNumber = next
            guard !line.isEmpty else { continue }
            let word = line.prefix { $0 != " " && $0 != "\t" }
            switch word {
            case "clear": return .clear
            case "load":
                var loads: [LogScriptLoad] = []
                for content in block() { loads.append(try Self.load(content)) }
                guard !loads.isEmpty else { throw ScriptFailure("nothing to load") }
                return .load(loads)
            case "eval": return .eval(try eval(line.dropFirst(word.count)))
            default: throw ScriptFailure("unknown command \(word)")
            }
        }
        return nil
    }

    /// The lines of a block without comments and blanks around them.
    private mutating func block() -> [Substring] {
        var contents: [Substring] = []
        while next < lines.count {
            let line = lines[next]
            let content = Self.trimmed(line)
            if content.isEmpty { break }
            if content.first != "#" {
                guard line.first == " " || line.first == "\t" else { break }
                let bare = Self.trimmed(Self.withoutComment(line))
                if !bare.isEmpty { contents.append(bare) }
            }
            next += 1
        }
        return contents
    }

    // MARK: - Evals

    private mutating func eval(_ text: Substring) throws(ScriptFailure) -> LogScriptEval {
        let line = lineNumber
        var rest = text
        let times: MetricTimes
        switch Self.word(&rest) {
        case "instant":
            try Self.expect("at", &rest)
            times = .instant(try Self.time(&rest))
        case "range":
            try Self.expect("from", &rest)
            let start = try Self.time(&rest)
            try Self.expect("to", &rest)
            let end = try Self.time(&rest)
            try Self.expect("step", &rest)
            let step = try Self.duration(Self.word(&rest))
            guard step > 0, start <= end else { throw ScriptFailure("bad range") }
            times = .range(start: start, end: end, stepNanoseconds: step)
        default: throw ScriptFailure("neither instant nor range")
        }
        let contents = block()
        return LogScriptEval(
            line: line, query: String(Self.trimmed(rest)), times: times,
            expectation: try Self.expectation(contents), expectedText: contents.map(String.init))
    }

    private static func expectation(
        _ contents: [Substring]
    ) throws(ScriptFailure) -> LogScriptEval.Expectation {
        var found: [LogScriptEval.Expectation] = []
        var series: [LogScriptEval.Series] = []
        var isOrdered = false
        for content in contents {
            if content.hasPrefix("expect fail") {
                found.append(.failure(try failure(content.dropFirst("expect fail".count))))
            } else if content == "expect empty" {
                found.append(.empty)
            } else if content == "expect ordered" {
                isOrdered = true
            } else if content.hasPrefix("expect ") {
                throw ScriptFailure("unknown expectation: \(content)")
            } else if content.hasPrefix("skip ") {
                // Of one of Loki's own ways to run queries.
                continue
            } else if content.first == "{" {
                series.append(try expectedSeries(content))
            } else {
                found.append(.scalar(try number(content)))
            }
        }
        if !series.isEmpty { found.append(.series(series, isOrdered: isOrdered)) }
        guard found.count == 1 else {
            throw ScriptFailure("an eval needs one kind of expectation, not \(found.count)")
        }
        return found[0]
    }

    private static func failure(
        _ text: Substring
    ) throws(ScriptFailure) -> LogScriptEval.Failure {
        let text = trimmed(text)
        if text.isEmpty { return .any }
        if text.hasPrefix("msg:") { return .contains(String(trimmed(text.dropFirst(4)))) }
        guard text.hasPrefix("regex:") else {
            throw ScriptFailure("neither msg: nor regex: \(text)")
        }
        do {
            return .regex(
                try LinearRegex(String(trimmed(text.dropFirst(6))), anchored: false))
        } catch { throw ScriptFailure("bad regex: \(error)") }
    }

    private static func expectedSeries(
        _ text: Substring
    ) throws(ScriptFailure) -> LogScriptEval.Series {
        guard let end = text.firstIndex(of: "}") else { throw ScriptFailure("no }") }
        var values: [Double?] = []
        for token in text[text.index(after: end)...].split(whereSeparator: { $0 == " " }) {
            values += try samples(token)
            guard values.count <= valuesMax else { throw ScriptFailure("too many values") }
        }
        guard !values.isEmpty else { throw ScriptFailure("series without values") }
        return LogScriptEval.Series(labels: try seriesLabels(text[...end]), values: values)
    }

    /// `{a="b", "odd name"="c"}`; empty values count.
    private static func seriesLabels(_ text: Substring) throws(ScriptFailure) -> Labels {
        var labels: [Label] = []
        var rest = trimmed(text.dropFirst().dropLast())
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: "=") else {
                throw ScriptFailure("no labels: \(text)")
            }
            let name = trimmed(rest[..<equals]).filter { $0 != "\"" }
            rest = trimmed(rest[rest.index(after: equals)...])
            guard !name.isEmpty, let value = quotedText(&rest) else {
                throw ScriptFailure("no labels: \(text)")
            }
            labels.append(Label(String(name), value))
            rest = trimmed(rest)
            if rest.first == "," { rest = trimmed(rest.dropFirst()) }
        }
        return Labels(sortedUnchecked: labels.sorted())
    }

    /// A text in double quotes, in which a backslash stands before what counts as itself, or in backticks.
    private static func quotedText(_ rest: inout Substring) -> String? {
        guard let quote = rest.popFirst(), quote == "\"" || quote == "`" else { return nil }
        var value = ""
        while let character = rest.popFirst() {
            if character == quote { return value }
            guard character == "\\", quote == "\"" else {
                value.append(character)
                continue
            }
            guard let escaped = rest.popFirst() else { return nil }
            value.append(escaped == "n" ? "\n" : escaped == "t" ? "\t" : escaped)
        }
        return nil
    }

    /// `5`, `_`, `NaN`, `2+3x4`, `2-1x4`, `2x4`.
    private static func samples(_ token: Substring) throws(ScriptFailure) -> [Double?] {
        if token == "_" { return [nil] }
        guard let times = token.firstIndex(of: "x") else { return [try number(token)] }
        let head = token[..<times]
        guard let count = Int(token[token.index(after: times)...]), (0...valuesMax).contains(count)
        else { throw ScriptFailure("bad repetition: \(token)") }
        var base = try? number(head)
        var step = 0.0
        if base == nil || head.dropFirst().contains(where: { $0 == "+" || $0 == "-" }),
            let sign = head.dropFirst().lastIndex(where: { $0 == "+" || $0 == "-" })
        {
            base = try number(head[..<sign])
            step = try number(head[sign...])
        }
        guard let base else { throw ScriptFailure("bad repetition: \(token)") }
        return (0...count).map { base + Double($0) * step }
    }

    private static func number(_ text: Substring) throws(ScriptFailure) -> Double {
        switch text {
        case "NaN": return .nan
        case "Inf", "+Inf": return .infinity
        case "-Inf": return -.infinity
        default:
            guard let value = Double(text) else { throw ScriptFailure("no number: \(text)") }
            return value
        }
    }

    // MARK: - Loads

    private static func load(_ text: Substring) throws(ScriptFailure) -> LogScriptLoad {
        guard text.first == "{", let end = text.firstIndex(of: "}") else {
            throw ScriptFailure("no stream labels: \(text)")
        }
        let stream: Labels
        do { stream = try LogQLParser.parseLabels(String(text[...end])) } catch {
            throw ScriptFailure("bad stream labels: \(error)")
        }
        var rest = trimmed(text[text.index(after: end)...])
        guard let quote = rest.first, quote == "\"" || quote == "`",
            let close = rest.dropFirst().firstIndex(of: quote)
        else { throw ScriptFailure("no quoted line: \(text)") }
        let line = rest[..<close].dropFirst()
        rest = trimmed(rest[rest.index(after: close)...])
        guard rest.first == "@" else { throw ScriptFailure("no time: \(text)") }
        rest = rest.dropFirst()
        let start = try time(&rest)
        var (count, step) = (1, Int64(0))
        if let inner = bracketed("[repeat every ", &rest) {
            var words = inner
            step = try duration(word(&words))
            try expect("for", &words)
            guard let number = Int(trimmed(words)), (1...entriesMax).contains(number) else {
                throw ScriptFailure("bad repetition: \(text)")
            }
            count = number
        }
        var metadata = Labels.empty
        if let inner = bracketed("[metadata ", &rest) { metadata = try self.metadata(inner) }
        guard trimmed(rest).isEmpty else { throw ScriptFailure("left over: \(rest)") }
        let pieces = line.split(separator: "{{.i}}", omittingEmptySubsequences: false)
        let entries = (0..<count).map { index in
            LogEntry(
                timestamp: start.advanced(byNanoseconds: step * Int64(index)),
                line: Array(pieces.joined(separator: String(index)).utf8), metadata: metadata)
        }
        return LogScriptLoad(stream: stream, entries: entries)
    }

    /// What stands between `prefix` and the next `]`; nil where `rest` begins otherwise.
    private static func bracketed(_ prefix: String, _ rest: inout Substring) -> Substring? {
        let text = trimmed(rest)
        guard text.hasPrefix(prefix), let end = text.firstIndex(of: "]") else { return nil }
        rest = text[text.index(after: end)...]
        return text[..<end].dropFirst(prefix.count)
    }

    /// `key="value" "odd key"="value"`. Empty values count.
    private static func metadata(_ text: Substring) throws(ScriptFailure) -> Labels {
        var labels: [Label] = []
        var rest = trimmed(text)
        while !rest.isEmpty {
            let parts = rest.split(separator: "=\"", maxSplits: 1)
            guard parts.count == 2, let end = parts[1].firstIndex(of: "\"") else {
                throw ScriptFailure("bad metadata: \(text)")
            }
            let key = parts[0].filter { $0 != "\"" }
            guard !key.isEmpty else { throw ScriptFailure("bad metadata: \(text)") }
            labels.append(Label(String(key), String(parts[1][..<end])))
            rest = trimmed(parts[1][parts[1].index(after: end)...])
        }
        return Labels(sortedUnchecked: labels.sorted())
    }

    // MARK: - Words

    private static func time(_ rest: inout Substring) throws(ScriptFailure) -> TimestampNS {
        TimestampNS(epochSeconds * 1_000_000_000 + (try duration(word(&rest))))
    }

    private static func duration(_ text: Substring) throws(ScriptFailure) -> Int64 {
        guard let nanoseconds = parseGoDuration(String(text)),
            abs(nanoseconds) < epochSeconds * 1_000_000_000
        else { throw ScriptFailure("bad duration: \(text)") }
        return nanoseconds
    }

    private static func expect(
        _ wanted: String, _ rest: inout Substring
    ) throws(ScriptFailure) {
        let found = word(&rest)
        guard found == wanted else { throw ScriptFailure("\(wanted) instead of \(found)") }
    }

    private static func word(_ rest: inout Substring) -> Substring {
        rest = trimmed(rest)
        let word = rest.prefix { $0 != " " && $0 != "\t" }
        rest = rest.dropFirst(word.count)
        return word
    }

    private static func trimmed(_ text: Substring) -> Substring {
        func isBlank(_ character: Character) -> Bool {
            character == " " || character == "\t" || character == "\r"
        }
        var text = text.drop(while: isBlank)
        while let last = text.last, isBlank(last) { text.removeLast() }
        return text
    }

    private static func withoutComment(_ line: Substring) -> Substring {
        var quote: Character?
        for index in line.indices {
            let character = line[index]
            if let open = quote {
                if character == open { quote = nil }
            } else if character == "\"" || character == "`" {
                quote = character
            } else if character == "#" {
                return line[..<index]
            }
        }
        return line
    }
}
