/// Why a text is no exposition. What was read before it stands.
package struct ExpositionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// From 1.
    package var line: Int
    /// In bytes, from 1.
    package var column: Int
    package var reason: Reason

    package init(line: Int, column: Int, reason: Reason) {
        self.line = line
        self.column = column
        self.reason = reason
    }

    package var description: String { "line \(line), column \(column): \(reason)" }

    package enum Reason: Hashable, Sendable, CustomStringConvertible {
        case expected(String)
        case blankLine
        case missingEOF
        case dataAfterEOF
        case badNumber(String)
        case badTimestamp(String)
        case badType(String)
        case unitIsNoSuffix(unit: String, metric: String)
        case notUTF8(String)
        case noMetricName
        case secondMetricName
        case tooManyLabels(max: Int)
        case tooManySamples(max: Int)
        case lineTooLong(bytesMax: Int)
        case duplicateLabel(String)
        case rule(OpenMetricsRule)

        package var description: String {
            switch self {
            case .expected(let what): "expected \(what)"
            case .blankLine: "OpenMetrics has no empty lines"
            case .missingEOF: "OpenMetrics ends with the line `# EOF`: was the answer cut off?"
            case .dataAfterEOF: "nothing may follow `# EOF`"
            case .badNumber(let text): "`\(text)` is no number"
            case .badTimestamp(let text): "`\(text)` is no timestamp"
            case .badType(let text): "`\(text)` is no type of a metric"
            case .unitIsNoSuffix(let unit, let metric):
                "the name \(metric) does not end in its unit, _\(unit)"
            case .notUTF8(let what): "\(what) is not UTF-8"
            case .noMetricName: "a sample without a metric name"
            case .secondMetricName: "a second metric name"
            case .tooManyLabels(let max): "more than \(max) labels of one sample"
            case .tooManySamples(let max): "more than \(max) samples"
            case .lineTooLong(let bytesMax): "a line of more than \(bytesMax) bytes"
            case .duplicateLabel(let name): "the label \(name) twice in one set"
            case .rule(let rule): rule.description
            }
        }
    }
}

/// A failure within the text; becomes an error with line and column where it leaves the parser.
struct ExpositionFailure: Error {
    var at: Int
    var reason: ExpositionError.Reason

    init(_ reason: ExpositionError.Reason, at: Int) {
        self.at = at
        self.reason = reason
    }

    /// Counts the lines before it. O(at).
    func located(in bytes: some Collection<UInt8>) -> ExpositionError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(at) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return ExpositionError(line: line, column: column, reason: reason)
    }
}
