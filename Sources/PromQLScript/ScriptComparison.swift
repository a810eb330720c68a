import Model
import PromQL
import PromQLSyntax
import QueryMath
import ScriptReport

/// Compares what a query yields with what its eval expects.
struct ScriptComparison {
    /// The relative difference below which values are equal.
    private static let epsilon = 1e-6
    private let eval: ScriptEval

    init(_ eval: ScriptEval) { self.eval = eval }

    /// Throws where `value` isn't as expected; `grid` gives the times of a matrix' expected values.
    func check(
        _ value: QueryValue, grid: (start: Int64, end: Int64, stepMS: Int64)?
    ) throws(ScriptFailure) {
        switch value {
        case .scalar(let sample):
            guard let expected = eval.scalar else { throw ScriptFailure("unexpected scalar") }
            try checkValue(sample.value, expected, "scalar")
        case .string(let text, _):
            guard text == eval.string else { throw ScriptFailure("unexpected string \(text)") }
        case .vector(let elements): try checkVector(elements)
        case .matrix(let series):
            guard let grid else { throw ScriptFailure("unexpected matrix") }
            try checkMatrix(series, grid)
        }
    }

    /// Throws where remarks are missing, unexpected or forbidden.
    func checkRemarks(_ annotations: [Annotation]) throws(ScriptFailure) {
        for severity in [Annotation.Severity.warning, .info] {
            let expected = severity == .warning ? eval.warnings : eval.infos
            let isForbidden = severity == .warning ? eval.forbidsWarnings : eval.forbidsInfos
            let texts = annotations.filter { $0.severity == severity }.map(\.message)
            if isForbidden, let text = texts.first {
                throw ScriptFailure("unexpected \(severity.rawValue): \(text)")
            }
            guard !expected.isEmpty else { continue }
            guard !texts.isEmpty else { throw ScriptFailure("no \(severity.rawValue)") }
            for match in expected where !texts.contains(where: match.matches) {
                throw ScriptFailure("\(severity.rawValue) not as expected: \(texts)")
            }
            for text in texts where !expected.contains(where: { $0.matches(text) }) {
                throw ScriptFailure("unexpected \(severity.rawValue): \(text)")
            }
        }
    }

    private func checkVector(_ elements: [VectorElement]) throws(ScriptFailure) {
        guard eval.scalar == nil else { throw ScriptFailure("vector instead of scalar") }
        var seen: Set<Labels> = []
        for (index, element) in elements.enumerated() {
            guard let entry = eval.entries[element.labels] else {
                let value = element.histogram?.scriptText ?? "\(element.sample.value)"
                throw ScriptFailure("unexpected series \(text(element.labels)) \(value)")
            }
            if eval.isOrdered, entry.position != index + 1 {
                throw ScriptFailure("\(text(element.labels)) at position \(index + 1)")
            }
            switch (entry.values.first, element.histogram) {
            case (.number(let expected)?, nil):
                try checkValue(element.sample.value, expected, text(element.labels))
            case (.histogram(let expected, let hint)?, let histogram?):
                try checkHistogram(histogram, expected, hint, text(element.labels))
            default:
                let value = element.histogram?.scriptText ?? "\(element.sample.value)"
                throw ScriptFailure("\(text(element.labels)) is \(value), another kind of sample")
            }
            seen.insert(element.labels)
        }
        try checkComplete(seen)
    }

    private func checkMatrix(
        _ series: [SeriesColumns], _ grid: (start: Int64, end: Int64, stepMS: Int64)
    ) throws(ScriptFailure) {
        if eval.isOrdered { throw ScriptFailure("ordered, but the result is a matrix") }
        if let scalar = eval.scalar { throw ScriptFailure("matrix instead of scalar \(scalar)") }
        var seen: Set<Labels> = []
        var last: Labels?
        for columns in series {
            if let last, columns.labels < last { throw ScriptFailure("matrix isn't sorted") }
            last = columns.labels
            guard let entry = eval.entries[columns.labels] else {
                throw ScriptFailure("unexpected series \(text(columns.labels)) \(columns.values)")
            }
            try check(columns, entry, grid)
            seen.insert(columns.labels)
        }
        try checkComplete(seen)
    }

    private func check(
        _ columns: SeriesColumns, _ entry: ScriptEval.Entry,
        _ grid: (start: Int64, end: Int64, stepMS: Int64)
    ) throws(ScriptFailure) {
        var times: [Int64] = []
        var values: [Double] = []
        var expected: [(time: Int64, FloatHistogram, FloatHistogram.CounterResetHint?)] = []
        for (index, value) in entry.values.enumerated() {
            let time = grid.start + Int64(index) * grid.stepMS
            guard time <= grid.end else { throw ScriptFailure("more values than steps") }
            switch value {
            case .omitted: continue
            case .number(let number):
                times.append(time)
                values.append(number)
            case .histogram(let histogram, let hint): expected.append((time, histogram, hint))
            }
        }
        guard times == columns.timestamps,
            expected.map(\.time) == columns.histograms.map(\.timestamp)
        else {
            let histograms = columns.histograms.map {
                "\($0.timestamp): \($0.histogram.scriptText)"
            }
            throw ScriptFailure(
                "\(text(columns.labels)) has \(columns.values) at \(columns.timestamps), "
                    + "expected \(values) at \(times); histograms \(histograms), expected at "
                    + "\(expected.map(\.time))")
        }
        for index in values.indices {
            try checkValue(
                columns.values[index], values[index],
                "\(text(columns.labels)) at \(times[index])")
        }
        for ((time, histogram, hint), actual) in zip(expected, columns.histograms) {
            try checkHistogram(
                actual.histogram, histogram, hint, "\(text(columns.labels)) at \(time)")
        }
    }

    private func checkComplete(_ seen: Set<Labels>) throws(ScriptFailure) {
        for labels in eval.entries.keys where !seen.contains(labels) {
            throw ScriptFailure("expected series \(text(labels)) not found")
        }
    }

    private func checkValue(
        _ actual: Double, _ expected: Double, _ what: String
    ) throws(ScriptFailure) {
        guard almostEqual(actual, expected, epsilon: Self.epsilon) else {
            throw ScriptFailure("\(what) is \(actual), expected \(expected)")
        }
    }

    /// Equal but for rounding once both are compacted; the hint counts where the script gives one.
    private func checkHistogram(
        _ actual: FloatHistogram, _ expected: FloatHistogram,
        _ hint: FloatHistogram.CounterResetHint?, _ what: String
    ) throws(ScriptFailure) {
        let a = actual.compacted()
        let b = expected.compacted()
        let numbers = { (h: FloatHistogram) in
            [h.count, h.sum, h.zeroCount] + h.positive.counts + h.negative.counts
        }
        let isSame =
            a.schema == b.schema && a.zeroThreshold == b.zeroThreshold
            && a.customBounds == b.customBounds && a.positive.indices == b.positive.indices
            && a.negative.indices == b.negative.indices
            && zip(numbers(a), numbers(b)).allSatisfy {
                almostEqual($0, $1, epsilon: Self.epsilon)
            }
        guard isSame, hint == nil || hint == a.counterResetHint else {
            throw ScriptFailure("\(what) is \(a.scriptText), expected \(b.scriptText)")
        }
    }

    private func text(_ labels: Labels) -> String {
        "{" + labels.map { "\($0.name)=\(quoted($0.value))" }.joined(separator: ",") + "}"
    }
}
