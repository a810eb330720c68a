import Glibc
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
        let files = LiveFileTree()
        let note = "/tmp/petrel-child-\(LiveRandom().next())"
        defer { try? files.remove(note) }
        let error = #expect(throws: ProgramError.self) {
            try runner.run(
                ProgramRun(
                    ["/bin/sh", "-c", "sleep 300 & echo $! > \(note); wait"], deadlineSeconds: 1))
        }
        #expect(error == .timedOut(program: "/bin/sh", seconds: 1))
        let text = String(decoding: try files.contents(note), as: UTF8.self)
        let child = try #require(Int32(text.dropLast()))
        defer { kill(child, SIGKILL) }
        let end = LiveClock().monotonicNanoseconds + 10_000_000_000
        while Self.isRunning(child), LiveClock().monotonicNanoseconds < end { sched_yield() }
        #expect(!Self.isRunning(child))
    }

    /// Whether a process exists and is no mere entry that nobody has waited for.
    private static func isRunning(_ process: Int32) -> Bool {
        guard let bytes = try? LiveFileTree().contents("/proc/\(process)/stat") else {
            return false
        }
        // pid (name) state …
        let after = String(decoding: bytes, as: UTF8.self).split(separator: ") ").last ?? ""
        return after.first != "Z" && after.first != "X"
    }

    @Test("a program that writes without a pause does not pass its deadline")
    func endless() throws {
        let error = #expect(throws: ProgramError.self) {
            try runner.run(ProgramRun([#require(runner.locate("yes"))], deadlineSeconds: 1))
        }
        #expect(error == .timedOut(program: runner.locate("yes") ?? "", seconds: 1))
    }

    @Test("a child's child that writes without a pause is not read for ever")
    func endlessBackground() throws {
        // The pipe's reader is gone after the run: `yes` ends with it.
        let outcome = try runner.run(ProgramRun(["/bin/sh", "-c", "yes & exit 4"]))
        #expect(outcome.status == 4)
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

    @Test("users")
    func users() {
        let tree = LiveFileTree()
        #expect(tree.account(named: "root") == UserAccount(name: "root", user: 0, group: 0))
        #expect(tree.account(number: 0)?.name == "root")
        #expect(tree.account(named: "petrel-no-such-user") == nil)
    }

    @Test("nobody answers at a closed port; addresses that are none are refused")
    func services() {
        let services = LiveLocalServices()
        #expect(services.get(address: "127.0.0.1", port: 1, path: "/") == nil)
        #expect(services.get(address: "example", port: 80, path: "/") == nil)
        #expect(services.get(address: "::1", port: 70_000, path: "/") == nil)
    }

    @Test("a service that does not answer is waited for as long as was said, and no longer")
    func silentService() throws {
        let (number, port) = try LiveHostProbeTests.listen()
        defer { close(number) }
        let begin = LiveClock().monotonicNanoseconds
        #expect(
            LiveLocalServices(seconds: 3).get(address: "127.0.0.1", port: port, path: "/") == nil)
        #expect(LiveClock().monotonicNanoseconds - begin > 2_500_000_000)
    }
}
