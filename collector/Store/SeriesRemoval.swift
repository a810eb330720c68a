import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// A series of which no sample is left goes: its row, its labels in memory, its place in the counts. Numbers that senders
// hold (a session's dictionary, the cache of remote write) outlive that, so it is done in steps beside them:
//   1. it is marked as leaving; a call that names it from then on keeps it
//   2. calls that were under way before are waited for: what they stored keeps it too
//   3. it is marked as being removed: calls that name it are told to ask for numbers again
//   4. its row is deleted, then memory forgets it
// A crash before 4 leaves everything, one after it nothing. A number is never given twice; a place may be after a restart,
// for no chunk holds anything there any more.

extension Catalogue {
    /// Keeps these series from being removed. Throws `seriesRemoved` where one is unknown or too far gone.
    func requireKept(_ numbers: some Sequence<Int32>) throws(StorageError) {
        let isKept = series.withLock { state in
            for number in numbers {
                guard state.lives[number] != nil else { return false }
                guard !state.leaving.isEmpty || !state.removing.isEmpty else { continue }
                if state.removing.contains(number) { return false }
                state.leaving.remove(number)
            }
            return true
        }
        guard isKept else { throw .seriesRemoved }
    }
}

extension CollectorStore {
    /// Hours since it was seen last before a series without samples is removed: longer than the head and the log keep any.
    static let removalIdleHours: Int32 = 6
    /// Series that one round removes at most.
    static let removalsPerRoundMax = 100_000

    /// Removes series of which no sample is left. How many.
    @discardableResult
    package func removeEmptySeries() async throws(StorageError) -> Int {
        guard metrics.progress.withLock({ $0.writer }) != nil else { return 0 }
        try await settleDoubts()
        let now = hour(clock.now)
        catalogue.series.withLock { $0.leaving = $0.empty(now: now, max: Self.removalsPerRoundMax) }
        await metrics.numbers.endOfOpenCalls()
        catalogue.series.withLock { state in
            if metrics.numbers.doubtful.isEmpty {
                let stored = state.days.all
                state.removing.formUnion(state.leaving.filter { !stored.contains($0) })
            }
            state.leaving = []
        }
        return try await finishRemovals()
    }

    /// Removes series that are marked for it, those too of which that failed before. How many.
    @discardableResult
    func finishRemovals() async throws(StorageError) -> Int {
        await metrics.removing.acquire()
        defer { metrics.removing.release() }
        let gone = catalogue.series.withLock { $0.removing.sorted() }
        guard !gone.isEmpty, let writer = metrics.progress.withLock({ $0.writer }) else { return 0 }
        do throws(StorageError) {
            try await own { session in
                try session.transaction { session in
                    // Another collector may have stored samples of them by then.
                    try Self.lockWriter(writer, session)
                    try session.query(
                        "DELETE FROM petrel.series WHERE id = ANY ($1)", [.int4Array(gone)])
                    // Those of a class that is kept for less than they are.
                    try session.query(
                        "DELETE FROM petrel.exemplar WHERE series_id = ANY ($1)",
                        [.int4Array(gone)])
                }
            }
        } catch {
            // Where the answer was lost, nobody knows whether they are gone: they stay marked, and the next tick knows.
            if case .refused = error {
                catalogue.series.withLock { $0.removing.subtract(gone) }
            }
            throw error
        }
        catalogue.series.withLock { $0.remove(Set(gone)) }
        metrics.progress.withLock { $0.removedSeries += gone.count }
        return gone.count
    }
}

extension Catalogue.SeriesState {
    /// Series without samples that were not seen for long.
    func empty(now: Int32, max: Int) -> Set<Int32> {
        var stored = days.all
        // Their tombstones come first.
        stored.formUnion(deletedSeries)
        let oldest = now - CollectorStore.removalIdleHours
        var found: Set<Int32> = []
        lives.visit { number, life in
            guard found.count < max, life.seenHour < oldest, !stored.contains(number),
                removing.isEmpty || !removing.contains(number)
            else { return }
            found.insert(number)
        }
        return found
    }

    /// Forgets series whose rows are gone.
    mutating func remove(_ gone: Set<Int32>) {
        var metrics: Set<ExactText> = []
        for number in gone {
            guard let life = lives[number] else { continue }
            if let metric = index.labels(of: number).map({ ExactText($0.metricName) }) {
                metrics.insert(metric)
                if life.isActive {
                    budget.active.add(host: life.host, metric: metric, by: -1)
                }
            }
            lives[number] = nil
        }
        places.remove(gone)
        index.remove(gone)
        for metric in metrics
        where index.numbers(with: Labels.metricNameLabel, metric).isEmpty {
            metadata[metric] = nil
        }
        removing.subtract(gone)
    }
}
