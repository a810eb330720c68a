/// As much of a Caddyfile as the global options need: its words, and the blocks they make.
/// Source: Caddy 2 caddyfile/lexer.go (quotes, backquotes, heredocs, comments) and "Caddyfile Concepts".
struct Caddyfile: Hashable, Sendable {
    /// A block of `servers` among the global options.
    struct Servers: Hashable, Sendable {
        /// The line of its `{`, counted from 0.
        var openLine: Int
        /// It holds for every server: no listener address is named.
        var isGeneral: Bool
        var hasMetrics: Bool
    }

    /// The line of the global block's `{`, counted from 0; nil: there is no such block.
    var globalLine: Int?
    /// The line of the first word, where a global block would go; the number of lines where there is none.
    var firstLine: Int
    var hasMetrics = false
    var servers: [Servers] = []
    /// The words after `admin`; nil: not set.
    var admin: [String]?
    /// Global options come from elsewhere too.
    var hasImport = false

    init(_ lines: TextLines) {
        let words = CaddyWord.all(lines)
        firstLine = words.first?.line ?? lines.count
        guard let first = words.first, first.opens, first.line != words.dropFirst().first?.line
        else { return }
        globalLine = first.line
        readGlobal(Array(words.dropFirst()))
    }

    private mutating func readGlobal(_ words: [CaddyWord]) {
        var depth = 1
        var index = 0
        // The block of `servers` that the words are in.
        var current: Int?
        while index < words.count, depth > 0 {
            let end = words[index...].firstIndex { $0.line != words[index].line } ?? words.count
            let line = words[index..<end]
            index = end
            if line.first?.closes == true {
                depth -= 1
                if depth == 1 { current = nil }
                continue
            }
            let texts = line.map(\.text)
            let opens = line.last?.opens == true
            if depth == 1 {
                readOption(texts, opens: opens, line: line[line.startIndex].line)
                current = texts[0] == "servers" && opens ? servers.count - 1 : nil
            } else if depth == 2, let current, texts[0] == "metrics" {
                servers[current].hasMetrics = true
            }
            if opens { depth += 1 }
        }
    }

    private mutating func readOption(_ texts: [String], opens: Bool, line: Int) {
        switch texts[0] {
        case "metrics": hasMetrics = true
        case "import": hasImport = true
        case "admin":
            let words = texts.dropFirst().filter { $0 != "{" }
            admin = words.isEmpty ? nil : Array(words)
        case "servers" where opens:
            servers.append(
                Servers(openLine: line, isGeneral: texts.count == 2, hasMetrics: false))
        default: return
        }
    }
}

/// A word of a Caddyfile.
struct CaddyWord: Hashable, Sendable {
    var text: String
    /// Where it starts, counted from 0.
    var line: Int
    var isQuoted: Bool

    var opens: Bool { text == "{" && !isQuoted }
    var closes: Bool { text == "}" && !isQuoted }

    static func all(_ lines: TextLines) -> [CaddyWord] {
        var scanner = CaddyScanner(lines)
        var words: [CaddyWord] = []
        while let word = scanner.next() { words.append(word) }
        return words
    }
}

private struct CaddyScanner {
    private let text: [Character]
    private var at = 0
    private var line = 0

    init(_ lines: TextLines) {
        text = lines.texts.flatMap { Array($0) + ["\n"] }
    }

    mutating func next() -> CaddyWord? {
        skipToWord()
        guard at < text.count else { return nil }
        let start = line
        if text[at] == "\"" || text[at] == "`" { return quoted(text[at], start) }
        var word = ""
        while at < text.count, !text[at].isWhitespace {
            // A backslash before the line's end goes on in the next.
            if text[at] == "\\", at + 1 < text.count, text[at + 1] == "\n" { break }
            word.append(text[at])
            at += 1
        }
        if word.hasPrefix("<<"), word.count > 2 { return heredoc(word, start) }
        return CaddyWord(text: word, line: start, isQuoted: false)
    }

    private mutating func skipToWord() {
        while at < text.count {
            if text[at] == "#" {
                while at < text.count, text[at] != "\n" { at += 1 }
            } else if text[at] == "\\", at + 1 < text.count, text[at + 1] == "\n" {
                // The words of the next line belong to this one.
                at += 2
            } else if text[at].isWhitespace {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func advance() {
        if text[at] == "\n" { line += 1 }
        at += 1
    }

    private mutating func quoted(_ quote: Character, _ start: Int) -> CaddyWord {
        at += 1
        var word = ""
        while at < text.count, text[at] != quote {
            if quote == "\"", text[at] == "\\", at + 1 < text.count, text[at + 1] == "\"" {
                at += 1
            }
            word.append(text[at])
            advance()
        }
        if at < text.count { at += 1 }
        return CaddyWord(text: word, line: start, isQuoted: true)
    }

    /// From `<<MARK` to a line that is `MARK` but for the spaces before it.
    private mutating func heredoc(_ word: String, _ start: Int) -> CaddyWord {
        let mark = String(word.dropFirst(2))
        while at < text.count, text[at] != "\n" { at += 1 }
        while at < text.count {
            advance()
            let end = text[at...].firstIndex { $0 == "\n" } ?? text.count
            let content = String(text[at..<end]).trimmed
            at = end
            if content == mark || content.hasPrefix(mark + " ") { break }
        }
        return CaddyWord(text: "", line: start, isQuoted: true)
    }
}
