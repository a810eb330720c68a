import Model

extension Expression {
    /// The bytes of the query that the expression was read from.
    package var range: SourceRange {
        switch self {
        case .number(let node): node.range
        case .string(let node): node.range
        case .vectorSelector(let node): node.range
        case .matrixSelector(let node): node.range
        case .subquery(let node): node.range
        case .unary(let node): node.range
        case .binary(let node): node.range
        case .call(let node): node.range
        case .aggregate(let node): node.range
        case .parenthesized(let node): node.range
        }
    }

    /// What the expression evaluates to. At worst O(nodes), for arithmetic between scalars; no recursion.
    package var valueType: ValueType {
        var rest = [self]
        while let node = rest.popLast() {
            let type: ValueType
            switch node {
            case .number: type = .scalar
            case .string: type = .string
            case .vectorSelector, .aggregate: type = .vector
            case .matrixSelector, .subquery: type = .matrix
            case .call(let call): type = PromQLFunction.all[call.name]?.returnType ?? .vector
            case .unary(let unary):
                rest.append(unary.operand)
                continue
            case .parenthesized(let parenthesized):
                rest.append(parenthesized.expression)
                continue
            case .binary(let binary):
                if binary.matching != nil { return .vector }
                rest.append(binary.rhs)
                rest.append(binary.lhs)
                continue
            }
            // An operation is a scalar only where every operand is.
            if type != .scalar { return type }
        }
        return .scalar
    }

    /// The direct parts of the expression, left to right; an aggregation's parameter comes first.
    /// A matrix selector's selector is not a part of its own.
    package var children: [Expression] {
        switch self {
        case .number, .string, .vectorSelector, .matrixSelector: []
        case .subquery(let node): [node.expression]
        case .unary(let node): [node.operand]
        case .binary(let node): [node.lhs, node.rhs]
        case .call(let node): node.arguments
        case .aggregate(let node): (node.parameter.map { [$0] } ?? []) + [node.expression]
        case .parenthesized(let node): [node.expression]
        }
    }

    /// Calls `visit` on the expression and everything below it, parents first, left to right. No recursion.
    package func forEachNode(_ visit: (Expression) -> Void) {
        var rest = [self]
        while let next = rest.popLast() {
            visit(next)
            rest.append(contentsOf: next.children.reversed())
        }
    }

    /// All vector selectors, those of matrix selectors included, left to right.
    package var selectors: [VectorSelector] {
        var found: [VectorSelector] = []
        forEachNode { node in
            if case .vectorSelector(let selector) = node { found.append(selector) }
            if case .matrixSelector(let matrix) = node { found.append(matrix.selector) }
        }
        return found
    }

    /// The same expression with its direct parts replaced by what `transform` makes of them.
    package func mapChildren<Failure: Error>(
        _ transform: (Expression) throws(Failure) -> Expression
    ) throws(Failure) -> Expression {
        switch self {
        case .number, .string, .vectorSelector, .matrixSelector: return self
        case .subquery(var node):
            node.expression = try transform(node.expression)
            return .subquery(node)
        case .unary(var node):
            node.operand = try transform(node.operand)
            return .unary(node)
        case .binary(var node):
            node.lhs = try transform(node.lhs)
            node.rhs = try transform(node.rhs)
            return .binary(node)
        case .call(var node):
            for index in node.arguments.indices {
                node.arguments[index] = try transform(node.arguments[index])
            }
            return .call(node)
        case .aggregate(var node):
            // The order of `children`.
            if let parameter = node.parameter { node.parameter = try transform(parameter) }
            node.expression = try transform(node.expression)
            return .aggregate(node)
        case .parenthesized(var node):
            node.expression = try transform(node.expression)
            return .parenthesized(node)
        }
    }

    /// The tree rebuilt from its leaves up: `transform` sees every node once its parts have been transformed, left to
    /// right. No recursion, so that the longest chain of operators costs no stack.
    package func mapNodes<Failure: Error>(
        _ transform: (Expression) throws(Failure) -> Expression
    ) throws(Failure) -> Expression {
        var pending: [(node: Expression, hasOpened: Bool)] = [(self, false)]
        var done: [Expression] = []
        while let (node, hasOpened) = pending.popLast() {
            let children = node.children
            if !hasOpened, !children.isEmpty {
                pending.append((node, true))
                for child in children.reversed() { pending.append((child, false)) }
                continue
            }
            var parts = done.suffix(children.count)
            done.removeLast(children.count)
            let rebuilt = node.mapChildren { _ in parts.removeFirst() }
            done.append(try transform(rebuilt))
        }
        return done[0]
    }

    /// The same tree without positions and with every selector's matchers in the order they are printed: two queries
    /// mean the same if their normalized trees are equal.
    package func normalized() -> Expression { mapNodes { $0.withoutPosition() } }

    private func withoutPosition() -> Expression {
        switch self {
        case .number(var node):
            node.range = .none
            return .number(node)
        case .string(var node):
            node.range = .none
            return .string(node)
        case .vectorSelector(let node): return .vectorSelector(node.normalized())
        case .matrixSelector(var node):
            node.selector = node.selector.normalized()
            node.range = .none
            return .matrixSelector(node)
        case .subquery(var node):
            node.range = .none
            return .subquery(node)
        case .unary(var node):
            node.range = .none
            return .unary(node)
        case .binary(var node):
            node.range = .none
            return .binary(node)
        case .call(var node):
            node.range = .none
            return .call(node)
        case .aggregate(var node):
            node.range = .none
            return .aggregate(node)
        case .parenthesized(var node):
            node.range = .none
            return .parenthesized(node)
        }
    }
}

extension VectorSelector {
    fileprivate func normalized() -> VectorSelector {
        var copy = self
        copy.range = .none
        copy.matchers.sort { bytesPrecede($0.promQLText, $1.promQLText) }
        return copy
    }
}
