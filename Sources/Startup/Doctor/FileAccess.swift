package import World

/// Whether a user may read a file by the permission bits of the file and of every folder above it. Access control lists
/// are not looked at: they can only be asked by opening as that user. So what is denied here may be allowed after all.
package struct FileAccess: Sendable {
    package enum Verdict: Hashable, Sendable {
        case readable
        /// The file or a folder above it does not exist.
        case absent(path: String)
        /// This path keeps the user out, unless an access control list lets it in.
        case denied(path: String, FileOwnership)
        /// The path can't be looked at by who asks.
        case unknown(FileError)
    }

    private let user: UInt32
    private let groups: Set<UInt32>
    private let files: any OwnedFileTree

    package init(user: UInt32, groups: [UInt32], files: any OwnedFileTree) {
        self.user = user
        self.groups = Set(groups)
        self.files = files
    }

    /// `path` is absolute.
    package func verdict(_ path: String) -> Verdict {
        var ancestor = ""
        let parts = path.split(separator: "/")
        for part in parts.dropLast() {
            ancestor += "/" + part
            if let problem = problem(ancestor, bits: 0o1) { return problem }
        }
        return problem(path, bits: 0o4) ?? .readable
    }

    private func problem(_ path: String, bits: UInt32) -> Verdict? {
        let facts: FileOwnership
        do throws(FileError) {
            facts = try files.ownership(path)
        } catch {
            return error.errno == 2 ? .absent(path: path) : .unknown(error)
        }
        if user == 0 { return nil }
        let shift: UInt32 = facts.user == user ? 6 : groups.contains(facts.group) ? 3 : 0
        return (facts.mode >> shift) & bits == bits ? nil : .denied(path: path, facts)
    }

    /// `verdict` of a log file as a result of the agent's check-up. `isRead`: what the running agent says of it, which
    /// counts more than bits; nil where it says nothing.
    package func logFile(_ path: String, reader: String, isRead: Bool?) -> CheckResult {
        let name = "log file"
        switch verdict(path) {
        case .denied where isRead == true, .unknown where isRead == true:
            return .ok(name, "\(path) is read by the running agent")
        case .readable: return .ok(name, "\(path) is readable for \(reader)")
        case .absent(let missing):
            return .warn(
                name, "\(path): \(missing) does not exist; it is read as soon as it does",
                remedy: "ls -l \(path)   # or take it out of logs.files in agent.yaml")
        case .denied(let place, let facts):
            let mode = HostChecks.octal(facts.mode)
            let bits = place == path ? "r" : "x"
            return .warn(
                name,
                "\(path): by its mode \(mode) \(place) keeps \(reader) out, unless an access control "
                    + "list lets it in",
                remedy: "sudo setfacl -m u:\(reader):\(bits) \(place)"
                    + "   # or add \(reader) to the file's group")
        case .unknown(let error):
            return .warn(name, "\(path): \(error)", remedy: "run this with sudo")
        }
    }
}
