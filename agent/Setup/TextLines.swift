/// A configuration file as lines that keep every byte: what is not edited stays as it was.
package struct TextLines: Hashable, Sendable {
    /// Each line with its own ending; the last may have none.
    private(set) var lines: [[UInt8]]

    package init(_ bytes: [UInt8]) {
        lines = bytes.split(separator: 10, omittingEmptySubsequences: false).map { $0 + [10] }
        // The piece after the last newline is a line only where it has content.
        if let last = lines.popLast(), last.count > 1 { lines.append(last.dropLast()) }
    }

    package var count: Int { lines.count }
    package var bytes: [UInt8] { lines.flatMap { $0 } }

    /// The line's text without its ending; invalid UTF-8 is replaced. `index` counts from 0.
    package func text(_ index: Int) -> String {
        var line = lines[index][...]
        if line.last == 10 { line = line.dropLast() }
        if line.last == 13 { line = line.dropLast() }
        return String(decoding: line, as: UTF8.self)
    }

    package var texts: [String] { (0..<count).map { text($0) } }

    /// The file's own line ending.
    private var ending: [UInt8] {
        lines.first?.suffix(2) == [13, 10] ? [13, 10] : [10]
    }

    /// Edits must not overlap; their lines are those of this file.
    package func applying(_ edits: [LineEdit]) -> TextLines {
        var result = self
        for edit in edits.sorted(by: { $0.line > $1.line }) {
            let inserted = edit.inserted.map { Array($0.utf8) + ending }
            if edit.line == result.count, !inserted.isEmpty, let last = result.lines.last,
                last.last != 10
            {
                result.lines[result.count - 1] += ending
            }
            result.lines.replaceSubrange(edit.line..<(edit.line + edit.removed), with: inserted)
        }
        return result
    }
}

/// Replaces `removed` lines from `line` (counted from 0) on by `inserted`; an insertion where `removed` is 0.
package struct LineEdit: Hashable, Sendable {
    package var line: Int
    package var removed: Int
    package var inserted: [String]

    package init(line: Int, removed: Int = 0, inserted: [String]) {
        self.line = line
        self.removed = removed
        self.inserted = inserted
    }
}

/// A change of one configuration file.
package struct FileChange: Hashable, Sendable {
    /// Where it really is: no symbolic link.
    package var path: String
    /// Its content when the plan was made; nil: the file does not exist.
    package var before: [UInt8]?
    package var edits: [LineEdit]
    /// What a new file gets; an existing file keeps its own.
    package var ownership: FileOwnershipWish
    package var why: String
    /// The line that matters, as a person would type it.
    package var missing: String
    /// What is shown in place of the lines themselves, where those hold secrets.
    package var shown: [String]?
    /// A program that must accept the new file before it takes the old one's place; `FileChange.candidate` in its
    /// arguments stands for the new file's path.
    package var check: CommandStep?

    package static let candidate = "{new file}"

    package init(
        path: String, before: [UInt8]?, edits: [LineEdit],
        ownership: FileOwnershipWish = .keep, why: String, missing: String,
        shown: [String]? = nil, check: CommandStep? = nil
    ) {
        self.path = path
        self.before = before
        self.edits = edits
        self.ownership = ownership
        self.why = why
        self.missing = missing
        self.shown = shown
        self.check = check
    }

    package var after: [UInt8] { TextLines(before ?? []).applying(edits).bytes }
}
