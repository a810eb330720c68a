import AgentRead
import Glibc
import Synchronization

/// A server on a Unix socket in a folder of its own that takes one client and plays a script: waits for what it
/// expects, says what it is told, and keeps what comes after the script until the client closes.
final class ScriptedServer: Sendable {
    enum Step: Sendable {
        /// Exactly these bytes must come next.
        case receive([UInt8])
        case send([UInt8])
    }

    let address: ServiceAddress
    private let thread: DedicatedThread
    /// What came instead of what was expected, or a call that failed.
    private let faults = Mutex<[String]>([])
    private let rest = Mutex<[UInt8]>([])
    /// No test waits longer.
    private static let patienceSeconds = 10

    init(_ steps: [Step]) throws {
        let folder = try TemporaryFolder("service")
        address = .unix(path: folder.path + "/s")
        thread = try DedicatedThread()
        let listener = try folder.listener("s", backlog: 1)
        thread.submit {
            self.serve(listener, steps)
            close(listener)
            folder.remove()
        }
    }

    /// Waits for the client to close. Returns what went wrong, and what came after the script.
    func end() async -> (faults: [String], rest: [UInt8]) {
        await thread.run { (self.faults.withLock { $0 }, self.rest.withLock { $0 }) }
    }

    private func serve(_ listener: Int32, _ steps: [Step]) {
        var item = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        guard poll(&item, 1, Int32(Self.patienceSeconds * 1_000)) == 1 else {
            return fault("no client came")
        }
        let client = accept(listener, nil, nil)
        guard client >= 0 else { return fault("accept: \(errno)") }
        defer { close(client) }
        var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
        setsockopt(
            client, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        for step in steps {
            switch step {
            case .receive(let expected):
                let got = receive(client, expected.count)
                guard got == expected else {
                    let (theirs, ours) = (Self.readable(got), Self.readable(expected))
                    return fault("\(theirs) came instead of \(ours)")
                }
            case .send(let bytes):
                // A client that has seen enough closes early.
                _ = bytes.withUnsafeBytes {
                    send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
        shutdown(client, Int32(SHUT_WR))
        while case let more = receive(client, 1), !more.isEmpty {
            rest.withLock { $0 += more }
        }
    }

    private func receive(_ client: Int32, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let more = bytes.withUnsafeMutableBytes {
                recv(client, $0.baseAddress.map { $0 + got }, count - got, 0)
            }
            guard more > 0 else { break }
            got += more
        }
        return Array(bytes.prefix(got))
    }

    private func fault(_ text: String) { faults.withLock { $0.append(text) } }

    private static func readable(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.map { (32...126).contains($0) ? $0 : 46 }, as: UTF8.self)
    }
}
