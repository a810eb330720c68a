import Glibc

/// A PostgreSQL cluster of this machine in Debian's layout: `/etc/postgresql/<version>/<name>/postgresql.conf`.
package struct SystemCluster: Hashable, Sendable {
    /// `17`, `9.6`.
    package var version: String
    package var name: String
    /// Folder of the unix socket.
    package var socketDirectory: String
    package var port: Int

    /// Folder of Debian's clusters.
    package static let standardRoot = "/etc/postgresql"
    static let standardSocketDirectory = "/var/run/postgresql"
    static let configurationBytesMax = 1 << 20
    /// Files of one included folder that are read, the first by name.
    static let includedFilesMax = 100

    /// A cluster with these facts.
    package init(version: String, name: String, socketDirectory: String, port: Int) {
        self.version = version
        self.name = name
        self.socketDirectory = socketDirectory
        self.port = port
    }

    /// `17/main`, as pg_lsclusters' first columns.
    package var title: String { "\(version)/\(name)" }
    /// The socket's path.
    package var socket: String { "\(socketDirectory)/.s.PGSQL.\(port)" }
    /// Whether the socket is there. A crashed server leaves it behind, so only a connection is proof.
    package var hasSocket: Bool {
        (SmallFile.status(socket)?.st_mode ?? 0) & S_IFMT == S_IFSOCK
    }

    /// Every cluster under `root`, by version (newest first) and name. What `postgresql.conf` includes by `include_dir`
    /// (Debian's `conf.d`) counts where it is included.
    package static func all(root: String = standardRoot) -> [SystemCluster] {
        var found: [SystemCluster] = []
        for version in SmallFile.list(root) where Double(version) != nil {
            for name in SmallFile.list("\(root)/\(version)") {
                let folder = "\(root)/\(version)/\(name)"
                guard
                    let text = SmallFile.read(
                        "\(folder)/postgresql.conf", bytesMax: configurationBytesMax)
                else { continue }
                found.append(
                    SystemCluster(
                        version: version, name: name, configuration: whole(text, in: folder)))
            }
        }
        return found.sorted { a, b in
            let (left, right) = (Double(a.version) ?? 0, Double(b.version) ?? 0)
            return left != right ? left > right : a.name < b.name
        }
    }

    /// `text` with the files of its included folders in their places. A folder that they include in turn is not read.
    /// Source: PostgreSQL 17 GetConfFilesInDir (names end in `.conf` and begin with no dot, in the order of their bytes).
    private static func whole(_ text: String, in folder: String) -> String {
        text.split(whereSeparator: \.isNewline).map { line in
            guard let (key, value) = setting(line), key == "include_dir" else {
                return String(line)
            }
            let included = value.hasPrefix("/") ? value : "\(folder)/\(value)"
            let names = SmallFile.list(included)
                .filter { $0.hasSuffix(".conf") && !$0.hasPrefix(".") }
                .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            return names.prefix(includedFilesMax).compactMap {
                SmallFile.read("\(included)/\($0)", bytesMax: configurationBytesMax)
            }.joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// The cluster that a `postgresql.conf` describes; the last assignment of a name counts.
    package init(version: String, name: String, configuration: String) {
        var settings: [String: String] = [:]
        for line in configuration.split(whereSeparator: \.isNewline) {
            guard let (key, value) = Self.setting(line) else { continue }
            settings[key] = value
        }
        let folders = settings["unix_socket_directories"] ?? Self.standardSocketDirectory
        let first = folders.split(separator: ",").first.map { String(Self.trimmed($0)) }
        self.init(
            version: version, name: name,
            socketDirectory: first ?? Self.standardSocketDirectory,
            port: settings["port"].flatMap { Int($0) } ?? 5432)
    }

    /// `name = value`, `name value`, `name = 'quoted'`, with a comment behind it; nil for anything else.
    private static func setting(_ line: Substring) -> (String, String)? {
        let text = trimmed(line)
        let key = text.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
        guard !key.isEmpty else { return nil }
        var rest = trimmed(text.dropFirst(key.count))
        if rest.first == "=" { rest = trimmed(rest.dropFirst()) }
        guard rest.first == "'" else {
            return (key.lowercased(), String(rest.prefix { !$0.isWhitespace && $0 != "#" }))
        }
        var value = ""
        var characters = rest.dropFirst()
        while let character = characters.popFirst() {
            if character == "'" {
                guard characters.first == "'" else { break }
                characters = characters.dropFirst()
            }
            value.append(character)
        }
        return (key.lowercased(), value)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        let start = text.drop(while: \.isWhitespace)
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return start[...end]
    }
}
