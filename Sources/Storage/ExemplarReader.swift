package import Model

/// Which exemplars are asked for.
package struct ExemplarSelection: Hashable, Sendable {
    /// Those of series that satisfy all matchers of any one of these lists.
    package var matcherSets: [[LabelMatcher]]
    /// Inclusive.
    package var start: TimestampMS
    /// Inclusive.
    package var end: TimestampMS

    package init(matcherSets: [[LabelMatcher]], start: TimestampMS, end: TimestampMS) {
        self.matcherSets = matcherSets
        self.start = start
        self.end = end
    }
}

/// How the query side reads exemplars.
package protocol ExemplarReader: Sendable {
    /// Exemplars in ascending order of time, by series in ascending label order; series without any are left out. Throws
    /// `limitExceeded` past `exemplarsMax` of them.
    func exemplars(
        _ selection: ExemplarSelection, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars]
    /// Those of one trace, of whatever series, from `start` to `end`, both inclusive, in the same order. Throws
    /// `limitExceeded` past `exemplarsMax` of them.
    func exemplars(
        ofTrace id: String, start: TimestampMS, end: TimestampMS, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars]
}
