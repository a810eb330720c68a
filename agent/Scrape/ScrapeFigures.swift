package import Model
import Synchronization

/// What the agent tells of its scraping, beside what each target's own series tell.
package final class ScrapeFigures: Sendable {
    private struct TargetFigures: Sendable {
        var failures: [String: UInt64] = [:]
        var dropped: [String: UInt64] = [:]
        var exemplars: UInt64 = 0
        var droppedExemplars: [String: UInt64] = [:]
        var skipped: UInt64 = 0

        mutating func add(_ other: Self) {
            failures.merge(other.failures) { $0 + $1 }
            dropped.merge(other.dropped) { $0 + $1 }
            exemplars += other.exemplars
            droppedExemplars.merge(other.droppedExemplars) { $0 + $1 }
            skipped += other.skipped
        }
    }

    /// What tells figures apart.
    private struct Place: Hashable, Sendable {
        var job: String
        var address: String
    }

    private let targets: [ScrapeTarget]
    private let budget: SeriesBudget
    private let bodies: ByteBudget
    private let figures: Mutex<[TargetFigures]>

    package init(_ targets: [ScrapeTarget], series: SeriesBudget, bodies: ByteBudget) {
        self.targets = targets
        budget = series
        self.bodies = bodies
        figures = Mutex(Array(repeating: TargetFigures(), count: targets.count))
    }

    func note(_ target: Int, _ outcome: TargetStateMachine.Outcome) {
        figures.withLock { figures in
            if let failure = outcome.failure {
                figures[target].failures[failure.reason, default: 0] += 1
            }
            for (reason, count) in [
                ("duplicate", outcome.duplicates), ("out_of_bounds", outcome.outOfBounds),
                ("unsendable", outcome.unsendable),
            ] where count > 0 {
                figures[target].dropped[reason, default: 0] += UInt64(count)
            }
            figures[target].exemplars += UInt64(outcome.scrape.exemplars.count)
            for (reason, count) in [
                ("labels", outcome.badExemplars), ("limit", outcome.excessExemplars),
            ] where count > 0 {
                figures[target].droppedExemplars[reason, default: 0] += UInt64(count)
            }
        }
    }

    func noteSkipped(_ target: Int, _ count: Int64) {
        figures.withLock { $0[target].skipped += UInt64(count) }
    }

    /// By place, in the order of the targets: many targets may be one exporter's, which asks others on their behalf.
    private func summed() -> [(place: Place, figures: TargetFigures)] {
        var sums: [(place: Place, figures: TargetFigures)] = []
        var indexes: [Place: Int] = [:]
        for (target, figures) in zip(targets, figures.withLock { $0 }) {
            let place = Place(job: target.job.name, address: target.address)
            if let index = indexes[place] {
                sums[index].figures.add(figures)
            } else {
                indexes[place] = sums.count
                sums.append((place, figures))
            }
        }
        return sums
    }

    /// Empty where nothing is scraped. Targets of one job at one address are counted together.
    package func families() -> [MetricFamily] {
        guard !targets.isEmpty else { return [] }
        let sums = summed()
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
