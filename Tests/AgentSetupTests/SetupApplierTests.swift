import AgentSetup
import Glibc
import Synchronization
import Testing
import World
import WorldLive

@Suite("plans are applied whole or not at all")
struct SetupApplierTests {
    private let path = "/etc/x.conf"

    private func change(
        _ before: String, _ edits: [LineEdit], check: CommandStep? = nil
    ) -> FileChange {
        FileChange(
            path: path, before: Array(before.utf8), edits: edits, why: "why", missing: "line",
            check: check)
    }

    private func apply(_ steps: [SetupStep], _ machine: Machine) async throws {
        try await SetupApplier(host: machine.host) { _ in }.apply(
            SetupPlan(subject: "x", steps: steps))
    }

    /// Before, edits, after.
    static let edits: [(String, [LineEdit], String)] = [
        ("a\nb\n", [LineEdit(line: 1, inserted: ["x"])], "a\nx\nb\n"),
        ("a\nb\n", [LineEdit(line: 2, inserted: ["x", "y"])], "a\nb\nx\ny\n"),
        ("a\nb", [LineEdit(line: 2, inserted: ["x"])], "a\nb\nx\n"),
        ("", [LineEdit(line: 0, inserted: ["x"])], "x\n"),
        ("a\r\nb\r\n", [LineEdit(line: 1, removed: 1, inserted: ["x"])], "a\r\nx\r\n"),
        ("a\n\n\nb", [LineEdit(line: 0, removed: 1, inserted: [])], "\n\nb"),
        (
            "a\nb\nc\n",
            [
                LineEdit(line: 0, inserted: ["1"]), LineEdit(line: 1, removed: 1, inserted: ["2"]),
                LineEdit(line: 3, inserted: ["3"]),
            ], "1\na\n2\nc\n3\n"
        ),
    ]

    @Test("edits leave every other byte alone", arguments: edits)
    func edit(before: String, edits: [LineEdit], after: String) {
        #expect(String(decoding: change(before, edits).after, as: UTF8.self) == after)
    }

    @Test("bytes that are no UTF-8 survive")
    func bytes() {
        let change = FileChange(
            path: path, before: [0xff, 0xfe, 10, 65], edits: [LineEdit(line: 1, inserted: ["x"])],
            why: "", missing: "")
        #expect(change.after == [0xff, 0xfe, 10, 120, 10, 65])
    }

    @Test("the file keeps owner and mode; its first state is kept beside it, once")
    func keeps() async throws {
        let machine = Machine()
        machine.put(path, "a\n", FileOwnership(user: 5, group: 6, mode: 0o644))
        try await apply([.changeFile(change("a\n", [LineEdit(line: 1, inserted: ["b"])]))], machine)
        try await apply(
            [.changeFile(change("a\nb\n", [LineEdit(line: 2, inserted: ["c"])]))], machine)
        #expect(machine.text(path) == "a\nb\nc\n")
        #expect(machine.text(path + ".petrel-bak") == "a\n")
        for name in [path, path + ".petrel-bak"] {
            #expect(
                try machine.ownership(name) == FileOwnership(user: 5, group: 6, mode: 0o644))
        }
        #expect(machine.paths == [path, path + ".petrel-bak"])
    }

    @Test("a file that changed meanwhile is not written")
    func changedMeanwhile() async {
        let machine = Machine([path: "other\n"])
        await #expect(throws: SetupError.changedMeanwhile(path: path)) {
            try await apply(
                [.changeFile(change("a\n", [LineEdit(line: 0, inserted: ["b"])]))], machine)
        }
        #expect(machine.text(path) == "other\n")
    }

    /// What fails, with which errno, and what is said.
    static let failures: [(String, Int32, String)] = [
        ("open /etc/x.conf.petrel-new", 28, "no space left"),
        ("chown /etc/x.conf.petrel-new", 1, "not permitted"),
        ("open /etc/x.conf.petrel-bak.petrel-new", 30, "read-only file system"),
        // The file is a mount of its own.
        ("rename /etc/x.conf", 16, "edit it by hand"),
    ]

    @Test("a failing disk leaves the old file and nothing beside it", arguments: failures)
    func disk(operation: String, errno: Int32, text: String) async {
        let machine = Machine([path: "a\n", path + ".petrel-new": "left by a killed run"])
        machine.state.withLock { $0.failures[operation] = errno }
        await #expect {
            try await apply(
                [.changeFile(change("a\n", [LineEdit(line: 0, inserted: ["b"])]))], machine)
        } throws: { "\($0)".contains(text) }
        #expect(machine.text(path) == "a\n")
        let copy = machine.text(path + ".petrel-bak")
        #expect(copy == nil || copy == "a\n")
    }

    @Test("a step that asks for it puts every file back; a new one goes away")
    func restores() async {
        let machine = Machine([path: "a\n"])
        machine.answer { _ in ProgramOutcome(status: 1, errors: "no\n") }
        let new = FileChange(
            path: "/etc/new", before: nil, edits: [LineEdit(line: 0, inserted: ["n"])],
            ownership: .set(FileOwnership(user: 1, group: 2, mode: 0o600)), why: "", missing: "")
        let failing = CommandStep(
            "try", .program(ProgramRun(["/bin/x"])), remedy: "look", restoresFiles: true)
        await #expect(throws: SetupError.failed(step: "try", found: "no", remedy: "look")) {
            try await apply(
                [
                    .changeFile(change("a\n", [LineEdit(line: 0, inserted: ["b"])])),
                    .changeFile(new), .run(failing),
                ], machine)
        }
        #expect(machine.text(path) == "a\n" && machine.text("/etc/new") == nil)
    }

    /// What the copy beside the file was before; nil: none.
    @Test(
        "where a file can't be put back, the copy is named only if it is the old content",
        arguments: [(nil, true), ("a\n", true), ("long ago\n", false)])
    func notRestored(copy: String?, isOld: Bool) async {
        let machine = Machine([path: "a\n"])
        if let copy { machine.put(path + ".petrel-bak", copy) }
        machine.answer { _ in
            machine.state.withLock { $0.failures["rename /etc/x.conf"] = 28 }
            return ProgramOutcome(status: 1)
        }
        let said = Lines()
        let failing = CommandStep(
            "try", .program(ProgramRun(["/bin/x"])), remedy: "look", restoresFiles: true)
        let plan = SetupPlan(
            subject: "x",
            steps: [
                .changeFile(change("a\n", [LineEdit(line: 0, inserted: ["b"])])), .run(failing),
            ])
        await #expect(throws: SetupError.self) {
            try await SetupApplier(host: machine.host) { said.add($0) }.apply(plan)
        }
        let last = said.all.last ?? ""
        #expect(last.contains("could not put back /etc/x.conf (errno 28)"))
        #expect(last.contains("its old content is /etc/x.conf.petrel-bak") == isOld)
        #expect(last.contains("/etc/x.conf.petrel-bak is older than the old content") != isOld)
    }

    @Test("a link that stands in the file's place by then is not followed")
    func planted() async {
        let machine = Machine([path: "a\n"])
        machine.state.withLock { $0.links[path] = "/etc/shadow" }
        await #expect(
            throws: SetupError.unreadable(FileError(operation: "open", path: path, errno: 40))
        ) {
            try await apply(
                [.changeFile(change("a\n", [LineEdit(line: 0, inserted: ["b"])]))], machine)
        }
        #expect(machine.text(path) == "a\n")
    }

    @Test("links that a service's user planted beside its file lead nowhere; set-user-id goes")
    func plantedReally() async throws {
        let files = LiveFileTree()
        let folder = "/tmp/petrel-planted-\(LiveRandom().next())"
        try files.makeDirectory(folder)
        let conf = folder + "/x.conf"
        let victim = folder + "/victim"
        defer {
            for name in (try? files.list(folder)) ?? [] { try? files.remove(folder + "/" + name) }
            rmdir(folder)
        }
        let mine = FileOwnership(user: geteuid(), group: getegid(), mode: 0o640)
        try files.create(victim, Array("keep".utf8), mine)
        try files.create(conf, Array("a\n".utf8), mine)
        chmod(conf, 0o4755)
        symlink(victim, conf + ".petrel-new")
        symlink(victim, conf + ".petrel-bak.petrel-new")
        symlink(folder + "/none", conf + ".petrel-bak")
        var host = Machine().host
        host.files = files
        let change = FileChange(
            path: conf, before: Array("a\n".utf8), edits: [LineEdit(line: 1, inserted: ["b"])],
            why: "", missing: "")
        try await SetupApplier(host: host) { _ in }.apply(
            SetupPlan(subject: "x", steps: [.changeFile(change)]))
        for (path, text, mode) in [
            (conf, "a\nb\n", 0o755), (conf + ".petrel-bak", "a\n", 0o755),
            (victim, "keep", 0o640 as UInt32),
        ] {
            let found = try files.contentsAndOwnership(path)
            #expect(String(decoding: found.bytes, as: UTF8.self) == text)
            #expect(found.ownership.mode == mode)
        }
        let names = try files.list(folder).sorted()
        #expect(names == ["victim", "x.conf", "x.conf.petrel-bak"])
    }

    /// Expectation, what the program gives, and whether that is right.
    static let outcomes: [(CommandStep.Expectation, ProgramOutcome, Bool)] = [
        (.success, ProgramOutcome(status: 0), true), (.success, ProgramOutcome(status: 2), false),
        (.prints("t"), ProgramOutcome(status: 0, output: " t\n"), true),
        (.prints("t"), ProgramOutcome(status: 0, output: "tt"), false),
        (.prints(""), ProgramOutcome(status: 0, output: "\n"), true),
        (.contains(["a", "b"]), ProgramOutcome(status: 0, output: "b a"), true),
        (.contains(["a", "b"]), ProgramOutcome(status: 0, output: "a"), false),
        (.contains(["a"]), ProgramOutcome(status: 1, output: "a"), false),
    ]

    @Test("an answer is right or tried again to the bound", arguments: outcomes)
    func expectation(
        expectation: CommandStep.Expectation, outcome: ProgramOutcome, isRight: Bool
    ) async {
        let machine = Machine()
        machine.answer { _ in outcome }
        let step = CommandStep(
            "try", .program(ProgramRun(["/bin/x"])), expect: expectation, remedy: "look",
            attempts: 3)
        var isTaken = true
        do { try await apply([.verify(step)], machine) } catch { isTaken = false }
        #expect(isTaken == isRight)
        #expect(machine.runs.count == (isRight ? 1 : 3))
    }

    @Test("list names every service that is here")
    func list() throws {
        #expect(try SetupService.found(Machine().host).isEmpty)
        let machine = Machine(
            [
                "/etc/postgresql/15/main/postgresql.conf": "hba_file = '/hba'\n",
                "/hba": "local all postgres peer\n", "/etc/pgbouncer/pgbouncer.ini": "",
                "/etc/redis/redis.conf": "", "/etc/caddy/Caddyfile": ":80\n",
            ], programs: ["caddy"])
        machine.answer { _ in ProgramOutcome(status: 0, output: "2.9.0\n") }
        let services = try SetupService.found(machine.host)
        #expect(services.map(\.name) == ["postgresql 15/main", "pgbouncer", "valkey", "caddy"])
        let lines = try services.map { SetupReport(try $0.plan(machine.host)).oneLine }
        #expect(lines[0].contains("/hba lacks `local all petrel-agent peer`"))
        #expect(lines[3] == "caddy: /etc/caddy/Caddyfile lacks `metrics`")
    }
}
