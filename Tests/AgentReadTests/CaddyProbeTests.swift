import AgentRead
import Glibc
import Synchronization
import Testing
import World

@Suite("Whether Caddy is there")
struct CaddyProbeTests {
    private static func answer(_ body: String, status: Int = 200) -> String {
        "HTTP/1.0 \(status) X\r\nContent-Type: text/plain\r\n\r\n" + body
    }

    static let metrics = "# HELP caddy_x X\ncaddy_admin_http_requests_total{code=\"200\"} 3\n"
    static let counted = metrics + "caddy_http_requests_total{server=\"srv0\"} 7\ngo_threads 9\n"

    /// What the server answers to one client after the other, and what it is taken for.
    enum Taken: Sendable {
        case absent, idle, counting
        case refusing(Int)
    }

    static let answers: [([String], Taken, Int)] = [
        ([answer(counted)], .counting, 1),
        ([answer(metrics)], .idle, 1),
        // What it was asked first is counted when it has answered.
        ([answer("go_threads 9\n"), answer(metrics)], .idle, 2),
        ([answer("go_threads 9\n"), answer("go_threads 9\n")], .absent, 2),
        ([answer("# HELP caddy_http_requests_total X\n"), answer("")], .absent, 2),
        ([answer("no", status: 404)], .refusing(404), 1),
        (["SSH-2.0-OpenSSH_9.2\r\n"], .absent, 1),
        (["HTTP/1.0 200 OK\r\n" + String(repeating: "A: b\r\n", count: 200)], .absent, 1),
        ([answer(String(repeating: "a", count: 70_000))], .absent, 1),
        ([""], .absent, 1),
    ]

    @Test("by what it answers to GET /metrics, and by nothing else", arguments: answers)
    func taken(answers: [String], taken: Taken, asked: Int) throws {
        let folder = try TemporaryFolder("caddy")
        defer { folder.remove() }
        let server = try HTTPAnswers(folder.listener("s", backlog: 4), answers)
        let address = ServiceAddress.unix(path: folder.path + "/s")
        let finding = CaddyProbe.ask(
            [address], isExpected: true, clock: ManualClock(), milliseconds: 5_000)
        let expected: CaddyProbe.Finding =
            switch taken {
            case .absent: .absent
            case .idle: .caddy(address, countsRequests: false)
            case .counting: .caddy(address, countsRequests: true)
            case .refusing(let status): .refuses(address, status: status)
            }
        #expect(finding == expected)
        let request = "GET /metrics HTTP/1.0\r\nHost: \(address)\r\nConnection: close\r\n\r\n"
        #expect(server.requests == Array(repeating: request, count: asked))
    }

    @Test("it is looked for at its port, and one that refuses is told of where a Caddyfile is")
    func look() throws {
        let (listener, port) = try FakeValkey.loopbackListener()
        let server = try HTTPAnswers(
            listener,
            [
                Self.answer("", status: 404), Self.answer("", status: 404),
                Self.answer(Self.counted),
            ])
        let address = ServiceAddress.tcp(host: "127.0.0.1", port: port)
        func look(_ tree: MemoryTree, _ ports: Set<UInt16>) -> CaddyProbe.Finding {
            CaddyProbe.look(
                tree: tree, paths: NodePaths(), clock: ManualClock(),
                host: FakeHost(ports: ports), port: port)
        }
        #expect(look(MemoryTree(), [port &+ 1]) == .absent)
        #expect(server.requests == [])
        #expect(look(MemoryTree(), [port]) == .absent)
        let tree = MemoryTree(["/etc/caddy/Caddyfile": ""])
        #expect(look(tree, [port]) == .refuses(address, status: 404))
        #expect(look(tree, [port]) == .caddy(address, countsRequests: true))
    }
}

/// Takes as many clients as it has answers, one after the other.
private final class HTTPAnswers: Sendable {
    /// What the thread needs.
    private final class Asked: Sendable {
        let requests = Mutex<[String]>([])

        func serve(_ listener: Int32, _ answer: String) {
            var item = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            guard poll(&item, 1, 10_000) == 1 else { return }
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            defer { close(client) }
            var request: [UInt8] = []
            var byte: UInt8 = 0
            while request.suffix(4) != [13, 10, 13, 10], recv(client, &byte, 1, 0) == 1 {
                request.append(byte)
            }
            let text = String(decoding: request, as: UTF8.self)
            requests.withLock { $0.append(text) }
            let bytes = Array(answer.utf8)
            // A client that has seen enough closes early.
            _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    private let asked = Asked()
    private let thread: DedicatedThread

    /// Closes `listener` when it has given its answers.
    init(_ listener: Int32, _ answers: [String]) throws {
        thread = try DedicatedThread()
        let asked = asked
        thread.submit {
            for answer in answers { asked.serve(listener, answer) }
            close(listener)
        }
    }

    var requests: [String] { asked.requests.withLock { $0 } }
}
