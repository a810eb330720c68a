import LinearRegex
import LogQLSyntax

/// A line filter, compiled.
struct LineMatcher: Sendable {
    private enum Test {
        case contains(Needle)
        case regex(LinearRegex)
        case pattern(LinePattern)
    }

    private let tests: [Test]
    private let isNegated: Bool

    init(_ filter: LineFilter) throws(LogQLError) {
        var tests: [Test] = []
        for pattern in filter.patterns {
            switch filter.operation {
            case .contains, .notContains: tests.append(.contains(Needle(pattern)))
            case .matchesRegex, .notMatchesRegex:
                tests.append(.regex(try Self.compiled(pattern)))
            case .matchesPattern, .notMatchesPattern:
                tests.append(.pattern(try LinePattern(pattern)))
            }
        }
        self.tests = tests
        isNegated = filter.operation.isNegated
    }

    func keeps(_ line: [UInt8]) -> Bool {
        tests.contains { test in
            switch test {
            case .contains(let needle): needle.firstIndex(in: line) != nil
            case .regex(let regex): regex.matches(bytes: line)
            case .pattern(let pattern): pattern.matches(line)
            }
        } != isNegated
    }

    /// The expression may match anywhere, and `.` matches a line end. Source: LogQL's documentation, "Line filter".
    private static func compiled(_ pattern: [UInt8]) throws(LogQLError) -> LinearRegex {
        do {
            return try LinearRegex(String(decoding: pattern, as: UTF8.self), anchored: false)
        } catch { throw .badRegex("error parsing regexp: \(error)") }
    }
}
