/// sshd: what its configuration files say, the first value of a keyword winning.
///
/// Source: sshd_config(5) of OpenSSH 9.2: `Include` takes patterns, relative ones under /etc/ssh, read in the order of
/// their names at the place of the line; what stands in a `Match` block holds for some connections only. What sshd was
/// compiled to do, and what its command line says, is not seen.
enum SSHPosture {
    static let file = "/etc/ssh/sshd_config"
    static let folder = "/etc/ssh"
    /// sshd's own limit of includes inside each other, and ours of files in all.
    static let depthMax = 16
    static let filesMax = 256

    /// What the files say outside of `Match` blocks, keywords in lower case.
    struct Settings: Hashable {
        var values: [String: Value] = [:]
        var fileCount = 0
        /// Lines inside `Match` blocks that set a reported keyword.
        var overrideCount = 0
    }

    struct Value: Hashable {
        var arguments: [String]
        var path: String
    }

    /// Keyword, fact, default, and the words it may have.
    private static let reported:
        [(keyword: String, fact: PostureFact, standard: String, words: Set<String>)] = [
            (
                "permitrootlogin", .sshRootLogin, "prohibit-password",
                ["yes", "no", "prohibit-password", "forced-commands-only"]
            ),
            ("passwordauthentication", .sshPassword, "yes", ["yes", "no"]),
            ("kbdinteractiveauthentication", .sshKeyboard, "yes", ["yes", "no"]),
            ("permitemptypasswords", .sshEmptyPasswords, "no", ["yes", "no"]),
            ("pubkeyauthentication", .sshPublicKey, "yes", ["yes", "no"]),
        ]

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let settings = settings(host, &reading) else { return reading }
        for (keyword, fact, standard, words) in reported {
            guard let value = settings.values[keyword] else {
                reading.add(fact, word: standard)
                continue
            }
            let word = (value.arguments.first ?? "").lowercased()
            let modern = word == "without-password" ? "prohibit-password" : word
            if words.contains(modern) {
                reading.add(fact, word: modern, from: value.path)
            } else {
                reading.fail(value.path, "malformed: \(keyword)")
            }
        }
        reading.set(.sshMatchOverrides, settings.overrideCount)
        reading.set(.sshFiles, settings.fileCount)
        return reading
    }

    /// All settings; nil where the main file can't be read.
    static func settings(_ host: PostureHost, _ reading: inout PostureReading) -> Settings? {
        var settings = Settings()
        read(file, host, depth: 0, isConditional: false, &settings, &reading)
        return settings.fileCount > 0 ? settings : nil
    }

    private static func read(
        _ path: String, _ host: PostureHost, depth: Int, isConditional: Bool,
        _ settings: inout Settings, _ reading: inout PostureReading
    ) {
        guard depth <= depthMax, settings.fileCount < filesMax else {
            reading.fail(path, "too many includes")
            return
        }
        guard let text = host.text(path, &reading) else { return }
        settings.fileCount += 1
        // A block ends with its file, or with `Match all`.
        var isInMatch = isConditional
        for line in text.postureLines {
            let words = arguments(line)
            guard let keyword = words.first?.lowercased() else { continue }
            switch keyword {
            case "match":
                isInMatch = isConditional || words.dropFirst().map { $0.lowercased() } != ["all"]
            case "include":
                for pattern in words.dropFirst() {
                    for target in matches(pattern, host, &reading) {
                        read(
                            target, host, depth: depth + 1, isConditional: isInMatch, &settings,
                            &reading)
                    }
                }
            default:
                note(keyword, Array(words.dropFirst()), path, isInMatch, &settings)
            }
        }
    }

    private static func note(
        _ keyword: String, _ arguments: [String], _ path: String, _ isInMatch: Bool,
        _ settings: inout Settings
    ) {
        let name =
            keyword == "challengeresponseauthentication" ? "kbdinteractiveauthentication" : keyword
        if isInMatch {
            if reported.contains(where: { $0.keyword == name }) { settings.overrideCount += 1 }
        } else if settings.values[name] == nil {
            settings.values[name] = Value(arguments: arguments, path: path)
        }
    }

    /// Keyword and arguments of a line: blanks or one `=` between keyword and value, double quotes, `#` a comment.
    static func arguments(_ line: Substring) -> [String] {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        for character in line {
            if isQuoted {
                if character == "\"" { isQuoted = false } else { word?.append(character) }
                continue
            }
            switch character {
            case "\"":
                isQuoted = true
                word = word ?? ""
            case " ", "\t",
                "=" where character != "=" || words.isEmpty:
                if let done = word { words.append(done) }
                word = nil
            case "=" where words.count == 1 && word == nil: break
            case "#" where word == nil: return words
            default: word = (word ?? "") + String(character)
            }
        }
        if let done = word { words.append(done) }
        return words
    }

    private static func matches(
        _ pattern: String, _ host: PostureHost, _ reading: inout PostureReading
    ) -> [String] {
        let path = pattern.hasPrefix("/") ? pattern : folder + "/" + pattern
        let parts = path.split(separator: "/").map(String.init)
        guard let last = parts.last, parts.dropLast().allSatisfy({ !isPattern($0) }),
            !last.contains("[")
        else {
            reading.fail(path, "pattern not followed")
            return []
        }
        guard isPattern(last) else { return [path] }
        let parent = "/" + parts.dropLast().joined(separator: "/")
        return (host.names(parent, &reading) ?? [])
            .filter { ($0.hasPrefix(".") ? last.hasPrefix(".") : true) && glob(last[...], $0[...]) }
            .map { parent + "/" + $0 }
    }

    private static func isPattern(_ text: String) -> Bool {
        text.contains { $0 == "*" || $0 == "?" || $0 == "[" }
    }

    /// Whether `name` fits `pattern` with `*` and `?`. O(pattern × name).
    static func glob(_ pattern: Substring, _ name: Substring) -> Bool {
        let pattern = Array(pattern)
        let name = Array(name)
        var fits = [true] + Array(repeating: false, count: name.count)
        for symbol in pattern {
            var next = Array(repeating: false, count: name.count + 1)
            if symbol == "*" {
                var isOpen = false
                for index in fits.indices {
                    isOpen = isOpen || fits[index]
                    next[index] = isOpen
                }
            } else {
                for index in name.indices where fits[index] {
                    next[index + 1] = symbol == "?" || symbol == name[index]
                }
            }
            fits = next
        }
        return fits[name.count]
    }
}
