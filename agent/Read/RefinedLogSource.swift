package import Model
import Synchronization

/// What happens to log lines between their source and the spool: secrets are taken out, then metrics are made.
package final class LogRefinement: Sendable {
    private let redactor: Mutex<LineRedactor>
    private let metrics: LogMetrics
    private let suppressed = JournalSuppressionMetrics()

    package init(
        redaction: RedactionConfiguration = RedactionConfiguration(),
        metrics: LogMetricsConfiguration = LogMetricsConfiguration()
    ) {
        redactor = Mutex(LineRedactor(redaction))
        self.metrics = LogMetrics(metrics)
    }

    /// Chunks that are read from now on are refined so. What was counted goes on for the rules that stay as they are.
    package func change(
        redaction: RedactionConfiguration, metrics: LogMetricsConfiguration
    ) {
        redactor.withLock { $0 = LineRedactor(redaction, after: $0) }
        self.metrics.change(to: metrics)
    }

    /// When redaction has made a chunk grow by so much, each line with secrets behind that gets one mark alone. Bytes.
    /// `LogLimits.chunkBytesMax`, one longest line and this fit one payload.
    package static let growthBytesMax = 256 << 10

    /// Refines the entries of a chunk in place; gaps and the position are as they were. O(n) in their bytes.
    package func refine(_ chunk: inout LogReadChunk) {
        let redactor = redactor.withLock { $0 }
        var grown = 0
        for index in chunk.items.indices {
            grown += redactor.redact(
                &chunk.items[index].entry, isTight: grown >= Self.growthBytesMax)
        }
        metrics.observe(chunk.items)
        suppressed.observe(chunk.gaps)
    }

    /// What was taken out, and the metrics of the lines.
    package func families() -> [MetricFamily] {
        redactor.withLock { $0 }.families() + metrics.families() + suppressed.families()
    }
}

/// A log source whose entries are refined on the thread that reads them: nothing else sees them as they were.
package final class RefinedLogSource: LogSource {
    package var source: String { inner.source }
    package var problems: [String] { inner.problems }
    package var isEmpty: Bool { inner.isEmpty }
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

    package func close() { inner.close() }
}
