// A query over several lines: a part whose text on one line is longer than 100 bytes is broken after its opening, each
// piece inside two blanks deeper. Lengths are counted once from the leaves up, so that a deep tree costs no more than a
// flat one; the work is a stack of pieces, so that depth costs no recursion.

extension Expression {
    /// A query that parses to the same tree, over as many lines as make it readable: a part stays on one line where its
    /// text has at most `lineBytesMax` bytes. O(length). Source: Prometheus 3.14 `promql/parser/prettier.go`.
    package func prettyDescription(lineBytesMax: Int = 100) -> String {
        var printer = PrettyPrinter(self, lineBytesMax)
        return printer.print()
    }
}

private struct PrettyPrinter {
    /// A part of the tree, in breadth-first order: its own parts stand next to each other.
    private struct Part {
        var expression: Expression
        /// Places of its parts among all.
        var children: Range<Int>
        /// Bytes of its text on one line.
        var bytes = 0
    }

    private enum Work {
        case text(String)
        /// `trims`: without blanks at its start.
        case part(Int, level: Int, trims: Bool)
    }

    private let lineBytesMax: Int
    private var parts: [Part] = []
    private var pending: [Work] = []

    init(_ expression: Expression, _ lineBytesMax: Int) {
        self.lineBytesMax = lineBytesMax
        parts.append(Part(expression: expression, children: 0..<0))
        var index = 0
        while index < parts.count {
            let children = parts[index].expression.children
            parts[index].children = parts.count..<parts.count + children.count
            parts += children.map { Part(expression: $0, children: 0..<0) }
            index += 1
        }
        for index in parts.indices.reversed() {
            let own = parts[index].expression.printedPieces.reduce(0) { sum, piece in
                if case .text(let text) = piece { sum + text.utf8.count } else { sum }
            }
            parts[index].bytes = parts[index].children.reduce(own) { $0 + parts[$1].bytes }
        }
    }

    mutating func print() -> String {
        var text = ""
        pending = [.part(0, level: 0, trims: false)]
        while let work = pending.popLast() {
            switch work {
            case .text(let piece): text += piece
            case .part(let index, let level, let trims):
                pending.append(contentsOf: pieces(index, level, trims).reversed())
            }
        }
        return text
    }

    private func pieces(_ index: Int, _ level: Int, _ trims: Bool) -> [Work] {
        let part = parts[index]
        let indent = trims ? "" : Self.indent(level)
        let isLong = part.bytes > lineBytesMax
        switch part.expression {
        case .number, .string, .vectorSelector, .matrixSelector:
            return [.text(indent + part.expression.description)]
        case .unary(let node):
            return [
                .text(indent + (node.isNegation ? "-" : "+")),
                .part(part.children.lowerBound, level: level, trims: true),
            ]
        case .subquery(let node):
            guard isLong else { return [.text(part.expression.description)] }
            return [
                .part(part.children.lowerBound, level: level, trims: trims),
                .text(node.suffixText),
            ]
        case .binary(let node):
            guard isLong else { break }
            return [
                .part(part.children.lowerBound, level: level + 1, trims: trims),
                .text("\n\(Self.indent(level))\(node.operation.rawValue)\(node.modifierText)\n"),
                .part(part.children.lowerBound + 1, level: level + 1, trims: false),
            ]
        case .call(let node):
            guard isLong else { break }
            return broken(part, "\(indent)\(node.name)(", level)
        case .aggregate(let node):
            guard isLong else { break }
            return broken(part, "\(indent)\(node.operation.rawValue)\(node.groupingText)(", level)
        case .parenthesized:
            guard isLong else { break }
            return broken(part, "\(indent)(", level)
        }
        return [.text(indent + part.expression.description)]
    }

    /// `opening`, each part on lines of its own, and a closing parenthesis.
    private func broken(_ part: Part, _ opening: String, _ level: Int) -> [Work] {
        var work: [Work] = [.text(opening + "\n")]
        for child in part.children {
            if child > part.children.lowerBound { work.append(.text(",\n")) }
            work.append(.part(child, level: level + 1, trims: false))
        }
        return work + [.text("\n\(Self.indent(level)))")]
    }

    private static func indent(_ level: Int) -> String { String(repeating: "  ", count: level) }
}
