import World

/// `valkey.conf` or `redis.conf` with its includes.
struct ValkeyConfiguration: Hashable, Sendable {
    struct Directive: Hashable, Sendable {
        /// Lower case.
        var name: String
        var arguments: [String]
        /// Path and line, counted from 0.
        var file: String
        var line: Int
    }

    var path: String
    var directives: [Directive]
    /// Every file that was read, by path.
    var files: [String: ConfigurationFile]

    /// How deep files may include one another.
    static let depthMax = 10

    static func read(_ path: String, _ host: SetupHost) throws(SetupError) -> ValkeyConfiguration {
        var result = ValkeyConfiguration(path: host.resolve(path), directives: [], files: [:])
        try result.add(path, depth: 1, host)
        return result
    }

    private mutating func add(
        _ path: String, depth: Int, _ host: SetupHost
    ) throws(SetupError) {
        guard depth <= Self.depthMax else {
            throw .includesTooDeep(path: path, limit: Self.depthMax)
        }
        let file = try host.read(path)
        files[file.path] = file
        for directive in Self.directives(file) {
            guard directive.name == "include", let target = directive.arguments.first else {
                directives.append(directive)
                continue
            }
            let place = PathText.joined(target, from: PathText.folder(of: file.path))
            for next in Self.expanded(place, host) { try add(next, depth: depth + 1, host) }
        }
    }

    static func directives(_ file: ConfigurationFile) -> [Directive] {
        file.lines.texts.enumerated().compactMap { line, raw in
            let text = raw.trimmed
            guard !text.isEmpty, !text.hasPrefix("#"), let words = words(text),
                let name = words.first
            else { return nil }
            return Directive(
                name: name.lowercased(), arguments: Array(words.dropFirst()), file: file.path,
                line: line)
        }
    }

    /// One `*` in the last part of the path stands for any text.
    private static func expanded(_ path: String, _ host: SetupHost) -> [String] {
        guard path.contains("*") else { return host.exists(path) ? [path] : [] }
        let folder = PathText.folder(of: path)
        let pieces = path.dropFirst(folder.count + 1).split(
            separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
        guard pieces.count == 2, !folder.contains("*") else { return [] }
        return ((try? host.files.list(folder)) ?? []).filter {
            $0.hasPrefix(pieces[0]) && $0.hasSuffix(pieces[1])
                && $0.count >= pieces[0].count + pieces[1].count
        }.sorted().map { folder + "/" + $0 }
    }

    /// The directive that holds: the last one.
    func value(_ name: String) -> String? {
        directives.last { $0.name == name }?.arguments.first
    }

    /// Commands that have another name, or none, in lower case.
    var renames: [String: String] {
        var renames: [String: String] = [:]
        for directive in directives where directive.name == "rename-command" {
            guard directive.arguments.count == 2 else { continue }
            renames[directive.arguments[0].lowercased()] = directive.arguments[1]
        }
        return renames
    }

    /// The words of a line; nil where a quote is not closed. Source: Redis sds.c sdssplitargs.
    static func words(_ line: String) -> [String]? {
        var words: [String] = []
        var rest = Array(line)[...]
        while true {
            rest = rest.drop { $0.isWhitespace }
            guard let first = rest.first else { return words }
            if first == "\"" || first == "'" {
                rest = rest.dropFirst()
                guard let word = quoted(&rest, first) else { return nil }
                words.append(word)
            } else {
                let word = rest.prefix { !$0.isWhitespace }
                rest = rest.dropFirst(word.count)
                words.append(String(word))
            }
        }
    }

    private static func quoted(_ rest: inout ArraySlice<Character>, _ quote: Character) -> String? {
        var word = ""
        while let character = rest.popFirst() {
            if character == quote { return word }
            guard character == "\\", let next = rest.first, quote == "\"" || next == "'" else {
                word.append(character)
                continue
            }
            rest = rest.dropFirst()
            switch next {
            case "n": word.append("\n")
            case "r": word.append("\r")
            case "t": word.append("\t")
            case "x" where rest.count >= 2:
                if let number = UInt8(String(rest.prefix(2)), radix: 16) {
                    word.unicodeScalars.append(Unicode.Scalar(number))
                    rest = rest.dropFirst(2)
                } else {
                    word.append(next)
                }
            default: word.append(next)
            }
        }
        return nil
    }
}

/// What the rules of an ACL user add up to. Source: Redis 7 "ACL rules".
struct AccessControlUser: Hashable, Sendable {
    var isOn = false
    /// SHA-256 in hex.
    var passwords: Set<String> = []
    var hasAllKeys = false
    var hasAllCommands = false
    /// Commands, `command|subcommand` and `@category` that were added since everything was taken away.
    var commands: Set<String> = []
    /// `(…)`: further rights, which are not followed here.
    var hasSelectors = false

    init(rules: [String]) {
        for rule in rules {
            switch rule.lowercased() {
            case "on": isOn = true
            case "off": isOn = false
            case "nopass", "resetpass": passwords = []
            case "allkeys", "~*": hasAllKeys = true
            case "resetkeys": hasAllKeys = false
            case "allcommands", "+@all":
                hasAllCommands = true
                commands = []
            case "nocommands", "-@all":
                hasAllCommands = false
                commands = []
            case "reset": self = AccessControlUser(rules: [])
            case let text where text.hasPrefix("#"): passwords.insert(String(text.dropFirst()))
            case let text where text.hasPrefix(">"):
                passwords.insert(StoredPassword.sha256(String(rule.dropFirst())))
            case let text where text.hasPrefix("("): hasSelectors = true
            case let text where text.hasPrefix("+"): commands.insert(String(text.dropFirst()))
            case let text where text.hasPrefix("-"): commands.remove(String(text.dropFirst()))
            default: continue
            }
        }
    }

    /// The user may do what `wanted` may, and nothing else.
    func fits(_ wanted: AccessControlUser) -> Bool {
        isOn && hasAllKeys && passwords.isSuperset(of: wanted.passwords)
            && commands == wanted.commands && !hasAllCommands && !hasSelectors
    }
}
