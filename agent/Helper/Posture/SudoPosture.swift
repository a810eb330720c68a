/// sudo: who may become root without a password.
///
/// Source: sudoers(5), 1.9: `@include`, `@includedir` and their older forms with `#`; a name in an included folder that
/// has a dot or ends in `~` is skipped.
enum SudoPosture {
    static let file = "/etc/sudoers"
    /// Includes inside each other, and files in all.
    static let depthMax = 8
    static let filesMax = 256

    /// What the lines of the files say.
    struct Counts: Hashable {
        var files = 0
        var noPassword = 0
        var noPasswordAll = 0
        var noAuthentication = 0
    }

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        var counts = Counts()
        read(file, host, depth: 0, &counts, &reading)
        guard counts.files > 0 else { return reading }
        reading.set(.sudoNoPassword, counts.noPassword)
        reading.set(.sudoNoPasswordAll, counts.noPasswordAll)
        reading.set(.sudoNoAuthentication, counts.noAuthentication)
        reading.set(.sudoFiles, counts.files)
        return reading
    }

    private static func read(
        _ path: String, _ host: PostureHost, depth: Int, _ counts: inout Counts,
        _ reading: inout PostureReading
    ) {
        guard depth <= depthMax, counts.files < filesMax else {
            reading.fail(path, "too many includes")
            return
        }
        guard let text = host.text(path, &reading) else { return }
        counts.files += 1
        for line in logicalLines(text) {
            switch kind(line) {
            case .nothing: break
            case .include(let name):
                guard let target = target(name, from: path) else {
                    reading.fail(path, "include not followed: \(name)")
                    continue
                }
                read(target, host, depth: depth + 1, &counts, &reading)
            case .includeFolder(let name):
                guard let target = target(name, from: path) else {
                    reading.fail(path, "include not followed: \(name)")
                    continue
                }
                for name in host.names(target, &reading) ?? []
                where !name.contains(".") && !name.hasSuffix("~") {
                    read(target + "/" + name, host, depth: depth + 1, &counts, &reading)
                }
            case .noAuthentication: counts.noAuthentication += 1
            case .noPassword(let all):
                counts.noPassword += 1
                if all { counts.noPasswordAll += 1 }
            }
        }
    }

    enum Kind: Hashable {
        case nothing
        case include(String)
        case includeFolder(String)
        /// `Defaults !authenticate`: nobody it applies to is asked.
        case noAuthentication
        /// An entry with `NOPASSWD:`, for any command where `all`.
        case noPassword(all: Bool)
    }

    static func kind(_ line: Substring) -> Kind {
        let words = line.words
        guard let first = words.first else { return .nothing }
        let name = words.dropFirst().joined(separator: " ").filter { $0 != "\"" }
        switch first {
        case "@include", "#include": return .include(name)
        case "@includedir", "#includedir": return .includeFolder(name)
        default: break
        }
        let text = withoutComment(line).trimmed
        if text.hasPrefix("Defaults") {
            return text.contains("!authenticate") ? .noAuthentication : .nothing
        }
        return passwordless(text)
    }

    /// Tags of commands. Source: sudoers(5), Tag_Spec.
    private static let tags: Set = [
        "EXEC", "NOEXEC", "FOLLOW", "NOFOLLOW", "INTERCEPT", "NOINTERCEPT", "LOG_INPUT",
        "NOLOG_INPUT", "LOG_OUTPUT", "NOLOG_OUTPUT", "MAIL", "NOMAIL", "PASSWD", "NOPASSWD",
        "SETENV", "NOSETENV",
    ]
    /// What may stand before the tags with an `=` and a value. Source: sudoers(5), Option_Spec.
    private static let options: Set = [
        "APPARMOR_PROFILE", "CHROOT", "CWD", "LIMITPRIVS", "NOTAFTER", "NOTBEFORE", "PRIVS", "ROLE",
        "TIMEOUT", "TYPE",
    ]

    /// Whether an entry lets commands run without a password. A tag holds for the commands behind it in the list too, up to
    /// its opposite; each `hosts =` begins a list.
    private static func passwordless(_ text: Substring) -> Kind {
        var kind = Kind.nothing
        var isPasswordless = false
        var command: [String] = []
        var isOptionValue = false
        for mark in marks(text) + [.sign(",")] {
            switch mark {
            case .word(let word):
                if !isOptionValue { command.append(word) }
                isOptionValue = false
            case .sign("="):
                isOptionValue = command.last.map(options.contains) == true
                if !isOptionValue { isPasswordless = false }
                command = []
            case .sign(":") where command.last.map(tags.contains) == true:
                if command.last == "NOPASSWD" { isPasswordless = true }
                if command.last == "PASSWD" { isPasswordless = false }
                command = []
            case .sign:
                if isPasswordless, !command.isEmpty, kind != .noPassword(all: true) {
                    kind = .noPassword(all: command == ["ALL"])
                }
                command = []
            }
        }
        return kind
    }

    private enum Mark: Hashable {
        case word(String)
        /// `,`, `:` or `=`.
        case sign(Character)
    }

    /// The words and signs of an entry, the users in parentheses before a command left out.
    private static func marks(_ text: Substring) -> [Mark] {
        var marks: [Mark] = []
        var word = ""
        var rest = text
        func endWord() {
            if !word.isEmpty { marks.append(.word(word)) }
            word = ""
        }
        while let character = rest.popFirst() {
            switch character {
            case "\\": word.append(rest.popFirst() ?? character)
            case "\"":
                let quoted = rest.prefix { $0 != "\"" }
                word += quoted
                rest = rest.dropFirst(quoted.count + 1)
            case ",", ":", "=":
                endWord()
                marks.append(.sign(character))
            case "(" where word.isEmpty && marks.last.map(isSign) == true:
                rest = rest.drop { $0 != ")" }.dropFirst()
            case _ where character.isWhitespace: endWord()
            default: word.append(character)
            }
        }
        endWord()
        return marks
    }

    private static func isSign(_ mark: Mark) -> Bool {
        if case .sign = mark { true } else { false }
    }

    /// Lines with a backslash at their end are one with the next.
    static func logicalLines(_ text: String) -> [Substring] {
        var lines: [Substring] = []
        var pending = ""
        for line in text.postureLines {
            if line.hasSuffix("\\") {
                pending += line.dropLast() + " "
            } else {
                lines.append(Substring(pending + line))
                pending = ""
            }
        }
        if !pending.isEmpty { lines.append(Substring(pending)) }
        return lines
    }

    /// A `#` starts a comment unless a user number follows it or a backslash precedes it.
    private static func withoutComment(_ line: Substring) -> Substring {
        var previous: Character?
        for index in line.indices {
            if line[index] == "#", previous != "\\" {
                let after = line[line.index(after: index)...].first
                if after.map({ !$0.isNumber && $0 != "-" }) ?? true { return line[..<index] }
            }
            previous = line[index]
        }
        return line
    }

    /// An include's path, relative to the including file's folder; nil for sudo's `%h`.
    private static func target(_ name: String, from path: String) -> String? {
        guard !name.isEmpty, !name.contains("%") else { return nil }
        guard !name.hasPrefix("/") else { return name }
        let folder = path.split(separator: "/").dropLast().joined(separator: "/")
        return "/" + folder + "/" + name
    }
}
