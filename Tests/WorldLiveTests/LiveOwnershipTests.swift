import Glibc
import Testing
import World
import WorldLive

/// What a service's user may have put into its folder by the time root writes there.
@Suite("files with owners, in folders of others")
struct LiveOwnershipTests {
    private let files = LiveFileTree()
    private let mine = FileOwnership(user: geteuid(), group: getegid(), mode: 0o640)

    /// Runs with a folder that is removed afterwards, and the path of a file outside of what is looked at.
    private func inFolder(_ body: (_ folder: String, _ victim: String) throws -> Void) throws {
        let folder = "/tmp/petrel-owner-\(LiveRandom().next())"
        try files.makeDirectory(folder)
        defer {
            for name in (try? files.list(folder)) ?? [] {
                try? files.remove(folder + "/" + name)
                rmdir(folder + "/" + name)
            }
            rmdir(folder)
        }
        let victim = folder + "/victim"
        try files.create(
            victim, Array("keep".utf8),
            FileOwnership(user: mine.user, group: mine.group, mode: 0o600))
        try body(folder, victim)
        #expect(String(decoding: try files.contents(victim), as: UTF8.self) == "keep")
        #expect(try files.ownership(victim).mode == 0o600)
    }

    private func expect(_ folder: String, holds names: [String]) throws {
        #expect(try files.list(folder).sorted() == names)
    }

    private func expect(_ path: String, has ownership: FileOwnership) throws {
        #expect(try files.contentsAndOwnership(path).ownership == ownership)
    }

    @Test("a link where the file is to be made is not followed")
    func createThroughLink() throws {
        try inFolder { folder, victim in
            symlink(victim, folder + "/new")
            symlink(folder + "/none", folder + "/dangling")
            for name in ["/new", "/dangling"] {
                #expect(throws: FileError(operation: "open", path: folder + name, errno: EEXIST)) {
                    try files.create(folder + name, [1], mine)
                }
            }
            #expect(throws: FileError(operation: "mkdir", path: folder + "/new", errno: EEXIST)) {
                try files.makeFolder(folder + "/new", mine)
            }
            try expect(folder, holds: ["dangling", "new", "victim"])
        }
    }

    @Test("a link, a pipe and a folder are no files to be read, and nobody waits for them")
    func readOther() throws {
        try inFolder { folder, victim in
            symlink(victim, folder + "/link")
            mkfifo(folder + "/pipe", 0o600)
            try files.makeDirectory(folder + "/folder")
            for (name, operation, number) in [
                ("/link", "open", ELOOP), ("/pipe", "read", EINVAL), ("/folder", "read", EINVAL),
            ] {
                #expect(throws: FileError(operation: operation, path: folder + name, errno: number))
                {
                    try files.contentsAndOwnership(folder + name)
                }
            }
            #expect(throws: FileError(operation: "read", path: victim, errno: EFBIG)) {
                try files.contentsAndOwnership(victim, bytesMax: 3)
            }
        }
    }

    @Test("a new file takes the place of links, theirs of the candidate and of the file")
    func replaceLinks() throws {
        try inFolder { folder, victim in
            let path = folder + "/conf"
            symlink(victim, path)
            symlink(victim, path + ".petrel-new")
            try files.replace(path, with: [7], mine)
            let found = try files.contentsAndOwnership(path)
            #expect(found.bytes == [7] && found.ownership == mine)
            try expect(folder, holds: ["conf", "victim"])
        }
    }

    @Test("what fails leaves no candidate")
    func failure() throws {
        try inFolder { folder, _ in
            try files.makeDirectory(folder + "/conf")
            #expect(throws: FileError.self) {
                try files.replace(folder + "/conf", with: [7], mine)
            }
            try expect(folder, holds: ["conf", "victim"])
        }
    }

    @Test("owner and mode are kept, bits that would run it as its owner are not")
    func modes() throws {
        // As root somebody else's, otherwise one's own.
        let isRoot = geteuid() == 0
        let given = FileOwnership(
            user: isRoot ? 4321 : geteuid(), group: isRoot ? 4322 : getegid(), mode: 0o7754)
        let kept = FileOwnership(user: given.user, group: given.group, mode: 0o754)
        try inFolder { folder, _ in
            let path = folder + "/conf"
            try files.create(path, [1], given)
            try expect(path, has: kept)
            chmod(path, given.mode)
            let found = try files.contentsAndOwnership(path)
            #expect(found.ownership == given)
            try files.replace(path, with: [2], found.ownership)
            try expect(path, has: kept)
            try files.makeFolder(folder + "/inner", given)
            let inner = try files.ownership(folder + "/inner")
            #expect(inner == kept)
        }
    }

    @Test("what is not there")
    func missing() {
        #expect(throws: FileError(operation: "stat", path: "/none", errno: ENOENT)) {
            try files.ownership("/none")
        }
        #expect(throws: FileError(operation: "open", path: "/none", errno: ENOENT)) {
            try files.contentsAndOwnership("/none")
        }
    }
}
