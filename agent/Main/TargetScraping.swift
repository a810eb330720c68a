import AgentRead
import AgentScrape
import Logging
import NIOPosix
import World
import WorldLive

/// The scraping of targets, put together.
struct TargetScraping {
    let service: TargetScrapeService
    let figures: ScrapeFigures

    init(
        _ targets: [ScrapeTarget], folder: String, spooler: MetricsSpooler,
        eventLoops: MultiThreadedEventLoopGroup, clock: any WorldClock, logger: Logger
    ) throws {
        let series = SeriesBudget()
        let bodies = ByteBudget()
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
        // Reading answers is work of one thread; where nothing is scraped none stays.
        let reading = targets.isEmpty ? nil : try DedicatedThread()
        service = TargetScrapeService(
            targets: targets, client: client, budget: series, figures: figures,
            memory: TargetMemory(tree: LiveFileTree(), folder: folder), clock: clock,
            logger: logger,
            compute: { work in
                guard let reading else { return offload(work) }
                reading.submit(work)
                return true
            }, deliver: { await spooler.write($0) })
    }
}
