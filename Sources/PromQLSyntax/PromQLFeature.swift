/// A part of PromQL that Prometheus keeps behind `--enable-feature`, under its name there.
package enum PromQLFeature: String, CaseIterable, Sendable {
    /// `info`, `limitk`, `mad_over_time`, `sort_by_label` and the other functions and aggregations that may change yet.
    case experimentalFunctions = "promql-experimental-functions"
    /// `anchored` and `smoothed`.
    case extendedRangeSelectors = "promql-extended-range-selectors"
    /// `fill`, `fill_left` and `fill_right`.
    case fillModifiers = "promql-binop-fill-modifiers"
    /// Counter resets are found by start timestamps, too, and `start_timestamp` yields them.
    case startTimestamps = "use-start-timestamps"
    /// The names that functions and operators drop go from the result alone: what is around them sees them yet.
    case delayedNameRemoval = "promql-delayed-name-removal"
    /// Arithmetic in ranges, steps and offsets. Stable since Prometheus 3.14 and always understood: naming it changes
    /// nothing.
    case durationExpressions = "promql-duration-expr"

    /// What the author of a query that lacks the feature is told.
    var remedy: String { "it takes `\(rawValue)` among query.features of the collector" }
}

extension PromQLParserOptions {
    /// The stable language and what these features add to its syntax.
    package init(_ features: Set<PromQLFeature>) {
        self.init(
            allowsExperimentalFunctions: features.contains(.experimentalFunctions),
            allowsExtendedRangeSelectors: features.contains(.extendedRangeSelectors),
            allowsFillModifiers: features.contains(.fillModifiers))
    }
}
