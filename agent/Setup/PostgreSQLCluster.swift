import World

/// A PostgreSQL cluster as Debian keeps it, `/etc/postgresql/<version>/<name>/`, and what its files say.
struct PostgreSQLCluster: Hashable, Sendable {
    var version: String
    var name: String
    /// Folder of `postgresql.conf`.
    var folder: String
    var settings: [String: String]

    static let root = "/etc/postgresql"

    var label: String { version + "/" + name }
    var port: String { settings["port"] ?? "5432" }
    var dataDirectory: String { settings["data_directory"] ?? folder }
    var rulesFile: String { settings["hba_file"] ?? dataDirectory + "/pg_hba.conf" }

    /// The first folder of sockets; nil where the server has none. `@` names, outside the file system, are passed over.
    var socketFolder: String? {
        let text = settings["unix_socket_directories"] ?? "/var/run/postgresql"
        return text.split(separator: ",").map { $0.trimmed }.first { $0.hasPrefix("/") }
    }

    /// Every cluster of this machine, by version and name.
    static func all(_ host: SetupHost) throws(SetupError) -> [PostgreSQLCluster] {
        var found: [PostgreSQLCluster] = []
        for version in ((try? host.files.list(root)) ?? []).sorted() {
            for name in ((try? host.files.list(root + "/" + version)) ?? []).sorted() {
                let folder = root + "/" + version + "/" + name
                guard host.exists(folder + "/postgresql.conf") else { continue }
                found.append(
                    PostgreSQLCluster(
                        version: version, name: name, folder: folder,
                        settings: try settings(folder, host)))
            }
        }
        return found
    }

    /// `postgresql.conf` with its includes, then `postgresql.auto.conf`; the last setting wins.
    private static func settings(
        _ folder: String, _ host: SetupHost
    ) throws(SetupError) -> [String: String] {
        var settings: [String: String] = [:]
        try read(folder + "/postgresql.conf", into: &settings, depth: 1, host)
        if let data = settings["data_directory"],
            let bytes = try? host.files.contents(data + "/postgresql.auto.conf")
        {
            for text in TextLines(bytes).texts {
                if let (key, value) = setting(text) { settings[key] = value }
            }
        }
        return settings
    }

    private static func read(
        _ path: String, into settings: inout [String: String], depth: Int, _ host: SetupHost
    ) throws(SetupError) {
        guard depth <= AccessRules.depthMax else {
            throw .includesTooDeep(path: path, limit: AccessRules.depthMax)
        }
        let file = try host.read(path)
        // Relative to the path as it is named, as the server has it.
        let folder = PathText.folder(of: path)
        for text in file.lines.texts {
            guard let (key, value) = setting(text) else { continue }
            let target = PathText.joined(value, from: folder)
            switch key {
            case "include", "include_if_exists":
                guard host.exists(target) else { continue }
                try read(target, into: &settings, depth: depth + 1, host)
            case "include_dir":
                for name in ((try? host.files.list(target)) ?? []).sorted()
                where name.hasSuffix(".conf") && !name.hasPrefix(".") {
                    try read(target + "/" + name, into: &settings, depth: depth + 1, host)
                }
            default: settings[key] = value
            }
        }
    }

    /// `name = value`, `name value`, `name 'it''s'`, with a comment after it.
    static func setting(_ line: String) -> (String, String)? {
        var rest = line.trimmed[...]
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }
        guard !name.isEmpty else { return nil }
        rest = rest.dropFirst(name.count).drop { $0.isWhitespace }
        if rest.first == "=" { rest = rest.dropFirst().drop { $0.isWhitespace } }
        guard rest.first == "'" else {
            let value = rest.prefix { !$0.isWhitespace && $0 != "#" }
            return value.isEmpty ? nil : (name.lowercased(), String(value))
        }
        rest = rest.dropFirst()
        var value = ""
        while let character = rest.popFirst() {
            if character == "'" {
                guard rest.first == "'" else { return (name.lowercased(), value) }
                rest = rest.dropFirst()
            } else if character == "\\", let next = rest.first {
                rest = rest.dropFirst()
                value.append(next)
                continue
            }
            value.append(character)
        }
        return nil
    }
}
