import NIOCore
import NIOEmbedded
import Startup
import Synchronization
import Testing

@Suite("Accepted connections")
struct AcceptedConnectionsTests {
    @Test("a connection is known until it closes by itself, and is not cut then")
    func remembers() throws {
        let connections = AcceptedConnections()
        let channel = EmbeddedChannel()
        let cuts = Mutex(0)
        connections.add(channel) { cuts.withLock { $0 += 1 } }
        #expect(connections.count == 1)
        _ = try channel.finish()
        #expect(connections.count == 0)
        #expect(connections.closeAll() == 0 && cuts.withLock { $0 } == 0)
    }

    @Test("all are closed, each in its own way; one that comes later is closed at once")
    func closes() throws {
        let connections = AcceptedConnections()
        let plain = EmbeddedChannel()
        let early = EmbeddedChannel()
        let late = EmbeddedChannel()
        let cuts = Mutex(0)
        for channel in [plain, early, late] {
            try channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        }
        connections.add(plain)
        connections.add(early) { cuts.withLock { $0 += 1 } }
        #expect(connections.closeAll() == 2)
        #expect(!plain.isActive && early.isActive && cuts.withLock { $0 } == 1)
        plain.embeddedEventLoop.run()
        #expect(connections.count == 1, "only the one whose cut closes nothing is left")
        connections.add(late)
        #expect(!late.isActive && connections.count == 1)
    }
}
