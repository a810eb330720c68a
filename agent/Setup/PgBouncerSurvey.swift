import World

/// `pgbouncer.ini` with its includes: sections, keys, and where each stands.
struct IniDocument: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        var section: String
        var key: String
        var value: String
        /// Path and line, counted from 0.
        var file: String
        var line: Int
    }

    /// The file that was asked for.
    var path: String
    var entries: [Entry]
    /// Every file that was read, by path.
    var files: [String: ConfigurationFile]
    /// The line of `[section]` in `path`, counted from 0, where it has one.
    var sections: [String: Int]

    /// How deep files may include one another. Source: libusual cfparser CF_MAX_NESTED.
    static let depthMax = 10

    static func read(_ path: String, _ host: SetupHost) throws(SetupError) -> IniDocument {
        var document = IniDocument(path: host.resolve(path), entries: [], files: [:], sections: [:])
        var section = ""
        try document.add(path, section: &section, depth: 1, host)
        return document
    }

    private mutating func add(
        _ path: String, section: inout String, depth: Int, _ host: SetupHost
    ) throws(SetupError) {
        guard depth <= Self.depthMax else {
            throw .includesTooDeep(path: path, limit: Self.depthMax)
        }
        let file = try host.read(path)
        files[file.path] = file
        for (line, raw) in file.lines.texts.enumerated() {
            let text = raw.trimmed
            if text.isEmpty || text.hasPrefix(";") || text.hasPrefix("#") { continue }
            if text.hasPrefix("%include ") {
                let target = PathText.joined(
                    text.dropFirst(9).trimmed, from: PathText.folder(of: file.path))
                if host.exists(target) {
                    try add(target, section: &section, depth: depth + 1, host)
                }
            } else if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
                section = String(text[text.index(after: text.startIndex)..<end]).trimmed
                if file.path == self.path { sections[section] = line }
            } else if let equals = text.firstIndex(of: "=") {
                entries.append(
                    Entry(
                        section: section, key: text[..<equals].trimmed,
                        value: text[text.index(after: equals)...].trimmed, file: file.path,
                        line: line))
            }
        }
    }

    /// The entry that holds: the last one.
    func entry(_ key: String) -> Entry? {
        entries.last { $0.section == "pgbouncer" && $0.key == key }
    }

    func value(_ key: String) -> String? { entry(key)?.value }
}

/// The entries of `auth_file`, `"user" "password"` a line.
struct UserList: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        var user: String
        var password: String
        /// Counted from 0.
        var line: Int
    }

    var entries: [Entry]

    init(_ lines: TextLines) {
        entries = lines.texts.enumerated().compactMap { line, text in
            var rest = text.trimmed[...]
            guard let user = Self.quoted(&rest) else { return nil }
            rest = rest.drop { $0.isWhitespace }
            return Entry(user: user, password: Self.quoted(&rest) ?? "", line: line)
        }
    }

    /// A text in double quotes, in which a quote is written twice.
    private static func quoted(_ rest: inout Substring) -> String? {
        guard rest.first == "\"" else { return nil }
        rest = rest.dropFirst()
        var text = ""
        while let character = rest.popFirst() {
            if character == "\"" {
                guard rest.first == "\"" else { return text }
                rest = rest.dropFirst()
            }
            text.append(character)
        }
        return nil
    }
}

/// All that is looked at before PgBouncer is set up.
struct PgBouncerFacts: Hashable, Sendable {
    enum Running: Hashable, Sendable {
        /// systemd's unit.
        case unit(String, systemctl: String)
        /// A process by its number.
        case process(String, kill: String)
        case no
    }

    var document: IniDocument
    /// `auth_file`, or what it is to become.
    var listPath: String
    /// nil: it does not exist.
    var userList: ConfigurationFile?
    /// `auth_hba_file`, where `auth_type` is `hba`; nil: not set or missing.
    var rules: AccessRules?
    var rulesFile: ConfigurationFile?
    /// Of the configuration.
    var ownership: FileOwnership
    /// Where the agent's password is.
    var secretPath: String
    /// The agent's password as stored; nil: none yet.
    var stored: StoredSecret?
    /// Used where none is stored.
    var newPassword: String
    var salt: [UInt8]
    var running: Running
    /// `psql`, alone and as the agent's user; nil where it is not installed.
    var psql: String?
    var psqlAsAgent: [String]?
    var agentUser: String
    var agent: UserAccount?
}

extension PgBouncerFacts {
    static let standardPath = "/etc/pgbouncer/pgbouncer.ini"

    static func survey(_ path: String?, _ host: SetupHost) throws(SetupError) -> PgBouncerFacts {
        let path = path ?? standardPath
        guard host.exists(path) else {
            throw .notFound(
                service: "PgBouncer", places: [path],
                remedy: "apt install pgbouncer, or name the file with --config")
        }
        let document = try IniDocument.read(path, host)
        // Not userlist.txt: a list that somebody switched off must not come back with its users.
        let ownList = PathText.folder(of: document.path) + "/petrel-userlist.txt"
        let set = document.value("auth_file").flatMap { $0.isEmpty ? nil : $0 }
        let listPath = set ?? ownList
        let userList = host.exists(listPath) ? try host.read(listPath) : nil
        var rules: AccessRules?
        var rulesFile: ConfigurationFile?
        if document.value("auth_type") == "hba", let file = document.value("auth_hba_file"),
            host.exists(file)
        {
            rules = try AccessRules.read(file, host)
            rulesFile = try host.read(file)
        }
        guard let own = document.files[document.path] else {
            throw .unreadable(FileError(operation: "read", path: document.path, errno: 2))
        }
        let secretPath = host.secretsFolder + "/pgbouncer"
        let psql = host.programs.locate("psql")
        let prefix = host.prefix(runningAs: host.agentUser)
        return PgBouncerFacts(
            document: document, listPath: listPath, userList: userList, rules: rules,
            rulesFile: rulesFile, ownership: own.ownership, secretPath: secretPath,
            stored: host.secret(secretPath),
            newPassword: host.newPassword(),
            salt: host.random.bytes(count: ScramVerifier.saltBytes),
            running: running(document, path, host), psql: psql,
            psqlAsAgent: psql.flatMap { tool in prefix.map { $0 + [tool] } },
            agentUser: host.agentUser, agent: host.files.account(named: host.agentUser))
    }

    private static func running(
        _ document: IniDocument, _ path: String, _ host: SetupHost
    ) -> Running {
        if path == standardPath, let unit = host.activeUnit(["pgbouncer.service"]),
            let systemctl = host.programs.locate("systemctl")
        {
            return .unit(unit, systemctl: systemctl)
        }
        if let pidFile = document.value("pidfile"), let kill = host.programs.locate("kill"),
            let process = host.process(pidFile: pidFile, names: ["pgbouncer"])
        {
            return .process(process, kill: kill)
        }
        return .no
    }
}
