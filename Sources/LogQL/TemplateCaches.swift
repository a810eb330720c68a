import GoTemplate
import LinearRegex
import LogQLSyntax
import Synchronization

/// The regular expressions of a stage's templates, compiled when they are first used: nearly always they are literals.
final class TemplateRegexCache: Sendable {
    /// Above it all are forgotten: then lines bring their own.
    private static let countMax = 16

    private let known = Mutex<[String: LinearRegex]>([:])

    /// Throws `GoTemplateError.function` with the text of Go's `regexp.Compile`.
    func regex(_ pattern: String) throws(GoTemplateError) -> LinearRegex {
        if let regex = known.withLock({ $0[pattern] }) { return regex }
        let regex: LinearRegex
        do { regex = try LinearRegex(pattern, anchored: false, dotMatchesLineEnd: false) } catch {
            throw .function(regexErrorText(error))
        }
        known.withLock { known in
            if known.count >= Self.countMax { known.removeAll() }
            known[pattern] = regex
        }
        return regex
    }
}

/// The layouts of a stage's dates, cut when they are first used.
final class TemplateLayoutCache: Sendable {
    private static let countMax = 16

    private let known = Mutex<[String: GoTimeLayout]>([:])

    func layout(_ text: String) -> GoTimeLayout {
        known.withLock { known in
            if let layout = known[text] { return layout }
            let layout = GoTimeLayout(text)
            if known.count >= Self.countMax { known.removeAll() }
            known[text] = layout
            return layout
        }
    }
}
