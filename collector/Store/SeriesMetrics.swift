import Model
import Storage
import Synchronization

extension CollectorStore {
    /// What there is of series, and what the limits refuse.
    func seriesFamilies() -> [MetricFamily] {
        let (removed, expired, unknown) = metrics.progress.withLock {
            ($0.removedSeries, $0.expiredSamples, $0.unknownSamples)
        }
        let totals = refusals.withLock { $0.totals }
        return [
            MetricFamily(
                "petrel_store_active_series", .gauge,
                help: "Series that had a sample in the last hours; these count for the limits.",
                points: [.init(.empty, Double(seriesLimitStatus().activeCount))]),
            MetricFamily(
                "petrel_store_removed_series_total", .counter,
                help: "Series that were removed because no sample of theirs was left.",
                points: [.init(.empty, Double(removed))]),
            MetricFamily(
                "petrel_store_expired_samples_total", .counter,
                help: "Samples whose day was dropped while they waited to be sealed.",
                points: [.init(.empty, Double(expired))]),
            MetricFamily(
                "petrel_store_unknown_series_samples_total", .counter,
                help:
                    "Samples of the log that were left out because petrel.series lacks their series.",
                points: [.init(.empty, Double(unknown))]),
            MetricFamily(
                "petrel_series_refused_total", .counter,
                help: "New series refused by a limit; one that is sent again counts again.",
                points: SeriesRefusal.Scope.allCases.map { scope in
                    .init(["scope": scope.rawValue], Double(totals[scope] ?? 0))
                }),
        ] + refusalFamilies()
    }

    /// What the retention dropped, and what there is.
    func retentionFamilies() -> [MetricFamily] {
        let counts = retention.withLock { $0 }
        func dropped(
            _ name: String, _ help: String, _ value: (RetentionCounts.Key) -> Double
        ) -> MetricFamily {
            MetricFamily(
                name, .counter, help: help,
                points: ["chunk", "exemplar", "log_block"].flatMap { relation in
                    DropReason.allCases.map { reason in
                        let key = RetentionCounts.Key(relation: relation, reason: reason)
                        return MetricFamily.Point(
                            ["relation": relation, "reason": reason.rawValue], value(key))
                    }
                })
        }
        return [
            dropped(
                "petrel_retention_dropped_partitions_total",
                "Days that the retention dropped, for their age or for space."
            ) { Double(counts.partitions[$0] ?? 0) },
            dropped(
                "petrel_retention_dropped_records_total",
                "Samples and log entries that went with them."
            ) { Double(counts.records[$0] ?? 0) },
            MetricFamily(
                "petrel_retention_postponed_partitions", .gauge,
                help:
                    "Partitions that the last round of retention left: a reader holds them, or they could not be dropped.",
                points: [.init(.empty, Double(counts.postponed))]),
            MetricFamily(
                "petrel_store_size_bytes", .gauge,
                help: "Bytes on disk of what the retention bounds, as of its last round.",
                points: counts.bytes.sorted { $0.key < $1.key }.map {
                    .init(["relation": $0.key], Double($0.value))
                }),
        ]
    }
}
