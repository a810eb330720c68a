import Logging
package import Model
import ServiceLifecycle
package import Storage
import Synchronization
import World

// A limit that refuses new series says so four times: in the log, in /metrics, in status/tsdb, and as series of the
// collector's own that the built-in rule SeriesLimitReached watches.

extension CollectorStore {
    /// The limits in force.
    var seriesMaxima: SeriesBudget.Maxima {
        SeriesBudget.Maxima(
            total: configuration.seriesMax, host: configuration.seriesPerHostMax,
            metric: configuration.seriesPerMetricMax)
    }

    /// How many series there are, and what was refused within the last ten minutes.
    package func seriesLimitStatus() -> SeriesLimitStatus {
        let (active, known) = catalogue.series.withLock { state in
            state.countWhereDue(hour(clock.now))
            return (state.budget.active.total, state.index.count)
        }
        let maxima = seriesMaxima
        return SeriesLimitStatus(
            activeCount: active, knownCount: known,
            maxima: Dictionary(
                uniqueKeysWithValues: SeriesRefusal.Scope.allCases.map { ($0, maxima[$0]) }),
            refusals: refusals.withLock {
                $0.snapshot(maxima, now: clock.now.milliseconds.rawValue)
            }
        )
    }

    /// Notes refused series; where it is due, finds out what grew and logs it.
    func note(_ tally: SeriesRefusals.Tally, host: String) {
        guard !tally.isEmpty else { return }
        let now = clock.now.milliseconds.rawValue
        let due = refusals.withLock { $0.note(tally, host: host, now: now) }
        guard !due.isEmpty else { return }
        for key in due {
            let refused = refusals.withLock { $0.refusedByMetric(key) }
            let largest = catalogue.series.withLock { $0.largest(key, refused: refused) }
            let diagnosis =
                largest.metric.map { SeriesRefusals.Diagnosis(metric: $0.text, largest.sets) }
                ?? SeriesRefusals.Diagnosis(
                    label: Labels.metricNameLabel, labelValueCount: largest.metricCount)
            refusals.withLock { $0.set(diagnosis, of: key) }
            logger.warning(
                "new series are refused: a limit is reached",
                metadata: [
                    "limit": "\(key.scope.limit)", "maximum": "\(seriesMaxima[key.scope])",
                    "metric": "\(diagnosis.metric)", "label": "\(diagnosis.label)",
                    "label_values": "\(diagnosis.labelValueCount)", "host": "\(host)",
                    "refused": "\(refused.values.reduce(0, +))",
                ])
        }
    }

    /// Families of what was refused, for /metrics and for the rule.
    func refusalFamilies() -> [MetricFamily] {
        let found = refusals.withLock {
            $0.snapshot(seriesMaxima, now: clock.now.milliseconds.rawValue)
        }
        func family(
            _ name: String, _ help: String, _ value: (SeriesRefusal) -> Double
        ) -> MetricFamily {
            var points: [Labels: Double] = [:]
            // Two hosts whose metric grew are two entries; without hosts they might be one.
            for refusal in found {
                points[refusal.labels] = max(points[refusal.labels] ?? 0, value(refusal))
            }
            return MetricFamily(
                name, .gauge, help: help,
                points: points.sorted { $0.key < $1.key }.map { .init($0.key, $0.value) })
        }
        return [
            family(
                "petrel_series_refused_top",
                "New series refused since a limit was reached, by what grew; gone ten minutes after "
                    + "the last.", { Double($0.refusedCount) }),
            family(
                "petrel_series_refused_label_values",
                "Distinct values of the label that grew, where new series are refused.",
                { Double($0.labelValueCount) }),
        ]
    }
}

extension SeriesRefusal {
    /// The labels of what is told of it.
    var labels: Labels {
        Labels.empty.setting("scope", scope.rawValue).setting("metric", metric)
            .setting("label", label).setting("host", host)
    }
}

/// Stores what the limits refuse as series, so that rules see it, until shutdown.
package struct SeriesLimitReporter: Service {
    static let pauseNanoseconds: Int64 = 15_000_000_000
    private let store: CollectorStore

    package init(store: CollectorStore) { self.store = store }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var told: Set<Labels> = []
            var isFailing = false
            while !Task.isCancelled {
                do throws(StorageError) {
                    told = try await store.tellRefusals(after: told)
                    isFailing = false
                } catch {
                    if Task.isCancelled { return }
                    if !isFailing {
                        store.logger.warning(
                            "what the series limits refuse could not be stored",
                            metadata: ["error": "\(error)"])
                    }
                    isFailing = true
                }
                do { try await store.clock.sleep(nanoseconds: Self.pauseNanoseconds) } catch {
                    return
                }
            }
        }
    }
}

extension CollectorStore {
    /// Stores the gauges of `refusalFamilies` as of now, and staleness markers for those of `told` that ended. The label
    /// sets that were told.
    package func tellRefusals(after told: Set<Labels>) async throws(StorageError) -> Set<Labels> {
        var samples: [(SeriesDefinition, Sample)] = []
        var now: Set<Labels> = []
        let at = clock.now.milliseconds
        for family in refusalFamilies() {
            for point in family.points {
                let labels = point.labels.setting(Labels.metricNameLabel, family.name)
                    .setting("job", "petrel-collector")
                now.insert(labels)
                samples.append(
                    (
                        SeriesDefinition(labels: labels, metadata: family.metadata),
                        Sample(at, point.value)
                    ))
            }
        }
        for labels in told.subtracting(now).sorted() {
            samples.append(
                (
                    SeriesDefinition(labels: labels, metadata: MetricMetadata(type: .gauge)),
                    Sample(at, StalenessMarker.value)
                ))
        }
        if !samples.isEmpty { try await storeOwn(samples) }
        return now
    }
}
