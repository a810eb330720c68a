import Model
import PromQL
import PromQLSyntax
import QueryMath
package import ScriptReport

/// Runs scripts in the language of Prometheus' `promqltest` against this engine.
///
/// Every instant eval runs again with `@` added at other times, and each run again as the middle step of a range query;
/// it passes only if all runs do.
package struct ScriptRunner {
    private var storage = ScriptStorage()
    private let delaysNameRemoval: Bool

    /// Runs the script `text`; `name` stands for the file in messages. As Prometheus does with its own scripts, names that
    /// functions drop go from results alone, unless told otherwise.
    package static func run(
        text: String, name: String, delaysNameRemoval: Bool = true
    ) -> ScriptReport {
        var runner = ScriptRunner(delaysNameRemoval: delaysNameRemoval)
        var report = ScriptReport()
        var line = 0
        do throws(ScriptFailure) {
            var parser = try ScriptParser(text)
            while true {
                let command: ScriptCommand?
                do throws(ScriptFailure) {
                    command = try parser.nextCommand()
                } catch {
                    line = parser.lineNumber
                    throw error
                }
                guard let command else { break }
                line = parser.lineNumber
                try runner.perform(command, name, &report)
            }
        } catch {
            report.failed += 1
            report.failures.append("\(name):\(line): script stopped: \(error.reason)")
        }
        return report
    }

    private mutating func perform(
        _ command: ScriptCommand, _ name: String, _ report: inout ScriptReport
    ) throws(ScriptFailure) {
        switch command {
        case .clear: storage.clear()
        case .load(let series, let step, let withHistograms):
            try storage.load(series, stepMS: step, withHistograms: withHistograms)
        case .unreadable(let line, let reason):
            report.failed += 1
            report.failures.append("\(name):\(line): \(reason)")
        case .eval(let eval):
            do {
                try run(eval)
                report.passed += 1
            } catch {
                report.failed += 1
                report.failures.append("\(name):\(eval.line): \(error.reason): \(eval.query)")
            }
        }
    }

    private mutating func run(_ eval: ScriptEval) throws(ScriptFailure) {
        switch eval.times {
        case .range(let start, let end, let step):
            let parameters = QueryParameters(start: start, end: end, stepMS: step)
            guard let result = try outcome(eval, eval.query, parameters) else { return }
            try ScriptComparison(eval).check(
                result.value, grid: (start.rawValue, end.rawValue, step))
        case .instant(let time):
            try runInstant(eval, eval.query, time)
            guard let anchored = anchoredQuery(eval.query, at: time) else { return }
            let times =
                time.rawValue == 0
                ? [-1000, 0, 1000]
                : [-10 * time.rawValue, 0, time.rawValue / 5, time.rawValue, 10 * time.rawValue]
            for other in times {
                do {
                    try runInstant(eval, anchored, TimestampMS(other))
                } catch {
                    throw ScriptFailure("\(error.reason) (as \(anchored) at \(other) ms)")
                }
            }
        }
    }

    /// One instant run, and the same as the middle step of a range query.
    private mutating func runInstant(
        _ eval: ScriptEval, _ query: String, _ time: TimestampMS
    ) throws(ScriptFailure) {
        guard let result = try outcome(eval, query, QueryParameters(at: time)) else { return }
        let comparison = ScriptComparison(eval)
        try comparison.check(result.value, grid: eval.rangeVector)
        if eval.rangeVector != nil || eval.string != nil { return }
        if ["start()", "end()", "range()", "step()"].contains(where: query.contains) { return }
        let range = QueryParameters(
            start: time.advanced(byMilliseconds: -60_000),
            end: time.advanced(byMilliseconds: 60_000), stepMS: 60_000)
        let value: QueryValue
        switch try evaluate(query, range) {
        case .success(let result): value = result.value
        case .failure(let error): throw ScriptFailure("range mode: \(error.description)")
        }
        if eval.isOrdered { return }
        guard case .matrix(let series) = value else {
            throw ScriptFailure("range mode: no matrix")
        }
        let elements = series.compactMap { $0.element(at: time) }
        do throws(ScriptFailure) {
            if case .scalar = result.value {
                guard let element = elements.first else { throw ScriptFailure("no scalar") }
                try comparison.check(.scalar(element.sample), grid: nil)
            } else {
                try comparison.check(.vector(elements), grid: nil)
            }
        } catch {
            throw ScriptFailure("range mode: \(error.reason)")
        }
    }

    /// The result of `query`, nil where it failed as expected; remarks are checked.
    private mutating func outcome(
        _ eval: ScriptEval, _ query: String, _ parameters: QueryParameters
    ) throws(ScriptFailure) -> QueryResult? {
        switch try evaluate(query, parameters) {
        case .failure(let error):
            guard let expected = eval.failure else { throw ScriptFailure(error.description) }
            guard expected.matches(error.description) else {
                throw ScriptFailure("fails otherwise than expected: \(error.description)")
            }
            return nil
        case .success(let result):
            guard eval.failure == nil else { throw ScriptFailure("should fail") }
            try ScriptComparison(eval).checkRemarks(result.annotations)
            return result
        }
    }

    private struct Refusal: Error {
        var description: String
    }

    private mutating func evaluate(
        _ query: String, _ parameters: QueryParameters
    ) throws(ScriptFailure) -> Result<QueryResult, Refusal> {
        let expression: Expression
        do {
            expression = try PromQLParser.parse(query, options: .everything)
        } catch {
            return .failure(Refusal(description: error.description))
        }
        let prepared: PreparedQuery
        var parameters = parameters
        parameters.usesStartTimestamps = true
        parameters.delaysNameRemoval = delaysNameRemoval
        do {
            prepared = try PreparedQuery(expression, parameters: parameters)
        } catch {
            return .failure(Refusal(description: error.description))
        }
        var data: [[SeriesColumns]] = []
        for request in prepared.selections {
            data.append(
                try storage.select(
                    request.matchers, after: request.after, through: request.through))
        }
        do {
            return .success(try prepared.evaluate(data))
        } catch {
            return .failure(Refusal(description: error.description))
        }
    }

    /// The query with `@ time` on every selector and subquery that has none, nil where its functions forbid it.
    private func anchoredQuery(_ query: String, at time: TimestampMS) -> String? {
        guard let expression = try? PromQLParser.parse(query, options: .everything) else {
            return nil
        }
        var isTimeDependent = false
        expression.forEachNode { node in
            if case .call(let call) = node, timeDependentFunctions.contains(call.name) {
                isTimeDependent = true
            }
        }
        return isTimeDependent ? nil : anchored(expression, time).description
    }

    private func anchored(_ expression: Expression, _ time: TimestampMS) -> Expression {
        switch expression {
        case .vectorSelector(var node):
            node.anchor = node.anchor ?? .timestamp(time)
            return .vectorSelector(node)
        case .matrixSelector(var node):
            node.selector.anchor = node.selector.anchor ?? .timestamp(time)
            return .matrixSelector(node)
        case .subquery(var node):
            // What lies inside an anchored subquery stays as it is.
            node.anchor = node.anchor ?? .timestamp(time)
            return .subquery(node)
        case .number, .string, .unary, .binary, .call, .aggregate, .parenthesized:
            return expression.mapChildren { anchored($0, time) }
        }
    }
}

extension SeriesColumns {
    /// The sample at `time` as an element of a vector.
    fileprivate func element(at time: TimestampMS) -> VectorElement? {
        if let index = timestamps.firstIndex(of: time.rawValue) {
            return VectorElement(labels: labels, sample: Sample(time, values[index]))
        }
        return histograms.first { $0.timestamp == time.rawValue }.map { sample in
            VectorElement(
                labels: labels, sample: Sample(time, .nan), histogram: sample.histogram)
        }
    }
}
