import Exposition
package import Logging
package import Model
import ServiceLifecycle
import Synchronization
package import World

/// Scrapes every target on a grid of its own, each in a task of its own: none waits for another.
///
/// Samples get the grid's time and not that of the answer, so that the series of a target align. A grid time that comes
/// while the scrape before is under way is skipped and counted. Answers are read on the thread behind `compute`, one at a
/// time; it says false where it can't take work, and the scrape is skipped. Without targets the service ends what earlier
/// ones had and returns.
package final class TargetScrapeService: Service {
    private let targets: [ScrapeTarget]
    private let client: ScrapeClient
    private let budget: SeriesBudget
    private let figures: ScrapeFigures
    private let memory: TargetMemory
    private let compute: @Sendable (@escaping @Sendable () -> Void) -> Bool
    private let deliver: @Sendable (TargetScrape) async -> Void
    private let clock: any WorldClock
    private let logger: Logger

    package init(
        targets: [ScrapeTarget], client: ScrapeClient, budget: SeriesBudget,
        figures: ScrapeFigures, memory: TargetMemory, clock: any WorldClock, logger: Logger,
        compute: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool,
        deliver: @escaping @Sendable (TargetScrape) async -> Void
    ) {
        self.targets = targets
        self.client = client
        self.budget = budget
        self.figures = figures
        self.memory = memory
        self.clock = clock
        self.logger = logger
        self.compute = compute
        self.deliver = deliver
    }

    package func run() async throws {
        let lives = targets.map { Life($0, budget) }
        await cancelWhenGracefulShutdown {
            await self.endRemoved()
            await withTaskGroup(of: Void.self) { group in
                for life in lives { group.addTask { await self.scrapeOnGrid(life) } }
            }
        }
        let memory = memory
        _ = await computed {
            for life in lives {
                memory.remember(life.target, life.machine.withLock { $0.liveSeries })
            }
        }
    }

    /// Ends what targets had that are gone since the agent stopped.
    private func endRemoved() async {
        let (memory, targets, time) = (memory, targets, clock.now.milliseconds)
        let ends = await computed { memory.takeRemoved(targets, at: time) } ?? []
        for end in ends { await deliver(end) }
    }

    /// A target's machine, in one place for the tasks and the thread that work on it in turn.
    private final class Life: Sendable {
        let target: ScrapeTarget
        let machine: Mutex<TargetStateMachine>
        init(_ target: ScrapeTarget, _ budget: SeriesBudget) {
            self.target = target
            machine = Mutex(TargetStateMachine(target, budget: budget))
        }
    }

    /// What `work` gives on the thread behind `compute`; nil where that takes none.
    private func computed<Result: Sendable>(
        _ work: @escaping @Sendable () -> Result
    ) async -> Result? {
        await withCheckedContinuation { continuation in
            let isTaken = compute { continuation.resume(returning: work()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    private func scrapeOnGrid(_ life: Life) async {
        let target = life.target
        var last = clock.now.milliseconds
        var next = target.next(after: last)
        while !Task.isCancelled {
            let wait = next.rawValue - clock.now.milliseconds.rawValue
            // A clock set back must not stop the target for as long.
            guard wait <= 2 * target.intervalMilliseconds else {
                next = target.next(after: clock.now.milliseconds)
                continue
            }
            do { try await clock.sleep(nanoseconds: max(0, wait) * 1_000_000) } catch { return }
            // The two clocks may differ by a little: a time that has not come is waited for again.
            guard clock.now.milliseconds >= next else { continue }
            // What the collector has of a time it does not get again.
            if next > last || next.rawValue < last.rawValue - 10 * target.intervalMilliseconds {
                last = next
                await scrape(life, at: next)
            }
            let after = target.next(after: max(clock.now.milliseconds, next))
            let skipped = (after.rawValue - next.rawValue) / target.intervalMilliseconds - 1
            if skipped > 0 { figures.noteSkipped(target.number, skipped) }
            next = after
        }
    }

    private func scrape(_ life: Life, at time: TimestampMS) async {
        let target = life.target
        let started = clock.monotonicNanoseconds
        let body: Result<ScrapedBody, ScrapeFailure>
        do throws(ScrapeFailure) {
            body = .success(try await client.fetch(target))
        } catch { body = .failure(error) }
        // A stop is no fault of the target's.
        guard !Task.isCancelled else { return }
        let clock = clock
        let outcome = await computed {
            let text = Self.read(body, target.job)
            return life.machine.withLock {
                $0.absorb(text, at: time) { Double(clock.monotonicNanoseconds - started) / 1e9 }
            }
        }
        guard let outcome else {
            figures.noteSkipped(target.number, 1)
            return
        }
        figures.note(target.number, outcome)
        say(outcome.notice, target)
        await deliver(outcome.scrape)
    }

    private static func read(
        _ body: Result<ScrapedBody, ScrapeFailure>, _ job: ScrapeJob
    ) -> Result<ScrapedText, ScrapeFailure> {
        switch body {
        case .failure(let failure): return .failure(failure)
        case .success(let body):
            do throws(ScrapeFailure) {
                return .success(try ScrapeFormats.read(body, job))
            } catch { return .failure(error) }
        }
    }

    private func say(_ notice: TargetStateMachine.Notice?, _ target: ScrapeTarget) {
        let metadata: Logger.Metadata = [
            "scrape_job": "\(target.job.name)", "target": "\(target.address)",
        ]
        switch notice {
        case .isDown(let failure):
            logger.warning(
                "a target can't be scraped",
                metadata: metadata.merging(["error": "\(failure)"]) { first, _ in first })
        case .isUp: logger.notice("a target is scraped again", metadata: metadata)
        case nil: break
        }
    }
}
