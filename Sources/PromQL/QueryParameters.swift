package import Model

/// The bounds of one query; passing one ends it with a `QueryError` that names the bound.
package struct QueryLimits: Hashable, Sendable {
    /// Samples in memory at once: those read, and the points (steps × series) of every value being computed.
    package var samplesMax: Int
    /// Series that one selector may select, and rows that one operator may yield.
    package var seriesMax: Int
    /// Points of the answer to a range query, or samples of one that is a range vector.
    package var pointsMax: Int
    /// Steps of a range query.
    package var stepsMax: Int
    /// Nesting of an expression.
    package var depthMax: Int
    /// Threads that a function over many samples is computed on.
    package var threadsMax: Int

    package init(
        samplesMax: Int = 50_000_000, seriesMax: Int = 200_000, pointsMax: Int = 10_000_000,
        stepsMax: Int = 11_000, depthMax: Int = 128, threadsMax: Int = 2
    ) {
        self.samplesMax = samplesMax
        self.seriesMax = seriesMax
        self.pointsMax = pointsMax
        self.stepsMax = stepsMax
        self.depthMax = depthMax
        self.threadsMax = threadsMax
    }
}

/// When and within which bounds a query is evaluated.
package struct QueryParameters: Hashable, Sendable {
    /// The first evaluation time.
    package var start: TimestampMS
    /// The last evaluation time at most, inclusive; equal to `start` for an instant query.
    package var end: TimestampMS
    /// Milliseconds between evaluation times; 0 for an instant query.
    package var stepMS: Int64
    /// How far back, exclusive, an instant selector looks for a sample, in milliseconds.
    package var lookbackDeltaMS: Int64
    /// The step of a subquery that names none, in milliseconds.
    package var subqueryStepMS: Int64
    /// Whether `rate`, `irate`, `increase` and `resets` find counter resets by start timestamps too, and
    /// `start_timestamp` yields them. Source: Prometheus 3.14 feature `use-start-timestamps`.
    package var usesStartTimestamps = false
    /// Whether the names that functions and operators drop (with `__type__` and `__unit__`) go from the result alone, so
    /// that what is around them sees them yet: `sum by (__name__)`, `on (__name__)`, `label_replace`. False: each drops
    /// them at once, and throws `duplicateLabelset` for series that differed in them alone.
    /// Source: Prometheus 3.14 feature `promql-delayed-name-removal`.
    package var delaysNameRemoval = false
    package var limits: QueryLimits

    package init(
        start: TimestampMS, end: TimestampMS, stepMS: Int64, lookbackDeltaMS: Int64 = 300_000,
        subqueryStepMS: Int64 = 60_000, limits: QueryLimits = QueryLimits()
    ) {
        self.start = start
        self.end = end
        self.stepMS = stepMS
        self.lookbackDeltaMS = lookbackDeltaMS
        self.subqueryStepMS = subqueryStepMS
        self.limits = limits
    }

    /// An instant query at `time`.
    package init(
        at time: TimestampMS, lookbackDeltaMS: Int64 = 300_000, subqueryStepMS: Int64 = 60_000,
        limits: QueryLimits = QueryLimits()
    ) {
        self.init(
            start: time, end: time, stepMS: 0, lookbackDeltaMS: lookbackDeltaMS,
            subqueryStepMS: subqueryStepMS, limits: limits)
    }

    /// Whether this is an instant query, whose result is a vector, scalar, string or range vector.
    package var isInstant: Bool { stepMS == 0 }
}

/// What a query needs of storage for one selector: the series that satisfy all `matchers`, in a time range.
package struct SelectorRequest: Hashable, Sendable {
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
