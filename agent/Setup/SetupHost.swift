package import World

/// The machine that is set up, through protocols, and for whom.
package struct SetupHost: Sendable {
    package var files: any OwnedFileTree
    package var programs: any ProgramRunner
    package var services: any LocalServices
    package var random: any RandomSource
    package var clock: any WorldClock
    /// This process may write and become other users.
    package var isRoot: Bool
    /// The agent's system user, and its name in the services.
    package var agentUser: String

    /// Folder of the agent's passwords.
    package var secretsFolder = "/etc/petrel/secrets"

    /// What marks a line that was added.
    package static let mark = "# Added by 'petrel-agent setup': "

    package init(
        files: any OwnedFileTree, programs: any ProgramRunner, services: any LocalServices,
        random: any RandomSource, clock: any WorldClock, isRoot: Bool,
        agentUser: String = "petrel-agent"
    ) {
        self.files = files
        self.programs = programs
        self.services = services
        self.random = random
        self.clock = clock
        self.isRoot = isRoot
        self.agentUser = agentUser
    }
}

/// A configuration file as it was read.
struct ConfigurationFile: Hashable, Sendable {
    /// Where it really is.
    var path: String
    var lines: TextLines
    var bytes: [UInt8]
    var ownership: FileOwnership
}

extension SetupHost {
    /// Links that are followed to a file.
    private static let linksMax = 16
    /// Bytes of one configuration file.
    private static let fileBytesMax = 4 << 20

    func read(_ path: String) throws(SetupError) -> ConfigurationFile {
        let place = resolve(path)
        do throws(FileError) {
            let found = try files.contentsAndOwnership(place, bytesMax: Self.fileBytesMax)
            return ConfigurationFile(
                path: place, lines: TextLines(found.bytes), bytes: found.bytes,
                ownership: found.ownership)
        } catch { throw .unreadable(error) }
    }

    /// False only where there certainly is none: what this user may not look at is there until somebody has looked.
    func exists(_ path: String) -> Bool {
        do throws(FileError) {
            _ = try files.status(path)
            return true
        } catch { return ![2, 20].contains(error.errno) }
    }

    /// The file that a path of links ends at.
    func resolve(_ path: String) -> String {
        var place = path
        for _ in 0..<Self.linksMax {
            guard let target = try? files.readLink(place) else { return place }
            place = PathText.joined(target, from: PathText.folder(of: place))
        }
        return place
    }

    /// The first line of a small file, spaces around it aside.
    func firstLine(_ path: String) -> String? { small(path)?.firstLine }

    /// The agent's password in `path`; nil: none yet.
    func secret(_ path: String) -> StoredSecret? {
        guard let (line, ownership) = small(path), !line.isEmpty else { return nil }
        let agent = files.account(named: agentUser)
        return StoredSecret(
            value: line,
            isAgentsAlone: ownership.user == agent?.user && ownership.mode & 0o077 == 0)
    }

    private func small(_ path: String) -> (firstLine: String, ownership: FileOwnership)? {
        guard
            let found = try? files.contentsAndOwnership(resolve(path), bytesMax: 64 * 1024),
            let line = String(decoding: found.bytes, as: UTF8.self).split(separator: "\n").first
        else { return nil }
        return (String(line).trimmed, found.ownership)
    }

    func run(_ run: ProgramRun) throws(SetupError) -> ProgramOutcome {
        do throws(ProgramError) { return try programs.run(run) } catch { throw .program(error) }
    }

    /// systemd is PID 1 here.
    var hasSystemd: Bool { exists("/run/systemd/system") }

    /// The first of `units` that systemd says is active.
    func activeUnit(_ units: [String]) -> String? {
        guard hasSystemd, let systemctl = programs.locate("systemctl") else { return nil }
        return units.first { unit in
            let outcome = try? programs.run(
                ProgramRun([systemctl, "is-active", "--quiet", unit], deadlineSeconds: 10))
            return outcome?.status == 0
        }
    }

    /// The process whose number stands in `pidFile`, where it runs and is called one of `names`.
    func process(pidFile: String, names: Set<String>) -> String? {
        guard let text = firstLine(pidFile), let number = Int(text), number > 1,
            let name = firstLine("/proc/\(number)/comm"), names.contains(name)
        else { return nil }
        return text
    }

    /// The arguments that run a program as another user; none needed for oneself.
    func prefix(runningAs user: String) -> [String]? {
        guard let runuser = programs.locate("runuser") else { return nil }
        return [runuser, "-u", user, "--"]
    }

    /// A password of 192 random bits, in letters, digits, `-` and `_`.
    func newPassword() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        return String(random.bytes(count: 32).map { alphabet[Int($0 & 63)] })
    }
}

/// A password that an earlier run stored.
struct StoredSecret: Hashable, Sendable {
    var value: String
    /// It belongs to the agent's user, and nobody else may read it.
    var isAgentsAlone: Bool
}

/// Paths as text.
enum PathText {
    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// `path` itself where it is absolute, else inside `folder`.
    static func joined(_ path: String, from folder: String) -> String {
        if path.hasPrefix("/") { return path }
        return folder == "/" ? "/" + path : folder + "/" + path
    }
}

extension StringProtocol {
    /// Without the spaces, tabs and line ends around it.
    var trimmed: String {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return String(text)
    }
}
