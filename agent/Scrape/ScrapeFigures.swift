package import Model
import Synchronization

/// What became of a target's last scrape.
package struct LastScrape: Hashable, Sendable {
    /// On the target's grid.
    package var at: TimestampMS
    /// Nil where it succeeded.
    package var error: String?
}

/// What the agent tells of its scraping, beside what each target's own series tell.
package final class ScrapeFigures: Sendable {
    private struct TargetFigures: Sendable {
        var failures: [String: UInt64] = [:]
        var dropped: [String: UInt64] = [:]
        var exemplars: UInt64 = 0
        var droppedExemplars: [String: UInt64] = [:]
        var skipped: UInt64 = 0
    }

    /// What tells figures apart: many targets may be one exporter's, which asks others on their behalf.
    private struct Place: Hashable, Sendable {
        var job: String
        var address: String

        init(_ target: ScrapeTarget) {
            job = target.job.name
            address = target.address
        }
    }

    private struct State: Sendable {
        var targets: [ScrapeTarget]
        /// What became of the last scrape of each, by key.
        var last: [String: LastScrape] = [:]
        /// Those of a target that is scraped in another way go on, and one that is gone takes nothing from what was
        /// counted of its place while others are there.
        var figures: [Place: TargetFigures] = [:]
    }

    private let budget: SeriesBudget
    private let bodies: ByteBudget
    private let state: Mutex<State>

    package init(_ targets: [ScrapeTarget], series: SeriesBudget, bodies: ByteBudget) {
        budget = series
        self.bodies = bodies
        state = Mutex(State(targets: targets))
    }

    /// Targets that are scraped.
    package var targetCount: Int { state.withLock { $0.targets.count } }

    /// These are scraped from now on; what was told of other places is forgotten.
    func change(to targets: [ScrapeTarget]) {
        let places = Set(targets.map(Place.init))
        state.withLock { state in
            state.targets = targets
            state.figures = state.figures.filter { places.contains($0.key) }
            let keys = Set(targets.map(\.key))
            state.last = state.last.filter { keys.contains($0.key) }
        }
    }

    /// Every target and what became of its last scrape, nil where none has ended; in the order of the configuration.
    package func lastScrapes() -> [(target: ScrapeTarget, last: LastScrape?)] {
        state.withLock { state in state.targets.map { ($0, state.last[$0.key]) } }
    }

    func note(
        _ target: ScrapeTarget, _ outcome: TargetStateMachine.Outcome, at time: TimestampMS
    ) {
        let last = LastScrape(at: time, error: outcome.failure.map { "\($0)" })
        let key = target.key
        // That of a target which is gone meanwhile stays until the next change.
        state.withLock { $0.last[key] = last }
        change(target) { figures in
            if let failure = outcome.failure {
                figures.failures[failure.reason, default: 0] += 1
            }
            for (reason, count) in [
                ("duplicate", outcome.duplicates), ("out_of_bounds", outcome.outOfBounds),
                ("unsendable", outcome.unsendable),
            ] where count > 0 {
                figures.dropped[reason, default: 0] += UInt64(count)
            }
            figures.exemplars += UInt64(outcome.scrape.exemplars.count)
            for (reason, count) in [
                ("labels", outcome.badExemplars), ("limit", outcome.excessExemplars),
            ] where count > 0 {
                figures.droppedExemplars[reason, default: 0] += UInt64(count)
            }
        }
    }

    func noteSkipped(_ target: ScrapeTarget, _ count: Int64) {
        change(target) { $0.skipped += UInt64(count) }
    }

    private func change(_ target: ScrapeTarget, _ body: (inout TargetFigures) -> Void) {
        state.withLock { body(&$0.figures[Place(target), default: TargetFigures()]) }
    }

    /// Empty where nothing is scraped. Targets of one job at one address are counted together.
    package func families() -> [MetricFamily] {
        let state = state.withLock { $0 }
        let targets = state.targets
        guard !targets.isEmpty else { return [] }
        var seen: Set<Place> = []
        let sums = targets.map(Place.init).filter { seen.insert($0).inserted }
            .map { (place: $0, figures: state.figures[$0] ?? TargetFigures()) }
        func labels(_ place: Place, _ reason: String? = nil) -> Labels {
            var labels = ["scrape_job": place.job, "target": place.address]
            if let reason { labels["reason"] = reason }
            return Labels(labels)
        }
        func points(
            _ counts: (TargetFigures) -> [String: UInt64]
        ) -> [MetricFamily.Point] {
            sums.flatMap { place, figures in
                counts(figures).sorted { $0.key < $1.key }.map {
                    MetricFamily.Point(labels(place, $0.key), Double($0.value))
                }
            }
        }
        return [
            MetricFamily(
                "petrel_agent_scrape_targets", .gauge, help: "Targets that are scraped.",
                points: [.init(.empty, Double(targets.count))]),
            MetricFamily(
                "petrel_agent_scrape_series", .gauge,
                help: "Series of all targets that are remembered, dropped ones among them.",
                points: [.init(.empty, Double(budget.count))]),
            MetricFamily(
                "petrel_agent_scrape_series_max", .gauge,
                help: "The most series that all targets together may have.",
                points: [.init(.empty, Double(budget.max))]),
            MetricFamily(
                "petrel_agent_scrape_body_bytes", .gauge,
                help: "Bytes of answers that are under way.",
                points: [.init(.empty, Double(bodies.count))]),
            MetricFamily(
                "petrel_agent_scrape_failures_total", .counter,
                help: "Scrapes that failed, by reason.", points: points(\.failures)),
            MetricFamily(
                "petrel_agent_scrape_samples_dropped_total", .counter,
                help: "Samples of scrapes that were left out, by reason.",
                points: points(\.dropped)),
            MetricFamily(
                "petrel_agent_scrape_exemplars_total", .counter,
                help: "Exemplars that were taken from scrapes.",
                points: sums.map { place, figures in
                    MetricFamily.Point(labels(place), Double(figures.exemplars))
                }),
            MetricFamily(
                "petrel_agent_scrape_exemplars_dropped_total", .counter,
                help: "Exemplars of scrapes that were left out, by reason.",
                points: points(\.droppedExemplars)),
            MetricFamily(
                "petrel_agent_scrape_skipped_total", .counter,
                help: "Times of a target's grid at which nothing was scraped.",
                points: sums.map { place, figures in
                    MetricFamily.Point(labels(place), Double(figures.skipped))
                }),
        ]
    }
}
