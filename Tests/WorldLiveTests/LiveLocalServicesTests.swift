import Dispatch
import Glibc
import Testing
import World
import WorldLive

@Suite("Services of this machine")
struct LiveLocalServicesTests {
    /// A folder of the test's own.
    private static func folder() throws -> String {
        // mkdtemp(3) asks for six of these at the end.
        let place = "/tmp/petrel-local-" + String(repeating: "X", count: 6)
        var name: [UInt8] = Array(place.utf8) + [0]
        return try #require(
            name.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.flatMap { mkdtemp($0.assumingMemoryBound(to: CChar.self)) }
                    .map { String(cString: $0) }
            })
    }

    private static func bound(_ path: String) throws -> Int32 {
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(code == 0)
        return number
    }

    @Test("a Unix socket is asked over HTTP")
    func answer() throws {
        let folder = try Self.folder()
        let path = folder + "/s"
        let number = try Self.bound(path)
        defer {
            close(number)
            unlink(path)
            rmdir(folder)
        }
        try #require(Glibc.listen(number, 1) == 0)
        DispatchQueue.global().async {
            let peer = accept(number, nil, nil)
            var request = [UInt8](repeating: 0, count: 4096)
            let got = recv(peer, &request, request.count, 0)
            let isRight = String(decoding: request.prefix(max(0, got)), as: UTF8.self)
                .hasPrefix("GET /status HTTP/1.0\r\n")
            let text = "HTTP/1.1 \(isRight ? 503 : 400) x\r\n\r\nagent  ends\n"
            _ = send(peer, text, text.utf8.count, Int32(MSG_NOSIGNAL))
            close(peer)
        }
        #expect(
            try LiveLocalServices().get(socket: path, path: "/status")
                == LocalAnswer(status: 503, body: "agent  ends\n"))
    }

    @Test("why nobody answers: no socket, one that a dead process left, a path that is too long")
    func silence() throws {
        let folder = try Self.folder()
        let path = folder + "/s"
        func errno(_ path: String) -> Int32? {
            do throws(FileError) {
                _ = try LiveLocalServices().get(socket: path, path: "/")
                return nil
            } catch { return error.path == path ? error.errno : -1 }
        }
        #expect(errno(path) == ENOENT)
        close(try Self.bound(path))
        defer {
            unlink(path)
            rmdir(folder)
        }
        #expect(errno(path) == ECONNREFUSED)
        #expect(errno(folder + "/" + String(repeating: "x", count: 108)) == ENAMETOOLONG)
    }
}
