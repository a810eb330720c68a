package import Model

/// Why a rule's evaluation gave nothing.
package enum RulesError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Two elements of the result have the same labels once the rule's labels are applied.
    case duplicateLabelSet(Labels)
    /// The rule made more alerts or series than its group allows.
    case limitExceeded(limit: Int, count: Int)
    /// A template asks for this query: run it, add it to the environment's answers and evaluate again.
    case needsQuery(String)

    package var description: String {
        switch self {
        case .duplicateLabelSet(let labels):
            "the result has several elements with the same labels once the rule's labels are "
                + "applied: \(labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ", "))"
        case .limitExceeded(let limit, let count):
            "exceeded limit of \(limit) with \(count)"
        case .needsQuery(let expression): "a template needs the query `\(expression)`"
        }
    }
}
