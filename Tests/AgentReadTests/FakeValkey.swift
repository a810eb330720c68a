import AgentRead
import Glibc
import Synchronization

/// A server of Valkey's protocol on a Unix socket in a folder of its own. It takes one client after the other and
/// answers each command by `answer`: with the bytes to send, none for no answer, or nil to close the connection.
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

    init(_ answer: @escaping Answer) throws {
        folder = try TemporaryFolder("valkey")
        address = .unix(path: folder.path + "/s")
        let core = Core(try folder.listener("s", backlog: 8), answer)
        self.core = core
        thread = try DedicatedThread()
        thread.submit { core.serve() }
    }

    deinit {
        stop()
        folder.remove()
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
