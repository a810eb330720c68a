import AgentHelper
import Glibc
import Testing
import World
import WorldLive

@Suite("Helper's files")
struct HelperSocketTests {
    static func mode(_ path: String) -> UInt32? {
        var facts = stat()
        return lstat(path, &facts) == 0 ? facts.st_mode & 0o7777 : nil
    }

    @Test("a socket is of mode 0660 whatever the mask, and replaces one that nobody serves")
    func stale() async throws {
        try await DockerHelperServerTests.inFolder { place in
            let first = try HelperSocket.listen(path: place.helper, group: getgid())
            #expect(Self.mode(place.helper) == 0o660)
            #expect(throws: HelperSocketError.inUse(path: place.helper)) {
                try HelperSocket.listen(path: place.helper, group: nil)
            }
            close(first)
            let second = try HelperSocket.listen(path: place.helper, group: nil)
            close(second)
            HelperSocket.remove(path: place.helper)
            #expect(Self.mode(place.helper) == nil)
        }
    }

    @Test("what can't be a socket's place")
    func places() async throws {
        try await DockerHelperServerTests.inFolder { place in
            let file = place.folder + "/file"
            try LiveFileTree().open(file, .createNew).close()
            #expect(throws: HelperSocketError.notASocket(path: file)) {
                try HelperSocket.listen(path: file, group: nil)
            }
            symlink("/etc/passwd", place.helper)
            #expect(throws: HelperSocketError.notASocket(path: place.helper)) {
                try HelperSocket.listen(path: place.helper, group: nil)
            }
            let long = "/" + String(repeating: "a", count: 107)
            #expect(throws: HelperSocketError.pathTooLong(path: long)) {
                try HelperSocket.listen(path: long, group: nil)
            }
            let missing = place.folder + "/none/x"
            #expect(
                throws: HelperSocketError.failed(operation: "bind", path: missing, errno: ENOENT)
            ) { try HelperSocket.listen(path: missing, group: nil) }
        }
    }

    @Test("only a listening Unix stream socket is adopted from systemd")
    func adoption() async throws {
        try await DockerHelperServerTests.inFolder { place in
            let listener = try HelperSocket.listen(path: place.helper, group: nil)
            #expect(try HelperSocket.adopt(listener) == listener)
            close(listener)
            let stream = Int32(SOCK_STREAM.rawValue)
            for descriptor in [
                socket(AF_UNIX, stream, 0), socket(AF_INET, stream, 0), open("/dev/null", O_RDONLY),
            ] {
                #expect(throws: HelperSocketError.notListening(descriptor: descriptor)) {
                    try HelperSocket.adopt(descriptor)
                }
                close(descriptor)
            }
        }
    }

    @Test("a published file is whole, 0640, and follows no link that stands in its way")
    func published() async throws {
        try await DockerHelperServerTests.inFolder { place in
            let path = place.folder + "/facts.prom"
            let victim = place.folder + "/victim"
            try LiveFileTree().open(victim, .createNew).close()
            symlink(victim, path + ".new")
            symlink(victim, path)
            try PublishedFile.write(Array("a 1\n".utf8), to: path, group: getgid())
            #expect(try LiveFileTree().contents(path) == Array("a 1\n".utf8))
            #expect(try LiveFileTree().contents(victim) == [])
            #expect(Self.mode(path) == 0o640)
            #expect(Self.mode(victim) == 0o600)
            #expect(try LiveFileTree().list(place.folder).sorted() == ["facts.prom", "victim"])
        }
    }

    @Test("a folder that is missing is named with its remedy")
    func unpublished() {
        let error = #expect(throws: PublishError.self) {
            try PublishedFile.write([], to: "/nonexistent/x.prom", group: nil)
        }
        #expect(error?.description.contains("the folder must exist") == true)
    }
}
