import Model
import Storage
import Synchronization

/// Keeps what it is given; refuses what the test says.
final class FakeSampleWriter: SampleWriter {
    struct State {
        /// Label sets by number.
        var series: [Labels] = []
        var seriesMax = Int.max
        var interned = 0
        var batches: [SampleBatch] = []
        var metadata: [[ExactText: MetricMetadata]] = []
        var definitions: [SeriesDefinition] = []
        /// Thrown instead of storing.
        var failure: StorageError?
        var oldest = Int64.min
        var newest = Int64.max
        /// By metric name, where it is another: retention classes.
        var oldestOf: [String: Int64] = [:]

        func oldest(_ series: SeriesID) -> Int64 {
            oldestOf[self.series[Int(series.rawValue)].metricName] ?? oldest
        }
    }

    let state = Mutex(State())

    func internPushed(
        _ series: [SeriesDefinition]
    ) async throws(StorageError) -> [SeriesID?] {
        state.withLock { state in
            series.map { definition in
                state.interned += 1
                if let known = state.series.firstIndex(of: definition.labels) {
                    return SeriesID(rawValue: Int32(known))
                }
                guard state.series.count < state.seriesMax else { return nil }
                state.series.append(definition.labels)
                state.definitions.append(definition)
                return SeriesID(rawValue: Int32(state.series.count - 1))
            }
        }
    }

    func storeSamples(_ batch: SampleBatch) async throws(StorageError) -> SampleOutcome {
        try state.withLock { state throws(StorageError) in
            if let failure = state.failure { throw failure }
            var batch = batch
            var outcome = batch.keep(state.oldest, through: state.newest)
            if !state.oldestOf.isEmpty {
                let runs = batch.runs
                outcome.count(
                    batch.keep(through: state.newest) { state.oldest(runs[$0].series) })
            }
            state.batches.append(batch)
            return outcome
        }
    }

    func noteMetadata(_ metadata: [ExactText: MetricMetadata]) async throws(StorageError) {
        state.withLock { $0.metadata.append(metadata) }
    }
}
