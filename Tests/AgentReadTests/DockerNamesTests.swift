import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

/// A clock that stands until it is told otherwise.
private final class StandingClock: WorldClock {
    private let nanoseconds = Mutex<Int64>(1_000)

    var now: TimestampNS { TimestampNS(monotonicNanoseconds) }
    var monotonicNanoseconds: Int64 { nanoseconds.withLock { $0 } }
    func sleep(nanoseconds: Int64) async throws {}
    func advance(seconds: Int64) { nanoseconds.withLock { $0 += seconds * 1_000_000_000 } }
}

/// The helper, which answers what a test says and counts how often it is asked.
private final class FakeHelper: Sendable {
    private struct State {
        var result: Result<String, ServiceError> = .success("")
        var askedCount = 0
    }
    private let state = Mutex(State())
    static let address = ServiceAddress.unix(path: "/run/petrel/docker.sock")

    var askedCount: Int { state.withLock { $0.askedCount } }

    func answer(_ text: String) { state.withLock { $0.result = .success(text) } }
    /// A list with a length.
    func answer(json: String) {
        answer(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                + "\(json.utf8.count)\r\nConnection: close\r\n\r\n\(json)")
    }
    func fail(_ error: ServiceError) { state.withLock { $0.result = .failure(error) } }

    func ask() throws(ServiceError) -> [UInt8] {
        let result = state.withLock { state in
            state.askedCount += 1
            return state.result
        }
        return Array(try result.get().utf8)
    }

    func names(_ clock: StandingClock) -> DockerNames {
        DockerNames(at: Self.address, clock: clock) { () throws(ServiceError) in try self.ask() }
    }
}

@Suite("Names of Docker's containers")
struct DockerNamesTests {
    private static func id(_ digit: String) -> String { String(repeating: digit, count: 64) }

    private static func container(_ id: String, _ name: String) -> String {
        """
        {"Id":"\(id)","Names":["/\(name)"],"Image":"nginx:1.27","ImageID":"sha256:1","Created":1,
        "State":"running","Status":"Up","Ports":[{"IP":"0.0.0.0","PrivatePort":80}],"Labels":{}}
        """
    }

    @Test("a container has its name, its image, and what it is in Compose")
    func facts() {
        let helper = FakeHelper()
        helper.answer(
            json: """
                [{"Id":"\(Self.id("a"))","Names":["/proxy/web","/web\\u0031"],"Image":"caddy:2",
                "Created":1700000000,"Labels":{"com.docker.compose.project":"shop","other":"x",
                "com.docker.compose.service":"front","com.docker.compose.oneoff":"False"}},
                {"Id":"short","Names":["/short"],"Image":"x"},
                {"Id":"\(Self.id("b"))","Names":[],"Image":"nameless"},
                {"Id":"\(Self.id("c"))","Names":["/plain"],"Image":7,"Labels":null,"New":[{}]}]
                """)
        let names = helper.names(StandingClock())
        #expect(
            names.facts(Self.id("a"))
                == ContainerFacts(
                    name: "/web1", image: "caddy:2",
                    labels: [
                        "com.docker.compose.project": "shop",
                        "com.docker.compose.service": "front",
                    ]))
        #expect(names.facts(Self.id("b")) == nil)
        #expect(names.facts(Self.id("c")) == ContainerFacts(name: "/plain"))
        #expect(names.facts("short") == nil)
        #expect(names.problem == nil)
        #expect(helper.askedCount == 1)
    }

    @Test("an answer in chunks is the same")
    func chunked() {
        let helper = FakeHelper()
        let json = "[" + Self.container(Self.id("a"), "web") + "]"
        let bytes = Array(json.utf8)
        func chunk(_ part: ArraySlice<UInt8>, _ more: String = "") -> String {
            "\(String(part.count, radix: 16))\(more)\r\n\(String(decoding: part, as: UTF8.self))\r\n"
        }
        helper.answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + chunk(bytes[..<30])
                + chunk(bytes[30...], ";part=2") + "0\r\nTrailer: x\r\n\r\n")
        let names = helper.names(StandingClock())
        #expect(names.facts(Self.id("a"))?.name == "/web")
        #expect(names.facts(Self.id("a"))?.image == "nginx:1.27")
    }

    @Test(
        "an answer that isn't whole or no list changes nothing and is told",
        arguments: [
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n[]\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n[]\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[]\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n[{\"Id\":", "HTTP/2 200\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\n\r\n[] []",
        ])
    func malformed(answer: String) {
        let (helper, clock) = (FakeHelper(), StandingClock())
        helper.answer(json: "[" + Self.container(Self.id("a"), "web") + "]")
        let names = helper.names(clock)
        #expect(names.facts(Self.id("a"))?.name == "/web")
        helper.answer(answer)
        clock.advance(seconds: 15)
        #expect(names.facts(Self.id("b")) == nil)
        #expect(helper.askedCount == 2)
        #expect(names.problem?.contains("/run/petrel/docker.sock") == true)
        #expect(names.facts(Self.id("a"))?.name == "/web")
    }

    @Test("a refusal is told in the helper's words, and not asked for again at once")
    func refused() {
        let (helper, clock) = (FakeHelper(), StandingClock())
        helper.answer(
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 31\r\n\r\n{\"message\":\"start Docker first\"}"
        )
        let names = helper.names(clock)
        #expect(names.facts(Self.id("a")) == nil)
        #expect(names.problem?.contains("HTTP 502: start Docker first") == true)
        clock.advance(seconds: 59)
        #expect(names.facts(Self.id("a")) == nil)
        #expect(helper.askedCount == 1)
        helper.answer(json: "[" + Self.container(Self.id("a"), "web") + "]")
        clock.advance(seconds: 1)
        #expect(names.facts(Self.id("a"))?.name == "/web")
        #expect(names.problem == nil)
    }

    @Test("a host without a helper is asked once a minute and has no problem")
    func absent() {
        let (helper, clock) = (FakeHelper(), StandingClock())
        helper.fail(.connection(FakeHelper.address, operation: "connect", errno: ENOENT))
        let names = helper.names(clock)
        for _ in 0..<10 { #expect(names.facts(Self.id("a")) == nil) }
        #expect(helper.askedCount == 1)
        #expect(names.problem == nil)
        clock.advance(seconds: 60)
        _ = names.facts(Self.id("a"))
        #expect(helper.askedCount == 2)
        helper.fail(.connection(FakeHelper.address, operation: "connect", errno: EACCES))
        clock.advance(seconds: 60)
        _ = names.facts(Self.id("a"))
        #expect(names.problem?.contains("group petrel-agent") == true)
    }

    @Test("an unknown container is asked for at once, then after 15 s, then in the next turn")
    func turns() {
        let (helper, clock) = (FakeHelper(), StandingClock())
        helper.answer(json: "[" + Self.container(Self.id("a"), "web") + "]")
        let names = helper.names(clock)
        #expect(names.facts(Self.id("a"))?.name == "/web")
        _ = names.facts(Self.id("b"))
        #expect(helper.askedCount == 1)
        for second in 1...200 {
            clock.advance(seconds: 1)
            _ = names.facts(Self.id("a"))
            _ = names.facts(Self.id("b"))
            if second == 14 { #expect(helper.askedCount == 1) }
            if second == 15 { #expect(helper.askedCount == 2) }
            if second == 29 { #expect(helper.askedCount == 2) }
            if second == 30 { #expect(helper.askedCount == 3) }
        }
        #expect(helper.askedCount == 3)
        helper.answer(json: "[" + Self.container(Self.id("a"), "renamed") + "]")
        clock.advance(seconds: 300)
        #expect(names.facts(Self.id("a"))?.name == "/renamed")
        #expect(helper.askedCount == 4)
    }

    @Test("of very many containers the first thousand are kept")
    func bound() {
        let helper = FakeHelper()
        func id(_ number: Int) -> String {
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 64 - digits.count) + digits
        }
        helper.answer(
            json: "["
                + (0...1_000).map { Self.container(id($0), "c\($0)") }.joined(separator: ",") + "]")
        let names = helper.names(StandingClock())
        #expect(names.facts(id(999))?.name == "/c999")
        #expect(names.facts(id(1_000)) == nil)
    }

    @Test("a helper on a socket is asked for its list and read until it closes")
    func socket() throws {
        let server = try OneAnswerServer(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n["
                + Self.container(Self.id("a"), "web") + "]")
        let thread = try DedicatedThread()
        thread.submit { server.serve() }
        let names = DockerNames(socket: server.path, clock: StandingClock())
        #expect(names.facts(Self.id("a"))?.name == "/web")
        #expect(names.problem == nil)
        #expect(
            server.request
                == "GET /containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
    }
}

/// A Unix socket that takes one connection, reads a request without a body, and answers.
private final class OneAnswerServer: Sendable {
    let path: String
    private let descriptor: Int32
    private let answer: [UInt8]
    private let received = Mutex("")

    /// What was asked before the answer was sent.
    var request: String { received.withLock { $0 } }

    struct Failure: Error {}

    init(_ answer: String) throws {
        self.answer = Array(answer.utf8)
        path = "/tmp/petrel-names-\(getpid()).sock"
        unlink(path)
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        let text = Array(path.utf8)
        withUnsafeMutableBytes(of: &place.sun_path) { $0.copyBytes(from: text) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let isBound = withUnsafePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0
            }
        }
        guard isBound, listen(descriptor, 1) == 0 else { throw Failure() }
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    /// Serves one that comes within 5 s.
    func serve() {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 5_000) == 1 else { return }
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0 else { return }
        defer { close(connection) }
        var request: [UInt8] = []
        while !request.suffix(4).elementsEqual(Array("\r\n\r\n".utf8)) {
            var bytes = [UInt8](repeating: 0, count: 1_024)
            let count = recv(connection, &bytes, bytes.count, 0)
            guard count > 0 else { break }
            request += bytes.prefix(count)
        }
        received.withLock { $0 = String(decoding: request, as: UTF8.self) }
        _ = send(connection, answer, answer.count, Int32(MSG_NOSIGNAL))
    }
}
