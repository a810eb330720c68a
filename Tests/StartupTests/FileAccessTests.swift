import Startup
import Testing
import World

/// Files that are nothing but their permissions, users, and room by folder.
struct PermissionTree: OwnedFileTree {
    var entries: [String: FileOwnership]
    var accounts: [UserAccount] = []
    var free: [String: Int64] = [:]

    func ownership(_ path: String) throws(FileError) -> FileOwnership {
        guard let found = entries[path] else { throw no(path) }
        return found
    }
    func contentsAndOwnership(
        _ path: String, bytesMax: Int
    ) throws(FileError) -> (bytes: [UInt8], ownership: FileOwnership) { throw no(path) }
    func create(
        _ path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) { throw no(path) }
    func makeFolder(_ path: String, _ ownership: FileOwnership) throws(FileError) {
        throw no(path)
    }
    func account(named name: String) -> UserAccount? { accounts.first { $0.name == name } }
    func account(number: UInt32) -> UserAccount? { nil }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        throw no(path)
    }
    func list(_ path: String) throws(FileError) -> [String] { throw no(path) }
    func status(_ path: String) throws(FileError) -> FileStatus {
        guard entries[path] != nil else { throw no(path) }
        return FileStatus(
            identity: FileIdentity(device: 1, inode: 1), size: 0, isDirectory: false)
    }
    func rename(_ from: String, to: String) throws(FileError) { throw no(from) }
    func remove(_ path: String) throws(FileError) { throw no(path) }
    func makeDirectory(_ path: String) throws(FileError) { throw no(path) }
    func synchronizeDirectory(_ path: String) throws(FileError) { throw no(path) }
    func readLink(_ path: String) throws(FileError) -> String { throw no(path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 {
        guard let bytes = free[path] else { throw no(path) }
        return bytes
    }

    private func no(_ path: String) -> FileError {
        FileError(operation: "stat", path: path, errno: 2)
    }
}

@Suite("Reading by permission bits")
struct FileAccessTests {
    /// Mode of the folder, of the file, owner and group of both, and what user 7 of groups 7 and 4 may do.
    @Test(
        "user, group, others; the folder's search bit",
        arguments: [
            (0o755, 0o644, 0, 0, "readable"), (0o755, 0o640, 0, 0, "denied /log/a"),
            (0o755, 0o640, 0, 4, "readable"), (0o750, 0o644, 0, 0, "denied /log"),
            (0o710, 0o644, 0, 4, "readable"), (0o755, 0o600, 7, 0, "readable"),
            (0o755, 0o044, 7, 4, "denied /log/a"), (0o755, 0o604, 0, 4, "denied /log/a"),
        ] as [(UInt32, UInt32, UInt32, UInt32, String)])
    func bits(folder: UInt32, file: UInt32, user: UInt32, group: UInt32, expected: String) {
        let tree = PermissionTree(entries: [
            "/log": FileOwnership(user: user, group: group, mode: folder),
            "/log/a": FileOwnership(user: user, group: group, mode: file),
        ])
        let verdict = FileAccess(user: 7, groups: [7, 4], files: tree).verdict("/log/a")
        switch verdict {
        case .readable: #expect(expected == "readable")
        case .denied(let path, _): #expect(expected == "denied \(path)")
        case .absent, .unknown: Issue.record("\(verdict)")
        }
        #expect(FileAccess(user: 0, groups: [], files: tree).verdict("/log/a") == .readable)
    }

    @Test("what is not there is said to be absent, and is a warning")
    func absent() {
        let tree = PermissionTree(entries: [
            "/log": FileOwnership(user: 0, group: 0, mode: 0o755)
        ])
        let access = FileAccess(user: 7, groups: [], files: tree)
        #expect(access.verdict("/log/a") == .absent(path: "/log/a"))
        #expect(access.logFile("/log/a", reader: "agent", isRead: nil).verdict == .warn)
    }

    /// What the running agent says of the file, the verdict and a part of what is said.
    @Test(
        "a denied log file names the line that helps, where the running agent does not read it",
        arguments: [
            (nil, "warn", "unless an access control list lets it in"),
            (false, "warn", "unless an access control list lets it in"),
            (true, "ok", "is read by the running agent"),
        ] as [(Bool?, String, String)])
    func denied(isRead: Bool?, verdict: String, text: String) {
        let tree = PermissionTree(entries: [
            "/log": FileOwnership(user: 0, group: 0, mode: 0o700),
            "/log/a": FileOwnership(user: 0, group: 0, mode: 0o644),
        ])
        let result = FileAccess(user: 7, groups: [], files: tree)
            .logFile("/log/a", reader: "petrel-agent", isRead: isRead)
        #expect("\(result.verdict)" == verdict)
        #expect(result.found.contains(text))
        #expect(
            result.remedy.contains("setfacl -m u:petrel-agent:x /log") == (result.verdict == .warn))
    }

    @Test("what the agent says of a log file that is there changes nothing where bits allow it")
    func readable() {
        let tree = PermissionTree(entries: [
            "/a": FileOwnership(user: 0, group: 0, mode: 0o644)
        ])
        let access = FileAccess(user: 7, groups: [], files: tree)
        for isRead in [nil, true, false] {
            #expect(access.logFile("/a", reader: "agent", isRead: isRead).verdict == .ok)
        }
    }
}
