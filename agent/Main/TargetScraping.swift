import AgentRead
import AgentScrape
import Logging
import NIOPosix
import Synchronization
import World
import WorldLive

/// The scraping of targets, put together.
struct TargetScraping {
    let service: TargetScrapeService
    let figures: ScrapeFigures

    init(
        _ caddy: CaddyScraping, memory: TargetMemory, spooler: MetricsSpooler,
        eventLoops: MultiThreadedEventLoopGroup, clock: any WorldClock, logger: Logger
    ) throws {
        let series = SeriesBudget()
        let bodies = ByteBudget()
        let targets = caddy.targets
        figures = ScrapeFigures(targets, series: series, bodies: bodies)
        // A thread for each piece: one that hangs keeps its own alone, at most one a target.
        let offload: @Sendable (@escaping @Sendable () -> Void) -> Bool = { work in
            guard let thread = try? DedicatedThread() else { return false }
            thread.submit(work)
            return true
        }
        let client = ScrapeClient(
            group: eventLoops, files: LiveFileTree(), version: PetrelAgent.version, budget: bodies,
            offload: offload)
        let (figures, reading) = (figures, ReadingThread())
        service = TargetScrapeService(
            targets: targets, client: client, budget: series, figures: figures,
            memory: memory, clock: clock, logger: logger,
            compute: { work in
                figures.targetCount > 0 ? reading.submit(work) : offload(work)
            }, deliver: { await spooler.write($0) })
        caddy.attach(service, figures)
    }
}

/// Reads answers, one at a time; the thread is there from the first one on, so that where nothing is scraped there is none.
private final class ReadingThread: Sendable {
    private let thread = Mutex<DedicatedThread?>(nil)

    /// False where the host refuses a thread.
    func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
        thread.withLock { thread in
            if thread == nil { thread = try? DedicatedThread() }
            thread?.submit(work)
            return thread != nil
        }
    }
}
