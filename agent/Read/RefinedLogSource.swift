package import Model

/// What happens to log lines between their source and the spool: secrets are taken out, then metrics are made.
package final class LogRefinement: Sendable {
    private let redactor: LineRedactor
    private let metrics: LogMetrics

    package init(redactor: LineRedactor, metrics: LogMetrics) {
        self.redactor = redactor
        self.metrics = metrics
    }

    /// Refines the entries of a chunk in place; gaps and the position are as they were. O(n) in their bytes.
    package func refine(_ chunk: inout LogReadChunk) {
        for index in chunk.items.indices { redactor.redact(&chunk.items[index].entry) }
        metrics.observe(chunk.items)
    }

    /// What was taken out, and the metrics of the lines.
    package func families() -> [MetricFamily] { redactor.families() + metrics.families() }
}

/// A log source whose entries are refined on the thread that reads them: nothing else sees them as they were.
package final class RefinedLogSource: LogSource {
    package var source: String { inner.source }
    package var problems: [String] { inner.problems }
    private let inner: any LogSource
    private let refinement: LogRefinement

    package init(_ inner: any LogSource, _ refinement: LogRefinement) {
        self.inner = inner
        self.refinement = refinement
    }

    package func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        guard var chunk = try inner.next(max: max, waitMilliseconds: waitMilliseconds) else {
            return nil
        }
        refinement.refine(&chunk)
        return chunk
    }
}
