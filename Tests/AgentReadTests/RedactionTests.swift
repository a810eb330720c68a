import AgentRead
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
    func secrets(line: String, expected: String) {
        #expect(Self.redacted(line) == expected)
        #expect(Self.redacted(expected) == expected, "what is taken out is not taken out again")
    }

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
        let line = String(repeating: "pwd=s ", count: 5000)
        for configuration in [
            RedactionConfiguration(), try Self.configuration([("own", "pwd=(s)")]),
        ] {
            let result = Self.redacted(line, configuration)
            #expect(!result.contains("=s"))
            #expect(result.utf8.count < 101 * 26)
        }
    }

    @Test(
        "no line makes the work grow faster than it",
        arguments: [
            "authorization: basic null ", "PWD=/", "Bearer          ", "token:a ", "a://b:x/",
            "sk-",
            "\"password\":\"\"", "password:[\"", "4111 ", "eyJaaaaaaa.", "Cookie: \\",
        ])
    func linear(unit: String) {
        let clock = ContinuousClock()
        let redactor = LineRedactor()
        func time(_ count: Int) -> Duration {
            let line = Array(String(repeating: unit, count: count / unit.utf8.count).utf8)
            return (0..<3).map { _ in
                clock.measure {
                    var copy = line
                    _ = redactor.redact(&copy)
                }
            }.min() ?? .zero
        }
        // Eight times the line: 64 times the work if it were quadratic.
        #expect(time(256 << 10) < time(32 << 10) * 32 + .milliseconds(20), "\(unit)")
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
            ("redact: {of: true}", "unknown key `of`"),
        ] {
            let error = #expect(throws: YAMLError.self) { try Self.read(text) }
            #expect("\(error.map { "\($0)" } ?? "")".contains(part), "\(text)")
        }
    }
}
