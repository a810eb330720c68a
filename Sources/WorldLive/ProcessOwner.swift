import Glibc
package import World

/// The user that this process works as. Root that works on another user's folder becomes that user, so that what it
/// leaves there can be read by the program whose folder it is.
package enum ProcessOwner {
    /// Whether this process is root.
    package static var isRoot: Bool { geteuid() == 0 }

    /// Becomes the owner of `folder` for good where this process is root and the folder another user's; nil where
    /// nothing changed. Throws `file` where the folder is missing or the change fails.
    @discardableResult
    package static func become(ownerOf folder: String) throws(FileError) -> UserAccount? {
        let files = LiveFileTree()
        let owner = try files.ownership(folder)
        guard isRoot, owner.user != 0 else { return nil }
        let account =
            files.account(number: owner.user)
            ?? UserAccount(name: "", user: owner.user, group: owner.group)
        try become(account)
        return account
    }

    /// Becomes the owner of a program's state folder for good where this process is root. Where the folder is missing and
    /// the packaged program's, it is made for `user` first, where that user exists. `entrusted` are folders whose files
    /// root may have left there: they are given to the owner.
    package static func become(
        ownerOfState folder: String, packagedAt packaged: String, for user: String,
        entrusted: [String] = []
    ) throws(FileError) {
        guard isRoot else { return }
        let files = LiveFileTree()
        if (try? files.status(folder)) == nil {
            // The packaged unit has not been started yet, or this program is no packaged one.
            guard folder == packaged, let account = files.account(named: user) else { return }
            try makeFolder(folder, for: account)
        }
        let owner = try files.ownership(folder)
        if owner.user != 0 {
            let account = UserAccount(name: "", user: owner.user, group: owner.group)
            for folder in entrusted { try give(folder, to: account) }
        }
        try become(ownerOf: folder)
    }

    /// Becomes `account` for good, with its groups; an account without a name has its own group alone.
    package static func become(_ account: UserAccount) throws(FileError) {
        guard geteuid() != account.user else { return }
        let groups =
            account.name.isEmpty
            ? setgroups(1, [account.group]) : initgroups(account.name, account.group)
        guard groups == 0, setgid(account.group) == 0, setuid(account.user) == 0 else {
            throw FileError(operation: "become user", path: account.name, errno: errno)
        }
    }

    /// Makes `folder` (mode 0700, missing parents 0755) and gives it to `account`.
    package static func makeFolder(
        _ folder: String, for account: UserAccount
    ) throws(FileError) {
        var made = ""
        let parts = folder.split(separator: "/")
        for (index, part) in parts.enumerated() {
            made += "/" + part
            let isLast = index == parts.count - 1
            if mkdir(made, isLast ? 0o700 : 0o755) != 0, errno != EEXIST {
                throw FileError(operation: "mkdir", path: made, errno: errno)
            }
        }
        guard chown(folder, account.user, account.group) == 0 else {
            throw FileError(operation: "chown", path: folder, errno: errno)
        }
    }

    /// Gives `folder` and the files in it to `account` where they are root's. Only root's own folder is entered, and no
    /// link is followed: its owner-to-be can have put nothing there.
    package static func give(_ folder: String, to account: UserAccount) throws(FileError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT else {
                throw FileError(operation: "open", path: folder, errno: errno)
            }
            return
        }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_uid == 0 else { return }
        for name in try LiveFileTree().list(folder) {
            let file = openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard file >= 0 else { continue }
            defer { close(file) }
            guard fstat(file, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG,
                facts.st_uid == 0, facts.st_nlink == 1
            else { continue }
            guard fchown(file, account.user, account.group) == 0 else {
                throw FileError(operation: "chown", path: "\(folder)/\(name)", errno: errno)
            }
        }
        guard fchown(descriptor, account.user, account.group) == 0 else {
            throw FileError(operation: "chown", path: folder, errno: errno)
        }
    }
}
