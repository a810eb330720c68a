package import LogQLSyntax
package import Model

/// A log query made ready to run: what to read, and what to make of it. Pure; reading is the caller's.
package struct LogQuery: Sendable {
    package let selector: LogSelector
    package let pipeline: Pipeline

    /// Compiles the pipeline. Throws `LogQLError.syntax`.
    package init(_ selector: LogSelector) throws(LogQLError) {
        self.selector = selector
        pipeline = try Pipeline(selector)
    }

    /// Streams that satisfy all of them are read.
    package var matchers: [LabelMatcher] { selector.matchers }

    /// Byte strings that every kept line contains as it is stored: a reader may skip what lacks one.
    package var needles: [[UInt8]] { pipeline.needles }

    /// Fields that every kept entry has beside its line, or that its stream has as labels.
    package var metadataEqualities: [Label] { pipeline.metadataEqualities }
}

/// What a query made of a text.
package enum PreparedLogQL: Sendable {
    case log(LogQuery)
    case metric(MetricExpression)

    /// Parses, and compiles a log query. Throws `LogQLError.syntax`.
    package static func prepare(_ text: String) throws(LogQLError) -> PreparedLogQL {
        let expression: LogQLExpression
        do { expression = try LogQLParser.parse(text) } catch { throw .syntax(error) }
        switch expression {
        case .log(let selector): return .log(try LogQuery(selector))
        case .metric(let metric): return .metric(metric)
        }
    }
}

/// The matchers of a selector, compiled, for who looks at streams in memory.
package struct StreamMatcher: Sendable {
    private let conditions: [(name: String, matcher: ValueMatcher)]

    /// Throws `LogQLError.syntax` for a regular expression that does not compile.
    package init(_ matchers: [LabelMatcher]) throws(LogQLError) {
        var conditions: [(name: String, matcher: ValueMatcher)] = []
        for matcher in matchers {
            do throws(StageFault) {
                conditions.append((matcher.name, try ValueMatcher(matcher)))
            } catch { throw .syntax(.invalid(error.text)) }
        }
        self.conditions = conditions
    }

    /// Whether all matchers hold; a label that is not there counts as empty. O(matchers · labels).
    package func matches(_ labels: Labels) -> Bool {
        conditions.allSatisfy { $0.matcher.matches(labels[$0.name]) }
    }
}

/// Entries that somebody has asked to delete and that answers leave out until they are gone.
package struct LogDeletion: Sendable {
    package let query: LogQuery
    /// Both inclusive.
    package let from: TimestampNS
    package let to: TimestampNS
    fileprivate let streams: StreamMatcher

    /// Of the entries of `query` from `from` to `to`, both inclusive. Throws `LogQLError.syntax`.
    package init(_ query: LogQuery, from: TimestampNS, to: TimestampNS) throws(LogQLError) {
        self.query = query
        self.from = from
        self.to = to
        streams = try StreamMatcher(query.matchers)
    }
}

/// `LogDeletion`s at work for one query; not for several threads at once.
struct LogDeletions {
    private let deletions: [(deletion: LogDeletion, run: PipelineRun)]

    init(_ deletions: [LogDeletion]) {
        self.deletions = deletions.map { ($0, PipelineRun($0.query.pipeline)) }
    }

    /// A stream as the deletions that concern it see it.
    struct Stream {
        fileprivate let parts: [(index: Int, stream: PipelineStream)]
    }

    func forStream(_ labels: Labels) -> Stream {
        Stream(
            parts: deletions.indices.filter { deletions[$0].deletion.streams.matches(labels) }
                .map { ($0, deletions[$0].run.forStream(labels)) })
    }

    func cover(_ entry: LogEntry, of stream: Stream) -> Bool {
        stream.parts.contains { part in
            let (deletion, run) = deletions[part.index]
            guard deletion.from <= entry.timestamp, entry.timestamp <= deletion.to else {
                return false
            }
            return run.process(entry, of: part.stream)
        }
    }
}
