import Glibc
import Testing
import World
import WorldLive

/// The machine that runs the tests, asked about a socket of the test's own.
@Suite("Host probe")
struct LiveHostProbeTests {
    /// A socket that listens on loopback, and its port.
    static func listen() throws -> (number: Int32, port: Int) {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(number, pointer, length) == 0 && Glibc.listen(number, 8) == 0
                    ? getsockname(number, pointer, &length) : -1
            }
        }
        try #require(code == 0)
        return (number, Int(UInt16(bigEndian: address.sin_port)))
    }

    @Test("a listener is found with its program, answers, and is gone when it is closed")
    func listeners() throws {
        let (number, port) = try Self.listen()
        let probe = LiveHostProbe()
        #expect(probe.connect(host: "127.0.0.1", port: port, milliseconds: 2_000) == .connected)
        let found = probe.listeners(port: port)
        #expect(found.map(\.address) == ["127.0.0.1"])
        let comm = try LiveFileTree().contents("/proc/self/comm").prefix { $0 != 10 }
        #expect(found.first?.program == String(decoding: comm, as: UTF8.self))
        close(number)
        #expect(probe.connect(host: "127.0.0.1", port: port, milliseconds: 2_000) == .refused)
        #expect(probe.listeners(port: port).isEmpty)
    }

    @Test("a name without an address says so")
    func unknownName() {
        let outcome = LiveHostProbe().connect(
            host: "no such name", port: 1, milliseconds: 1_000)
        guard case .unknownName = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }

    @Test("the kernel's clock has a bound")
    func clock() throws {
        let state = try #require(LiveHostProbe().clockSynchronisation())
        #expect((0...16_000_000).contains(state.errorMaxMicroseconds))
    }

    @Test("root is in its own group")
    func groups() throws {
        let root = try #require(LiveFileTree().account(number: 0))
        #expect(LiveHostProbe().groups(of: root).contains(0))
    }
}
