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
    /// Ports, the first; sshd has a limit of its own, 256.
    static let portsMax = 16

    /// What the files say outside of `Match` blocks, keywords in lower case.
    struct Settings: Hashable {
        var values: [String: Value] = [:]
        var fileCount = 0
        /// Of `Port` every line counts, not the first alone.
        var ports: [Value] = []
        /// What lines inside `Match` blocks set of the reported keywords.
        var overrides: [String: [Value]] = [:]
        var overrideCount: Int { overrides.values.reduce(0) { $0 + $1.count } }
    }

    struct Value: Hashable {
        var arguments: [String]
        var path: String
    }

    /// A keyword that is reported.
    private struct Reported {
        var keyword: String
        var fact: PostureFact
        /// What `Match` blocks set it to.
        var matchFact: PostureFact?
        var standard: String
        var words: Set<String> = ["yes", "no"]
    }

    private static let reported = [
        Reported(
            keyword: "permitrootlogin", fact: .sshRootLogin, matchFact: .sshMatchRootLogin,
            standard: "prohibit-password",
            words: ["yes", "no", "prohibit-password", "forced-commands-only"]),
        Reported(
            keyword: "passwordauthentication", fact: .sshPassword, matchFact: .sshMatchPassword,
            standard: "yes"),
        Reported(
            keyword: "kbdinteractiveauthentication", fact: .sshKeyboard,
            matchFact: .sshMatchKeyboard, standard: "yes"),
        Reported(
            keyword: "permitemptypasswords", fact: .sshEmptyPasswords,
            matchFact: .sshMatchEmptyPasswords, standard: "no"),
        Reported(keyword: "pubkeyauthentication", fact: .sshPublicKey, standard: "yes"),
    ]

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let settings = settings(host, &reading) else { return reading }
        for item in reported {
            if let value = settings.values[item.keyword] {
                add(item.fact, value, of: item, &reading)
            } else {
                reading.add(item.fact, word: item.standard)
            }
            guard let fact = item.matchFact else { continue }
            let overrides = settings.overrides[item.keyword] ?? []
            if overrides.isEmpty { reading.add(fact, word: "none") }
            for value in overrides { add(fact, value, of: item, &reading) }
        }
        if settings.ports.isEmpty { reading.add(.sshPort, word: "22") }
        for port in settings.ports {
            if let number = port.arguments.first.flatMap({ UInt16($0) }), number > 0 {
                reading.add(.sshPort, word: String(number), from: port.path)
            } else {
                reading.fail(port.path, "malformed: port")
            }
        }
        reading.set(.sshMatchOverrides, settings.overrideCount)
        reading.set(.sshFiles, settings.fileCount)
        return reading
    }

    private static func add(
        _ fact: PostureFact, _ value: Value, of item: Reported, _ reading: inout PostureReading
    ) {
        let word = (value.arguments.first ?? "").lowercased()
        let modern = word == "without-password" ? "prohibit-password" : word
        if item.words.contains(modern) {
            reading.add(fact, word: modern, from: value.path)
        } else {
            reading.fail(value.path, "malformed: \(item.keyword)")
        }
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
        let value = Value(arguments: arguments, path: path)
        if isInMatch {
            guard reported.contains(where: { $0.keyword == name }) else { return }
            settings.overrides[name, default: []].append(value)
        } else if name == "port" {
            if settings.ports.count < portsMax { settings.ports.append(value) }
        } else if settings.values[name] == nil {
            settings.values[name] = value
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
