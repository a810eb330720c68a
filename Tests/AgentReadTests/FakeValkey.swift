import AgentRead
import Glibc
import Synchronization

/// A server of Valkey's protocol on a Unix socket in a folder of its own, or on a port of 127.0.0.1. It takes one client
/// after the other and answers each command by `answer`: with the bytes to send, none for no answer, or nil to close the
/// connection.
final class FakeValkey: Sendable {
    typealias Answer = @Sendable ([String]) -> String?

    private struct State {
        var answer: Answer
        var commands: [[String]] = []
        var connections = 0
    }

    /// What the thread needs: it must not keep the server alive.
    private final class Core: Sendable {
        let listener: Int32
        let state: Mutex<State>

        init(_ listener: Int32, _ answer: @escaping Answer) {
            self.listener = listener
            state = Mutex(State(answer: answer))
        }

        func serve() {
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { break }
                state.withLock { $0.connections += 1 }
                talk(client)
                Glibc.close(client)
            }
            Glibc.close(listener)
        }

        private func talk(_ client: Int32) {
            var received: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 16 * 1024)
            while true {
                let count = recv(client, &chunk, chunk.count, 0)
                guard count > 0 else { return }
                received += chunk[..<count]
                while let command = FakeValkey.takeCommand(&received) {
                    let answer = state.withLock { state in
                        state.commands.append(command)
                        return state.answer
                    }
                    guard let text = answer(command) else { return }
                    // A client that has seen enough closes early.
                    let bytes = Array(text.utf8)
                    _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    let address: ServiceAddress
    private let folder: TemporaryFolder
    private let core: Core
    private let thread: DedicatedThread

    init(overTCP: Bool = false, _ answer: @escaping Answer) throws {
        folder = try TemporaryFolder("valkey")
        let listener: Int32
        if overTCP {
            let port: UInt16
            (listener, port) = try Self.loopbackListener()
            address = .tcp(host: "127.0.0.1", port: port)
        } else {
            listener = try folder.listener("s", backlog: 8)
            address = .unix(path: folder.path + "/s")
        }
        let core = Core(listener, answer)
        self.core = core
        thread = try DedicatedThread()
        thread.submit { core.serve() }
    }

    deinit {
        stop()
        folder.remove()
    }

    static func loopbackListener() throws -> (listener: Int32, port: UInt16) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
                guard bind(listener, place, size) == 0, listen(listener, 8) == 0 else {
                    return Int32(-1)
                }
                return getsockname(listener, place, &size)
            }
        }
        guard code == 0 else {
            Glibc.close(listener)
            throw TemporaryFolder.Failure(operation: "listen at 127.0.0.1")
        }
        return (listener, UInt16(bigEndian: place.sin_port))
    }

    /// No client is taken any more, and the socket is gone.
    func stop() {
        unlink(folder.path + "/s")
        shutdown(core.listener, Int32(SHUT_RDWR))
    }

    func set(_ answer: @escaping Answer) { core.state.withLock { $0.answer = answer } }

    var connections: Int { core.state.withLock { $0.connections } }

    /// What was asked since the last call, each as one text.
    func takeCommands() -> [String] {
        core.state.withLock { state in
            defer { state.commands = [] }
            return state.commands.map { $0.joined(separator: " ") }
        }
    }

    /// The first whole command of `bytes`, which is taken away; its words hold no line end.
    private static func takeCommand(_ bytes: inout [UInt8]) -> [String]? {
        var lines: [String] = []
        var start = 0
        var wanted = 1
        while lines.count < wanted {
            guard let end = bytes[start...].firstIndex(of: 10) else { return nil }
            lines.append(String(decoding: bytes[start..<end].filter { $0 != 13 }, as: UTF8.self))
            start = end + 1
            if lines.count == 1 { wanted = 1 + 2 * (Int(lines[0].dropFirst()) ?? 0) }
        }
        bytes.removeSubrange(..<start)
        return stride(from: 2, to: lines.count, by: 2).map { lines[$0] }
    }
}
