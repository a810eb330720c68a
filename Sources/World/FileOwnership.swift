/// Whose a file is and what may be done with it.
package struct FileOwnership: Hashable, Sendable {
    /// User id.
    package var user: UInt32
    /// Group id.
    package var group: UInt32
    /// Permission bits, 0…0o7777.
    package var mode: UInt32

    package init(user: UInt32, group: UInt32, mode: UInt32) {
        self.user = user
        self.group = group
        self.mode = mode
    }
}

/// A user of this machine.
package struct UserAccount: Hashable, Sendable {
    package var name: String
    package var user: UInt32
    /// The user's own group.
    package var group: UInt32

    package init(name: String, user: UInt32, group: UInt32) {
        self.name = name
        self.user = user
        self.group = group
    }
}

/// Files that have owners: what a program needs that edits other programs' configuration.
package protocol OwnedFileTree: WorldFileTree {
    func ownership(_ path: String) throws(FileError) -> FileOwnership
    /// Owner first, then mode: a change of owner clears set-user-id bits.
    func setOwnership(_ path: String, _ ownership: FileOwnership) throws(FileError)
    /// The machine's user of that name; nil where there is none.
    func account(named name: String) -> UserAccount?
    /// The machine's user with that number; nil where there is none.
    func account(number: UInt32) -> UserAccount?
}
