import LinearRegex
import LogQL
import LogQLSyntax
import Model
import QueryMath
package import ScriptReport

/// Runs Loki's `*.logqltest` scripts against this engine.
///
/// Every eval runs a second time in another way and passes only if both runs do: an instant as the first step of a range
/// query with overlapping windows, a range step by step as instants.
package struct LogScriptRunner {
    /// The difference, absolute or relative, up to which values are equal.
    private static let epsilon = 1e-9

    private var store = LogScriptStore()

    /// Runs the script `text`; `name` stands for the file in messages.
    package static func run(text: String, name: String) -> ScriptReport {
        var runner = LogScriptRunner()
        var report = ScriptReport()
        var parser = LogScriptParser(text)
        do throws(ScriptFailure) {
            while let command = try parser.nextCommand() {
                switch command {
                case .clear: runner.store.clear()
                case .load(let loads): for load in loads { runner.store.add(load) }
                case .eval(let eval): runner.run(eval, name, &report)
                }
            }
        } catch {
            report.failed += 1
            report.failures.append("\(name):\(parser.lineNumber): \(error.reason)")
        }
        return report
    }

    private func run(_ eval: LogScriptEval, _ name: String, _ report: inout ScriptReport) {
        let outcome = self.outcome(eval.query, eval.times)
        var complaint = isExpected(outcome, eval) ? nil : outcome.lines
        if complaint == nil, let other = otherwise(eval, outcome) {
            complaint = other.lines + ["(run otherwise)"]
        }
        guard let complaint else {
            report.passed += 1
            return
        }
        report.failed += 1
        report.failures.append(
            (["\(name):\(eval.line): \(eval.query)", "  expected:"]
                + eval.expectedText.map { "    \($0)" } + ["  got:"]
                + complaint.map { "    \($0)" }).joined(separator: "\n"))
    }

    // MARK: - Evaluation

    private func outcome(_ query: String, _ times: MetricTimes) -> LogScriptOutcome {
        let expression: LogQLExpression
        do { expression = try LogQLParser.parse(query) } catch {
            return .failure(error.description)
        }
        guard case .metric(let metric) = expression else {
            return .failure("a log query has no place in a script")
        }
        do throws(MetricError) {
            let plan = try MetricPlan(metric, at: times)
            let run = try MetricRun(plan)
            for (index, selection) in plan.selections.enumerated() {
                try store.forEachPage(selection) {
                    (entries, numbers, streams) throws(MetricError) in
                    try run.accept(entries, numbers, streams, selection: index)
                }
            }
            return LogScriptOutcome(try run.result(), times)
        } catch {
            return .failure(error.description)
        }
    }

    /// What comes of the second way to run an eval, where it isn't the same; nil where it is.
    private func otherwise(
        _ eval: LogScriptEval, _ outcome: LogScriptOutcome
    ) -> LogScriptOutcome? {
        if case .failure = outcome { return nil }
        switch eval.times {
        case .instant(let time):
            if eval.query.contains("approx_topk") { return nil }
            let range = MetricTimes.range(
                start: time, end: time.advanced(byNanoseconds: 1_000_000),
                stepNanoseconds: 1_000_000)
            let other = self.outcome(eval.query, range)
            return isSame(outcome, other, at: 0) ? nil : other
        case .range(let start, _, let step):
            for index in 0..<eval.times.stepCount {
                let time = start.advanced(byNanoseconds: step * Int64(index))
                let other = self.outcome(eval.query, .instant(time))
                if !isSame(other, outcome, at: index) { return other }
            }
            return nil
        }
    }

    // MARK: - Comparison

    private func isExpected(_ outcome: LogScriptOutcome, _ eval: LogScriptEval) -> Bool {
        switch (eval.expectation, outcome) {
        case (.failure(let failure), .failure(let text)):
            switch failure {
            case .any: return true
            case .contains(let wanted): return contains(text, wanted)
            case .regex(let regex): return regex.firstMatch(in: text) != nil
            }
        case (.empty, .series(let series)): return series.isEmpty
        case (.scalar(let wanted), .scalar(let value)): return isEqual(wanted, value)
        case (.series(let wanted, let isOrdered), .series(let series)):
            if isOrdered {
                return eval.times.stepCount == 1 && wanted.count == series.count
                    && zip(wanted, series).allSatisfy {
                        $0.labels == $1.labels && isEqual($0.values, $1.values)
                    }
            }
            return isSameSet(wanted, series)
        case (.failure, _), (.empty, _), (.scalar, _), (.series, _): return false
        }
    }

    /// Whether an instant's outcome is that of a step of a range query.
    private func isSame(
        _ instant: LogScriptOutcome, _ range: LogScriptOutcome, at index: Int
    ) -> Bool {
        guard case .series(let steps) = range else { return false }
        let there = steps.compactMap { series in
            series.values[index].map { LogScriptEval.Series(labels: series.labels, values: [$0]) }
        }
        switch instant {
        case .failure: return false
        case .scalar(let value):
            return isSameSet([LogScriptEval.Series(labels: .empty, values: [value])], there)
        case .series(let series): return isSameSet(series, there)
        }
    }

    private func isSameSet(_ a: [LogScriptEval.Series], _ b: [LogScriptEval.Series]) -> Bool {
        guard a.count == b.count else { return false }
        var values: [Labels: [Double?]] = [:]
        for series in a { values[series.labels] = series.values }
        var seen: Set<Labels> = []
        return b.allSatisfy { series in
            guard seen.insert(series.labels).inserted, let wanted = values[series.labels] else {
                return false
            }
            return isEqual(wanted, series.values)
        }
    }

    private func isEqual(_ a: [Double?], _ b: [Double?]) -> Bool {
        a.count == b.count
            && zip(a, b).allSatisfy { a, b in
                guard let a, let b else { return a == nil && b == nil }
                return isEqual(a, b)
            }
    }

    private func isEqual(_ a: Double, _ b: Double) -> Bool {
        if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
        if a.isInfinite || b.isInfinite { return a == b }
        let difference = (a - b).magnitude
        return difference <= Self.epsilon
            || difference / max(a.magnitude, b.magnitude) <= Self.epsilon
    }

    private func contains(_ text: String, _ wanted: String) -> Bool {
        let (text, wanted) = (Array(text.utf8), Array(wanted.utf8))
        guard !wanted.isEmpty else { return true }
        guard text.count >= wanted.count else { return false }
        return (0...(text.count - wanted.count)).contains { text[$0...].starts(with: wanted) }
    }
}
