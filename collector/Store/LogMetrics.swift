import Model
import Synchronization
import World

extension CollectorStore {
    /// What there is of log lines, and what seals do.
    func logFamilies() -> [MetricFamily] {
        let counts = logs.counts.withLock { $0 }
        let waiting = logs.waiting.values
        let oldest = waiting.map(\.oldest).min()
        func family(
            _ name: String, _ type: MetricType, _ value: Double, _ help: String
        ) -> MetricFamily {
            MetricFamily(name, type, help: help, points: [MetricFamily.Point([:], value)])
        }
        return [
            family(
                "petrel_log_unsealed_lines", .gauge,
                Double(waiting.reduce(0) { $0 + $1.lineCount }),
                "Log lines that wait to be sealed."),
            family(
                "petrel_log_unsealed_bytes", .gauge,
                Double(waiting.reduce(0) { $0 + $1.byteCount }),
                "Bytes of log lines that wait to be sealed."),
            family(
                "petrel_log_unsealed_age_seconds", .gauge,
                oldest.map { Double(max(0, clock.now.rawValue - $0)) / 1e9 } ?? 0,
                "How long the oldest of them has waited."),
            family(
                "petrel_log_seal_lag_seconds", .gauge, Double(counts.lagNanoseconds) / 1e9,
                "How long the oldest line of the last seal had waited."),
            family("petrel_log_seals_total", .counter, Double(counts.seals), "Seals committed."),
            family(
                "petrel_log_seals_failed_total", .counter, Double(counts.failures),
                "Seals that failed and are tried again."),
            family(
                "petrel_log_sealed_blocks_total", .counter, Double(counts.blocks),
                "Blocks that seals wrote."),
            family(
                "petrel_log_sealed_lines_total", .counter, Double(counts.lines),
                "Lines in blocks that seals wrote."),
            family(
                "petrel_log_sealed_bytes_total", .counter, Double(counts.bytes),
                "Bytes of lines in blocks that seals wrote."),
            family(
                "petrel_log_merged_blocks_total", .counter, Double(counts.mergedBlocks),
                "Short blocks that were merged into long ones."),
            family(
                "petrel_log_opened_blocks_total", .counter, Double(counts.openedBlocks),
                "Blocks and batches that queries opened."),
            family(
                "petrel_log_skipped_blocks_total", .counter, Double(counts.skippedBlocks),
                "Blocks that filters ruled out for queries, one by one."),
            family(
                "petrel_log_followers", .gauge, Double(logFeed.followerCount),
                "Who follows log lines live."),
            family(
                "petrel_log_follow_dropped_total", .counter, Double(logFeed.droppedCount),
                "Lines that followers were too slow for."),
        ]
    }
}
