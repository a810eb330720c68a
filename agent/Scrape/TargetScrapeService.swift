import Exposition
package import Logging
package import Model
import ServiceLifecycle
import Synchronization
package import World

/// Scrapes every target on a grid of its own, each in a task of its own: none waits for another.
///
/// Samples get the grid's time and not that of the answer, so that the series of a target align. A grid time that comes
/// while the scrape before is under way is scraped when that ends; of several the newest is, and the others are skipped and
/// counted (`ScrapeGrid`). Answers are read on the thread behind `compute`, one at a time; it says false where it can't take
/// work, and the scrape is skipped.
///
/// Targets may change while it runs. One that is scraped as before goes on untouched. One that goes ends with staleness
/// markers. Of one that is scraped in another way the scrape under way is given up, and what the next one does not bring
/// ends then: what it brings goes on without a hole.
package final class TargetScrapeService: Service {
    private let initial: [ScrapeTarget]
    private let client: ScrapeClient
    private let budget: SeriesBudget
    private let figures: ScrapeFigures
    private let memory: TargetMemory
    private let compute: @Sendable (@escaping @Sendable () -> Void) -> Bool
    private let deliver: @Sendable (TargetScrape) async -> Void
    private let clock: any WorldClock
    private let logger: Logger
    /// The newest counts.
    private let changes = AsyncStream.makeStream(
        of: [ScrapeTarget].self, bufferingPolicy: .bufferingNewest(1))
    private let roster = Mutex(Roster())

    package init(
        targets: [ScrapeTarget], client: ScrapeClient, budget: SeriesBudget,
        figures: ScrapeFigures, memory: TargetMemory, clock: any WorldClock, logger: Logger,
        compute: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool,
        deliver: @escaping @Sendable (TargetScrape) async -> Void
    ) {
        initial = targets
        self.client = client
        self.budget = budget
        self.figures = figures
        self.memory = memory
        self.clock = clock
        self.logger = logger
        self.compute = compute
        self.deliver = deliver
    }

    /// These are scraped from now on, and no others.
    package func change(to targets: [ScrapeTarget]) { changes.continuation.yield(targets) }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            let had = await self.recall()
            await withDiscardingTaskGroup { group in
                for post in self.take(self.initial, inheriting: had) {
                    group.addTask { await self.work(post) }
                }
                for await targets in self.changes.stream {
                    for post in self.take(targets) { group.addTask { await self.work(post) } }
                }
            }
        }
        let memory = memory
        let lives = roster.withLock { $0.posts.values.map { $0.life.withLock { $0 } } }
        _ = await computed {
            for life in lives { memory.remember(life.target, life.liveSeries) }
        }
    }

    /// Ends what targets had that are gone since the agent stopped. What the others had then, by their keys.
    private func recall() async -> [String: [TargetSeries]] {
        let (memory, targets, time) = (memory, initial, clock.now.milliseconds)
        guard let found = await computed({ memory.take(targets, at: time) }) else { return [:] }
        for end in found.ends { await deliver(end) }
        return found.had
    }

    // MARK: - Who is scraped

    private enum Order: Sendable {
        case remove
        case replace(ScrapeTarget)
    }

    /// Where a target is scraped, as long as there is one of its key.
    private final class Post: Sendable {
        let life: Mutex<Life>
        /// The newest counts.
        let orders = AsyncStream.makeStream(
            of: Order.self, bufferingPolicy: .bufferingNewest(1))
        init(_ life: Life) { self.life = Mutex(life) }
    }

    private struct Roster: Sendable {
        var posts: [String: Post] = [:]
        /// As they were told last.
        var targets: [String: ScrapeTarget] = [:]
        var nextNumber = 0

        mutating func numbered(_ target: ScrapeTarget) -> ScrapeTarget {
            var target = target
            target.number = nextNumber
            nextNumber += 1
            return target
        }
    }

    /// Lets the posts know, and gives those that are new and have nobody to work on them; `had` is what their targets had
    /// before the agent started, by key.
    private func take(
        _ targets: [ScrapeTarget], inheriting had: [String: [TargetSeries]] = [:]
    ) -> [Post] {
        let byKey = Dictionary(
            targets.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let started = roster.withLock { roster in
            for (key, post) in roster.posts where byKey[key] == nil {
                post.orders.continuation.yield(.remove)
                roster.posts[key] = nil
            }
            var started: [Post] = []
            for target in targets {
                let key = target.key
                guard let post = roster.posts[key] else {
                    let post = Post(
                        Life(roster.numbered(target), budget, inherited: had[key] ?? []))
                    roster.posts[key] = post
                    started.append(post)
                    continue
                }
                guard roster.targets[key]?.isScraped(as: target) != true else { continue }
                post.orders.continuation.yield(.replace(roster.numbered(target)))
            }
            roster.targets = byKey
            return started
        }
        figures.change(to: targets)
        return started
    }

    /// Scrapes a post's target until it is removed, or the service stops.
    private func work(_ post: Post) async {
        while true {
            let life = post.life.withLock { $0 }
            let order = await withTaskGroup(of: Order?.self, returning: Order?.self) { group in
                group.addTask {
                    await self.scrapeOnGrid(life)
                    return nil
                }
                group.addTask {
                    for await order in post.orders.stream { return order }
                    return nil
                }
                let first = await group.next()
                group.cancelAll()
                return first ?? nil
            }
            guard let order else { return }
            let had = await computed { life.end() } ?? life.end()
            client.forget(life.target.number)
            switch order {
            case .remove:
                return await deliver(end(of: had, life, at: clock.now.milliseconds, isLast: true))
            case .replace(let target):
                await deliver(end(of: [], life, at: clock.now.milliseconds, isLast: true))
                let next = Life(target, budget, inherited: had)
                post.life.withLock { $0 = next }
            }
        }
    }

    private func end(
        of series: [TargetSeries], _ life: Life, at time: TimestampMS, isLast: Bool
    ) -> TargetScrape {
        .end(
            of: series, target: life.target.number, name: life.target.name, at: time,
            isLast: isLast)
    }

    // MARK: - Scraping

    /// A target's machine, in one place for the tasks and the thread that work on it in turn.
    private final class Life: Sendable {
        private struct State: Sendable {
            var machine: TargetStateMachine
            /// What the target had when it was scraped in another way, or before the agent started; it ends where the first
            /// scrape does not bring it.
            var inherited: [TargetSeries]
        }

        let target: ScrapeTarget
        private let state: Mutex<State>

        init(_ target: ScrapeTarget, _ budget: SeriesBudget, inherited: [TargetSeries]) {
            self.target = target
            state = Mutex(
                State(
                    machine: TargetStateMachine(target, budget: budget), inherited: inherited))
        }

        /// What a scrape came to, and what ends beside it.
        func absorb(
            _ text: Result<ScrapedText, ScrapeFailure>, at time: TimestampMS,
            seconds: () -> Double
        ) -> (outcome: TargetStateMachine.Outcome, gone: [TargetSeries]) {
            state.withLock { state in
                let outcome = state.machine.absorb(text, at: time, seconds: seconds)
                guard !state.inherited.isEmpty else { return (outcome, []) }
                let live = Set(state.machine.liveSeries.map(\.labels))
                defer { state.inherited = [] }
                return (outcome, state.inherited.filter { !live.contains($0.labels) })
            }
        }

        /// What would have to end if the target were removed now.
        var liveSeries: [TargetSeries] {
            state.withLock { $0.machine.liveSeries + $0.inherited }
        }

        /// The same, for the last time.
        func end() -> [TargetSeries] {
            state.withLock { state in
                let live = state.machine.liveSeries
                state.machine.end()
                let labels = Set(live.map(\.labels))
                return live + state.inherited.filter { !labels.contains($0.labels) }
            }
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
        var grid = target.grid(from: clock.now.milliseconds)
        while !Task.isCancelled {
            switch grid.step(at: clock.now.milliseconds) {
            case .wait(let milliseconds):
                do { try await clock.sleep(nanoseconds: milliseconds * 1_000_000) } catch { return }
            case .scrape(let time, let missed):
                if missed > 0 { figures.noteSkipped(target, missed) }
                await scrape(life, at: time)
            }
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
            return life.absorb(text, at: time) {
                Double(clock.monotonicNanoseconds - started) / 1e9
            }
        }
        guard let (outcome, gone) = outcome else {
            figures.noteSkipped(target, 1)
            return
        }
        figures.note(target, outcome, at: time)
        say(outcome.notice, target)
        await deliver(outcome.scrape)
        if !gone.isEmpty { await deliver(end(of: gone, life, at: time, isLast: false)) }
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
