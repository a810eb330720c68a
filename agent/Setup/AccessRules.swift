import World

/// The rules of a `pg_hba.conf`, PostgreSQL's or PgBouncer's, in the order the server tries them.
/// Source: PostgreSQL 18 "The pg_hba.conf File" and hba.c next_token: quotes, commas, comments, continuation, inclusion.
struct AccessRules: Hashable, Sendable {
    var rules: [AccessRule]
    /// Number of lines of the file itself.
    var lineCount: Int

    /// How deep files may include one another. Source: PostgreSQL CONF_FILE_MAX_DEPTH.
    static let depthMax = 10
}

/// A word of a rule; quoted words lose any special meaning.
struct AccessToken: Hashable, Sendable {
    var text: String
    var isQuoted: Bool
}

/// One rule.
struct AccessRule: Hashable, Sendable {
    /// `local`, `host`, `hostssl`, …
    var kind: String
    var databases: [AccessToken]
    var users: [AccessToken]
    /// Authentication method; empty in a broken line.
    var method: String
    var options: [String]
    /// Where it stands: file and line, counted from 1.
    var file: String
    var line: Int
    /// The lines of the file that was asked for, counted from 0, that are or include it.
    var topLines: Range<Int>
    /// Its fields up to the method. What follows may be a secret: `ldapbindpasswd=`, `radiussecrets=`.
    var text: String
}

extension AccessRules {
    /// Reads `path`. Files that are included and missing hold no rules: the server itself reports those.
    static func read(_ path: String, _ host: SetupHost) throws(SetupError) -> AccessRules {
        let file = try host.read(path)
        var result = AccessRules(rules: [], lineCount: file.lines.count)
        try result.add(file, topLines: nil, depth: 1, host)
        return result
    }

    private mutating func add(
        _ file: ConfigurationFile, topLines: Range<Int>?, depth: Int, _ host: SetupHost
    ) throws(SetupError) {
        guard depth <= Self.depthMax else {
            throw .includesTooDeep(path: file.path, limit: Self.depthMax)
        }
        let folder = PathText.folder(of: file.path)
        for (range, text) in Self.logicalLines(file.lines) {
            let fields = Self.fields(text)
            guard let word = fields.first?.first, !word.text.isEmpty else { continue }
            let top = topLines ?? range
            switch (word.isQuoted ? "" : word.text, fields.count) {
            case ("include", 2), ("include_if_exists", 2), ("include_dir", 2):
                let target = PathText.joined(fields[1][0].text, from: folder)
                for path in Self.included(target, isFolder: word.text == "include_dir", host) {
                    let next = try host.read(path)
                    try add(next, topLines: top, depth: depth + 1, host)
                }
            default:
                rules.append(
                    try rule(fields, file.path, range.lowerBound, top, folder: folder, host))
            }
        }
    }

    private static func included(_ path: String, isFolder: Bool, _ host: SetupHost) -> [String] {
        guard isFolder else { return host.exists(path) ? [path] : [] }
        let names = (try? host.files.list(path)) ?? []
        return names.filter { $0.hasSuffix(".conf") && !$0.hasPrefix(".") }.sorted().map {
            path + "/" + $0
        }
    }

    private func rule(
        _ fields: [[AccessToken]], _ file: String, _ line: Int, _ top: Range<Int>,
        folder: String, _ host: SetupHost
    ) throws(SetupError) -> AccessRule {
        let kind = fields[0][0].text
        func field(_ index: Int) -> [AccessToken] { index < fields.count ? fields[index] : [] }
        // host rules: an address, and a mask of its own unless the address has one or is a name.
        var methodAt = 3
        if kind != "local" {
            let address = field(3).first?.text ?? ""
            let isNumeric = address.contains(":") || (address.first?.isNumber ?? false)
            methodAt = isNumeric && !address.contains("/") ? 5 : 4
        }
        let method = field(methodAt).first?.text ?? ""
        return AccessRule(
            kind: kind, databases: try expand(field(1), folder, host, depth: 1),
            users: try expand(field(2), folder, host, depth: 1),
            method: method.contains("=") ? "" : method,
            options: fields.dropFirst(methodAt + 1).flatMap { $0.map(\.text) },
            file: file, line: line + 1, topLines: top,
            text: Self.text(of: fields.prefix(methodAt + 1)))
    }

    /// In a line that lacks a field an option stands in its place: the text ends there.
    private static func text(of fields: ArraySlice<[AccessToken]>) -> String {
        let shown = fields.prefix { field in !field.contains { $0.text.contains("=") } }
        return shown.map { field in
            field.map { $0.isQuoted ? "\"\($0.text)\"" : $0.text }.joined(separator: ",")
        }.joined(separator: " ")
    }

    /// Replaces `@file` by the words in it.
    private func expand(
        _ tokens: [AccessToken], _ folder: String, _ host: SetupHost, depth: Int
    ) throws(SetupError) -> [AccessToken] {
        var result: [AccessToken] = []
        for token in tokens {
            guard !token.isQuoted, token.text.hasPrefix("@"), token.text.count > 1 else {
                result.append(token)
                continue
            }
            let path = PathText.joined(String(token.text.dropFirst()), from: folder)
            guard depth < Self.depthMax else {
                throw .includesTooDeep(path: path, limit: Self.depthMax)
            }
            guard host.exists(path) else { continue }
            let file = try host.read(path)
            for (_, text) in Self.logicalLines(file.lines) {
                result += try expand(
                    Self.fields(text).flatMap { $0 }, PathText.folder(of: path), host,
                    depth: depth + 1)
            }
        }
        return result
    }

    /// Lines with their continuations (a backslash at the end), each with the numbers of its lines from 0.
    static func logicalLines(_ lines: TextLines) -> [(Range<Int>, String)] {
        var result: [(Range<Int>, String)] = []
        var index = 0
        while index < lines.count {
            let first = index
            var text = lines.text(index)
            while text.hasSuffix("\\"), index + 1 < lines.count {
                index += 1
                text = text.dropLast() + lines.text(index)
            }
            index += 1
            result.append((first..<index, text))
        }
        return result
    }

    /// The fields of a line, each a list of words that commas separate.
    static func fields(_ line: String) -> [[AccessToken]] {
        var fields: [[AccessToken]] = []
        var scanner = AccessScanner(line)
        var joins = false
        while let (token, hasComma) = scanner.next() {
            if joins, !fields.isEmpty {
                fields[fields.count - 1].append(token)
            } else {
                fields.append([token])
            }
            joins = hasComma
        }
        return fields
    }
}

/// The words of one line.
private struct AccessScanner {
    private let text: [Character]
    private var at = 0

    init(_ line: String) { text = Array(line) }

    /// The next word and whether a comma follows it; nil at the end or at a comment.
    mutating func next() -> (AccessToken, Bool)? {
        while at < text.count, text[at].isWhitespace || text[at] == "," { at += 1 }
        guard at < text.count, text[at] != "#" else { return nil }
        var word = ""
        let startsQuoted = text[at] == "\""
        var isInside = false
        var wasQuote = false
        while at < text.count, isInside || !text[at].isWhitespace {
            let character = text[at]
            if !isInside, character == "#" { break }
            at += 1
            if !isInside, character == "," {
                return (AccessToken(text: word, isQuoted: startsQuoted), true)
            }
            if character != "\"" || wasQuote { word.append(character) }
            if isInside, character == "\"" { wasQuote.toggle() } else { wasQuote = false }
            if character == "\"" { isInside.toggle() }
        }
        return (AccessToken(text: word, isQuoted: startsQuoted), false)
    }
}

// MARK: Matching

/// Who asks for a connection over the unix socket.
struct SocketClient: Hashable, Sendable {
    var user: String
    var database: String
    /// Roles that the user is in, itself not among them.
    var memberships: Set<String>
}

/// What the rules say to a client.
enum AccessVerdict: Hashable, Sendable {
    /// No rule fits: refused.
    case unmatched
    /// This rule decides.
    case decided(AccessRule)
    /// This rule holds a regular expression that may fit.
    case uncertain(AccessRule)
}

extension AccessRules {
    func verdict(for client: SocketClient) -> AccessVerdict {
        for rule in rules where rule.kind == "local" {
            let database = Self.matches(rule.databases) { Self.database($0, client) }
            let user = Self.matches(rule.users) { Self.user($0, client) }
            guard let database, let user else {
                if database != false, user != false { return .uncertain(rule) }
                continue
            }
            if database, user { return .decided(rule) }
        }
        return .unmatched
    }

    /// nil: it depends on a regular expression.
    private static func matches(
        _ tokens: [AccessToken], _ one: (AccessToken) -> Bool?
    ) -> Bool? {
        let results = tokens.map(one)
        if results.contains(true) { return true }
        return results.contains(nil) ? nil : false
    }

    private static func database(_ token: AccessToken, _ client: SocketClient) -> Bool? {
        guard !token.isQuoted else { return token.text == client.database }
        switch token.text {
        case "all": return true
        case "sameuser": return client.user == client.database
        case "samerole", "samegroup":
            return client.user == client.database || client.memberships.contains(client.database)
        // Physical replication only.
        case "replication": return false
        case let text where text.hasPrefix("/"): return nil
        case let text: return text == client.database
        }
    }

    private static func user(_ token: AccessToken, _ client: SocketClient) -> Bool? {
        guard !token.isQuoted else { return token.text == client.user }
        switch token.text {
        case "all": return true
        case let text where text.hasPrefix("+"):
            let role = String(text.dropFirst())
            return role == client.user || client.memberships.contains(role)
        case let text where text.hasPrefix("/"): return nil
        case let text: return text == client.user
        }
    }

    /// Where a rule goes that must win for `verdict`'s client: before the line that decides, or after the last line for
    /// the socket, or at the end. Counted from 0.
    func insertionLine(_ verdict: AccessVerdict) -> Int {
        switch verdict {
        case .decided(let rule), .uncertain(let rule): rule.topLines.lowerBound
        case .unmatched: rules.last { $0.kind == "local" }?.topLines.upperBound ?? lineCount
        }
    }
}

extension AccessRule {
    /// It lets a system user in under its own name, without a password.
    var admitsBySystemUser: Bool {
        switch method {
        case "trust": true
        // "ident" for a socket has meant "peer" since 9.1.
        case "peer", "ident": !options.contains { $0.hasPrefix("map=") }
        default: false
        }
    }

    /// Where it stands and what it says, its options aside.
    var place: String { "line \(line) of \(file), `\(text)`" }
}

extension AccessRules {
    /// A user name as a rule takes it.
    static func quoted(_ name: String) -> String {
        let special: Set = ["all", "sameuser", "samerole", "samegroup", "replication"]
        return special.contains(name) ? "\"\(name)\"" : name
    }
}

extension StringProtocol {
    /// With one space where there are several.
    var words: String { split(whereSeparator: \.isWhitespace).joined(separator: " ") }
}
