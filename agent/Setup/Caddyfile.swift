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
        firstLine = words.first?.fileLine ?? lines.count
        guard let first = words.first, first.opens, first.line != words.dropFirst().first?.line
        else { return }
        globalLine = first.fileLine
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
                readOption(texts, opens: opens, line: line[line.endIndex - 1].fileLine)
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
    /// The line that it belongs to: words that a backslash at a line's end joins have the same.
    var line: Int
    /// Where it starts in the file, counted from 0.
    var fileLine: Int
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
    /// Of the file, counted from 0.
    private var fileLine = 0
    /// How many line ends before this place are joined by a backslash, since the last that is not.
    private var joinedCount = 0

    init(_ lines: TextLines) {
        text = lines.texts.flatMap { Array($0) + ["\n"] }
    }

    mutating func next() -> CaddyWord? {
        skipToWord()
        guard at < text.count else { return nil }
        var word = CaddyWord(
            text: "", line: fileLine - joinedCount, fileLine: fileLine, isQuoted: false)
        if text[at] == "\"" || text[at] == "`" {
            readQuoted(text[at], &word)
            return word
        }
        while at < text.count, !text[at].isWhitespace {
            // A backslash before the line's end goes on in the next.
            if text[at] == "\\", at + 1 < text.count, text[at + 1] == "\n" { break }
            word.text.append(text[at])
            at += 1
        }
        if word.text.hasPrefix("<<"), word.text.count > 2 { readHeredoc(&word) }
        return word
    }

    private mutating func skipToWord() {
        while at < text.count {
            if text[at] == "#" {
                while at < text.count, text[at] != "\n" { at += 1 }
            } else if text[at] == "\\", at + 1 < text.count, text[at + 1] == "\n" {
                // The words of the next line belong to this one.
                at += 2
                fileLine += 1
                joinedCount += 1
            } else if text[at].isWhitespace {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func advance() {
        if text[at] == "\n" {
            fileLine += 1
            joinedCount = 0
        }
        at += 1
    }

    private mutating func readQuoted(_ quote: Character, _ word: inout CaddyWord) {
        word.isQuoted = true
        at += 1
        while at < text.count, text[at] != quote {
            if quote == "\"", text[at] == "\\", at + 1 < text.count, text[at + 1] == "\"" {
                at += 1
            }
            word.text.append(text[at])
            advance()
        }
        if at < text.count { at += 1 }
    }

    /// From `<<MARK`, which has been read, to a line that is `MARK` but for the spaces before it.
    private mutating func readHeredoc(_ word: inout CaddyWord) {
        let mark = String(word.text.dropFirst(2))
        word.text = ""
        word.isQuoted = true
        while at < text.count, text[at] != "\n" { at += 1 }
        while at < text.count {
            advance()
            let end = text[at...].firstIndex { $0 == "\n" } ?? text.count
            let content = String(text[at..<end]).trimmed
            at = end
            if content == mark || content.hasPrefix(mark + " ") { break }
        }
    }
}
