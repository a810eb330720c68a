import Glibc
import Testing
import World
import WorldLive

/// Real datagram sockets, as systemd binds them.
@Suite("The service manager's socket")
struct LiveServiceManagerTests {
    /// A bound socket and what it receives.
    private final class Bound {
        let number: Int32

        init?(_ path: String) {
            let kind = Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC
            number = socket(AF_UNIX, kind, 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            var name = Array(path.utf8)
            let isAbstract = name.first == UInt8(ascii: "@")
            if isAbstract { name[0] = 0 }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
            let length = socklen_t(2 + name.count + (isAbstract ? 0 : 1))
            let code = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(number, $0, length) }
            }
            guard code == 0 else { return nil }
        }

        func receive() -> String {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let got = recv(number, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return got < 0 ? "nothing" : String(decoding: bytes.prefix(got), as: UTF8.self)
        }

        deinit { close(number) }
    }

    @Test("a message arrives whole, by path and by abstract name", arguments: ["/tmp/", "@"])
    func sends(kind: String) throws {
        let path = "\(kind)petrel-notify-\(getpid())"
        let bound = try #require(Bound(path))
        defer { unlink(path) }
        let manager = try #require(LiveServiceManager(address: path))
        #expect(manager.send("READY=1\nSTATUS=fine"))
        #expect(bound.receive() == "READY=1\nSTATUS=fine")
    }

    @Test("nobody there is no harm")
    func absent() throws {
        let manager = try #require(
            LiveServiceManager(address: "/tmp/petrel-nobody-\(getpid())"))
        #expect(!manager.send("READY=1"))
    }

    @Test(
        "what is no address is refused",
        arguments: [
            "", "/", "@", "relative", "vsock:2:9", "/" + String(repeating: "x", count: 108),
        ])
    func refused(address: String) { #expect(LiveServiceManager(address: address) == nil) }
}
