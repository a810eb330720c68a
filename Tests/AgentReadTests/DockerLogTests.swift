import AgentRead
import Gzip
import Model
import Synchronization
import Testing
import World

/// Names of containers that a test knows.
final class KnownContainers: ContainerNames {
    let known = Mutex<[String: ContainerFacts]>([:])
    func facts(_ containerID: String) -> ContainerFacts? { known.withLock { $0[containerID] } }
    var problem: String? { nil }
    var ids: [String] { known.withLock { Array($0.keys) } }
}

/// The logs of Docker's containers in memory, with what a spool would keep of their positions.
struct DockerBench {
    static let id = String(repeating: "a1", count: 32)
    static let folder = "/var/lib/docker/containers"
    static let log = path(id)

    static func path(_ id: String, in folder: String = folder) -> String {
        "\(folder)/\(id)/\(id)-json.log"
    }

    /// A record as Docker writes it; `text` is JSON already.
    static func record(
        _ text: String, _ stream: String = "stdout", second: Int = 5
    ) -> String {
        #"{"log":"\#(text)","stream":"\#(stream)","time":"2026-11-26T10:00:0\#(second).25Z"}"#
            + "\n"
    }

    let tree = ObservedTree()
    let containers = KnownContainers()
    var files: MemoryTree { tree.files }
    private let configuration: FileSetConfiguration
    var set: FileSet
    var seconds: Int64 = 1000
    var gaps: [GapRecord] = []
    private var positions: [String: [UInt8]] = [:]

    init(folder: String = DockerBench.folder) throws {
        configuration = DockerLogs.configuration(folder: folder, containers: containers)
        set = try FileSet(configuration)
        // The first look finds nothing: all containers are new.
        _ = try items()
    }

    /// Reads until nothing comes.
    mutating func items(max: Int = 3, seconds step: Int64 = 5) throws -> [LogReadChunk.Item] {
        seconds += step
        var items: [LogReadChunk.Item] = []
        var quiet = 0
        while quiet < 4 {
            let now = TimestampNS(seconds * 1_000_000_000)
            guard let chunk = try set.poll(tree, now: now, max: max) else {
                quiet += 1
                continue
            }
            items += chunk.items
            gaps += chunk.gaps
            let position = chunk.position
            positions[position.source] = position.bytes.isEmpty ? nil : position.bytes
        }
        return items
    }

    mutating func texts(max: Int = 3, seconds: Int64 = 5) throws -> [String] {
        try items(max: max, seconds: seconds).map { String(decoding: $0.entry.line, as: UTF8.self) }
    }

    /// As after a kill.
    mutating func restart() throws {
        set.close()
        set = try FileSet(
            configuration,
            positions: positions.map { SourcePosition(source: $0.key, bytes: $0.value) })
    }
}

@Suite("Docker's logs")
struct DockerLogTests {
    private typealias Bench = DockerBench

    @Test("an entry is the text, with Docker's time, the container's labels and the stream")
    func entry() throws {
        var bench = try Bench()
        bench.containers.known.withLock {
            $0[Bench.id] = ContainerFacts(
                name: "/shop-web-1", labels: ["com.docker.compose.service": "web"])
        }
        bench.files.create(
            Bench.log,
            #"{"log":"{\"level\":\"warn\",\"trace_id\":\"abc\"}\n","stream":"stderr","attrs":{"a":"[}"},"#
                + #""time":"2026-11-26T10:00:05.123456789Z"}"# + "\n")
        #expect(
            try bench.items() == [
                .init(
                    stream: ["source": "docker", "container": "shop-web-1", "service_name": "web"],
                    entry: LogEntry(
                        timestamp: try #require(RFC3339.parse("2026-11-26T10:00:05.123456789Z")),
                        line: Array(#"{"level":"warn","trace_id":"abc"}"#.utf8), level: "warn",
                        metadata: ["stream": "stderr", "trace_id": "abc"]))
            ])
        #expect(bench.set.problems.isEmpty)
    }

    @Test("escapes become their bytes, other bytes stay, halves of surrogates become U+FFFD")
    func escapes() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, "")
        bench.files.append(
            Bench.log,
            Bench.record(#"q\" b\\ s\/ \b\f\r\t \u0000\u001b \u00e9 \ud83d\ude00 \ud83d! \ude00\n"#)
        )
        bench.files.append(Bench.log, bytes: Array(#"{"log":""#.utf8) + [0xff, 0xc3, 0xa9])
        bench.files.append(Bench.log, #"\n","stream":"stdout","time":"x"}"# + "\n")
        let lines = try bench.items().map(\.entry.line)
        #expect(
            lines == [
                Array("q\" b\\ s/ \u{8}\u{c}\r\t \0\u{1b} é 😀 \u{fffd}! \u{fffd}".utf8),
                [0xff, 0xc3, 0xa9],
            ])
    }

    @Test("parts are joined for each stream, in the order in which their lines began")
    func parts() throws {
        var bench = try Bench()
        let records = [
            ("one ", "stdout"), (#"err\n"#, "stderr"), ("bad ", "stderr"), ("two ", "stdout"),
            (#"three\n"#, "stdout"), (#"worse\n"#, "stderr"), (#"end\n"#, "stdout"),
        ]
        bench.files.create(Bench.log, records.map { Bench.record($0, $1) }.joined())
        let items = try bench.items()
        #expect(
            items.map { String(decoding: $0.entry.line, as: UTF8.self) } == [
                "one two three", "err", "bad worse", "end",
            ])
        #expect(
            items.map { $0.entry.metadata["stream"] } == ["stdout", "stderr", "stderr", "stdout"])
        #expect(items.allSatisfy { $0.entry.metadata["petrel_partial"] == "" })
    }

    @Test("a kill while a line is incomplete reads nothing twice and loses nothing")
    func killedInParts() throws {
        let records = [
            Bench.record(#"a\n"#), Bench.record("p1 "), Bench.record(#"e1\n"#, "stderr"),
            Bench.record("p2 "), Bench.record("q1 ", "stderr"), Bench.record(#"p3\n"#),
            Bench.record(#"b\n"#), Bench.record(#"q2\n"#, "stderr"), Bench.record(#"c\n"#),
        ]
        for kill in 1...records.count {
            var bench = try Bench()
            bench.files.create(Bench.log, records[0])
            var read = try bench.texts()
            bench.files.append(Bench.log, records[1..<kill].joined())
            read += try bench.texts(max: 1, seconds: 1)
            try bench.restart()
            bench.files.append(Bench.log, records[kill...].joined())
            read += try bench.texts(max: 1)
            #expect(read == ["a", "p1 p2 p3", "e1", "q1 q2", "b", "c"], "killed after \(kill)")
            #expect(bench.gaps.isEmpty)
        }
    }

    @Test("a line that is rotated in its middle is one, whatever is killed", arguments: 0..<4)
    func rotatedInParts(kill: Int) throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record(#"a\n"#) + Bench.record("p1 "))
        var read = try bench.texts()
        if kill == 1 { try bench.restart() }
        bench.files.move(Bench.log, Bench.log + ".1")
        bench.files.create(Bench.log, Bench.record(#"e\n"#, "stderr"))
        // It is left when it did not grow for two seconds.
        for _ in 0..<3 { read += try bench.texts(seconds: 1) }
        #expect(read == ["a"])
        if kill == 2 { try bench.restart() }
        bench.files.append(Bench.log, Bench.record("p2 ") + Bench.record(#"p3\n"#))
        read += try bench.texts(seconds: 1)
        if kill == 3 { try bench.restart() }
        bench.files.append(Bench.log, Bench.record(#"b\n"#))
        for _ in 0..<4 { read += try bench.texts(seconds: 1) }
        #expect(read == ["a", "p1 p2 p3", "e", "b"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("rotation more than once while nothing reads, compressed too")
    func rotatedAway() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record(#"1\n"#))
        bench.files.touch(Bench.log, seconds: 100)
        #expect(try bench.texts() == ["1"])
        bench.files.append(Bench.log, Bench.record(#"2\n"#))
        bench.files.move(Bench.log, Bench.log + ".2")
        let whole = try bench.tree.open(Bench.log + ".2", .read).read(at: 0, count: 1 << 20)
        bench.files.delete(Bench.log + ".2")
        bench.files.create(Bench.log + ".2.gz", bytes: try Gzip.compress(whole))
        bench.files.touch(Bench.log + ".2.gz", seconds: 200)
        bench.files.create(Bench.log + ".1", Bench.record(#"3\n"#))
        bench.files.touch(Bench.log + ".1", seconds: 300)
        bench.files.create(Bench.log, Bench.record(#"4\n"#))
        bench.files.touch(Bench.log, seconds: 400)
        try bench.restart()
        var read: [String] = []
        for _ in 0..<8 { read += try bench.texts() }
        #expect(read == ["2", "3", "4"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("what is no record is kept as it is, and ends the lines before it")
    func damaged() throws {
        var bench = try Bench()
        let odd = [
            "no json", #"{"log":"cut"#, #"{"log":"x\n","stream":"stdout"} tail"#,
            #"{"log":"x\n"}"#, #"{"log":1,"stream":"stdout"}"#, "", "[]", #"{"log":"\x","a":1}"#,
            #"{"log":"x\n","stream":"third"}"#,
        ]
        bench.files.create(
            Bench.log,
            Bench.record("begun ") + odd.map { $0 + "\n" }.joined() + Bench.record(#"rest\n"#)
                + Bench.record(#"next\n"#))
        let items = try bench.items(max: 100)
        #expect(
            items.map { String(decoding: $0.entry.line, as: UTF8.self) }
                == ["begun "] + odd + ["rest", "next"])
        #expect(items[0].entry.metadata["petrel_partial"] == "true")
        #expect(items[1].entry.metadata["stream"] == "")
        #expect(items[odd.count + 1].entry.metadata["petrel_continued"] == "true")
        #expect(items[odd.count + 2].entry.metadata["petrel_continued"] == "")
        #expect(bench.gaps.isEmpty)
    }

    @Test("a line past the limit is cut, and has its length")
    func cut() throws {
        var bench = try Bench()
        let part = String(repeating: "x", count: 16 << 10)
        bench.files.create(
            Bench.log,
            String(repeating: Bench.record(part), count: 20) + Bench.record(#"\n"#)
                + Bench.record(#"next\n"#))
        let items = try bench.items()
        #expect(items.map(\.entry.line.count) == [LogEntry.lineBytesMax, 4])
        #expect(items[0].entry.metadata["petrel_cut"] == "\(20 * part.utf8.count)")
    }

    @Test("a line without end holds nothing up for long, even where another stream goes on")
    func waiting() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record("prompt> ") + Bench.record(#"e0\n"#, "stderr"))
        var read = try bench.texts()
        #expect(read == [])
        for number in 1...5 {
            bench.files.append(Bench.log, Bench.record(#"e\#(number)\n"#, "stderr"))
            read += try bench.texts(seconds: 1)
        }
        #expect(read == ["prompt> ", "e0", "e1", "e2", "e3", "e4", "e5"])
        bench.files.append(Bench.log, Bench.record(#"yes\n"#))
        let rest = try bench.items(seconds: 1)
        #expect(rest.map { $0.entry.metadata["petrel_continued"] } == ["true"])
        // In a silent log too.
        bench.files.append(Bench.log, Bench.record("prompt> "))
        #expect(try bench.texts(seconds: 1) == [])
        #expect(try bench.texts(seconds: 5) == ["prompt> "])
        // And not more than so many.
        bench.files.append(
            Bench.log,
            Bench.record("again ")
                + String(repeating: Bench.record(#"e\n"#, "stderr"), count: 200))
        #expect(try bench.texts(max: 1000, seconds: 1).count == 201)
    }

    @Test("a container that is named later has its name from then on; before, the id's beginning")
    func namedLater() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record(#"1\n"#))
        #expect(try bench.items().map { $0.stream["container"] } == ["a1a1a1a1a1a1"])
        let beside = RotatedName.folder(Bench.log) + "/config.v2.json"
        bench.files.create(
            beside,
            #"{"Config":{"Env":["A=b"],"Labels":{"com.docker.compose.service":"db","x":"y"}},"Name":"/p-db-1"}"#
        )
        bench.files.append(Bench.log, Bench.record(#"2\n"#))
        let second = try bench.items(seconds: 61)
        #expect(second.map { $0.stream["container"] } == ["p-db-1"])
        #expect(second.map { $0.stream["service_name"] } == ["db"])
        bench.containers.known.withLock { $0[Bench.id] = ContainerFacts(name: "renamed") }
        bench.files.append(Bench.log, Bench.record(#"3\n"#))
        #expect(
            try bench.items().map(\.stream) == [
                ["source": "docker", "container": "renamed", "service_name": "renamed"]
            ])
    }

    @Test("folders: Docker's own, those of user namespaces, or the one that is given")
    func folders() throws {
        let tree = MemoryTree([
            "/var/lib/docker/165536.165536/containers/x/y": "", "/var/lib/docker/overlay2/x": "",
            "/var/lib/docker/1.x/y": "",
        ])
        #expect(
            DockerLogs.folders(in: tree) == [
                "/var/lib/docker/containers", "/var/lib/docker/165536.165536/containers",
            ])
        #expect(DockerLogs.folders("/data/containers", in: tree) == ["/data/containers"])
        let folder = "/var/lib/docker/165536.165536/containers"
        var bench = try Bench(folder: folder)
        bench.files.create(Bench.path(Bench.id, in: folder), Bench.record(#"1\n"#))
        bench.files.create("\(folder)/other/other-json.log", Bench.record(#"2\n"#))
        #expect(try bench.texts() == ["1"])
        #expect(
            DockerLogs.remedy(folder: folder, user: "u").hasPrefix(
                "sudo setfacl -m u:u:x /var/lib/docker/165536.165536 /var/lib/docker && "))
    }

    @Test(
        "a folder that can't be listed is said with what to do, but containers that are known are read"
    )
    func unlistable() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record(#"1\n"#))
        let folder = RotatedName.folder(Bench.log)
        bench.tree.denied.withLock { $0 = [Bench.folder, folder] }
        #expect(try bench.texts() == [])
        #expect(bench.set.problems.count == 2)
        #expect(bench.set.problems[1].contains("setfacl -m u:petrel-agent:x /var/lib/docker"))
        bench.containers.known.withLock { $0[Bench.id] = ContainerFacts(name: "web") }
        #expect(try bench.texts() == ["1"])
        #expect(bench.set.problems.isEmpty)
        // Its rotated files are found by their names.
        bench.files.append(Bench.log, Bench.record(#"2\n"#))
        bench.files.move(Bench.log, Bench.log + ".1")
        bench.files.create(Bench.log, Bench.record(#"3\n"#))
        try bench.restart()
        var read: [String] = []
        for _ in 0..<4 { read += try bench.texts() }
        #expect(read == ["2", "3"])
        #expect(bench.gaps.isEmpty)
    }

    @Test("the helper is asked which containers run at most every 15 s")
    func ids() {
        let clock = ManualClock()
        let asked = Mutex(0)
        let body = #"[{"Id":"\#(Bench.id)","Names":["/web"]}]"#
        let names = DockerNames(at: .unix(path: "/docker.sock"), clock: clock) {
            () throws(ServiceError) in
            asked.withLock { $0 += 1 }
            return Array(
                "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
        }
        #expect(names.ids == [Bench.id])
        #expect(names.ids == [Bench.id])
        #expect(names.facts(Bench.id)?.name == "/web")
        #expect(asked.withLock { $0 } == 1)
        clock.advance(15_000_000_000)
        #expect(names.ids == [Bench.id])
        #expect(asked.withLock { $0 } == 2)
    }

    @Test("a log that may not be read is said, and a host without Docker says nothing")
    func refused() throws {
        var bench = try Bench()
        #expect(bench.set.problems.isEmpty)
        bench.files.create(Bench.log, Bench.record(#"1\n"#))
        bench.tree.denied.withLock { $0 = [Bench.log] }
        #expect(try bench.texts() == [])
        #expect(bench.set.problems.count == 2)
        #expect(bench.set.problems[1].contains("sudo setfacl"))
        bench.tree.denied.withLock { $0 = [] }
        #expect(try bench.texts() == ["1"])
        #expect(bench.set.problems.isEmpty)
    }

    @Test("the position of a container that is gone is kept for a week")
    func gone() throws {
        var bench = try Bench()
        bench.files.create(Bench.log, Bench.record(#"1\n"#))
        bench.files.create(Bench.path(String(repeating: "b", count: 64)), Bench.record(#"2\n"#))
        #expect(try bench.texts().sorted() == ["1", "2"])
        bench.files.move(Bench.log, "/away")
        for _ in 0..<6 { #expect(try bench.texts(seconds: 86_400) == []) }
        bench.files.move("/away", Bench.log)
        bench.files.append(Bench.log, Bench.record(#"3\n"#))
        #expect(try bench.texts() == ["3"])
        bench.files.delete(Bench.log)
        for _ in 0..<9 { #expect(try bench.texts(seconds: 86_400) == []) }
        #expect(bench.set.paths == [Bench.path(String(repeating: "b", count: 64))])
        #expect(bench.gaps.isEmpty)
    }
}

private enum RotatedName {
    static func folder(_ path: String) -> String { String(path.dropLast(64 + 10)) }
}
