import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

@Suite("Socket of a service")
struct ServiceSocketTests {
    /// A millisecond passes with each look at it.
    final class TickingClock: WorldClock {
        private let milliseconds = Mutex<Int64>(0)
        var now: TimestampNS { TimestampNS(monotonicNanoseconds) }
        var monotonicNanoseconds: Int64 {
            milliseconds.withLock {
                $0 += 1
                return $0 * 1_000_000
            }
        }
        func sleep(nanoseconds: Int64) async throws {}
    }

    /// Connects to a peer that this thread plays.
    static func check(
        _ clock: any WorldClock, milliseconds: Int64,
        _ body: (_ socket: ServiceSocket, _ peer: Int32) throws -> Void
    ) throws {
        let folder = try TemporaryFolder("socket")
        defer { folder.remove() }
        let listener = try folder.listener("s", backlog: 1)
        defer { close(listener) }
        let socket = try ServiceSocket(
            .unix(path: folder.path + "/s"), clock: clock, milliseconds: milliseconds)
        let peer = accept(listener, nil, nil)
        try #require(peer >= 0)
        defer { close(peer) }
        try body(socket, peer)
    }

    static func isTimeout(_ body: () throws(ServiceError) -> Void) -> Bool {
        do throws(ServiceError) {
            try body()
            return false
        } catch {
            guard case .timeout = error else { return false }
            return true
        }
    }

    @Test("a peer that always has bytes meets the deadline too")
    func drips() throws {
        let bytes = [UInt8](repeating: 65, count: 96 * 1024)
        try Self.check(TickingClock(), milliseconds: 5) { socket, peer in
            #expect(send(peer, bytes, bytes.count, Int32(MSG_DONTWAIT)) == bytes.count)
            #expect(Self.isTimeout { () throws(ServiceError) in _ = try socket.bytes(bytes.count) })
        }
        try Self.check(TickingClock(), milliseconds: 50) { socket, peer in
            #expect(send(peer, bytes, bytes.count, Int32(MSG_DONTWAIT)) == bytes.count)
            let got = try socket.bytes(bytes.count)
            #expect(got == bytes)
        }
    }

    @Test("nothing is written when the time is over")
    func late() throws {
        let clock = ManualClock()
        try Self.check(clock, milliseconds: 5) { socket, peer in
            try socket.write([1])
            clock.advance(5_000_000)
            #expect(Self.isTimeout { () throws(ServiceError) in try socket.write([2]) })
            var received = [UInt8](repeating: 0, count: 8)
            #expect(recv(peer, &received, 8, Int32(MSG_DONTWAIT)) == 1)
            socket.extend(milliseconds: 5)
            try socket.write([3])
            #expect(recv(peer, &received, 8, Int32(MSG_DONTWAIT)) == 1)
            #expect(received[0] == 3)
        }
    }
}
