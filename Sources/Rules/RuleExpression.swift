internal import PromQLSyntax

/// What the expression of a rule must be.
package enum RuleExpression {
    /// What is wrong with `expression`, its line and column within it, or nil. For `RuleFile.parse`.
    ///
    /// Beyond what Prometheus checks when it loads a file, a range vector or a text is refused: evaluating such a rule
    /// fails every time.
    package static func problem(_ expression: String) -> String? {
        do throws(PromQLParseError) {
            let type = try PromQLParser.parse(expression).valueType
            switch type {
            case .scalar, .vector: return nil
            case .string, .matrix:
                return "a rule needs an instant vector or a scalar, not a \(type.documentedName)"
            }
        } catch {
            return error.description
        }
    }
}
