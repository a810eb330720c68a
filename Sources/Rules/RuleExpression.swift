package import PromQLSyntax

/// What the expression of a rule must be.
package enum RuleExpression {
    /// What is wrong with `expression` where these features are on, its line and column within it, or nil. For
    /// `RuleFile.parse`.
    ///
    /// Beyond what Prometheus checks when it loads a file, a range vector or a text is refused: evaluating such a rule
    /// fails every time.
    package static func problem(
        _ expression: String, features: Set<PromQLFeature> = []
    ) -> String? {
        do throws(PromQLParseError) {
            let type = try PromQLParser.parse(
                expression, options: PromQLParserOptions(features)
            ).valueType
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
