package import LogQLSyntax
package import Model

/// A log query made ready to run: what to read, and what to keep of it. Pure; reading is the caller's.
package struct LogQuery: Sendable {
    package let selector: LogSelector
    /// Byte strings that every kept line contains: a reader may skip what lacks one.
    package let needles: [[UInt8]]
    private let lineMatchers: [LineMatcher]

    /// Compiles the pipeline. Throws `badRegex` or `badPattern`.
    package init(_ selector: LogSelector) throws(LogQLError) {
        self.selector = selector
        var needles: [[UInt8]] = []
        var lineMatchers: [LineMatcher] = []
        for stage in selector.stages {
            switch stage {
            case .lineFilter(let filter):
                lineMatchers.append(try LineMatcher(filter))
                if filter.operation == .contains, filter.patterns.count == 1,
                    !filter.patterns[0].isEmpty
                {
                    needles.append(filter.patterns[0])
                }
            }
        }
        self.needles = needles
        self.lineMatchers = lineMatchers
    }

    /// Streams that satisfy all of them are read.
    package var matchers: [LabelMatcher] { selector.matchers }

    /// Whether the pipeline keeps a line.
    package func keeps(_ line: [UInt8]) -> Bool { lineMatchers.allSatisfy { $0.keeps(line) } }
}

/// What a query made of a text: lines, or a number that needs no data.
package enum PreparedLogQL: Sendable {
    case log(LogQuery)
    case metric(MetricExpression)

    /// Parses and compiles.
    package static func prepare(_ text: String) throws(LogQLError) -> PreparedLogQL {
        let expression: LogQLExpression
        do { expression = try LogQLParser.parse(text) } catch { throw .syntax(error) }
        switch expression {
        case .log(let selector): return .log(try LogQuery(selector))
        case .metric(let metric): return .metric(metric)
        }
    }
}
