/// Values of a program's own `/metrics`, as its check-up reads them back. Understands what our own writer writes.
package struct OwnFigures: Sendable {
    /// One line.
    package struct Figure: Hashable, Sendable {
        package var labels: [String: String]
        package var value: Double
    }

    private var figures: [String: [Figure]] = [:]

    /// Lines that do not parse are passed over.
    package init(_ text: String) {
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let end = line.lastIndex(of: " "),
                let value = Self.number(line[line.index(after: end)...])
            else { continue }
            let series = line[..<end]
            let name = series.prefix { $0 != "{" }
            figures[String(name), default: []].append(
                Figure(labels: Self.labels(series.dropFirst(name.count)), value: value))
        }
    }

    /// Every figure of that name, in the order of the text.
    package func all(_ name: String) -> [Figure] { figures[name] ?? [] }

    /// The sum of a name's figures; nil where there are none.
    package func sum(_ name: String) -> Double? {
        figures[name].map { $0.reduce(0) { $0 + $1.value } }
    }

    /// Whether any name begins with `prefix`.
    package func hasName(prefix: String) -> Bool { figures.keys.contains { $0.hasPrefix(prefix) } }

    private static func number(_ text: Substring) -> Double? {
        switch text {
        case "NaN": .nan
        case "+Inf": .infinity
        case "-Inf": -.infinity
        default: Double(text)
        }
    }

    private static func labels(_ text: Substring) -> [String: String] {
        var labels: [String: String] = [:]
        var rest = text.dropFirst()
        while let sign = rest.firstIndex(of: "=") {
            let name = String(rest[..<sign])
            var value = ""
            var index = rest.index(sign, offsetBy: 2, limitedBy: rest.endIndex) ?? rest.endIndex
            while index < rest.endIndex, rest[index] != "\"" {
                if rest[index] == "\\" {
                    index = rest.index(after: index)
                    guard index < rest.endIndex else { break }
                    value.append(rest[index] == "n" ? "\n" : rest[index])
                } else {
                    value.append(rest[index])
                }
                index = rest.index(after: index)
            }
            labels[name] = value
            guard index < rest.endIndex else { break }
            rest = rest[index...].dropFirst()
            if rest.first == "," { rest = rest.dropFirst() }
        }
        return labels
    }
}
