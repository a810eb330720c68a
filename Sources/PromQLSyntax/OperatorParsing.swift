/// Binding strength, low to high. Source: Prometheus 3.14 `generated_parser.y`.
enum Precedence: Int, Comparable {
    case or = 1
    case and, comparison, sum, product, power

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension BinaryOperator {
    var precedence: Precedence {
        switch self {
        case .or: .or
        case .and, .unless: .and
        case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual, .trimUpper,
            .trimLower:
            .comparison
        case .add, .subtract: .sum
        case .multiply, .divide, .modulo, .atan2: .product
        case .power: .power
        }
    }

    /// `a ^ b ^ c` is `a ^ (b ^ c)`; all else groups from the left.
    var isRightAssociative: Bool { self == .power }
}

/// What stands between an operator and its right side.
struct BinaryModifiers {
    var returnsBool = false
    var matching = VectorMatching()
}

/// An operator that waits for its right side.
enum PendingOperator {
    case unary(isNegation: Bool, start: Int)
    case binary(BinaryOperator, BinaryModifiers)

    /// A sign binds like a product, so `-a ^ b` is `-(a ^ b)`.
    var precedence: Precedence {
        switch self {
        case .unary: .product
        case .binary(let operation, _): operation.precedence
        }
    }
}

extension ExpressionParser {
    /// An expression up to the first token that cannot continue it.
    mutating func parseExpression() throws(PromQLParseError) -> Operand {
        try enter()
        var operands: [Operand] = []
        var pending: [PendingOperator] = []
        while true {
            while let isNegation = sign {
                pending.append(.unary(isNegation: isNegation, start: token.range.start))
                try advance()
            }
            operands.append(try parsePostfix(of: try parsePrimary()))
            guard let operation = currentOperator else { break }
            while let last = pending.last,
                last.precedence > operation.precedence
                    || (last.precedence == operation.precedence && !operation.isRightAssociative)
            {
                try reduce(&operands, &pending)
            }
            try advance()
            pending.append(.binary(operation, try parseModifiers()))
        }
        while !pending.isEmpty { try reduce(&operands, &pending) }
        leave()
        return operands[0]
    }

    /// Whether the token is a sign, and a minus.
    private var sign: Bool? {
        switch token.kind {
        case .operation(.add): false
        case .operation(.subtract): true
        default: nil
        }
    }

    private var currentOperator: BinaryOperator? {
        switch token.kind {
        case .operation(let operation): operation
        case .keyword(let keyword): keyword.operation
        default: nil
        }
    }

    /// Applies the last pending operator to the last operands.
    private func reduce(
        _ operands: inout [Operand], _ pending: inout [PendingOperator]
    ) throws(PromQLParseError) {
        let rhs = operands.removeLast()
        switch pending.removeLast() {
        case .unary(let isNegation, let start):
            let range = SourceRange(start, rhs.expression.range.end)
            if case .number(var literal) = rhs.expression {
                literal.value = isNegation ? -literal.value : literal.value
                literal.range = range
                operands.append(Operand(expression: .number(literal), depth: rhs.depth))
                return
            }
            let unary = UnaryExpression(
                isNegation: isNegation, operand: rhs.expression, range: range)
            operands.append(try node(.unary(unary), over: rhs.depth, at: range))
        case .binary(let operation, let modifiers):
            let lhs = operands.removeLast()
            let range = SourceRange(lhs.expression.range.start, rhs.expression.range.end)
            let binary = BinaryExpression(
                operation, lhs.expression, rhs.expression, returnsBool: modifiers.returnsBool,
                matching: modifiers.matching, range: range)
            operands.append(try node(.binary(binary), over: max(lhs.depth, rhs.depth), at: range))
        }
    }

    // MARK: - Modifiers of binary operators

    private mutating func parseModifiers() throws(PromQLParseError) -> BinaryModifiers {
        var modifiers = BinaryModifiers()
        modifiers.returnsBool = try accept(.keyword(.bool))
        if token.kind == .keyword(.on) || token.kind == .keyword(.ignoring) {
            modifiers.matching.isOn = token.kind == .keyword(.on)
            try advance()
            modifiers.matching.labels = try parseGroupingLabels()
            if token.kind == .keyword(.groupLeft) || token.kind == .keyword(.groupRight) {
                modifiers.matching.cardinality =
                    token.kind == .keyword(.groupLeft) ? .manyToOne : .oneToMany
                try advance()
                if token.kind == .leftParenthesis {
                    modifiers.matching.included = try parseGroupingLabels()
                }
            }
        }
        try parseFill(&modifiers.matching)
        return modifiers
    }

    private mutating func parseFill(_ matching: inout VectorMatching) throws(PromQLParseError) {
        let start = token.range.start
        switch token.kind {
        case .keyword(.fill):
            try advance()
            matching.fillLeft = try parseFillValue()
            matching.fillRight = matching.fillLeft
        case .keyword(.fillLeft):
            try advance()
            matching.fillLeft = try parseFillValue()
            if try accept(.keyword(.fillRight)) { matching.fillRight = try parseFillValue() }
        case .keyword(.fillRight):
            try advance()
            matching.fillRight = try parseFillValue()
            if try accept(.keyword(.fillLeft)) { matching.fillLeft = try parseFillValue() }
        default: return
        }
        guard options.allowsFillModifiers else {
            throw failure(
                "fill modifiers are experimental: " + PromQLFeature.fillModifiers.remedy,
                SourceRange(start, lastClosing))
        }
    }

    private mutating func parseFillValue() throws(PromQLParseError) -> Double {
        try expect(.leftParenthesis)
        let value = try parseSignedNumber()
        try expect(.rightParenthesis)
        return value
    }

    /// A number or duration with at most one sign.
    mutating func parseSignedNumber(
        in context: String = "", expected: String = ""
    ) throws(PromQLParseError) -> Double {
        let isNegation = sign
        if isNegation != nil { try advance() }
        guard token.kind == .number || token.kind == .duration else {
            throw unexpected(in: context, expected: expected)
        }
        let value = try parseNumber().value
        return isNegation == true ? -value : value
    }

    /// The number or duration that the token is, in seconds where it is a duration.
    mutating func parseNumber() throws(PromQLParseError) -> NumberLiteral {
        let number = try advance()
        let spelling = text(number)
        if number.kind == .number {
            guard let value = NumberScanner.value(of: spelling) else {
                throw failure(
                    "error parsing number: \(quoted(spelling)) is no number in range", number.range)
            }
            return NumberLiteral(value, range: number.range)
        }
        guard let milliseconds = durationMilliseconds(spelling) else {
            throw failure("not a valid duration string: \(quoted(spelling))", number.range)
        }
        return NumberLiteral(Double(milliseconds) / 1000, isDuration: true, range: number.range)
    }

    /// `(a, "b c", by)`; a comma may follow the last label.
    mutating func parseGroupingLabels() throws(PromQLParseError) -> [String] {
        let context = "grouping opts"
        try expect(.leftParenthesis, in: context, expected: "\"(\"")
        var labels: [String] = []
        if try accept(.rightParenthesis) { return labels }
        while true {
            labels.append(try parseGroupingLabel())
            if try accept(.comma) {
                if try accept(.rightParenthesis) { return labels }
                continue
            }
            guard token.kind == .rightParenthesis else {
                throw unexpected(in: context, expected: "\",\" or \")\"")
            }
            try advance()
            return labels
        }
    }

    private mutating func parseGroupingLabel() throws(PromQLParseError) -> String {
        let label = token
        switch label.kind {
        case .identifier, .metricIdentifier, .keyword:
            try advance()
            return text(label)
        case .string:
            guard let name = String(validating: label.bytes, as: UTF8.self), !name.isEmpty else {
                throw failure(
                    "invalid label name for grouping: \(quoted(bytes: label.bytes))", label.range)
            }
            try advance()
            return name
        default: throw unexpected(in: "grouping opts", expected: "label")
        }
    }
}
