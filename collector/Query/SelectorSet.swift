import LinearRegex
package import Model

/// Selectors such as those of `match[]`, ready to be tried on label sets.
package struct SelectorSet: Sendable {
    private struct Condition {
        enum Test {
            case equal(String)
            case regex(LinearRegex)
        }

        var name: String
        var test: Test
        var isNegated: Bool

        init(_ matcher: LabelMatcher) throws(QueryFailure) {
            name = matcher.name
            isNegated =
                matcher.operation == .notEqual || matcher.operation == .notMatchesRegex
            switch matcher.operation {
            case .equal, .notEqual: test = .equal(matcher.value)
            case .matchesRegex, .notMatchesRegex:
                do { test = .regex(try LinearRegex(matcher.value, anchored: true)) } catch {
                    throw QueryFailure(.badData, "\(matcher.name): \(error)")
                }
            }
        }

        func accepts(_ value: String) -> Bool {
            switch test {
            case .equal(let expected): value.utf8.elementsEqual(expected.utf8) != isNegated
            case .regex(let regex): regex.matches(value) != isNegated
            }
        }
    }

    private let sets: [[Condition]]

    /// Throws `QueryFailure` (`badData`) where a regular expression does not compile.
    package init(_ matcherSets: [[LabelMatcher]]) throws(QueryFailure) {
        var sets: [[Condition]] = []
        for matchers in matcherSets {
            var conditions: [Condition] = []
            for matcher in matchers { conditions.append(try Condition(matcher)) }
            sets.append(conditions)
        }
        self.sets = sets
    }

    /// Whether each selector has a condition that the empty string does not satisfy. Source: Prometheus 3.14
    /// `parseMatchersParam`.
    package var areAllBounded: Bool {
        sets.allSatisfy { $0.contains { !$0.accepts("") } }
    }

    /// Whether any selector matches; true where there are none.
    package func accepts(_ labels: Labels) -> Bool {
        sets.isEmpty || sets.contains { $0.allSatisfy { $0.accepts(labels[$0.name]) } }
    }
}
