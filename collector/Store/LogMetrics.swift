import Model
import Synchronization
import World

extension CollectorStore {
    /// What there is of log lines, and what seals do.
    func logFamilies() -> [MetricFamily] {
        let counts = logs.counts.withLock { $0 }
        let waiting = logs.waiting.values
        let oldest = waiting.map(\.oldest).min()
        return [
            .single(
                "petrel_log_unsealed_lines", .gauge,
                waiting.reduce(0) { $0 + $1.lineCount },
                "Log lines that wait to be sealed."),
            .single(
                "petrel_log_unsealed_bytes", .gauge,
                waiting.reduce(0) { $0 + $1.byteCount },
                "Bytes of log lines that wait to be sealed."),
            .single(
                "petrel_log_unsealed_age_seconds", .gauge,
                oldest.map { Double(max(0, clock.now.rawValue - $0)) / 1e9 } ?? 0,
                "How long the oldest of them has waited."),
            .single(
                "petrel_log_seal_lag_seconds", .gauge, Double(counts.lagNanoseconds) / 1e9,
                "How long the oldest line of the last seal had waited."),
            .single("petrel_log_seals_total", .counter, counts.seals, "Seals committed."),
            .single(
                "petrel_log_seals_failed_total", .counter, counts.failures,
                "Seals that failed and are tried again."),
            .single(
                "petrel_log_sealed_blocks_total", .counter, counts.blocks,
                "Blocks that seals wrote."),
            .single(
                "petrel_log_sealed_lines_total", .counter, counts.lines,
                "Lines in blocks that seals wrote."),
            .single(
                "petrel_log_sealed_bytes_total", .counter, counts.bytes,
                "Bytes of lines in blocks that seals wrote."),
            .single(
                "petrel_log_merged_blocks_total", .counter, counts.mergedBlocks,
                "Short blocks that were merged into long ones."),
            .single(
                "petrel_log_opened_blocks_total", .counter, counts.openedBlocks,
                "Blocks and batches that queries opened."),
            .single(
                "petrel_log_skipped_blocks_total", .counter, counts.skippedBlocks,
                "Blocks that filters ruled out for queries, one by one."),
            .single(
                "petrel_log_followers", .gauge, logFeed.followerCount,
                "Who follows log lines live."),
            .single(
                "petrel_log_follow_dropped_total", .counter, logFeed.droppedCount,
                "Lines that followers were too slow for."),
        ]
    }
}
