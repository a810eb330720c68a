import Crypto
package import World

/// A session with PostgreSQL or PgBouncer's console that asks simple queries, over a Unix socket or a loopback address:
/// without TLS, without libpq (10 MiB of memory).
///
/// Lets itself be asked for nothing (trust, peer), an MD5 hash or SCRAM-SHA-256; a server that wants the password
/// itself is refused. An error of the server leaves the session as it was, every other error ends it. One thread at a time.
/// Source: PostgreSQL 18 "Frontend/Backend Protocol" 3.0.
package final class PostgresSession: PostgresQuerying {
    /// Bytes of one message.
    package static let messageBytesMax = 1 << 20
    /// Bytes of all that answers one query, or the login.
    package static let answerBytesMax = 16 << 20
    /// Rows of one query, of all its result sets.
    package static let rowsMax = 10_000

    /// As `server_version_num`: 180001; 0 where the server has none, as PgBouncer's console.
    package private(set) var serverVersion = 0
    private static let goodbyeMilliseconds: Int64 = 10
    private let socket: ServiceSocket
    /// Whether the server waits for a query and nothing else.
    private var isReady = false
    private var answerBytes = 0

    /// Connects and logs in within `milliseconds`, which what follows has to share until `extend`. `password` is
    /// evaluated where the server asks for it. `keys` spare work where the same user logs in often.
    package init(
        _ address: ServiceAddress, user: String, database: String,
        password: @autoclosure () throws(ServiceError) -> String?,
        clock: any WorldClock, random: any RandomSource, keys: ScramKeys? = nil,
        milliseconds: Int64
    ) throws(ServiceError) {
        socket = try ServiceSocket(address, clock: clock, milliseconds: milliseconds)
        guard !user.utf8.contains(0), !database.utf8.contains(0) else {
            throw malformed("a user or database with a zero byte in its name")
        }
        var body: [UInt8] = []
        PostgresMessage.append(3 << 16, to: &body)
        for text in [
            "user", user, "database", database, "application_name", Self.applicationName,
            "client_encoding", "UTF8", "",
        ] {
            body += Array(text.utf8) + [0]
        }
        try socket.write(PostgresMessage.encoded(kind: nil, body))
        try authenticate(user: user, password: password, random, keys)
        try start()
    }

    deinit {
        // Hardly waits: the few bytes fit.
        if isReady {
            socket.extend(milliseconds: Self.goodbyeMilliseconds)
            try? socket.write(PostgresMessage.encoded(kind: "X", []))
        }
    }

    /// What follows has `milliseconds` in all.
    package func extend(milliseconds: Int64) { socket.extend(milliseconds: milliseconds) }

    package func query(_ sql: String) throws(ServiceError) -> PostgresTable {
        guard isReady else { throw .closed(socket.address) }
        guard !sql.utf8.contains(0) else { throw malformed("a query with a zero byte") }
        isReady = false
        answerBytes = 0
        try socket.write(PostgresMessage.encoded(kind: "Q", texts: [sql]))
        var answer = Answer()
        repeat {
            let message: PostgresMessage
            do throws(ServiceError) {
                message = try next()
            } catch {
                // A server that goes says why before it closes.
                throw answer.failure ?? error
            }
            try take(message, into: &answer)
        } while !isReady
        if let failure = answer.failure { throw failure }
        return answer.table
    }

    // MARK: - Answers

    private struct Answer {
        var table = PostgresTable(columns: [], rows: [])
        /// Whether rows may come.
        var isInRows = false
        var rowCount = 0
        var failure: ServiceError?
    }

    private func take(
        _ message: PostgresMessage, into answer: inout Answer
    ) throws(ServiceError) {
        var message = message
        switch message.kind {
        case UInt8(ascii: "T"):
            guard !answer.isInRows, let columns = message.columns() else {
                throw malformed("a malformed row description")
            }
            answer.table = PostgresTable(columns: columns, rows: [])
            answer.isInRows = true
        case UInt8(ascii: "D"):
            guard answer.isInRows,
                let row = message.row(columnCount: answer.table.columns.count)
            else { throw malformed("a malformed row") }
            answer.rowCount += 1
            guard answer.rowCount <= Self.rowsMax else {
                throw malformed("more than \(Self.rowsMax) rows")
            }
            answer.table.rows.append(row)
        case UInt8(ascii: "C"):
            guard message.text() != nil, message.isAtEnd else {
                throw malformed("a malformed end of a command")
            }
            answer.isInRows = false
        case UInt8(ascii: "I"): break
        case UInt8(ascii: "E"):
            answer.isInRows = false
            let failure = try refusal(&message)
            answer.failure = answer.failure ?? failure
        case UInt8(ascii: "Z"): try ready(&message)
        default: try takeAside(&message)
        }
    }

    /// What may come at any time.
    private func takeAside(_ message: inout PostgresMessage) throws(ServiceError) {
        switch message.kind {
        case UInt8(ascii: "N"): break
        case UInt8(ascii: "S"):
            guard let name = message.text(), let value = message.text(), message.isAtEnd else {
                throw malformed("a malformed parameter")
            }
            if name == "server_version" { serverVersion = Self.versionNumber(value) }
        default: throw malformed("an unexpected message of kind \(message.kind)")
        }
    }

    private func ready(_ message: inout PostgresMessage) throws(ServiceError) {
        guard let status = message.byte(), message.isAtEnd,
            [UInt8(ascii: "I"), UInt8(ascii: "T"), UInt8(ascii: "E")].contains(status)
        else { throw malformed("a malformed end of an answer") }
        isReady = true
    }

    private func next() throws(ServiceError) -> PostgresMessage {
        let kind = try socket.byte()
        var head = PostgresMessage(kind: kind, body: try socket.bytes(4))
        guard let length = head.int32(), length >= 4, length - 4 <= Self.messageBytesMax else {
            throw malformed(
                "a message of kind \(kind) that is no message or has more than "
                    + "\(Self.messageBytesMax) bytes")
        }
        answerBytes += length
        guard answerBytes <= Self.answerBytesMax else {
            throw malformed("an answer of more than \(Self.answerBytesMax) bytes")
        }
        return PostgresMessage(kind: kind, body: try socket.bytes(length - 4))
    }

    /// The error that the server tells of.
    private func refusal(_ message: inout PostgresMessage) throws(ServiceError) -> ServiceError {
        guard let (code, text) = message.failure() else { throw malformed("a malformed error") }
        return .refused(socket.address, code: code, message: text)
    }

    private func malformed(_ detail: String) -> ServiceError {
        .malformed(socket.address, detail: detail)
    }

    // MARK: - Login

    /// Answers what the server asks until it lets the user in.
    private func authenticate(
        user: String, password: () throws(ServiceError) -> String?, _ random: any RandomSource,
        _ keys: ScramKeys?
    ) throws(ServiceError) {
        var scram: ScramClient?
        while true {
            var message = try next()
            switch message.kind {
            case UInt8(ascii: "R"): break
            case UInt8(ascii: "E"): throw try refusal(&message)
            default:
                try takeAside(&message)
                continue
            }
            guard let request = message.int32() else { throw malformed("a malformed request") }
            switch request {
            case 0:
                // Who asks for a proof and gives none knows nothing of the password.
                guard scram?.isVerified != false else { throw Self.unproven(socket.address) }
                return
            case 5:
                guard scram == nil, let salt = message.bytes(4), message.isAtEnd else {
                    throw malformed("a malformed MD5 challenge")
                }
                let hash = Self.md5(try needed(password()), user: user, salt: salt)
                try socket.write(PostgresMessage.encoded(kind: "p", texts: [hash]))
            case 10:
                guard scram == nil else { throw malformed("a second SASL request") }
                var client = ScramClient(
                    password: try needed(password()), nonce: Self.nonce(random), keys: keys)
                try begin(&client, &message)
                scram = client
            case 11, 12:
                guard var client = scram else { throw malformed("SASL that nobody began") }
                try proceed(&client, message.remainder(), isLast: request == 12)
                scram = client
            default: throw unspoken(request)
            }
        }
    }

    private func begin(
        _ client: inout ScramClient, _ message: inout PostgresMessage
    ) throws(ServiceError) {
        var mechanisms: [String] = []
        while let mechanism = message.text(), !mechanism.isEmpty { mechanisms.append(mechanism) }
        guard message.isAtEnd, mechanisms.contains(ScramClient.mechanism) else {
            throw refused("the server does not offer \(ScramClient.mechanism)")
        }
        let first = client.first
        var body = Array(ScramClient.mechanism.utf8) + [0]
        PostgresMessage.append(UInt32(truncatingIfNeeded: first.count), to: &body)
        try socket.write(PostgresMessage.encoded(kind: "p", body + first))
    }

    private func proceed(
        _ client: inout ScramClient, _ challenge: [UInt8], isLast: Bool
    ) throws(ServiceError) {
        var answer: [UInt8] = []
        do throws(ScramError) {
            if isLast {
                try client.verify(challenge)
            } else {
                answer = try client.answer(challenge)
            }
        } catch {
            switch error {
            case .malformed(let detail): throw malformed(detail)
            case .refused(let reason): throw refused(reason)
            case .wrongSignature: throw Self.unproven(socket.address)
            }
        }
        if !isLast { try socket.write(PostgresMessage.encoded(kind: "p", answer)) }
    }

    /// What the server says between letting the user in and waiting for queries.
    private func start() throws(ServiceError) {
        while !isReady {
            var message = try next()
            switch message.kind {
            case UInt8(ascii: "K"):
                guard message.bytes(8) != nil, message.isAtEnd else {
                    throw malformed("a malformed cancellation key")
                }
            case UInt8(ascii: "E"): throw try refusal(&message)
            case UInt8(ascii: "Z"): try ready(&message)
            default: try takeAside(&message)
            }
        }
    }

    private func needed(_ password: String?) throws(ServiceError) -> String {
        guard let password, !password.isEmpty, !password.utf8.contains(0) else {
            throw refused("asks for a password, and the agent has none")
        }
        return password
    }

    private func unspoken(_ request: Int) -> ServiceError {
        request == 3
            ? refused(Self.plainRefusal)
            : refused("asks for a way of authentication, \(request), that the agent does not speak")
    }

    private func refused(_ message: String) -> ServiceError {
        .refused(socket.address, code: "", message: message)
    }

    private static func unproven(_ address: ServiceAddress) -> ServiceError {
        .malformed(address, detail: "the server does not know the password that it asks for")
    }

    /// What a server hears that wants the password in clear text.
    static let plainRefusal = "asks for the password itself, which the agent does not give"
    private static let applicationName = "petrel-agent"

    /// 24 characters.
    private static func nonce(_ random: any RandomSource) -> String {
        ProcText.string(Base64Text.encoded(random.bytes(count: 18))[...])
    }

    /// Source: PostgreSQL 18 "MD5 authentication": `md5(md5(password + user) + salt)`.
    private static func md5(_ password: String, user: String, salt: ArraySlice<UInt8>) -> String {
        let inner = hex(Array((password + user).utf8))
        return "md5" + hex(Array(inner.utf8) + salt)
    }

    /// The MD5 of `bytes` in hexadecimal digits.
    private static func hex(_ bytes: [UInt8]) -> String {
        var hash = Insecure.MD5()
        bytes.withUnsafeBytes { hash.update(bufferPointer: $0) }
        let digits = Array("0123456789abcdef".utf8)
        let text = hash.finalize().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return ProcText.string(text[...])
    }

    /// `15.18 (Debian …)` is 150018, `9.6.24` 90624, `18beta1` 180000, and `1.18.0/bouncer` 0.
    private static func versionNumber(_ text: String) -> Int {
        let number = text.utf8.prefix { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
        guard text.utf8.dropFirst(number.count).first != UInt8(ascii: "/") else { return 0 }
        let texts = number.split(separator: UInt8(ascii: "."))
        guard texts.allSatisfy({ $0.count <= 4 }) else { return 0 }
        let parts = texts.map { $0.reduce(0) { $0 * 10 + Int($1 - 48) } }
        guard let major = parts.first else { return 0 }
        let minor = parts.count > 1 ? parts[1] : 0
        guard major < 10 else { return major * 10_000 + minor }
        return major * 10_000 + minor * 100 + (parts.count > 2 ? parts[2] : 0)
    }
}
