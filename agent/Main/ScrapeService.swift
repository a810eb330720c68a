import AgentRead
import Model
import ServiceLifecycle
import Startup
import Synchronization
import World

/// Reads every node reader on the grid and hands the scrape to the metrics spool.
///
/// Timestamps are multiples of the interval, so that the series of all hosts align. A scrape that lasts longer than the
/// interval is followed by the next one at once; grid points that passed altogether are counted. One that could not be
/// spooled is logged and gone: the next one comes in an interval. A stop ends no series: what the first scrape after it
/// does not bring ends then.
final class ScrapeService: Service {
    private let readers: NodeReaderSet
    private let otherFamilies: @Sendable () -> [MetricFamily]
    private let spooler: MetricsSpooler
    private let intervalMilliseconds: Int64
    private let instance: String
    private let mark: ProgressMark
    private let clock: any WorldClock
    private let last = Mutex<[AgentStatus.Reader]?>(nil)
    private let missed = Mutex<Int64>(0)

    init(
        readers: NodeReaderSet, ownFamilies: @escaping @Sendable () -> [MetricFamily],
        spooler: MetricsSpooler, intervalMilliseconds: Int64, instance: String,
        mark: ProgressMark, clock: any WorldClock
    ) {
        self.readers = readers
        otherFamilies = ownFamilies
        self.spooler = spooler
        self.intervalMilliseconds = intervalMilliseconds
        self.instance = instance
        self.mark = mark
        self.clock = clock
    }

    /// How each reader fared on the last grid point; nil before the first.
    func lastReading() -> [AgentStatus.Reader]? { last.withLock { $0 } }

    /// What the agent says of itself: what it was told to say, and how it keeps to the grid.
    func ownFamilies() -> [MetricFamily] {
        otherFamilies() + [
            MetricFamily(
                "petrel_agent_scrapes_missed_total", .counter,
                help: "Times of the grid at which the host's readers were not read.",
                points: [.init(.empty, Double(missed.withLock { $0 }))])
        ]
    }

    func run() async throws {
        await spooler.recall()
        await cancelWhenGracefulShutdown { await self.scrapeOnGrid() }
        await spooler.remember()
    }

    private func scrapeOnGrid() async {
        var grid = ScrapeGrid(
            intervalMilliseconds: intervalMilliseconds, startedAt: clock.now.milliseconds)
        while !Task.isCancelled {
            let now = clock.now
            switch grid.step(at: now.milliseconds) {
            case .wait(let milliseconds):
                do { try await clock.sleep(nanoseconds: milliseconds * 1_000_000) } catch { return }
            case .scrape(let tick, let missed):
                if missed > 0 { self.missed.withLock { $0 += missed } }
                await scrape(tick: tick, now: now)
            }
            mark.advance()
        }
    }

    private func scrape(tick: TimestampMS, now: TimestampNS) async {
        let outcomes = await readers.outcomes(now: now)
        guard !Task.isCancelled else { return }
        let reading = outcomes.map { outcome in
            AgentStatus.Reader(
                outcome.reader, samples: outcome.families.reduce(0) { $0 + $1.points.count },
                durationNanoseconds: outcome.durationNanoseconds,
                error: outcome.error.map { "\($0)" }, problems: outcome.problems)
        }
        last.withLock { $0 = reading }
        var jobs = NodeReaderSet.families(of: outcomes)
        jobs[0].families += ownFamilies()
        await spooler.write(
            jobs.map { job, families in
                MetricScrape(
                    timestamp: tick, targetLabels: ["job": job, "instance": instance],
                    families: families)
            })
    }
}
