import AgentRead
import Model
import ServiceLifecycle
import Startup
import World

/// Reads every node reader on the grid and hands the scrape to the metrics spool.
///
/// Timestamps are multiples of the interval, so that the series of all hosts align. A scrape that could not be spooled is
/// counted and gone: the next one comes in an interval.
final class ScrapeService: Service {
    private let readers: NodeReaderSet
    private let ownFamilies: @Sendable () -> [MetricFamily]
    private let spooler: MetricsSpooler
    private let intervalMilliseconds: Int64
    private let instance: String
    private let mark: ProgressMark
    private let clock: any WorldClock

    init(
        readers: NodeReaderSet, ownFamilies: @escaping @Sendable () -> [MetricFamily],
        spooler: MetricsSpooler, intervalMilliseconds: Int64, instance: String,
        mark: ProgressMark, clock: any WorldClock
    ) {
        self.readers = readers
        self.ownFamilies = ownFamilies
        self.spooler = spooler
        self.intervalMilliseconds = intervalMilliseconds
        self.instance = instance
        self.mark = mark
        self.clock = clock
    }

    func run() async throws {
        await cancelWhenGracefulShutdown { await self.scrapeOnGrid() }
    }

    private func scrapeOnGrid() async {
        // The first scrape waits for its grid point: a sample must not claim a time before it was read.
        var last = clock.now.milliseconds.rawValue / intervalMilliseconds * intervalMilliseconds
        while !Task.isCancelled {
            let now = clock.now
            let tick = now.milliseconds.rawValue / intervalMilliseconds * intervalMilliseconds
            // A clock set back repeats no grid point: the collector has that one already.
            if tick > last || tick < last - 10 * intervalMilliseconds {
                last = tick
                await scrape(tick: TimestampMS(tick), now: now)
            }
            mark.advance()
            let wait = intervalMilliseconds - clock.now.milliseconds.rawValue % intervalMilliseconds
            do {
                try await clock.sleep(nanoseconds: max(1, wait) * 1_000_000)
            } catch { return }
        }
    }

    private func scrape(tick: TimestampMS, now: TimestampNS) async {
        var jobs = NodeReaderSet.families(of: await readers.outcomes(now: now))
        guard !Task.isCancelled else { return }
        jobs[0].families += ownFamilies()
        for (job, families) in jobs {
            await spooler.write(
                MetricScrape(
                    timestamp: tick, targetLabels: ["job": job, "instance": instance],
                    families: families))
        }
    }
}
