import Startup
import Synchronization
import Testing
import World

/// A machine that has one answer to each question.
private struct FakeProbe: HostProbe {
    func connect(host: String, port: Int, milliseconds: Int) -> ConnectOutcome { .refused }
    func listeners(port: Int) -> [Listener] { [] }
    func clockSynchronisation() -> ClockSynchronisation? { nil }
    func groups(of account: UserAccount) -> [UInt32] { [account.group] }
}

/// A `systemctl` and nothing else.
private struct FakePrograms: ProgramRunner {
    var shown: String
    func run(_ run: ProgramRun) throws(ProgramError) -> ProgramOutcome {
        ProgramOutcome(status: 0, output: shown)
    }
    func locate(_ name: String) -> String? { name == "systemctl" ? "/bin/systemctl" : nil }
}

/// Answers every question alike and keeps the places that were asked.
private final class FakeServices: LocalServices {
    private let answer: LocalAnswer?
    private let places = Mutex<[String]>([])
    init(_ answer: LocalAnswer?) { self.answer = answer }
    var asked: [String] { places.withLock { $0 } }
    func get(address: String, port: Int, path: String) -> LocalAnswer? {
        places.withLock { $0.append("\(address) \(port) \(path)") }
        return answer
    }
}

@Suite("A program under its check-up")
struct CheckedProgramTests {
    private static let anyone = FileOwnership(user: 0, group: 0, mode: 0o755)

    /// A program on a machine that has systemd and `files`.
    private static func program(
        _ files: PermissionTree = PermissionTree(entries: [:]),
        services: FakeServices = FakeServices(nil), shown: String = "ActiveState=active",
        load: () throws -> Int = { 7 }
    ) -> CheckedProgram<Int> {
        var files = files
        files.entries["/run/systemd/system"] = anyone
        return CheckedProgram(
            "petrel-x", defaults: 1, files: files, probe: FakeProbe(),
            programs: FakePrograms(shown: shown), services: services,
            surroundings: FakeSurroundings(), load: load)
    }

    @Test("a configuration that does not load is a finding; the defaults hold meanwhile")
    func configuration() {
        let good = Self.program()
        #expect(good.configuration == 7)
        let none = good.configuration("/etc/x.yaml", summary: "all of it")
        #expect(none.verdict == .ok)
        #expect(none.found.contains("no file /etc/x.yaml, defaults"))
        #expect(none.found.contains("all of it"))
        let files = PermissionTree(entries: ["/etc/x.yaml": Self.anyone])
        let bad = Self.program(files) { throw StartError("line 3 is odd") }
        #expect(bad.configuration == 1)
        let result = bad.configuration("/etc/x.yaml", summary: "all of it")
        #expect(result.verdict == .fail)
        #expect(result.found.contains("line 3 is odd"))
        #expect(!result.found.contains("no file"))
    }

    @Test("a state folder is the packaged user's")
    func folder() {
        let files = PermissionTree(
            entries: ["/s": FileOwnership(user: 0, group: 0, mode: 0o700)],
            accounts: [UserAccount(name: "petrel-x", user: 7, group: 7)])
        let result = Self.program(files).folder("/s")
        #expect(result.verdict == .fail)
        #expect(result.remedy.contains("chown -R petrel-x: /s"))
        #expect(Self.program(files).service.reader.user == 7)
    }

    @Test(
        "room is that of the nearest folder that exists",
        arguments: [
            ("/a/b", "ok"), ("/a/b/c/d", "ok"), ("/a/x/y", "warn"), ("/x", "fail"), ("/", "fail"),
        ])
    func space(path: String, verdict: String) {
        let files = PermissionTree(
            entries: ["/": Self.anyone, "/a": Self.anyone, "/a/b": Self.anyone],
            free: ["/": 1, "/a": 10, "/a/b": 50])
        let result = Self.program(files).space(path, bytesMin: 8, consequence: "c")
        #expect("\(result.verdict)" == verdict)
    }

    @Test(
        "a program is asked over loopback for what it listens on",
        arguments: [
            ("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::", "::1"), ("::1", "::1"),
            ("10.0.0.5", "10.0.0.5"),
        ])
    func loopback(listen: String, asked: String) {
        let services = FakeServices(LocalAnswer(status: 200, body: "petrel_x_up 1\n"))
        let place = AddressAndPort(address: listen, port: 9100)
        let program = Self.program(services: services)
        #expect(program.figures(on: place, prefix: "petrel_x_")?.sum("petrel_x_up") == 1)
        #expect(services.asked == ["\(asked) 9100 /metrics"])
        let there = "\(AddressAndPort(address: asked, port: 9100))"
        #expect(program.silence(on: place)?.found.contains(there) == true)
        #expect(Self.program(shown: "ActiveState=inactive").silence(on: place) == nil)
    }

    @Test(
        "another program's answer is none",
        arguments: [
            (200, "petrel_x_up 1\n", true), (404, "petrel_x_up 1\n", false),
            (200, "node_load1 1\n", false), (nil, "", false),
        ] as [(Int?, String, Bool)])
    func figures(status: Int?, body: String, isOurs: Bool) {
        let answer = status.map { LocalAnswer(status: $0, body: body) }
        let program = Self.program(services: FakeServices(answer))
        let place = AddressAndPort(address: "127.0.0.1", port: 9100)
        #expect((program.figures(on: place, prefix: "petrel_x_") != nil) == isOurs)
    }
}
