import LinearRegex
import Model
import PromQLSyntax
import ScriptReport

/// A step of a script.
enum ScriptCommand {
    case clear
    case load([ScriptSeries], stepMS: Int64, withHistograms: Bool)
    case eval(ScriptEval)
    /// An eval that this runner can't understand; it counts as failed.
    case unreadable(line: Int, reason: String)
}

/// Reads the scripts of Prometheus' `promqltest`.
///
/// Lines are trimmed, comments are empty lines, an empty line ends a block. Source: Prometheus 3.14 `promql/promqltest`.
struct ScriptParser {
    private let lines: [String]
    private var next = 0
    private let patterns: ScriptPatterns

    init(_ text: String) throws(ScriptFailure) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let trimmed = trim(line)
            return trimmed.utf8.first == UInt8(ascii: "#") ? "" : trimmed
        }
        patterns = try ScriptPatterns()
    }

    /// The number of the line last read, from 1.
    var lineNumber: Int { next }

    /// The next command; nil at the end.
    mutating func nextCommand() throws(ScriptFailure) -> ScriptCommand? {
        while next < lines.count, lines[next].isEmpty { next += 1 }
        guard next < lines.count else { return nil }
        let line = lines[next]
        next += 1
        let word = line.prefix { $0 != " " && $0 != "\t" }.lowercased()
        if word == "clear" { return .clear }
        if word.hasPrefix("load") { return try parseLoad(line) }
        if word.hasPrefix("eval") {
            let number = next
            do {
                return .eval(try parseEval(line))
            } catch {
                skipBlock()
                return .unreadable(line: number, reason: error.reason)
            }
        }
        throw ScriptFailure("invalid command \(line)")
    }

    private mutating func skipBlock() {
        while next < lines.count, !lines[next].isEmpty { next += 1 }
    }

    private mutating func nextInBlock() -> String? {
        guard next < lines.count, !lines[next].isEmpty else { return nil }
        next += 1
        return lines[next - 1]
    }

    private mutating func parseLoad(_ line: String) throws(ScriptFailure) -> ScriptCommand {
        guard let match = patterns.load.firstMatch(in: line), let gap = match.text(2) else {
            throw ScriptFailure("invalid load command")
        }
        let step = try duration(gap)
        var series: [ScriptSeries] = []
        var starts: StartTimestampLine?
        while let line = nextInBlock() {
            if let next = try StartTimestampLine(line) {
                guard starts == nil else { throw ScriptFailure("@st line without samples") }
                starts = next
                continue
            }
            var one = try parseSeries(line)
            if let starts {
                guard starts.labels == one.labels, starts.offsets.count == one.samples.count else {
                    throw ScriptFailure("@st line of another series or length: \(line)")
                }
                one.startOffsets = starts.offsets
            }
            starts = nil
            series.append(one)
        }
        guard starts == nil else { throw ScriptFailure("@st line without samples") }
        return .load(series, stepMS: step, withHistograms: match.text(1) == "with_nhcb")
    }

    private mutating func parseEval(_ line: String) throws(ScriptFailure) -> ScriptEval {
        var eval: ScriptEval
        let modifier: String?
        if let match = patterns.instant.firstMatch(in: line) {
            let time = try duration(match.text(2) ?? "0")
            eval = ScriptEval(
                line: next, query: match.text(3) ?? "", times: .instant(TimestampMS(time)))
            modifier = match.text(1)
        } else if let match = patterns.range.firstMatch(in: line) {
            let start = TimestampMS(try duration(match.text(2) ?? ""))
            let end = TimestampMS(try duration(match.text(3) ?? ""))
            let step = try duration(match.text(4) ?? "")
            eval = ScriptEval(
                line: next, query: match.text(5) ?? "",
                times: .range(start: start, end: end, stepMS: step))
            modifier = match.text(1)
        } else {
            throw ScriptFailure("invalid eval command")
        }
        switch modifier {
        case "ordered": eval.isOrdered = true
        case "fail": eval.failure = .any
        case "warn": eval.warnings = [.any]
        case "info": eval.infos = [.any]
        default: break
        }
        try parseExpectations(&eval)
        return eval
    }

    private mutating func parseExpectations(_ eval: inout ScriptEval) throws(ScriptFailure) {
        var position = 0
        while let line = nextInBlock() {
            if eval.failure != nil, line.hasPrefix("expected_fail_message") {
                eval.failure = .exact(trim(line.dropFirst("expected_fail_message".count)))
                return
            }
            if eval.failure != nil, line.hasPrefix("expected_fail_regexp") {
                eval.failure = try regex(trim(line.dropFirst("expected_fail_regexp".count)))
                return
            }
            if let match = patterns.rangeVector.firstMatch(in: line) {
                let start = try duration(match.text(1) ?? "")
                let end = try duration(match.text(2) ?? "")
                eval.rangeVector = (start, end, try duration(match.text(3) ?? ""))
                eval.times = .instant(TimestampMS(end))
                continue
            }
            if line.hasPrefix("expect string") {
                eval.string = try unquoted(trim(line.dropFirst("expect string".count)))
                continue
            }
            if line == "expect" || line.hasPrefix("expect ") {
                try parseExpect(line, &eval)
                continue
            }
            position += 1
            if let number = scriptNumber(line) {
                eval.scalar = number
                return
            }
            let series = try parseSeries(line)
            if case .instant = eval.times, series.samples.count > 1, eval.rangeVector == nil {
                throw ScriptFailure("several values in an instant evaluation")
            }
            eval.entries[series.labels] = ScriptEval.Entry(
                position: position, values: series.samples)
        }
    }

    private func parseExpect(_ line: String, _ eval: inout ScriptEval) throws(ScriptFailure) {
        guard let match = patterns.expect.firstMatch(in: line) else {
            throw ScriptFailure("invalid expect statement: \(line)")
        }
        var text = ScriptEval.TextMatch.any
        let wanted = trim(match.text(3) ?? "")
        if match.text(2) == "msg" { text = .exact(wanted) }
        if match.text(2) == "regex" { text = try regex(wanted) }
        switch match.text(1) {
        case "ordered": eval.isOrdered = true
        case "fail":
            guard eval.failure == nil else { throw ScriptFailure("several expect fail lines") }
            eval.failure = text
        case "warn": eval.warnings.append(text)
        case "info": eval.infos.append(text)
        case "no_warn": eval.forbidsWarnings = true
        default: eval.forbidsInfos = true
        }
        if eval.forbidsWarnings && !eval.warnings.isEmpty
            || eval.forbidsInfos && !eval.infos.isEmpty
        {
            throw ScriptFailure("expect lines contradict each other")
        }
    }

    private func parseSeries(_ line: String) throws(ScriptFailure) -> ScriptSeries {
        let description: SeriesDescription
        do {
            description = try SeriesDescription.parse(line)
        } catch {
            throw ScriptFailure("series \(line): \(error)")
        }
        return ScriptSeries(labels: description.labels, samples: try description.samples())
    }

    private func regex(_ pattern: String) throws(ScriptFailure) -> ScriptEval.TextMatch {
        .regex(try compiled(pattern))
    }

    private func duration(_ text: String) throws(ScriptFailure) -> Int64 {
        guard let duration = scriptDuration(text) else {
            throw ScriptFailure("invalid duration \(text)")
        }
        return duration
    }

    private func unquoted(_ text: String) throws(ScriptFailure) -> String {
        guard let expression = try? PromQLParser.parse(text), case .string(let literal) = expression
        else { throw ScriptFailure("expected string literal not valid") }
        return literal.value
    }
}

/// The command lines of a script.
private struct ScriptPatterns {
    let load: LinearRegex
    let instant: LinearRegex
    let range: LinearRegex
    let rangeVector: LinearRegex
    let expect: LinearRegex

    init() throws(ScriptFailure) {
        load = try compiled(#"^load(?:_(with_nhcb))?\s+(.+?)$"#)
        instant = try compiled(
            #"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$"#)
        range = try compiled(
            #"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$"#
        )
        rangeVector = try compiled(
            #"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$"#)
        expect = try compiled(
            #"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$"#)
    }
}

private func compiled(_ pattern: String) throws(ScriptFailure) -> LinearRegex {
    do {
        return try LinearRegex(pattern, anchored: false)
    } catch {
        throw ScriptFailure("regular expression \(pattern): \(error)")
    }
}

/// The milliseconds of a duration, nil where `text` is none or longer than a century: times the values that a line may
/// stand for, twice, it is a time still.
func scriptDuration(_ text: String) -> Int64? {
    guard let duration = PrometheusDuration(text),
        duration.milliseconds <= 100 * 365 * 86_400_000
    else { return nil }
    return duration.milliseconds
}

/// `text` without surrounding blanks.
private func trim(_ text: some StringProtocol) -> String {
    let isBlank = { (byte: UInt8) in byte == 32 || (9...13).contains(byte) }
    var bytes = Array(text.utf8)[...]
    bytes = bytes.drop(while: isBlank)
    while let last = bytes.last, isBlank(last) { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
}

/// A bare number as a scalar expectation; nil for anything else.
private func scriptNumber(_ text: String) -> Double? {
    guard let expression = try? PromQLParser.parse(text) else { return nil }
    var sign = 1.0
    var inner = expression
    if case .unary(let unary) = inner {
        sign = unary.isNegation ? -1 : 1
        inner = unary.operand
    }
    guard case .number(let literal) = inner, !literal.isDuration else { return nil }
    return sign * literal.value
}
