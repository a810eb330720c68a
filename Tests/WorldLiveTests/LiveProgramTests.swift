import Testing
import World
import WorldLive

@Suite("the machine's other programs")
struct LiveProgramTests {
    private let runner = LiveProgramRunner()

    @Test("input, both outputs, status, environment")
    func round() throws {
        let outcome = try runner.run(
            ProgramRun(
                ["/bin/sh", "-c", "cat; echo \"$PETREL-$HOME-$LC_ALL\"; echo no >&2; exit 3"],
                environment: ["PETREL": "x"], input: Array("in\n".utf8)))
        #expect(outcome == ProgramOutcome(status: 3, output: "in\nx--C.UTF-8\n", errors: "no\n"))
    }

    @Test("a signal is 128 and its number")
    func signal() throws {
        #expect(try runner.run(ProgramRun(["/bin/sh", "-c", "kill -9 $$"])).status == 137)
    }

    @Test("output over the bound is dropped, and the program still ends")
    func bound() throws {
        let outcome = try runner.run(
            ProgramRun(["/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' a; echo end >&2"]))
        #expect(outcome.output.utf8.count == ProgramRun.outputBytesMax)
        #expect(outcome.errors == "end\n" && outcome.status == 0)
    }

    @Test("input that nobody reads, and more of it than a pipe holds")
    func unread() throws {
        let much = [UInt8](repeating: 97, count: 1 << 20)
        #expect(try runner.run(ProgramRun(["/bin/true"], input: much)).status == 0)
        let counted = try runner.run(ProgramRun(["/bin/sh", "-c", "wc -c"], input: much))
        #expect(counted.output == "1048576\n")
    }

    @Test("a program that hangs is killed with what it started")
    func deadline() throws {
        let error = #expect(throws: ProgramError.self) {
            try runner.run(
                ProgramRun(["/bin/sh", "-c", "sleep 300 & sleep 300"], deadlineSeconds: 1))
        }
        #expect(error == .timedOut(program: "/bin/sh", seconds: 1))
    }

    @Test("a child's child that keeps the output open is not waited for")
    func background() throws {
        let outcome = try runner.run(
            ProgramRun(["/bin/sh", "-c", "sleep 3 & echo started"], deadlineSeconds: 2))
        #expect(outcome.output == "started\n" && outcome.status == 0)
    }

    @Test("a program that is not there")
    func missing() {
        #expect(throws: ProgramError.cannotStart(program: "/none", errno: 2)) {
            try runner.run(ProgramRun(["/none"]))
        }
        #expect(runner.locate("sh") == "/usr/bin/sh" || runner.locate("sh") == "/bin/sh")
        #expect(runner.locate("petrel-no-such-program") == nil)
    }

    @Test("owners, modes and users")
    func ownership() throws {
        let tree = LiveFileTree()
        let path = "/tmp/petrel-owner-\(LiveRandom().next())"
        try tree.open(path, .createNew).close()
        defer { try? tree.remove(path) }
        var ownership = try tree.ownership(path)
        #expect(ownership.mode == 0o600)
        ownership.mode = 0o640
        try tree.setOwnership(path, ownership)
        #expect(try tree.ownership(path) == ownership)
        #expect(tree.account(named: "root") == UserAccount(name: "root", user: 0, group: 0))
        #expect(tree.account(number: 0)?.name == "root")
        #expect(tree.account(named: "petrel-no-such-user") == nil)
        #expect(throws: FileError(operation: "stat", path: "/none", errno: 2)) {
            try tree.ownership("/none")
        }
    }

    @Test("nobody answers at a closed port; addresses that are none are refused")
    func services() {
        let services = LiveLocalServices()
        #expect(services.get(address: "127.0.0.1", port: 1, path: "/") == nil)
        #expect(services.get(address: "example", port: 80, path: "/") == nil)
        #expect(services.get(address: "::1", port: 70_000, path: "/") == nil)
    }
}
