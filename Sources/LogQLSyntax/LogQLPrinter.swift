import Model

extension LogQLExpression: CustomStringConvertible {
    /// The canonical text, which parses back to an equal tree. Source: Loki `Expr.String`.
    package var description: String {
        switch self {
        case .log(let selector): selector.description
        case .metric(let expression): expression.description
        }
    }
}

extension LogSelector: CustomStringConvertible {
    /// `{a="x", b!="y"} |= "z"`.
    package var description: String {
        let inner = matchers.map {
            "\($0.name)\($0.operation.rawValue)\(GoStringLiteral.encode(Array($0.value.utf8)))"
        }
        return (["{\(inner.joined(separator: ", "))}"] + stages.map(\.description))
            .joined(separator: " ")
    }
}

extension PipelineStage: CustomStringConvertible {
    /// As written in a query, with one space between words.
    package var description: String {
        switch self {
        case .lineFilter(let filter):
            filter.operation.rawValue + " "
                + filter.patterns.map(GoStringLiteral.encode).joined(separator: " or ")
        }
    }
}

extension MetricExpression: CustomStringConvertible {
    /// With every operation in brackets.
    package var description: String {
        switch self {
        case .literal(let value): "\(value)"
        case .vector(let value): "vector(\(value))"
        case .binary(let operation, let left, let right):
            "(\(left) \(operation.rawValue) \(right))"
        }
    }
}
