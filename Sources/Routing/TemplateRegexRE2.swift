package import GoTemplate
internal import LinearRegex

extension TemplateRegex {
    /// The regular expressions of `match` and `reReplaceAll` run by RE2, anywhere in the text. Each call compiles.
    package static let re2 = TemplateRegex(
        matches: { (pattern, text) throws(GoTemplateError) in
            try compiled(pattern).matches(text)
        },
        replaceAll: { (pattern, replacement, text) throws(GoTemplateError) in
            try compiled(pattern).replacingMatches(in: text) { $0.expand(replacement) }
        })

    private static func compiled(_ pattern: String) throws(GoTemplateError) -> LinearRegex {
        do throws(LinearRegexError) {
            return try LinearRegex(pattern, anchored: false)
        } catch {
            throw .function("bad regular expression: \(error)")
        }
    }
}
