import AgentBatch
import AgentRead
import AgentScrape
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
    private let memory: TargetMemory
    private let logger: Logger

    /// `memory` is for the series of the host's readers.
    init(spool: Spool, thread: DedicatedThread, memory: TargetMemory, logger: Logger) {
        self.spool = spool
        self.thread = thread
        self.memory = memory
        self.logger = logger
    }

    /// All that the host's readers gave at one time, by job: what was there before and is not now ends. Durable when it
    /// returns, unless the disk refuses.
    func write(_ scrapes: [MetricScrape]) async {
        await write("host") { writer, spool throws(BatchError) in
            try writer.write(scrapes, to: spool)
        }
    }

    /// What the host's readers had when the agent stopped ends with their first scrape where that does not bring it.
    func recall() async {
        await thread.run { [self] in
            let series = memory.takeHost()
            writer.withLock { $0.inherit(series) }
        }
    }

    /// Writes down what the host's readers have, for the next start.
    func remember() async {
        await thread.run { [self] in memory.rememberHost(writer.withLock { $0.hostSeries }) }
    }

    /// As the scrape of the host's readers.
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
