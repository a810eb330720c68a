import AgentRead
import Testing
import World

/// Messages of PostgreSQL's protocol, as a server says them.
enum ServerMessage {
    static func number(_ value: Int32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> Int32($0)) }
    }
    static func short(_ value: Int16) -> [UInt8] {
        [8, 0].map { UInt8(truncatingIfNeeded: value >> Int16($0)) }
    }
    static func text(_ value: String) -> [UInt8] { Array(value.utf8) + [0] }

    static func message(_ kind: Unicode.Scalar, _ body: [UInt8] = []) -> [UInt8] {
        [UInt8(ascii: kind)] + number(Int32(body.count + 4)) + body
    }
    static func request(_ kind: Int32, _ rest: [UInt8] = []) -> [UInt8] {
        message("R", number(kind) + rest)
    }
    static func parameter(_ name: String, _ value: String) -> [UInt8] {
        message("S", text(name) + text(value))
    }
    static func columns(_ names: [String]) -> [UInt8] {
        message(
            "T",
            short(Int16(names.count))
                + names.flatMap { text($0) + [UInt8](repeating: 0, count: 18) })
    }
    static func row(_ values: [String?]) -> [UInt8] {
        message(
            "D",
            short(Int16(values.count))
                + values.flatMap { value -> [UInt8] in
                    guard let value else { return number(-1) }
                    return number(Int32(value.utf8.count)) + Array(value.utf8)
                })
    }
    static func failure(_ code: String, _ words: String, kind: Unicode.Scalar = "E") -> [UInt8] {
        message(
            kind, text("SERROR") + text("C" + code) + text("M" + words) + [0])
    }
    static let done = message("C", text("SELECT"))
    static let ready = message("Z", [UInt8(ascii: "I")])
    static let letIn =
        request(0) + parameter("server_version", "15.18 (Debian 15.18-0+deb12u1)")
        + message("K", number(7) + number(8)) + ready
    static func query(_ sql: String) -> [UInt8] { message("Q", text(sql)) }
    static let goodbye = message("X")

    /// What the client says first.
    static let startup: [UInt8] = {
        let body =
            number(196_608)
            + [
                "user", "petrel", "database", "db", "application_name", "petrel-agent",
                "client_encoding", "UTF8", "",
            ].flatMap(text)
        return number(Int32(body.count + 4)) + body
    }()
}

@Suite("PostgreSQL session")
struct PostgresSessionTests {
    typealias Step = ScriptedServer.Step
    typealias Say = ServerMessage

    /// Bytes 0, 1, 2 and so on.
    struct CountingRandom: RandomSource {
        func next() -> UInt64 { 4 }
        func bytes(count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        }
    }

    static let password = "open sesame"

    static func session(
        _ server: ScriptedServer, password: String? = Self.password, milliseconds: Int64 = 5_000
    ) throws(ServiceError) -> PostgresSession {
        try PostgresSession(
            server.address, user: "petrel", database: "db", password: password,
            clock: ManualClock(), random: CountingRandom(), milliseconds: milliseconds)
    }

    /// The error that `body` ends with.
    static func failure(_ body: () throws(ServiceError) -> Void) -> ServiceError? {
        do throws(ServiceError) {
            try body()
            return nil
        } catch { return error }
    }

    /// The error of a login to a server that says `bytes` when the client has come.
    static func loginFailure(
        _ bytes: [UInt8], password: String? = Self.password, milliseconds: Int64 = 5_000
    ) async throws -> ServiceError? {
        let server = try ScriptedServer([.receive(Say.startup), .send(bytes)])
        let error = failure { () throws(ServiceError) in
            _ = try session(server, password: password, milliseconds: milliseconds)
        }
        #expect(await server.end().faults == [])
        return error
    }

    /// Logs in, asks `sql` of a server that answers `bytes`, and lets `check` go on.
    static func ask(
        _ bytes: [UInt8], then steps: [Step] = [],
        _ check: (PostgresSession) throws -> Void
    ) async throws -> [UInt8] {
        let server = try ScriptedServer(
            [
                .receive(Say.startup), .send(Say.letIn), .receive(Say.query("SELECT 1")),
                .send(bytes),
            ] + steps)
        try check(try session(server))
        let (faults, rest) = await server.end()
        #expect(faults == [])
        return rest
    }

    static func queryFailure(_ bytes: [UInt8]) async throws -> ServiceError? {
        var error: ServiceError?
        let rest = try await ask(bytes) { session in
            error = failure { () throws(ServiceError) in _ = try session.query("SELECT 1") }
            // What may still come would be taken for the answer.
            let later = failure { () throws(ServiceError) in _ = try session.query("SELECT 1") }
            guard case .closed = later else {
                Issue.record("went on after \(String(describing: error))")
                return
            }
        }
        #expect(rest == [], "a session that ended says no more")
        return error
    }

    // MARK: - Queries

    @Test("rows, NULL, notices, several result sets, and the goodbye")
    func queries() async throws {
        let notice = Say.failure("01000", "careful", kind: "N")
        let first =
            Say.columns(["x"]) + Say.row(["1"]) + Say.done + notice
            + Say.columns(["a", "größe"]) + Say.row(["7", nil]) + notice + Say.row(["", "ü"])
            + Say.done + Say.message("C", Say.text("SET")) + Say.ready
        let rest = try await Self.ask(
            first,
            then: [
                .receive(Say.query("")), .send(Say.message("I") + Say.ready),
                .receive(Say.query("SET x = 1")),
                .send(
                    Say.parameter("server_version", "18beta1") + Say.message("C", Say.text("SET"))
                        + Say.ready),
            ]
        ) { session in
            #expect(session.serverVersion == 150_018)
            let table = try session.query("SELECT 1")
            #expect(
                table
                    == PostgresTable(
                        columns: ["a", "größe"], rows: [["7", nil], ["", "ü"]]))
            #expect(table.index("größe") == 1)
            #expect(try session.query("") == PostgresTable(columns: [], rows: []))
            #expect(try session.query("SET x = 1").rows.isEmpty)
            #expect(session.serverVersion == 180_000)
        }
        #expect(rest == Say.goodbye)
    }

    @Test("after an error of the server the next query works")
    func goesOn() async throws {
        let rest = try await Self.ask(
            Say.columns(["x"]) + Say.row(["1"]) + Say.failure("42P01", "no such table") + Say.ready,
            then: [
                .receive(Say.query("SELECT 2")),
                .send(Say.columns(["x"]) + Say.row(["2"]) + Say.done + Say.ready),
            ]
        ) { session in
            let error = Self.failure { () throws(ServiceError) in
                _ = try session.query("SELECT 1")
            }
            guard case .refused(_, let code, let message) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(code == "42P01")
            #expect(message == "no such table")
            let rows = try session.query("SELECT 2").rows
            #expect(rows == [["2"]])
        }
        #expect(rest == Say.goodbye)
    }

    @Test("a server that goes says why")
    func lastWords() async throws {
        let error = try await Self.queryFailure(Say.failure("57P01", "shutting down"))
        guard case .refused(_, "57P01", "shutting down") = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    static let malformedAnswers: [[UInt8]] = {
        var all: [[UInt8]] = []
        func add(_ parts: [UInt8]...) { all.append(parts.flatMap { $0 }) }
        let column = Say.columns(["a"])
        let letter = [UInt8(ascii: "T")]
        // Lengths: less than itself, negative, too large.
        add(letter, Say.number(3))
        add(letter, Say.number(-1))
        add(letter, Say.number(5 + (1 << 20)))
        add(Array("HTTP/1.1 400".utf8))
        // Rows that nobody announced, or of another width.
        add(Say.row(["1"]))
        add(column, Say.row(["1", "2"]))
        add(column, Say.row([]))
        add(column, Say.done, Say.row(["1"]))
        add(column, column)
        // Counts and lengths that the message does not have.
        add(Say.message("T"))
        add(Say.message("T", Say.short(-1)))
        add(Say.message("T", Say.short(2) + Say.text("a")))
        add(Say.message("T", Say.short(1) + Array("a".utf8)))
        add(Say.message("T", Say.short(0) + [1]))
        add(column, Say.message("D", [0]))
        add(column, Say.message("D", Say.short(1) + Say.number(-2)))
        add(column, Say.message("D", Say.short(1) + Say.number(.max)))
        add(column, Say.message("D", Say.short(1) + Say.number(2) + Array("1".utf8)))
        add(column, Say.message("D", Say.short(1) + Say.number(0) + [1]))
        add(Say.message("C"))
        add(Say.message("E"))
        add(Say.message("E", Array("Mno end".utf8)))
        add(Say.message("E", [0, 0]), Say.ready)
        add(Say.message("Z"))
        add(Say.message("Z", Array("Q".utf8)))
        add(Say.message("S", Say.text("half")))
        // COPY, and what belongs to the login.
        add(Say.message("H", [0, 0, 0]))
        add(Say.message("G", [0, 0, 0]))
        add(Say.request(0))
        return all
    }()

    @Test("malformed answers end the session", arguments: malformedAnswers)
    func malformed(bytes: [UInt8]) async throws {
        let error = try await Self.queryFailure(bytes)
        guard case .malformed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("answers that break off", arguments: [0, 1, 4, 5, 12, 40])
    func truncated(count: Int) async throws {
        let whole = Say.columns(["abc"]) + Say.row(["1"])
        let error = try await Self.queryFailure(Array(whole.prefix(count)))
        guard case .closed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("too many rows")
    func rows() async throws {
        let row = Say.row([nil])
        let most = (0..<PostgresSession.rowsMax).flatMap { _ in row }
        let rest = try await Self.ask(Say.columns(["a"]) + most + Say.done + Say.ready) {
            let rows = try $0.query("SELECT 1").rows
            #expect(rows.count == PostgresSession.rowsMax)
        }
        #expect(rest == Say.goodbye)
        let error = try await Self.queryFailure(
            Say.columns(["a"]) + most + Say.done + Say.columns(["b"]) + row + Say.done + Say.ready)
        guard case .malformed(_, let detail) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(detail == "more than 10000 rows")
    }

    @Test("too many bytes")
    func bytes() async throws {
        let notice = Say.message("N", [UInt8](repeating: 0, count: PostgresSession.messageBytesMax))
        let error = try await Self.queryFailure((0..<17).flatMap { _ in notice })
        guard case .malformed(_, let detail) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(detail.hasPrefix("an answer of more than"))
    }

    // MARK: - Login

    @Test(
        "the server's version as a number",
        arguments: [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018), ("18.1", 180_001), ("9.6.24", 90_624),
            ("19devel", 190_000), ("1.18.0/bouncer", 0), ("", 0), ("99999999999999999999.1", 0),
        ])
    func version(text: String, number: Int) async throws {
        let server = try ScriptedServer([
            .receive(Say.startup),
            .send(Say.request(0) + Say.parameter("server_version", text) + Say.ready),
        ])
        #expect(try Self.session(server, password: nil).serverVersion == number)
        #expect(await server.end().rest == Say.goodbye)
    }

    @Test("MD5")
    func hashed() async throws {
        let server = try ScriptedServer([
            .receive(Say.startup), .send(Say.request(5, [1, 2, 3, 4])),
            .receive(Say.message("p", Say.text("md5bb388ed84b798bcf94548aa48680aebf"))),
            .send(Say.letIn),
        ])
        _ = try Self.session(server)
        let (faults, rest) = await server.end()
        #expect(faults == [])
        #expect(rest == Say.goodbye)
    }

    /// An exchange as Python's hashlib computes it, with the nonce of `CountingRandom`.
    static let offer = Say.request(
        10, Say.text("SCRAM-SHA-256-PLUS") + Say.text("SCRAM-SHA-256") + [0])
    static let first: [UInt8] = {
        let text = Array("n,,n=,r=AAECAwQFBgcICQoLDA0ODxAR".utf8)
        return Say.message("p", Say.text("SCRAM-SHA-256") + Say.number(Int32(text.count)) + text)
    }()
    static let salt = "s=c2FsdCBvZiBzaXh0ZWVuIQ==,i=4096"
    static let nonce = "r=AAECAwQFBgcICQoLDA0ODxARSERVER"
    static let challenge = Say.request(11, Array("\(nonce),\(salt)".utf8))
    static let proof = Say.message(
        "p", Array("c=biws,\(nonce),p=bdlFObj5Dttda4iv7W4HFcoIBZdNXMDifjOPFy01Mn0=".utf8))
    static let signature = Say.request(
        12, Array("v=nj+thbXaIHV1DCQvJp0k3S6E002BzZdlKw6I3s/r0eU=".utf8))

    /// A server that says `last` when the client has given its proof.
    static func scram(_ last: [UInt8]) throws -> ScriptedServer {
        try ScriptedServer([
            .receive(Say.startup), .send(offer), .receive(first), .send(challenge),
            .receive(proof), .send(last),
        ])
    }

    @Test("SCRAM-SHA-256")
    func scram() async throws {
        let server = try Self.scram(Self.signature + Say.letIn)
        _ = try Self.session(server)
        let (faults, rest) = await server.end()
        #expect(faults == [])
        #expect(rest == Say.goodbye)
    }

    @Test(
        "a server that does not prove that it knows the password is refused",
        arguments: [
            // A wrong signature, none, a part of the right one, an error, and the door open without any.
            Say.request(12, Array("v=oj+thbXaIHV1DCQvJp0k3S6E002BzZdlKw6I3s/r0eU=".utf8)),
            Say.request(12, Array("v=".utf8)), Say.request(12),
            Say.request(12, Array("v=nj+t".utf8)),
            Say.request(12, Array("e=other-error".utf8)), [],
        ])
    func unproven(last: [UInt8]) async throws {
        let server = try Self.scram(last + Say.letIn)
        let error = Self.failure { () throws(ServiceError) in _ = try Self.session(server) }
        switch error {
        case .malformed, .refused(_, _, "other-error"): break
        default: Issue.record("\(String(describing: error))")
        }
        let (faults, rest) = await server.end()
        #expect(faults == [])
        #expect(rest == [])
    }

    @Test(
        "SCRAM challenges that are none",
        arguments: [
            "", "r=", "r=other,\(Self.salt)", "r=AAECAwQFBgcICQoLDA0ODxAR,\(Self.salt)",
            "\(Self.nonce),s=,i=4096", "\(Self.nonce),s=c2Fs*A==,i=4096", "\(Self.nonce),i=4096",
            "\(Self.nonce),s=c2Fsd,i=4096", "\(Self.nonce),s=c2FsdB==,i=4096",
            "\(Self.nonce),s=c2FsdA==,i=0", "\(Self.nonce),s=c2FsdA==,i=-1",
            "\(Self.nonce),s=c2FsdA==,i=100001", "\(Self.nonce),s=c2FsdA==",
            "\(Self.nonce),s=c2FsdA==,i=99999999999999999999", "m=ext,\(Self.nonce),\(Self.salt)",
        ])
    func challenges(text: String) async throws {
        let server = try ScriptedServer([
            .receive(Say.startup), .send(Self.offer), .receive(Self.first),
            .send(Say.request(11, Array(text.utf8))),
        ])
        let error = Self.failure { () throws(ServiceError) in _ = try Self.session(server) }
        guard case .malformed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        let (faults, rest) = await server.end()
        #expect(faults == [])
        #expect(rest == [], "no proof for such a challenge")
    }

    @Test("kept keys serve the same password, salt and iterations alone")
    func keys() throws {
        let keys = ScramKeys()
        func answer(_ password: String, _ salt: String, keys: ScramKeys?) throws -> [UInt8] {
            var client = ScramClient(password: password, nonce: "abc", keys: keys)
            return try client.answer(Array("r=abcd,\(salt)".utf8))
        }
        for (password, salt) in [
            ("one", "s=c2FsdA==,i=10"), ("one", "s=c2FsdA==,i=10"), ("two", "s=c2FsdA==,i=10"),
            ("two", "s=c2FsdA==,i=11"), ("two", "s=c2FsdC4=,i=11"), ("one", "s=c2FsdA==,i=10"),
        ] {
            #expect(
                try answer(password, salt, keys: keys) == answer(password, salt, keys: nil),
                "\(password) \(salt)")
        }
    }

    @Test(
        "ways of authentication that are refused",
        arguments: [
            (Say.request(3), "asks for the password itself"),
            (Say.request(7), "asks for a way of authentication, 7"),
            (Say.request(10, Say.text("SCRAM-SHA-1") + [0]), "the server does not offer"),
            (Say.failure("28P01", "password authentication failed"), "password auth"),
            (Say.request(0) + Say.failure("53300", "too many clients"), "too many clients"),
        ])
    func refused(bytes: [UInt8], words: String) async throws {
        let error = try await Self.loginFailure(bytes)
        guard case .refused(_, _, let message) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(message.hasPrefix(words))
        #expect(!"\(String(describing: error))".contains(Self.password))
    }

    @Test("a password that is asked for and not there", arguments: [nil, "", "a\0b"])
    func missing(password: String?) async throws {
        for request in [Say.request(5, [1, 2, 3, 4]), Self.offer] {
            let error = try await Self.loginFailure(request, password: password)
            guard case .refused(_, "", "asks for a password, and the agent has none") = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    @Test("a password is read where the server asks for one")
    func reading() async throws {
        let failure = ServiceError.refused(
            .unix(path: "/s"), code: "password_file", message: "errno 13")
        func password() throws(ServiceError) -> String? { throw failure }
        for (request, expected) in [(Say.letIn, nil), (Self.offer, failure)] {
            let server = try ScriptedServer([.receive(Say.startup), .send(request)])
            let error = Self.failure { () throws(ServiceError) in
                _ = try PostgresSession(
                    server.address, user: "petrel", database: "db", password: try password(),
                    clock: ManualClock(), random: CountingRandom(), milliseconds: 5_000)
            }
            #expect(error == expected)
            _ = await server.end()
        }
    }

    @Test(
        "malformed logins",
        arguments: [
            [Say.message("R")], [Say.request(5)], [Say.request(5, [1, 2, 3])],
            [Say.request(5, [1, 2, 3, 4, 5])], [Say.request(11)], [Say.request(12)],
            [Say.request(0), Say.message("K", [1])], [Say.request(0), Say.columns(["a"])],
            [Say.columns(["a"])], [Array("SSH-2.0-OpenSSH_9.2".utf8)],
        ])
    func malformedLogin(parts: [[UInt8]]) async throws {
        let bytes = parts.flatMap { $0 }
        let error = try await Self.loginFailure(bytes)
        guard case .malformed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("nobody listens")
    func absent() {
        let address = ServiceAddress.unix(path: "/nonexistent/.s.PGSQL.5432")
        let error = Self.failure { () throws(ServiceError) in
            _ = try PostgresSession(
                address, user: "petrel", database: "db", password: nil, clock: ManualClock(),
                random: CountingRandom(),
                milliseconds: 1_000)
        }
        #expect(error == .connection(address, operation: "connect", errno: 2))
    }

    @Test("a server that accepts and never answers costs the deadline")
    func silent() async throws {
        let server = try ScriptedServer([
            .receive(Say.startup), .receive(Say.goodbye),
        ])
        let error = Self.failure { () throws(ServiceError) in
            _ = try Self.session(server, milliseconds: 30)
        }
        guard case .timeout = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        _ = await server.end()
    }
}
