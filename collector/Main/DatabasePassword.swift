import Glibc
import Postgres
import Startup
import World
import WorldLive

/// Where `database.password_file` is: a path, or the name of a secret of the packaged unit.
enum DatabasePassword {
    /// Where the packaged unit's secrets are kept for `LoadCredential=`.
    static let secretsFolder = "/etc/petrel/secrets/collector"

    /// The password in the first line of the file; nil where none is named.
    static func read(_ named: String) throws -> PostgresPassword? {
        guard !named.isEmpty else { return nil }
        let files = LiveFileTree()
        let places = places(
            of: named, credentials: getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) })
        let path = places.first { (try? files.status($0)) != nil } ?? places[0]
        do throws(FileError) {
            let text = String(decoding: try files.contents(path, bytesMax: 4096), as: UTF8.self)
            let password = text.prefix { !$0.isNewline }
            guard !password.isEmpty else {
                throw FileError(operation: "read a password from", path: path, errno: ENODATA)
            }
            return PostgresPassword(String(password))
        } catch {
            throw StartError(
                "database.password_file: \(error.operation) \(error.path): "
                    + "\(LiveSurroundings().errorText(error.errno)); its first line is the password, "
                    + "and the collector's user must be able to read it")
        }
    }

    /// Where it is looked for, in order. Under systemd a secret's own file is root's, and its copy among the
    /// credentials is what can be read.
    static func places(of named: String, credentials: String?) -> [String] {
        let isInFolder = named.hasPrefix(secretsFolder + "/")
        guard !named.hasPrefix("/") || isInFolder else { return [named] }
        let name = isInFolder ? String(named.dropFirst(secretsFolder.count + 1)) : named
        let own = "\(secretsFolder)/\(name)"
        guard let credentials else { return [own] }
        return ["\(credentials)/secrets_\(name)", "\(credentials)/\(name)", own]
    }
}
