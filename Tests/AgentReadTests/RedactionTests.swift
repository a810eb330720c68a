import AgentRead
import Glibc
import LinearRegex
import Model
import Testing
import YAMLDocument

@Suite("Redaction of log lines")
struct RedactionTests {
    private static func redacted(
        _ line: String, _ configuration: RedactionConfiguration = RedactionConfiguration()
    ) -> String {
        var bytes = Array(line.utf8)
        let changed = LineRedactor(configuration).redact(&bytes)
        #expect(changed == (bytes != Array(line.utf8)))
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123"

    @Test(
        "secrets",
        arguments: [
            ("Bearer abc.DEF-123xyz", "Bearer [redacted:bearer]"),
            ("a Authorization: Basic dXNlcjpwYXNz b", "a Authorization: Basic [redacted:bearer] b"),
            ("Authorization: opaque", "Authorization: [redacted:secret]"),
            ("jwt=\(jwt);x", "jwt=[redacted:jwt];x"),
            ("use ghp_0123456789abcdefghijABCDEFGHIJ012345", "use [redacted:api_key]"),
            (
                "postgres://app:s3cr3t@db:5432/shop",
                "postgres://app:[redacted:url_password]@db:5432/shop"
            ),
            ("redis://:p/w#@h", "redis://:[redacted:url_password]@h"),
            ("https:\\/\\/u:p@h\\/x", "https:\\/\\/u:[redacted:url_password]@h\\/x"),
            ("card 4111111111111111.", "card [redacted:card]."),
            (
                "4111 1111 1111 1111, 3782-822463-10005",
                "[redacted:card], [redacted:card]"
            ),
            ("password=hunter2 user=x", "password=[redacted:password] user=x"),
            ("DB_PASSWORD='a b' x", "DB_PASSWORD='[redacted:password]' x"),
            ("password = foo", "password = [redacted:password]"),
            ("db.password: foo", "db.password: [redacted:password]"),
            (
                "/x?a=1&password=b%20&access_token=c&d=2",
                "/x?a=1&password=[redacted:password]&access_token=[redacted:secret]&d=2"
            ),
            ("{user=x, password=y,z, a=b}", "{user=x, password=[redacted:password], a=b}"),
            ("X-Api-Key: abc123", "X-Api-Key: [redacted:secret]"),
            ("Cookie: a=b; c=d", "Cookie: [redacted:secret]"),
            ("\"password\"=>\"x\"", "\"password\"=>\"[redacted:password]\""),
            ("JSESSIONID=0a; x", "JSESSIONID=[redacted:secret]; x"),
            ("smtp_pass=1234", "smtp_pass=[redacted:password]"),
            ("dbPass=x", "dbPass=[redacted:password]"),
            (
                "{\"password\":\"a\\\"b\",\"n\":1}",
                "{\"password\":\"[redacted:password]\",\"n\":1}"
            ),
            (
                "{\"password\": 12345, \"card\": 4111111111111111}",
                "{\"password\": \"[redacted:password]\", \"card\": \"[redacted:card]\"}"
            ),
            (
                "{\"body\":\"{\\\"password\\\":\\\"x\\\",\\\"n\\\":1}\"}",
                "{\"body\":\"{\\\"password\\\":\\\"[redacted:password]\\\",\\\"n\\\":1}\"}"
            ),
            (
                "{\"Authorization\":[\"Bearer xyz\"],\"Cookie\":[\"a=b\",\"REDACTED\"]}",
                "{\"Authorization\":[\"Bearer [redacted:bearer]\"],"
                    + "\"Cookie\":[\"[redacted:secret]\",\"REDACTED\"]}"
            ),
            (
                "{\"msg\":\"password=abc\\nnext\"}",
                "{\"msg\":\"password=[redacted:password]\\nnext\"}"
            ),
            ("{\"password\":\"cut off", "{\"password\":\"[redacted:password]"),
        ])
    func secrets(line: String, expected: String) { expect(line, expected) }

    private func expect(_ line: String, _ expected: String) {
        #expect(Self.redacted(line) == expected)
        #expect(Self.redacted(expected) == expected, "what is taken out is not taken out again")
    }

    @Test(
        "secrets behind an escape of JSON",
        arguments: [
            ("{\"m\":\"a\\npwd=x\"}", "{\"m\":\"a\\npwd=[redacted:password]\"}"),
            ("{\"m\":\"a\\tBearer abc12345\"}", "{\"m\":\"a\\tBearer [redacted:bearer]\"}"),
            ("{\"u\":\"/?a=b\\u0026token=c\"}", "{\"u\":\"/?a=b\\u0026token=[redacted:secret]\"}"),
            (
                "{\"u\":\"/?password=b\\u0026c=d\"}",
                "{\"u\":\"/?password=[redacted:password]\\u0026c=d\"}"
            ),
            ("{\"m\":\"\\n\(jwt)\"}", "{\"m\":\"\\n[redacted:jwt]\"}"),
            (
                "{\"m\":\"\\u003cglpat-0123456789abcdefABCDEF\\u003e\"}",
                "{\"m\":\"\\u003c[redacted:api_key]\\u003e\"}"
            ),
            ("{\"m\":\"\\n4111111111111111\"}", "{\"m\":\"\\n[redacted:card]\"}"),
            ("{\"m\":\"\\u00264111111111111111\"}", "{\"m\":\"\\u0026[redacted:card]\"}"),
            ("{\"m\":\"\\u003c4111111111111111\"}", "{\"m\":\"\\u003c[redacted:card]\"}"),
        ])
    func escapes(line: String, expected: String) { expect(line, expected) }

    @Test(
        "values in what languages and shells put around them",
        arguments: [
            ("password: Some(\"x\"), n: 1", "password: Some(\"[redacted:password]\"), n: 1"),
            ("{'password': b'x y', 'n': 1}", "{'password': b'[redacted:password]', 'n': 1}"),
            ("token=Secret::new(\"x\")", "token=Secret::new(\"[redacted:secret]\")"),
            ("ALTER ROLE a PASSWORD 'x y'", "ALTER ROLE a PASSWORD '[redacted:password]'"),
            ("role a password 'it''s' b", "role a password '[redacted:password]' b"),
            ("a PASSWORD E'x\\'y' b", "a PASSWORD E'[redacted:password]' b"),
            ("a PASSWORD $p$x$y$p$ b", "a PASSWORD $p$[redacted:password]$p$ b"),
            ("u IDENTIFIED BY 'x' b", "u IDENTIFIED BY '[redacted:password]' b"),
            (
                "u IDENTIFIED WITH sha2 BY \"x\" b",
                "u IDENTIFIED WITH sha2 BY \"[redacted:password]\" b"
            ),
            (
                "{\"u\":\"password 'x\",\"n\":\"it's\"}",
                "{\"u\":\"password '[redacted:password]\",\"n\":\"it's\"}"
            ),
            (
                "{\"u\":\"password='x\",\"n\":1}",
                "{\"u\":\"password='[redacted:password]\",\"n\":1}"
            ),
            (
                "{\"u\":\"password $$x\",\"n\":1}",
                "{\"u\":\"password $$[redacted:password]\",\"n\":1}"
            ),
            (
                "{\"m\":\"{\\\"u\\\":\\\"password 'x\\\",\\\"n\\\":1}\"}",
                "{\"m\":\"{\\\"u\\\":\\\"password '[redacted:password]\\\",\\\"n\\\":1}\"}"
            ),
            ("\"a\" password='x\"y' b", "\"a\" password='[redacted:password]' b"),
            ("a --password x -v", "a --password [redacted:password] -v"),
            ("a --api-key 'x y' -v", "a --api-key '[redacted:secret]' -v"),
            ("password={a}b user=c", "password=[redacted:password] user=c"),
            ("password=[ab user=c", "password=[redacted:password] user=c"),
            ("password=,a user=c", "password=[redacted:password] user=c"),
            ("Cookie:[a=b] n", "Cookie:[[redacted:secret]] n"),
            (
                "{\"password\":[12,\"x\"],\"n\":1}",
                "{\"password\":[\"[redacted:password]\",\"[redacted:password]\"],\"n\":1}"
            ),
            (
                "{\"m\":[\"a\"],\"cards\":[4111111111111111, 5]}",
                "{\"m\":[\"a\"],\"cards\":[\"[redacted:card]\", 5]}"
            ),
            (
                "{\"m\":\"cards [4111111111111111, 5]\"}",
                "{\"m\":\"cards [[redacted:card], 5]\"}"
            ),
        ])
    func wrappers(line: String, expected: String) { expect(line, expected) }

    @Test(
        "a header's value goes to the end of the line or of the text that the header is in",
        arguments: [
            ("Cookie: a=\"b\"; c=d", "Cookie: [redacted:secret]"),
            ("Cookie: a=b\r\nHost: c", "Cookie: [redacted:secret]\r\nHost: c"),
            ("Cookie: a=b\nHost: c", "Cookie: [redacted:secret]\nHost: c"),
            ("{\"m\":\"Cookie: a=b\",\"n\":1}", "{\"m\":\"Cookie: [redacted:secret]\",\"n\":1}"),
            (
                "{\"m\":\"Cookie: a=\\\"b\\\"; c\",\"n\":1}",
                "{\"m\":\"Cookie: [redacted:secret]\",\"n\":1}"
            ),
            (
                "{\"m\":\"{\\\"h\\\":\\\"Cookie: a\\\"}\",\"n\":1}",
                "{\"m\":\"{\\\"h\\\":\\\"Cookie: [redacted:secret]\\\"}\",\"n\":1}"
            ),
            ("curl -H 'Cookie: a=b' http://c", "curl -H 'Cookie: [redacted:secret]' http://c"),
            ("Cookie: a='b'; c", "Cookie: [redacted:secret]"),
            (
                "Authorization: Digest username=\"a\", response=\"b\"",
                "Authorization: Digest [redacted:secret]"
            ),
        ])
    func headers(line: String, expected: String) { expect(line, expected) }

    @Test(
        "lines without secrets stay as they are",
        arguments: [
            "", "=", ":", "password=", "password:", "\"password\":\"\"", "password=null",
            "Failed password for root from 203.0.113.7 port 1", "if (password != null)",
            "bearer of bad news", "Basic authentication failed.", "bypass=true", "pass=12 fail=3",
            "alice : PWD=/root ; USER=root", "std::token::x", "unexpected token: name",
            "{\"token\":null,\"password\":\"***\",\"secret\":{\"a\":1}}", "password=[redacted:x]",
            "{\"session_id\":\"674a.1f\"}", "http://h:80/x@y", "ssh://git@github.com/x",
            "http://[::1]:80/a@b",
            "4111111111111112", "x4111111111111111", "0.4111111111111111", "1732634357123456789",
            "4111-1111 1111-1111", "0000000000000000", "2026-11-26 15:19:17.123 UTC [1] LOG:  x",
            "secret \"name\" not found", "unexpected token \"}\" in JSON", "by 'x'", "--password",
            "--password --user", "password=&user=x", "{\"msg\":\"wrong password \",\"n\":1}",
            "password $1", "pwd '/root'", "\\xpwd=", "password::hash",
            "550e8400-e29b-41d4-a716-446655440000", "eyJ", "sk-", "task-1234567890-abcdefghijkl",
        ])
    func untouched(line: String) { #expect(Self.redacted(line) == line) }

    @Test("every rule can be turned off, and all at once")
    func turnedOff() {
        let samples: [(BuiltInRedaction, String)] = [
            (.bearer, "Bearer abc.DEF-123xyz"), (.jwt, Self.jwt),
            (.apiKey, "glpat-0123456789abcdefABCDEF"), (.urlPassword, "a://b:c@d"),
            (.card, "4111111111111111"), (.password, "password=x"), (.secret, "secret=x"),
        ]
        #expect(Set(samples.map(\.0)) == Set(BuiltInRedaction.allCases))
        for (rule, line) in samples {
            #expect(Self.redacted(line).contains("[redacted:\(rule.name)]"))
            var configuration = RedactionConfiguration()
            configuration.disabled = [rule]
            #expect(Self.redacted(line, configuration) == line, "\(rule) is off")
            configuration = RedactionConfiguration()
            configuration.isEnabled = false
            #expect(Self.redacted(line, configuration) == line)
            configuration.isEnabled = true
            configuration.disabled = Set(BuiltInRedaction.allCases).subtracting([rule])
            #expect(Self.redacted(line, configuration).contains("[redacted:\(rule.name)]"))
        }
    }

    @Test(
        "any bytes are read without harm, and stay where nothing is found",
        arguments: [UInt64(4), 5, 6])
    func anyBytes(seed: UInt64) {
        let redactor = LineRedactor()
        var dice = LineDice(seed: seed)
        for _ in 0..<4000 {
            let line = dice.line()
            var copy = line
            if redactor.redact(&copy) {
                #expect(String(decoding: copy, as: UTF8.self).contains("[redacted:"))
            } else {
                #expect(copy == line)
            }
        }
    }

    @Test("lines of harmless words are never changed", arguments: [UInt64(7), 8])
    func harmless(seed: UInt64) {
        let words = [
            "user", "=", ":", " ", "\"", "GET", "/a/b", "12", "ok", ".", ",", "{", "}", "time", "é",
            "2026-11-26", "id", "key", "tokens=9", "keys:", "passing", "-",
        ]
        let redactor = LineRedactor()
        var dice = LineDice(seed: seed)
        for _ in 0..<4000 {
            var line: [UInt8] = []
            for _ in 0..<dice.below(20) { line += words[dice.below(words.count)].utf8 }
            var copy = line
            #expect(!redactor.redact(&copy))
            #expect(copy == line)
        }
    }

    @Test("a secret is gone whatever stands around it", arguments: [UInt64(9), 10])
    func surrounded(seed: UInt64) {
        let secret = "s3cr3tV4lue"
        let forms = [
            " password=\(secret) ", "{\"password\":\"\(secret)\"}", " a://b:\(secret)@c/ ",
            " Bearer \(secret) ", "&token=\(secret)&", " api_key: '\(secret)' ",
        ]
        let around = [" ", "x", "{", "}", ",", "[", "]", "12", "é", "GET /", ";", "&"]
        let redactor = LineRedactor()
        var dice = LineDice(seed: seed)
        for _ in 0..<2000 {
            var text = ""
            for _ in 0..<dice.below(8) { text += around[dice.below(around.count)] }
            text += " " + forms[dice.below(forms.count)] + " "
            for _ in 0..<dice.below(8) { text += around[dice.below(around.count)] }
            var line = Array(text.utf8)
            #expect(redactor.redact(&line))
            #expect(!String(decoding: line, as: UTF8.self).contains(secret), "\(text)")
        }
    }

    private static func configuration(_ rules: [(String, String)]) throws -> RedactionConfiguration
    {
        var configuration = RedactionConfiguration()
        for (name, pattern) in rules {
            configuration.rules.append(
                RedactionRule(name: name, regex: try LinearRegex(pattern, anchored: false)))
        }
        return configuration
    }

    @Test("a redactor that follows another goes on counting, for the rules that it has")
    func following() throws {
        func counts(_ redactor: LineRedactor) -> [String: Double] {
            Dictionary(
                uniqueKeysWithValues: redactor.families()[0].points.filter { $0.value > 0 }
                    .map { ($0.labels["rule"], $0.value) })
        }
        let first = LineRedactor(try Self.configuration([("a", "aa"), ("b", "bb")]))
        var line = Array("aa bb password=hunter2".utf8)
        #expect(first.redact(&line))
        let second = LineRedactor(
            try Self.configuration([("c", "cc"), ("b", "bbb")]), after: first)
        // The first one may still be at work.
        for redactor in [first, second] {
            line = Array("bbb cc password=hunter2".utf8)
            #expect(redactor.redact(&line))
        }
        #expect(counts(second) == ["b": 3, "c": 1, "password": 3])
    }

    @Test("rules of the user's own: the whole match, or its groups; overlaps are one")
    func ownRules() throws {
        let configuration = try Self.configuration([
            ("order", "order-([a-z]+)-([0-9]+)"), ("mail", "[a-z]+@[a-z.]+"), ("bob", "bob@a"),
        ])
        #expect(
            Self.redacted("order-ab-12 bob@a.b", configuration)
                == "order-[redacted:order]-[redacted:order] [redacted:mail]")
        #expect(
            Self.redacted("a://x:y@z.b", configuration) == "a://x:[redacted:mail]",
            "the password and the address overlap")
        var bytes: [UInt8] = [0xff, 0x20] + Array("bob@a".utf8) + [0xc3, 0x20, 0xfe]
        #expect(LineRedactor(configuration).redact(&bytes))
        #expect(bytes == [0xff, 0x20] + Array("[redacted:mail]".utf8) + [0xc3, 0x20, 0xfe])
    }

    @Test("a line of many secrets grows by a bounded number of marks and keeps none")
    func many() throws {
        let (marked, bare) = ("pwd=[redacted:password] ", "pwd= ")
        #expect(
            Self.redacted(String(repeating: "pwd=s ", count: 5000) + "end")
                == String(repeating: marked, count: LineRedactor.marksMax)
                + String(repeating: bare, count: 5000 - LineRedactor.marksMax) + "end")
        #expect(
            Self.redacted("[" + String(repeating: "{\"pwd\":1},", count: 102))
                .hasSuffix("\"[redacted:password]\"},{\"pwd\":0},{\"pwd\":0},"))
        let cards = Self.redacted(String(repeating: "4111111111111111,", count: 300))
        #expect(!cards.contains("4111") && cards.utf8.count < 300 + 100 * 16)
        // Of a rule of the user's own the last goes to the end.
        let own = Self.redacted(
            String(repeating: "key=s ", count: 5000), try Self.configuration([("own", "key=(s)")]))
        #expect(!own.contains("=s") && own.utf8.count < 101 * 20)
    }

    @Test("many secrets in what was typed hide nothing of what stands behind them")
    func manyHideNothing() {
        let line = Array(
            """
            {"user_id":"\(String(repeating: "pwd=s ", count: 300))","result":"denied"}
            """.utf8)
        var entry = LogEntry(
            timestamp: TimestampNS(1), line: line,
            metadata: Labels(FieldExtractor.extract(line).fields))
        LineRedactor().redact(&entry)
        #expect(entry.metadata["result"] == "denied")
        #expect(FieldExtractor.extract(entry.line).fields.contains(Label("result", "denied")))
    }

    @Test(
        "whatever stands in a text of JSON, what stands behind it stays",
        arguments: [UInt64(13), 14])
    func textsOfJSON(seed: UInt64) {
        let redactor = LineRedactor()
        var dice = LineDice(seed: seed)
        for _ in 0..<4000 {
            var text = ""
            for byte in dice.line() where byte >= 32 && byte < 127 {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { text += "\\" }
                text.unicodeScalars.append(Unicode.Scalar(byte))
            }
            var line = Array("{\"m\":\"\(text)\",\"user_id\":\"u\",\"result\":\"denied\"}".utf8)
            _ = redactor.redact(&line)
            let fields = FieldExtractor.extract(line).fields
            #expect(
                fields == [Label("result", "denied"), Label("user_id", "u")],
                "\(text) became \(String(decoding: line, as: UTF8.self))")
        }
    }

    @Test("a rule that takes out more than a value leaves the result")
    func wideRule() throws {
        let line = Array(
            "{\"action\":\"a\",\"key\":1,\"user_id\":\"b\",\"result\":\"denied\"}".utf8)
        var entry = LogEntry(
            timestamp: TimestampNS(1), line: line,
            metadata: Labels(FieldExtractor.extract(line).fields))
        LineRedactor(try Self.configuration([("wide", "key.*")])).redact(&entry)
        #expect(
            String(decoding: entry.line, as: UTF8.self) == "{\"action\":\"a\",\"[redacted:wide]")
        #expect(entry.metadata == ["action": "a", "result": "denied"])
    }

    @Test(
        "a rule of the user's own leaves JSON whole",
        arguments: [
            ("{\"id\":12345,\"n\":1}", "{\"id\":\"[redacted:own]\",\"n\":1}"),
            ("{\"id\": 7123458 }", "{\"id\": \"[redacted:own]\" }"),
            ("{\"ids\":[1,12345]}", "{\"ids\":[1,\"[redacted:own]\"]}"),
            ("{\"id\":\"12345\"}", "{\"id\":\"[redacted:own]\"}"),
            ("{\"m\":\"a, 12345, b\"}", "{\"m\":\"a, [redacted:own], b\"}"),
            ("id: 12345, n: 1", "id: [redacted:own], n: 1"),
        ])
    func ownRuleInJSON(line: String, expected: String) throws {
        #expect(Self.redacted(line, try Self.configuration([("own", "12345")])) == expected)
    }

    @Test("the reader's own fields are not searched")
    func readersFields() throws {
        let metadata: Labels = [
            "_PID": "4111111111111111", "priority": "4111111111111111",
            "petrel_cut": "4111111111111111",
        ]
        var entry = LogEntry(timestamp: TimestampNS(1), line: [120], metadata: metadata)
        let redactor = LineRedactor(try Self.configuration([("own", "[0-9]+")]))
        redactor.redact(&entry)
        #expect(entry.metadata == metadata)
        entry.metadata = ["identifier": "4111111111111111"]
        redactor.redact(&entry)
        #expect(entry.metadata == ["identifier": "[redacted:card]"])
    }

    @Test("where a chunk has grown enough an entry gets one mark at most")
    func tight() {
        let line = Array("password=s3cr3t {\"token\":123456, \"n\":1} pwd=x end".utf8)
        var entry = LogEntry(
            timestamp: TimestampNS(1), line: line, metadata: ["identifier": "password=hunter2"])
        let old = entry
        let grown = LineRedactor().redact(&entry, isTight: true)
        #expect(
            String(decoding: entry.line, as: UTF8.self)
                == "password=[redacted:password] {\"token\":0, \"n\":1} pwd= end")
        #expect(entry.metadata == ["identifier": "password="])
        #expect(grown == entry.line.count - old.line.count - "hunter2".utf8.count)
    }

    @Test(
        "no line makes the work grow faster than it",
        arguments: [
            "authorization: basic null ", "PWD=/", "Bearer          ", "token:a ", "a://b:x/",
            "sk-",
            "\"password\":\"\"", "password:[\"", "4111 ", "eyJaaaaaaa.", "Cookie: \\",
            "pwd $a$/ ", "pwd '/", "secret \"a", "secret \\\"", "IDENTIFIED BY x ", "--password ",
            "password=Some(", "password:[a ", "token:[ ", "Cookie: \"", "Cookie: a\n",
            "password $$",
            "{\"a\":[4111111111111111,    ", "pwd=s ", "\\u0026pwd=",
        ])
    func linear(unit: String) {
        let redactor = LineRedactor()
        // Of this thread alone: others run beside it.
        func now() -> Duration {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        }
        func time(_ count: Int) -> Duration {
            let line = Array(String(repeating: unit, count: count / unit.utf8.count).utf8)
            return (0..<3).map { _ in
                var copy = line
                let start = now()
                _ = redactor.redact(&copy)
                return now() - start
            }.min() ?? .zero
        }
        // Eight times the line: 64 times the work if it were quadratic.
        #expect(time(256 << 10) < time(32 << 10) * 24 + .milliseconds(5), "\(unit)")
    }

    @Test("an entry's fields are redacted with its line")
    func entries() throws {
        let redactor = LineRedactor(
            try Self.configuration([("person", "\"user_id\":\"([^\"]*)\"")]))
        let line = Array("{\"user_id\":\"alice\",\"action\":\"Bearer abc.DEF-123xyz\"}".utf8)
        let fields = FieldExtractor.extract(line).fields
        var entry = LogEntry(
            timestamp: TimestampNS(1), line: line,
            metadata: Labels(fields + [Label("identifier", "a://b:c@d")]))
        redactor.redact(&entry)
        #expect(
            entry.metadata == [
                "user_id": "[redacted:person]", "action": "Bearer [redacted:bearer]",
                "identifier": "a://b:[redacted:url_password]@d",
            ])
        #expect(!String(decoding: entry.line, as: UTF8.self).contains("alice"))
        // A field that did not come from the line stays.
        var other = LogEntry(
            timestamp: TimestampNS(1), line: line, metadata: ["user_id": "bob", "action": "x"])
        redactor.redact(&other)
        #expect(other.metadata == ["user_id": "bob", "action": "x"])
    }

    @Test("a line that grows past the longest is cut and marked")
    func cut() {
        let tail = " token=1"
        let line = Array(
            (String(repeating: "x", count: LogEntry.lineBytesMax - tail.utf8.count) + tail).utf8)
        var entry = LogEntry(timestamp: TimestampNS(1), line: line)
        LineRedactor().redact(&entry)
        #expect(entry.line.count == LogEntry.lineBytesMax)
        #expect(entry.metadata == ["petrel_cut": "\(line.count)"])
    }

    @Test("each rule counts what it took out")
    func counts() throws {
        let redactor = LineRedactor(try Self.configuration([("own", "zz")]))
        for text in ["password=a password=b", "zz", "nothing"] {
            var line = Array(text.utf8)
            _ = redactor.redact(&line)
        }
        let family = try #require(redactor.families().first)
        #expect(family.name == "petrel_agent_log_redactions_total")
        let found = Dictionary(
            uniqueKeysWithValues: family.points.map { ($0.labels["rule"], $0.value) })
        #expect(found["password"] == 2 && found["own"] == 1 && found["card"] == 0)
        #expect(found.count == BuiltInRedaction.allCases.count + 1)
    }

    private static func read(_ text: String) throws -> RedactionConfiguration {
        var logs = try YAMLMapping.parse(text, file: "agent.yaml")
        var configuration = RedactionConfiguration()
        try configuration.read(&logs)
        try logs.finish()
        return configuration
    }

    @Test("the key logs.redact")
    func yaml() throws {
        #expect(try Self.read("").isEnabled)
        let configuration = try Self.read(
            """
            redact:
              enabled: true
              disable: [card, url_password]
              rules:
                - {name: order_key, regex: 'key-([a-z]+)'}
            """)
        #expect(configuration.disabled == [.card, .urlPassword])
        #expect(Self.redacted("key-ab", configuration) == "key-[redacted:order_key]")
        for (text, part) in [
            ("redact: {disable: [cards]}", "no rule `cards`; there are bearer, jwt"),
            ("redact: {rules: [{name: card, regex: x}]}", "a rule `card` already"),
            ("redact: {rules: [{name: A, regex: x}]}", "found `A`"),
            ("redact: {rules: [{name: a, regex: '('}]}", "missing closing )"),
            ("redact: {rules: [{name: a}]}", "`regex` is missing"),
            ("redact: {rules: [{name: a, regex: 'x*'}]}", "`x*` matches an empty text"),
            ("redact: {rules: [{name: a, regex: '\\b'}]}", "matches an empty text"),
            ("redact: {of: true}", "unknown key `of`"),
        ] {
            let error = #expect(throws: YAMLError.self) { try Self.read(text) }
            #expect("\(error.map { "\($0)" } ?? "")".contains(part), "\(text)")
        }
    }
}
