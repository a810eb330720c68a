import Model
import World

/// Accounts and the agent's own files.
enum PostureAccountChecks {
    static func look(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let accounts = host.bytes("/etc/passwd")
        uidZero(accounts, &findings)
        members(host, accounts ?? [], &findings)
        ownFiles(host, &findings)
    }

    private static func fields(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    }

    /// Names stay on the host; their number is told.
    private static func uidZero(_ accounts: [UInt8]?, _ findings: inout PostureFindings) {
        guard let accounts else {
            findings.unknown(.accountsUIDZero, "/etc/passwd can't be read")
            return
        }
        var (others, hasRoot) = (0, false)
        ProcText.forEachLine(accounts) { line in
            let fields = fields(line)
            guard fields.count > 2, ProcText.unsigned(fields[2]) == 0 else { return }
            if ProcText.equals(fields[0], "root") { hasRoot = true } else { others += 1 }
        }
        guard hasRoot || others > 0 else {
            findings.unknown(.accountsUIDZero, "/etc/passwd has no account with UID 0")
            return
        }
        findings.set(
            .accountsUIDZero, others == 0,
            others == 0 ? "root alone" : "\(others) beside root")
    }

    /// How many accounts can become root through a group, by `group(5)` and the accounts' first group. Not judged.
    private static func members(
        _ host: CheckedHost, _ accounts: [UInt8], _ findings: inout PostureFindings
    ) {
        guard let bytes = host.bytes("/etc/group") else { return }
        ProcText.forEachLine(bytes) { line in
            let group = fields(line)
            guard group.count > 3 else { return }
            let name = ProcText.string(group[0])
            guard ["sudo", "docker"].contains(name) else { return }
            var names = Set(group[3].split(separator: UInt8(ascii: ",")))
            ProcText.forEachLine(accounts) { line in
                let account = fields(line)
                if account.count > 3, account[3] == group[2] { names.insert(account[0]) }
            }
            findings.note(name + "_group_members", String(names.count))
        }
    }

    /// The state folder, the identity in it and its private key.
    private static let ownNames = ["", "/identity", "/identity/key.pem"]

    private static func ownFiles(_ host: CheckedHost, _ findings: inout PostureFindings) {
        var open: [String] = []
        var seen = 0
        for name in ownNames {
            // An agent that has not joined has no identity yet.
            guard let mode = host.modes.mode(of: host.stateFolder + name) else { continue }
            seen += 1
            if mode & 0o077 != 0 { open.append("\(name.isEmpty ? "/" : name) \(octal(mode))") }
        }
        guard seen > 0 else {
            findings.unknown(.agentKeyModes, "\(host.stateFolder) is not there")
            return
        }
        findings.set(
            .agentKeyModes, open.isEmpty,
            open.isEmpty ? "nothing for group and others" : open.joined(separator: ", "))
    }

    private static func octal(_ mode: UInt32) -> String {
        let text = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - text.count)) + text
    }
}
