import ArgumentParser
import Simulation
import Startup
import Synchronization
import Testing
import World
import YAMLDocument

/// Closures that wait until the test runs them.
final class ManualQueue: Sendable {
    private let waiting = Mutex<[@Sendable () -> Void]>([])
    var count: Int { waiting.withLock { $0.count } }
    func append(_ body: @escaping @Sendable () -> Void) { waiting.withLock { $0.append(body) } }
    func runAll() {
        let all = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for body in all { body() }
    }
}

@Suite("The service manager's variables")
struct SystemdNotifierTests {
    @Test(
        "a watchdog is obeyed where it is meant for this process",
        arguments: [
            (["NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000"], 30_000_000_000),
            (["NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "42"], 5_000),
            (["NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "43"], nil),
            (["NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"], nil),
            (["NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "x"], nil), (["NOTIFY_SOCKET": "/n"], nil),
            (["NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "9223372036854775807"], nil),
            (["WATCHDOG_USEC": "30000000"], nil),
        ] as [([String: String], Int64?)])
    func watchdog(variables: [String: String], nanoseconds: Int64?) {
        let surroundings = FakeSurroundings(variables)
        #expect(SystemdNotifier(surroundings).watchdogNanoseconds == nanoseconds)
        for name in variables.keys {
            #expect(surroundings.environment(name) == nil, "children must not inherit \(name)")
        }
    }

    @Test("without a socket nothing is sent; a socket of an unknown kind is none")
    func unheard() {
        #expect(!SystemdNotifier(FakeSurroundings()).isHeard)
        #expect(!SystemdNotifier(FakeSurroundings(["NOTIFY_SOCKET": "vsock:2:9"])).isHeard)
    }

    @Test("a status is one short line")
    func status() {
        #expect(SystemdNotifier.status("a\nREADY=1\u{1b}b") == "STATUS=a READY=1 b")
        let long = SystemdNotifier.status(String(repeating: "é", count: 500))
        #expect(long.utf8.count <= 247)
        #expect(long.hasSuffix("é"))
    }

    @Test("a long start asks for more time until it is over", .timeLimit(.minutes(1)))
    func extends() async throws {
        let surroundings = FakeSurroundings(["NOTIFY_SOCKET": "/n"])
        let manager = surroundings.manager
        let value = try await SystemdNotifier(surroundings).whileStarting(
            "migrating", clock: SteppingClock()
        ) {
            while manager.messages.count < 3, !Task.isCancelled { await Task.yield() }
            return 7
        }
        #expect(value == 7)
        #expect(
            Set(manager.messages) == ["EXTEND_TIMEOUT_USEC=60000000\nSTATUS=migrating"])
    }
}

@Suite("Starting")
struct StartTests {
    @Test(
        "addresses",
        arguments: [
            ("127.0.0.1:9100", "127.0.0.1", 9100), ("[::1]:0", "::1", 0),
            ("::1:65535", "::1", 65535),
            ("localhost:1", "localhost", 1), (":9100", nil, 0), ("1.2.3.4", nil, 0),
            ("1.2.3.4:65536", nil, 0), ("1.2.3.4:-1", nil, 0), ("1.2.3.4:x", nil, 0), ("", nil, 0),
        ] as [(String, String?, Int)])
    func addresses(text: String, address: String?, port: Int) {
        let parsed = AddressAndPort(text)
        #expect(parsed?.address == address)
        #expect((parsed?.port ?? 0) == port)
    }

    @Test("an address prints as it is written", arguments: ["127.0.0.1:9100", "[::1]:9600"])
    func printed(text: String) { #expect(AddressAndPort(text)?.description == text) }

    struct Tool: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "tool", version: "1.2.3")
        @Option var count = 0
        func run() async throws {}
    }

    @Test("exit codes: 0 asked for, 1 failed, 2 used wrongly")
    func ends() {
        func end(_ arguments: [String]) -> ProgramEnd? {
            do {
                _ = try Tool.parseAsRoot(arguments)
                return nil
            } catch { return ProgramEnd(error, of: Tool.self) }
        }
        #expect(end([]) == nil)
        #expect(end(["--version"])?.code == 0)
        #expect(end(["--version"])?.isAnswer == true)
        #expect(end(["--version"])?.message == "1.2.3")
        #expect(end(["--count", "x"])?.code == 2)
        let failed = ProgramEnd(StartError("no room: make some"), of: Tool.self)
        #expect(failed.code == 1 && failed.message == "Error: no room: make some")
        let configuration = ProgramEnd(
            YAMLError(file: "a.yaml", mark: YAMLMark(line: 3, column: 7), message: "unknown key"),
            of: Tool.self)
        #expect(configuration.code == 2)
        #expect(configuration.message.contains("a.yaml:3:7"))
    }
}
