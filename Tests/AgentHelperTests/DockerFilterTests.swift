import AgentHelper
import JSONReading
import Testing

@Suite("Docker filter")
struct DockerFilterTests {
    static func filtered(_ text: String, _ route: DockerRoute) throws -> String {
        String(decoding: try DockerFilter.filtered(Array(text.utf8), of: route), as: UTF8.self)
    }

    /// Everything that a filter must not let through has this in it.
    static let secret = "hunter2"

    @Test("a container's inspection: state and limits pass, environment and command lines do not")
    func inspect() throws {
        let answer = """
            {"Id":"4fa6","Created":"2026-01-02T03:04:05Z","Path":"hunter2","Args":["hunter2"],
             "State":{"Status":"running","Running":true,"Paused":false,"Restarting":false,
              "OOMKilled":false,"Dead":false,"Pid":4711,"ExitCode":0,"Error":"hunter2",
              "StartedAt":"2026-01-02T03:04:06Z","FinishedAt":"0001-01-01T00:00:00Z",
              "Health":{"Status":"healthy","FailingStreak":0,"Log":[{"Output":"hunter2"}]}},
             "Image":"sha256:1","LogPath":"/var/lib/docker/165536.165536/containers/4fa6/4fa6-json.log",
             "Name":"/web","RestartCount":2,"ExecIDs":["hunter2"],
             "HostConfig":{"Binds":["/hunter2:/x"],"LogConfig":{"Type":"json-file","Config":{"x":"hunter2"}},
              "Memory":536870912,"NanoCpus":1500000000,"CpuQuota":0,"CpuPeriod":0,"PidsLimit":null,
              "RestartPolicy":{"Name":"always","MaximumRetryCount":0},"Env":["A=hunter2"]},
             "GraphDriver":{"Data":{"LowerDir":"hunter2"}},
             "Mounts":[{"Type":"bind","Source":"/srv/hunter2","Destination":"/data","Mode":"","RW":true}],
             "Config":{"Hostname":"hunter2","Env":["DATABASE_URL=postgres://app:hunter2@db/app"],
              "Cmd":["--password","hunter2"],"Entrypoint":["hunter2"],"Image":"app:1",
              "Labels":{"com.docker.compose.service":"web","MY_ENV":"hunter2"}},
             "NetworkSettings":{"Networks":{"n":{"GwPriority":0}}}}
            """
        let expected =
            #"{"Id":"4fa6","Created":"2026-01-02T03:04:05Z","State":{"Status":"running","Running":true,"Paused":false,"#
            + #""Restarting":false,"OOMKilled":false,"Dead":false,"Pid":4711,"ExitCode":0,"#
            + #""StartedAt":"2026-01-02T03:04:06Z","FinishedAt":"0001-01-01T00:00:00Z","#
            + #""Health":{"Status":"healthy","FailingStreak":0}},"#
            + #""LogPath":"/var/lib/docker/165536.165536/containers/4fa6/4fa6-json.log","Name":"/web","RestartCount":2,"#
            + #""HostConfig":{"LogConfig":{"Type":"json-file"},"Memory":536870912,"NanoCpus":1500000000,"CpuQuota":0,"#
            + #""CpuPeriod":0,"PidsLimit":null,"RestartPolicy":{"Name":"always","MaximumRetryCount":0}},"#
            + #""Mounts":[{"Type":"bind","Destination":"/data","RW":true}],"#
            + #""Config":{"Image":"app:1","Labels":{"com.docker.compose.service":"web"}}}"#
        let found = try Self.filtered(answer, .container("4fa6"))
        #expect(found == expected)
        #expect(!found.contains(Self.secret))
    }

    @Test("the list of containers")
    func list() throws {
        let answer = """
            [{"Id":"1","Names":["/web"],"Image":"app","ImageID":"sha256:2","Command":"run --key hunter2","Created":5,
              "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp","X":"hunter2"}],
              "Labels":null,"State":"running","Status":"Up 2 hours (healthy)","HostConfig":{"NetworkMode":"hunter2"},
              "NetworkSettings":{"Networks":{"app":{"IPAMConfig":null,"IPAddress":"172.18.0.2","GlobalIPv6Address":"",
               "DriverOpts":{"x":"hunter2"}}}},"Mounts":[{"Source":"/hunter2"}],"SizeRw":1}, "hunter2", {}]
            """
        #expect(
            try Self.filtered(answer, .containers)
                == #"[{"Id":"1","Names":["/web"],"Image":"app","ImageID":"sha256:2","Created":5,"#
                + #""Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],"Labels":null,"#
                + #""State":"running","Status":"Up 2 hours (healthy)","NetworkSettings":{"Networks":{"app":"#
                + #"{"IPAddress":"172.18.0.2","GlobalIPv6Address":""}}}},{}]"#)
        #expect(try Self.filtered("[]", .containers) == "[]")
    }

    @Test("the daemon's facts, with the folder of user-namespace remapping")
    func info() throws {
        let answer = """
            {"ID":"hunter2","Containers":3,"ContainersRunning":2,"ContainersPaused":0,"ContainersStopped":1,"Images":9,
             "Driver":"overlay2","LoggingDriver":"json-file","CgroupDriver":"systemd","CgroupVersion":"2",
             "HttpProxy":"http://u:hunter2@p","RegistryConfig":{"x":"hunter2"},"Swarm":{"Cluster":"hunter2"},
             "SecurityOptions":["name=apparmor","name=userns"],"DockerRootDir":"/var/lib/docker/165536.165536",
             "NCPU":4,"MemTotal":8323715072,"ServerVersion":"27.1","Labels":["hunter2"],"Name":"hunter2"}
            """
        #expect(
            try Self.filtered(answer, .info)
                == #"{"Containers":3,"ContainersRunning":2,"ContainersPaused":0,"ContainersStopped":1,"Images":9,"#
                + #""Driver":"overlay2","LoggingDriver":"json-file","CgroupDriver":"systemd","CgroupVersion":"2","#
                + #""SecurityOptions":["name=apparmor","name=userns"],"DockerRootDir":"/var/lib/docker/165536.165536","#
                + #""NCPU":4,"MemTotal":8323715072,"ServerVersion":"27.1"}"#)
    }

    @Test(
        "an event's action loses a command line and keeps a state",
        arguments: [
            ("die", "die"), ("exec_create: sh -c hunter2", "exec_create"),
            ("exec_start: psql postgres://hunter2", "exec_start"),
            ("health_status: healthy", "health_status: healthy"), ("anything:hunter2", "anything"),
        ])
    func action(action: String, expected: String) throws {
        let answer = """
            {"status":"\(action)","id":"1","from":"app","Type":"container","Action":"\(action)",
             "Actor":{"ID":"1","Attributes":{"DB_PASSWORD":"hunter2","exitCode":"137","image":"app","name":"web",
              "signal":"9","execID":"hunter2","com.x":"y"}},"scope":"local","time":1,"timeNano":1000000001}
            """
        #expect(
            try Self.filtered(answer, .events)
                == #"{"Type":"container","Action":"\#(expected)","Actor":{"ID":"1","Attributes":"#
                + #"{"exitCode":"137","image":"app","name":"web","signal":"9"}},"time":1,"timeNano":1000000001}"#
        )
    }

    @Test(
        "labels that look like secrets do not pass",
        arguments: [
            ("com.docker.compose.project", "shop", true), ("traefik.enable", "true", true),
            ("org.opencontainers.image.source", "https://example.org/a", true),
            ("mail", "a@example.org", true), ("MY_ENV", "x", false), ("api.Token", "x", false),
            ("db_password", "x", false), ("passwd", "x", false), ("client-secret", "x", false),
            ("deploy.KEY", "x", false), ("traefik.http.middlewares.a.basicauth.users", "x", false),
            ("aws.credentials", "x", false), ("session.cookie", "x", false),
            ("sentry.dsn", "x", false), ("private", "x", false),
            ("slack.WebHook", "https://hooks.example/T0/B0/x", false), ("db.pwd", "x", false),
            ("backup.url", "s3://id:hunter2@host/b", false),
            ("two", "http://a/ and https://u:hunter2@b/", false),
            ("long", String(repeating: "v", count: 1025), false),
            (String(repeating: "n", count: 257), "v", false),
        ])
    func labels(name: String, value: String, passes: Bool) throws {
        let answer = #"{"Config":{"Labels":{"\#(name)":"\#(value)","last":"1"}}}"#
        let kept = passes ? #""\#(name)":"\#(value)","# : ""
        #expect(
            try Self.filtered(answer, .container("x"))
                == #"{"Config":{"Labels":{\#(kept)"last":"1"}}}"#)
    }

    @Test("an escaped name is the name it stands for")
    func escapedNames() throws {
        let answer =
            #"{"Config":{"\u0045nv":["hunter2"],"Labels":{"to\u006ben":"hunter2","\u0061":"b"}}}"#
        #expect(
            try Self.filtered(answer, .container("x")) == #"{"Config":{"Labels":{"a":"b"}}}"#)
    }

    @Test("labels are bounded in number")
    func manyLabels() throws {
        let many = (0..<1000).map { "\"l\($0)\":\"v\"" }.joined(separator: ",")
        let found = try Self.filtered("{\"Config\":{\"Labels\":{\(many)}}}", .container("x"))
        #expect(found.ranges(of: "\"v\"").count == 64)
    }

    @Test("a member given twice passes once, a value of another type not at all")
    func oddities() throws {
        #expect(try Self.filtered(#"{"Id":"1","Id":"2"}"#, .container("x")) == #"{"Id":"1"}"#)
        #expect(
            try Self.filtered(
                #"{"Id":5,"Name":{"a":1},"State":"x","RestartCount":"2","Mounts":{},"LogPath":[[]]}"#,
                .container("x")) == "{}")
        let digits = String(repeating: "9", count: 40)
        #expect(try Self.filtered("{\"RestartCount\":\(digits)}", .container("x")) == "{}")
    }

    @Test(
        "strings come out as they went in",
        arguments: [
            (#"a\"b\\c\/d"#, #"a\"b\\c/d"#), (#"\b\f\n\r\t"#, #"\u0008\u000c\u000a\u000d\u0009"#),
            (#"\u00e9\ud83d\ude00"#, "é😀"), (#"\ud83d"#, "\u{FFFD}"), (#"\ud83dx"#, "\u{FFFD}x"),
            (#"\ud83d\u0041"#, "\u{FFFD}A"), (#"\ude00"#, "\u{FFFD}"), ("é😀", "é😀"),
        ])
    func strings(written: String, expected: String) throws {
        #expect(
            try Self.filtered(#"{"Name":"\#(written)"}"#, .container("x"))
                == #"{"Name":"\#(expected)"}"#)
    }

    @Test("invalid UTF-8 is repaired")
    func invalid() throws {
        let answer = Array("{\"Name\":\"".utf8) + [0xff, 0x61] + Array("\"}".utf8)
        let found = try DockerFilter.filtered(answer, of: .container("x"))
        #expect(String(decoding: found, as: UTF8.self) == "{\"Name\":\"\u{FFFD}a\"}")
    }

    @Test(
        "what is no JSON is refused",
        arguments: [
            "", " ", "{", "}", "[1", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{1:2}",
            "{\"a\":1 \"b\":2}", "{\"a\":01}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":1e}",
            "{\"a\":+1}", "{\"a\":.5}", "{\"a\":tru}", "{\"a\":nul}", "{\"a\":NaN}",
            "{\"a\":\"b}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\u{1}\"}",
            "{\"a\":'b'}", "{} {}", "{}x", "<html>", "{\"a\":[1,]}", "{\"a\":[}", "//\n{}",
        ])
    func malformed(text: String) {
        #expect(throws: JSONError.self) { try Self.filtered(text, .container("x")) }
    }

    @Test("an answer of another shape is refused")
    func shape() {
        for text in ["{}", "null", "\"x\"", "1", "true"] {
            #expect(throws: JSONError.unexpectedShape) { try Self.filtered(text, .containers) }
        }
        #expect(throws: JSONError.unexpectedShape) { try Self.filtered("[]", .info) }
    }

    @Test("depth is bounded")
    func depth() throws {
        func nested(_ levels: Int) -> String {
            "{\"x\":" + String(repeating: "[", count: levels)
                + String(repeating: "]", count: levels) + "}"
        }
        #expect(try Self.filtered(nested(63), .info) == "{}")
        #expect(throws: JSONError.tooDeep(offset: 68, max: 64)) {
            try Self.filtered(nested(64), .info)
        }
        #expect(throws: JSONError.self) { try Self.filtered(nested(100_000), .info) }
    }
}

@Suite("Event scanner")
struct JSONObjectScannerTests {
    static func scan(_ pieces: [String], bytesMax: Int = 100) throws -> (
        found: [String], skipped: Int
    ) {
        var scanner = JSONObjectScanner(objectBytesMax: bytesMax)
        var found: [String] = []
        for piece in pieces {
            found += try scanner.objects(endingIn: piece.utf8).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        return (found, scanner.skippedCount)
    }

    @Test("objects are found wherever the stream is cut")
    func everyCut() throws {
        let text = #"{"a":"}\"{"}"# + "\n" + #"{"b":[{"c":"\\"}]}"# + #"{"d":1}"# + "\r\n"
        for cut in 0...text.utf8.count {
            let first = String(decoding: text.utf8.prefix(cut), as: UTF8.self)
            let rest = String(decoding: text.utf8.dropFirst(cut), as: UTF8.self)
            #expect(
                try Self.scan([first, rest]).found
                    == [#"{"a":"}\"{"}"#, #"{"b":[{"c":"\\"}]}"#, #"{"d":1}"#])
        }
        #expect(try Self.scan(text.map { String($0) }).found.count == 3)
    }

    @Test("an object over the limit is left out and counted, the next is found")
    func long() throws {
        let long = "{\"x\":\"" + String(repeating: "}", count: 200) + "\"}"
        let (found, skipped) = try Self.scan([long + "{\"a\":1}" + long])
        #expect(found == ["{\"a\":1}"])
        #expect(skipped == 2)
        let exact = "{\"x\":\"" + String(repeating: "y", count: 92) + "\"}"
        #expect(try Self.scan([exact]).found == [exact])
    }

    @Test(
        "what stands between objects is refused", arguments: ["x", "[]", "\"a\"", "}", "1", "{}x"])
    func garbage(text: String) {
        #expect(throws: JSONError.self) { try Self.scan([text]) }
    }
}
