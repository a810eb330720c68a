import AgentRead
import Glibc
import Synchronization

/// A server of Valkey's protocol on a Unix socket in a folder of its own. It takes one client after the other and
/// answers each command by `answer`: with the bytes to send, none for no answer, or nil to close the connection.
final class FakeValkey: Sendable {
    typealias Answer = @Sendable ([String]) -> String?

    struct Failed: Error {
        var operation: String
    }

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
    private let path: String
    private let folder: String
    private let core: Core
    private let thread: DedicatedThread

    init(_ answer: @escaping Answer) throws {
        var template = Array("/tmp/petrel-valkey-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failed(operation: "mkdtemp") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        path = folder + "/s"
        address = .unix(path: path)
        let core = Core(try Self.listen(path), answer)
        self.core = core
        thread = try DedicatedThread()
        thread.submit { core.serve() }
    }

    deinit {
        stop()
        rmdir(folder)
    }

    /// No client is taken any more, and the socket is gone.
    func stop() {
        unlink(path)
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

    private static func listen(_ path: String) throws -> Int32 {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Failed(operation: "socket") }
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &place.sun_path) { $0.copyBytes(from: path.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let code = withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
        }
        guard code == 0, Glibc.listen(listener, 8) == 0 else { throw Failed(operation: "listen") }
        return listener
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
