package import Model

/// One vector selector's need: every series that satisfies all `matchers`, and its samples in a time range.
package struct SeriesSelection: Hashable, Sendable {
    package var matchers: [LabelMatcher]
    /// Exclusive.
    package var after: TimestampMS
    /// Inclusive.
    package var through: TimestampMS

    package init(matchers: [LabelMatcher], after: TimestampMS, through: TimestampMS) {
        self.matchers = matchers
        self.after = after
        self.through = through
    }
}

/// The bounds of one read; a read that would pass one throws `StorageError.limitExceeded`.
package struct ReadLimits: Hashable, Sendable {
    package var seriesMax: Int
    package var samplesMax: Int

    package init(seriesMax: Int = 200_000, samplesMax: Int = 50_000_000) {
        self.seriesMax = seriesMax
        self.samplesMax = samplesMax
    }
}

/// Which label sets a metadata question is about.
package struct LabelScope: Hashable, Sendable {
    /// A label set is in scope when it satisfies all matchers of any one of these lists; none: every set.
    package var matcherSets: [[LabelMatcher]]
    /// Inclusive; sets without data between `start` and `end` may be left out.
    package var start: TimestampMS
    /// Inclusive.
    package var end: TimestampMS

    package init(matcherSets: [[LabelMatcher]] = [], start: TimestampMS, end: TimestampMS) {
        self.matcherSets = matcherSets
        self.start = start
        self.end = end
    }
}

/// How far the past has changed since a question.
package struct HistoryChange: Hashable, Sendable {
    /// For the next question.
    package var version: UInt64
    /// Before it nothing has changed; nil: nothing has changed that was settled.
    package var earliest: TimestampMS?

    package init(version: UInt64, earliest: TimestampMS?) {
        self.version = version
        self.earliest = earliest
    }

    /// A sample that is stored when it is so old, milliseconds, changes the past.
    package static let settledMilliseconds: Int64 = 300_000
}

/// How the query side reads metrics.
package protocol MetricReader: Sendable {
    /// For each selection its series in ascending label order; series without a sample in the range are left out.
    /// The newest samples are those of one moment for all selections. `share` grows with what is read; where it can't, throws `unavailable`.
    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]]
    /// What of the samples older than `HistoryChange.settledMilliseconds` was added, replaced or taken away since
    /// `version` was told; 0 is before everything. What a read that began after it did not see is told later.
    func historyChange(since version: UInt64) -> HistoryChange
    /// Label names in scope, ascending.
    func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String]
    /// Values of the label `name` in scope, ascending.
    func labelValues(_ name: String, _ scope: LabelScope) async throws(StorageError) -> [String]
    /// Label sets in scope, ascending.
    func series(_ scope: LabelScope) async throws(StorageError) -> [Labels]
    /// Metadata by metric family name; `metric` restricts it to one.
    func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]]
}

extension MetricReader {
    /// Everything, each time: nothing is known.
    package func historyChange(since version: UInt64) -> HistoryChange {
        HistoryChange(version: version &+ 1, earliest: TimestampMS(.min))
    }

    /// As the only reader.
    package func select(
        _ selections: [SeriesSelection], limits: ReadLimits
    ) async throws(StorageError) -> [[SeriesColumns]] {
        let share = SampleShare(of: SampleBudget(samplesMax: limits.samplesMax))
        return try await select(selections, limits: limits, share: share)
    }
}
