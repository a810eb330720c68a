import AgentBatch
import AgentRead
import AgentSpool
import Logging
import Model
import Synchronization

/// The one way into the metrics spool: who numbers series for its dictionary must know of all of them.
///
/// Both the host's readers and the targets' scrapes come here; the spool's thread writes one after the other. What could
/// not be spooled is logged and gone: the next scrape comes in an interval.
final class MetricsSpooler: Sendable {
    private let spool: Spool
    private let thread: DedicatedThread
    private let writer = Mutex(MetricsBatchWriter())
    private let logger: Logger

    init(spool: Spool, thread: DedicatedThread, logger: Logger) {
        self.spool = spool
        self.thread = thread
        self.logger = logger
    }

    /// Durable when it returns, unless the disk refuses.
    func write(_ scrape: MetricScrape) async {
        let source = scrape.targetLabels["job"]
        await write(source) { writer, spool throws(BatchError) in
            try writer.write(scrape, to: spool)
        }
    }

    /// As above.
    func write(_ scrape: TargetScrape) async {
        await write(scrape.name) { writer, spool throws(BatchError) in
            try writer.write(scrape, to: spool)
        }
    }

    private func write(
        _ source: String,
        _ work:
            @escaping @Sendable (inout MetricsBatchWriter, Spool) throws(BatchError) ->
            WrittenBatch
    ) async {
        await thread.run { [self] in
            do throws(BatchError) {
                let written = try writer.withLock { writer throws(BatchError) in
                    try work(&writer, spool)
                }
                if written.refused > 0 {
                    logger.warning(
                        "samples of a scrape can't be sent",
                        metadata: [
                            "stream": "metrics", "source": "\(source)",
                            "count": "\(written.refused)",
                        ])
                }
            } catch {
                logger.error(
                    "a scrape could not be spooled",
                    metadata: [
                        "stream": "metrics", "source": "\(source)", "error": "\(error)",
                    ])
            }
            spool.flush()
        }
    }
}
