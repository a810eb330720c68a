/// Why a query was refused, and where.
///
/// `description` has Prometheus' shape, `1:5: parse error: unexpected "+"`.
package struct PromQLParseError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, in Prometheus' words where Prometheus has the same check.
    package var message: String
    /// The bytes of the query that are at fault.
    package var range: SourceRange
    /// The line of `range.start`, counted from 1.
    package var line: Int
    /// The byte of the line at `range.start`, counted from 1.
    package var column: Int
    /// Whether the query is refused for its size (a bound of `PromQLParserOptions`), not for what it says.
    package var isOfSize: Bool

    /// An error at `range` of `source`, whose line and column are looked up. O(n).
    package init(
        _ message: String, at range: SourceRange, in source: some Collection<UInt8>,
        isOfSize: Bool = false
    ) {
        self.message = message
        self.range = range
        self.isOfSize = isOfSize
        (line, column) = range.lineAndColumn(in: source)
    }

    package var description: String { "\(line):\(column): parse error: \(message)" }
}

extension SourceRange {
    /// The line and the byte within it of `start` in `source`, both counted from 1. O(n).
    package func lineAndColumn(in source: some Collection<UInt8>) -> (line: Int, column: Int) {
        var line = 1
        var column = 1
        for byte in source.prefix(start) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return (line, column)
    }
}
