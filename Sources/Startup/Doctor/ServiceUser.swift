package import World

/// As whom a program's service runs on this machine.
package struct ServiceUser: Sendable {
    /// The packaged user, whose the program's own files must be; nil where it does not exist: the program is started by
    /// other means.
    package var account: UserAccount?
    /// What `systemctl show` says of the unit; nil where the host has no systemd.
    package var unit: [String: String]?
    private let current: UserAccount
    private let groups: [UInt32]
    private let files: any OwnedFileTree

    /// `packaged` is the user of the packaged unit, which has the name of the service.
    package init(
        packaged: String, files: any OwnedFileTree, probe: any HostProbe,
        programs: any ProgramRunner, surroundings: any Surroundings
    ) {
        self.files = files
        account = files.account(named: packaged)
        unit = nil
        if (try? files.status("/run/systemd/system")) != nil,
            let systemctl = programs.locate("systemctl"),
            let shown = try? programs.run(
                ProgramRun(
                    [
                        systemctl, "show", packaged, "--property",
                        "LoadState,ActiveState,UnitFileState,NRestarts,SupplementaryGroups",
                    ], deadlineSeconds: 10)), shown.status == 0
        {
            unit = HostChecks.properties(shown.output)
        }
        let caller =
            files.account(number: surroundings.userID)
            ?? UserAccount(name: "this user", user: surroundings.userID, group: .max)
        current = caller
        let named = (unit?["SupplementaryGroups"] ?? "").split(separator: " ").map(String.init)
        groups =
            probe.groups(of: account ?? caller) + (account == nil ? [] : Self.ids(of: named, files))
    }

    /// The user whose rights count: the service's, or who runs the check-up.
    package var reader: UserAccount { account ?? current }

    /// What that user may read.
    package var access: FileAccess {
        FileAccess(user: reader.user, groups: groups, files: files)
    }

    /// Numbers of groups, from `/etc/group`.
    private static func ids(of names: [String], _ files: any OwnedFileTree) -> [UInt32] {
        guard !names.isEmpty, let bytes = try? files.contents("/etc/group") else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let parts = line.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count >= 3, names.contains(String(parts[0])) else { return nil }
            return UInt32(parts[2])
        }
    }
}
