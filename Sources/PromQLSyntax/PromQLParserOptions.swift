/// What the parser accepts beyond the stable language, and how large a query may be.
package struct PromQLParserOptions: Hashable, Sendable {
    /// Functions and aggregations that Prometheus keeps behind `promql-experimental-functions`.
    package var allowsExperimentalFunctions: Bool
    /// Arithmetic, `step()` and `range()` in ranges, steps and offsets (stable since Prometheus 3.14).
    package var allowsDurationExpressions: Bool
    /// `anchored` and `smoothed`.
    package var allowsExtendedRangeSelectors: Bool
    /// `fill`, `fill_left` and `fill_right`.
    package var allowsFillModifiers: Bool
    /// The longest query in UTF-8 bytes, 16 KiB unless told.
    package var queryBytesMax: Int
    /// The deepest nesting of parentheses, calls, aggregations and duration arithmetic.
    package var nestingDepthMax: Int
    /// The deepest tree: a chain `a + b + c …` of n operators is n + 1 deep. Bounds every recursion over a tree.
    package var treeDepthMax: Int

    package init(
        allowsExperimentalFunctions: Bool = false, allowsDurationExpressions: Bool = true,
        allowsExtendedRangeSelectors: Bool = false, allowsFillModifiers: Bool = false,
        queryBytesMax: Int = 16 * 1024, nestingDepthMax: Int = 128, treeDepthMax: Int = 2048
    ) {
        self.allowsExperimentalFunctions = allowsExperimentalFunctions
        self.allowsDurationExpressions = allowsDurationExpressions
        self.allowsExtendedRangeSelectors = allowsExtendedRangeSelectors
        self.allowsFillModifiers = allowsFillModifiers
        self.queryBytesMax = queryBytesMax
        self.nestingDepthMax = nestingDepthMax
        self.treeDepthMax = treeDepthMax
    }

    /// The stable language, as Prometheus 3.14 without feature flags.
    package static let stable = PromQLParserOptions()

    /// Everything, as test scripts and the project's own queries use it.
    package static let everything = PromQLParserOptions(
        allowsExperimentalFunctions: true, allowsDurationExpressions: true,
        allowsExtendedRangeSelectors: true, allowsFillModifiers: true)
}
