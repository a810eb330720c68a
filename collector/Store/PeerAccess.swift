/// A rule of pg_hba.conf as the server reads it (`pg_hba_file_rules`).
package struct HostBasedRule: Hashable, Sendable {
    package var line: Int
    /// `local`, `host`, `hostssl`, …
    package var type: String
    package var databases: [String]
    package var users: [String]
    /// `peer`, `scram-sha-256`, …
    package var method: String
    package var options: [String]

    package init(
        line: Int, type: String, databases: [String], users: [String], method: String,
        options: [String] = []
    ) {
        self.line = line
        self.type = type
        self.databases = databases
        self.users = users
        self.method = method
        self.options = options
    }
}

/// Whether a system user gets into a database over the socket by its name alone, and the line that lets it. Pure.
package struct PeerAccess: Hashable, Sendable {
    package var database: String
    /// Both the system user and the role.
    package var user: String

    package init(database: String, user: String) {
        self.database = database
        self.user = user
    }

    /// The line that `pg_hba.conf` needs.
    package var line: String {
        func field(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        return field("local", 8) + field(database, 16) + field(user, 24) + "peer"
    }

    /// Whether the first rule that matches lets the user in by peer authentication under its own name. A rule that can't
    /// be judged from outside (a regular expression, a group, a file of names) counts as in the way.
    package func isGranted(by rules: [HostBasedRule]) -> Bool {
        for rule in rules where rule.type == "local" {
            let database = matches(rule.databases, self.database, isDatabase: true)
            let user = matches(rule.users, self.user, isDatabase: false)
            if database == .no || user == .no { continue }
            let isPlainPeer =
                rule.method == "peer" && !rule.options.contains { $0.hasPrefix("map=") }
            return database == .yes && user == .yes && isPlainPeer
        }
        return false
    }

    private enum Match { case yes, no, unknown }

    private func matches(_ names: [String], _ wanted: String, isDatabase: Bool) -> Match {
        var match = Match.no
        for name in names {
            if name == "all" || name == wanted { return .yes }
            let isOpen = name.hasPrefix("/") || name.hasPrefix("+") || name.hasPrefix("@")
            if isOpen || isDatabase && ["sameuser", "samerole", "samegroup"].contains(name) {
                match = .unknown
            }
        }
        return match
    }

    /// `text` with the line before its first rule; nil where it is there already.
    package func inserted(into text: String) -> String? {
        let words = line.split(separator: " ")
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let isRule = { (line: String) in
            let first = line.first { !$0.isWhitespace }
            return first != nil && first != "#"
        }
        let first = lines.firstIndex(where: isRule) ?? max(0, lines.count - 1)
        if first < lines.count, lines[first].split(whereSeparator: \.isWhitespace) == words {
            return nil
        }
        lines.insert(
            contentsOf: [
                "# Petrel's collector reaches its own database by its system user's name.", line,
            ], at: first)
        return lines.joined(separator: "\n")
    }
}
