package import Model

/// Samples of many series as a sender pushes them, in columns.
///
/// The samples of `runs[i]` follow those of `runs[i - 1]` in `timestamps` and `values`, its histograms those in
/// `histograms`. A series may have several runs; where several samples of it have one time, the last counts.
package struct SampleBatch: Hashable, Sendable {
    /// What follows for one series.
    package struct Run: Hashable, Sendable {
        package var series: SeriesID
        package var sampleCount: Int
        package var histogramCount: Int
        /// What the sender of the batch knows it by, from 0: outcomes name runs so.
        package var source: Int32

        package init(
            series: SeriesID, sampleCount: Int, histogramCount: Int = 0, source: Int32 = 0
        ) {
            self.series = series
            self.sampleCount = sampleCount
            self.histogramCount = histogramCount
            self.source = source
        }
    }

    package var runs: [Run]
    /// Milliseconds since the epoch, in any order.
    package var timestamps: [Int64]
    /// Any bit pattern.
    package var values: [Double]
    /// When the counting of `values[i]` began, 0 where it isn't known; empty where it is known of none.
    package var startTimestamps: [Int64]
    package var histograms: [HistogramSample]
    /// In any order, of series with samples in the batch or without.
    package var exemplars: [PushedExemplar] = []

    /// Traps on columns that do not fit together.
    package init(
        runs: [Run], timestamps: [Int64], values: [Double], startTimestamps: [Int64] = [],
        histograms: [HistogramSample] = []
    ) {
        precondition(
            timestamps.count == values.count
                && (startTimestamps.isEmpty || startTimestamps.count == values.count)
                && runs.reduce(0) { $0 + $1.sampleCount } == values.count
                && runs.reduce(0) { $0 + $1.histogramCount } == histograms.count,
            "columns of different length")
        self.runs = runs
        self.timestamps = timestamps
        self.values = values
        self.startTimestamps = startTimestamps
        self.histograms = histograms
    }

    /// Values and histograms.
    package var count: Int { values.count + histograms.count }

    /// The earliest time in it, milliseconds since the epoch; nil where it is empty.
    package var oldest: Int64? {
        let histogram = histograms.map(\.timestamp).min()
        guard let sample = timestamps.min() else { return histogram }
        return min(sample, histogram ?? sample)
    }

    /// Leaves out what is before `oldest` or after `newest`; what that was.
    package mutating func keep(_ oldest: Int64, through newest: Int64) -> SampleOutcome {
        var outcome = SampleOutcome()
        func isKept(_ time: Int64) -> Bool { time >= oldest && time <= newest }
        let exemplarCount = exemplars.count
        exemplars.removeAll { !isKept($0.exemplar.timestamp.rawValue) }
        outcome.storedExemplars = exemplars.count
        outcome.untimelyExemplarCount = exemplarCount - exemplars.count
        // Hardly ever is anything left out.
        if timestamps.allSatisfy(isKept), histograms.allSatisfy({ isKept($0.timestamp) }) {
            outcome.storedSamples = values.count
            outcome.storedHistograms = histograms.count
            return outcome
        }
        outcome.count(keep(through: newest) { _ in oldest })
        return outcome
    }

    /// Leaves out exemplars before `oldest`; how many.
    package mutating func dropExemplars(before oldest: Int64) -> Int {
        let count = exemplars.count
        exemplars.removeAll { $0.exemplar.timestamp.rawValue < oldest }
        return count - exemplars.count
    }

    /// Leaves out samples before the time that `oldest` says of their run, by index, or after `newest`; what that was.
    package mutating func keep(
        through newest: Int64, oldest: (Int) -> Int64
    ) -> SampleOutcome {
        var outcome = SampleOutcome()
        var kept = SampleBatch(runs: [], timestamps: [], values: [])
        kept.exemplars = exemplars
        var sample = 0
        var histogram = 0
        for (index, run) in runs.enumerated() {
            let oldest = oldest(index)
            func isKept(_ time: Int64) -> Bool { time >= oldest && time <= newest }
            var new = Run(series: run.series, sampleCount: 0, source: run.source)
            for index in sample..<sample + run.sampleCount {
                let time = timestamps[index]
                guard isKept(time) else {
                    outcome.note(time, oldest, of: run)
                    continue
                }
                kept.timestamps.append(time)
                kept.values.append(values[index])
                if !startTimestamps.isEmpty { kept.startTimestamps.append(startTimestamps[index]) }
                new.sampleCount += 1
            }
            for index in histogram..<histogram + run.histogramCount {
                guard isKept(histograms[index].timestamp) else {
                    outcome.note(histograms[index].timestamp, oldest, of: run)
                    continue
                }
                kept.histograms.append(histograms[index])
                new.histogramCount += 1
            }
            sample += run.sampleCount
            histogram += run.histogramCount
            if new.sampleCount + new.histogramCount > 0 { kept.runs.append(new) }
        }
        outcome.storedSamples = kept.values.count
        outcome.storedHistograms = kept.histograms.count
        self = kept
        return outcome
    }
}

/// An exemplar of a series as a sender pushes it.
package struct PushedExemplar: Hashable, Sendable {
    package var series: SeriesID
    package var exemplar: Exemplar

    package init(series: SeriesID, exemplar: Exemplar) {
        self.series = series
        self.exemplar = exemplar
    }
}

/// What became of a batch of samples.
package struct SampleOutcome: Hashable, Sendable {
    package var storedSamples = 0
    package var storedHistograms = 0
    /// Samples and histograms that are older than the retention.
    package var tooOldCount = 0
    /// Samples and histograms too far ahead of the collector's clock.
    package var tooFarAheadCount = 0
    /// The sources of the runs that had any of the former, and of the latter.
    package var tooOldSources: Set<Int32> = []
    package var tooFarAheadSources: Set<Int32> = []
    /// Exemplars that are stored, by this call or before it.
    package var storedExemplars = 0
    /// Exemplars older than the retention or too far ahead of the collector's clock.
    package var untimelyExemplarCount = 0
    /// Exemplars past what a series, or all of them together, may have a minute.
    package var excessExemplarCount = 0

    package init() {}

    /// Notes that so many exemplars were left out for a bound that `storedExemplars` has.
    package mutating func leaveOut(exemplars count: Int) {
        storedExemplars -= count
        excessExemplarCount += count
    }

    /// Notes that so many exemplars were left out for their times that `storedExemplars` has.
    package mutating func leaveOut(untimelyExemplars count: Int) {
        storedExemplars -= count
        untimelyExemplarCount += count
    }

    /// Takes in what became of the samples that were kept before.
    package mutating func count(_ later: SampleOutcome) {
        storedSamples = later.storedSamples
        storedHistograms = later.storedHistograms
        tooOldCount += later.tooOldCount
        tooFarAheadCount += later.tooFarAheadCount
        tooOldSources.formUnion(later.tooOldSources)
        tooFarAheadSources.formUnion(later.tooFarAheadSources)
    }

    mutating func note(_ time: Int64, _ oldest: Int64, of run: SampleBatch.Run) {
        if time < oldest {
            tooOldCount += 1
            tooOldSources.insert(run.source)
        } else {
            tooFarAheadCount += 1
            tooFarAheadSources.insert(run.source)
        }
    }
}

/// How samples are stored that senders push over HTTP. Every call that returns normally is committed and durable; the same
/// call made again changes nothing.
package protocol SampleWriter: Sendable {
    /// Numbers for series, made where they are new; nil where a limit of series refuses a new one. `result[i]` belongs to
    /// `series[i]`. A number never becomes another series'; its own may be removed when it has no samples left.
    func internPushed(
        _ series: [SeriesDefinition]
    ) async throws(StorageError) -> [SeriesID?]
    /// Commits a batch in one transaction. Samples and exemplars older than the retention or more than an hour ahead of the
    /// clock are left out and counted, and so are exemplars past the store's bounds. An exemplar that is there is not
    /// stored again. Throws `seriesRemoved` where a number is of no series any more.
    func storeSamples(_ batch: SampleBatch) async throws(StorageError) -> SampleOutcome
    /// Makes `metadata`, by metric name, that of series that lack any or were pushed too; of metrics without series
    /// nothing is kept.
    func noteMetadata(_ metadata: [ExactText: MetricMetadata]) async throws(StorageError)
}
