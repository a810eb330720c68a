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
///
/// It does so as root in folders that belong to less privileged users, who could put a link in a file's place between two
/// calls. So a name is looked up once, no link at its end is followed, and the rest goes by the descriptor.
package protocol OwnedFileTree: WorldFileTree {
    func ownership(_ path: String) throws(FileError) -> FileOwnership
    /// Content and owner of one and the same regular file; what else is there is refused without waiting for it: ELOOP
    /// for a link, EINVAL for the rest, EFBIG past `bytesMax`.
    func contentsAndOwnership(
        _ path: String, bytesMax: Int
    ) throws(FileError) -> (bytes: [UInt8], ownership: FileOwnership)
    /// Makes a file that is durable in content, owner and mode, EEXIST where anything has its name. Of the mode only
    /// 0o777 counts: nothing that is written here runs as its owner.
    func create(
        _ path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError)
    /// Makes one folder, EEXIST where anything has its name.
    func makeFolder(_ path: String, _ ownership: FileOwnership) throws(FileError)
    /// The machine's user of that name; nil where there is none.
    func account(named name: String) -> UserAccount?
    /// The machine's user with that number; nil where there is none.
    func account(number: UInt32) -> UserAccount?
}

extension OwnedFileTree {
    package func contentsAndOwnership(
        _ path: String
    ) throws(FileError) -> (bytes: [UInt8], ownership: FileOwnership) {
        try contentsAndOwnership(path, bytesMax: 16 << 20)
    }

    /// Puts a file in the place of `path`, whole or not at all, and durably. What stood there is gone, a link too.
    package func replace(
        _ path: String, with bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) {
        try install(try createCandidate(for: path, bytes, ownership), as: path)
    }

    /// The first half of `replace`, for whoever has the new file looked at before it counts: its path, beside `path`.
    package func createCandidate(
        for path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) -> String {
        let candidate = path + ".petrel-new"
        // What an earlier run left when it was killed.
        try? remove(candidate)
        do throws(FileError) {
            try create(candidate, bytes, ownership)
        } catch {
            try? remove(candidate)
            throw error
        }
        return candidate
    }

    /// The second half of `replace`; where it fails the candidate is removed.
    package func install(_ candidate: String, as path: String) throws(FileError) {
        do throws(FileError) {
            try rename(candidate, to: path)
        } catch {
            try? remove(candidate)
            throw error
        }
        let folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        try synchronizeDirectory(
            folder.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : String(folder))
    }
}
