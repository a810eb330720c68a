package import Model
import Synchronization

/// What seals have done since the start.
struct SealCounts: Hashable, Sendable {
    var seals = 0
    var failures = 0
    var chunks = 0
    var samples = 0
    var bytes = 0
}

extension CollectorStore {
    /// The store's own metrics.
    package func metricFamilies() -> [MetricFamily] {
        let counts = metrics.progress.withLock { $0.counts }
        let cache = metrics.cache.counts
        return [
            .single(
                "petrel_store_series", .gauge, catalogue.series.withLock { $0.index.count },
                "Series that the store knows."),
            .single(
                "petrel_store_head_samples", .gauge, metrics.head.sampleCount,
                "Samples in memory that are not sealed yet."),
            .single(
                "petrel_store_doubtful_calls", .gauge, metrics.numbers.doubtful.count,
                "Store calls whose commit was not answered and is not looked up yet."),
            .single("petrel_store_seals_total", .counter, counts.seals, "Seals committed."),
            .single(
                "petrel_store_seals_failed_total", .counter, counts.failures,
                "Seals that failed and are tried again."),
            .single(
                "petrel_store_sealed_chunks_total", .counter, counts.chunks,
                "Chunks that seals wrote."),
            .single(
                "petrel_store_sealed_samples_total", .counter, counts.samples,
                "Samples in chunks that seals wrote."),
            .single(
                "petrel_store_sealed_bytes_total", .counter, counts.bytes,
                "Bytes of chunks that seals wrote."),
            .single(
                "petrel_store_chunk_cache_hits_total", .counter, cache.hits,
                "Windows of sealed samples that queries found in memory."),
            .single(
                "petrel_store_chunk_cache_misses_total", .counter, cache.misses,
                "Windows of sealed samples that were read from the database."),
            .single(
                "petrel_store_chunk_cache_bytes", .gauge, cache.byteCount,
                "Bytes of sealed samples in memory."),
        ] + seriesFamilies() + exemplarFamilies() + retentionFamilies() + logFamilies()
    }
}

extension MetricFamily {
    /// A family of one sample without labels.
    static func single(
        _ name: String, _ type: MetricType, _ value: some BinaryInteger, _ help: String
    ) -> MetricFamily { single(name, type, Double(value), help) }

    static func single(
        _ name: String, _ type: MetricType, _ value: Double, _ help: String
    ) -> MetricFamily {
        MetricFamily(name, type, help: help, points: [MetricFamily.Point([:], value)])
    }
}
