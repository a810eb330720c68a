extension Expression {
    /// Equality of everything, positions included. No recursion: the synthesized comparison would need several kilobytes
    /// of stack for each operator of a chain.
    package static func == (a: Expression, b: Expression) -> Bool {
        var pending = [(a, b)]
        while let (left, right) = pending.popLast() {
            let leftChildren = left.children
            let rightChildren = right.children
            guard leftChildren.count == rightChildren.count,
                left.hollow.hasSameShell(as: right.hollow)
            else { return false }
            for pair in zip(leftChildren, rightChildren) { pending.append(pair) }
        }
        return true
    }

    /// Hashes where every node was read and how many parts it has: enough to tell queries apart, and no recursion.
    package func hash(into hasher: inout Hasher) {
        forEachNode { node in
            hasher.combine(node.range)
            hasher.combine(node.children.count)
            if case .vectorSelector(let selector) = node { hasher.combine(selector) }
            if case .call(let call) = node { hasher.combine(call.name) }
        }
    }

    /// The node with a placeholder for each part.
    private var hollow: Expression {
        mapChildren { _ in .string(StringLiteral("")) }
    }

    /// Compares two nodes whose parts are placeholders, which ends the recursion at the next level.
    private func hasSameShell(as other: Expression) -> Bool {
        switch (self, other) {
        case (.number(let x), .number(let y)): x == y
        case (.string(let x), .string(let y)): x == y
        case (.vectorSelector(let x), .vectorSelector(let y)): x == y
        case (.matrixSelector(let x), .matrixSelector(let y)): x == y
        case (.subquery(let x), .subquery(let y)): x == y
        case (.unary(let x), .unary(let y)): x == y
        case (.binary(let x), .binary(let y)): x == y
        case (.call(let x), .call(let y)): x == y
        case (.aggregate(let x), .aggregate(let y)): x == y
        case (.parenthesized(let x), .parenthesized(let y)): x == y
        case (.number, _), (.string, _), (.vectorSelector, _), (.matrixSelector, _),
            (.subquery, _), (.unary, _), (.binary, _), (.call, _), (.aggregate, _),
            (.parenthesized, _):
            false
        }
    }
}
