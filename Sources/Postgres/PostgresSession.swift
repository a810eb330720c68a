import CLibPQ
import Glibc

/// A statement with its bound parameters.
package struct PostgresStatement: Sendable {
    package var sql: String
    package var values: [PostgresValue]

    package init(_ sql: String, _ values: [PostgresValue] = []) {
        self.sql = sql
        self.values = values
    }
}

/// One connection's conversation, for the code that holds the connection: calls wait on the connection's own queue,
/// never on a thread of the concurrency pool. Not Sendable: it must not leave the closure that received it.
package final class PostgresSession {
    /// Statements kept prepared per connection; further texts are parsed each time.
    package static let preparedMax = 256

    let connection: OpaquePointer
    /// Nothing may be asked of this connection again.
    private(set) var isBroken = false
    /// Longest silence of the server within one answer, milliseconds.
    package var replyMillisecondsMax: Int
    private var prepared: [String: String] = [:]
    /// Counts every statement ever prepared on the connection: a name is never used twice, whatever failed between.
    private var statementNumber = 0
    /// libpq goes on giving single rows to the next pipeline where it gave them to the statement before; see `pipeline`.
    private var givesSingleRows = false

    init(connection: OpaquePointer, replyMillisecondsMax: Int) {
        self.connection = connection
        self.replyMillisecondsMax = replyMillisecondsMax
    }

    deinit { PQfinish(connection) }

    /// One statement, prepared at its first use.
    @discardableResult
    package func query(
        _ sql: String, _ values: [PostgresValue] = []
    ) throws(PostgresError) -> PostgresRows {
        try pipeline([PostgresStatement(sql, values)])[0]
    }

    /// All statements in one round trip; `result[i]` belongs to `statements[i]`. After the first refusal the rest are
    /// not executed and that refusal is thrown. Outside of `transaction` they are one implicit transaction.
    @discardableResult
    package func pipeline(
        _ statements: [PostgresStatement]
    ) throws(PostgresError) -> [PostgresRows] {
        if givesSingleRows {
            // Only a statement outside of a pipeline ends that mode (libpq's PQsendQueryStart): an empty one.
            guard PQsendQuery(connection, "") == 1 else { throw lost() }
            try drain()
            givesSingleRows = false
        }
        guard PQenterPipelineMode(connection) == 1 else { throw lost() }
        var awaited: [PipelineStep] = []
        for statement in statements {
            if prepared[statement.sql] == nil,
                !awaited.contains(where: { $0.prepares == statement.sql }),
                prepared.count + awaited.count < Self.preparedMax
            {
                statementNumber += 1
                let name = "s\(statementNumber)"
                try send(prepare: statement, as: name)
                awaited.append(PipelineStep(prepares: statement.sql, name: name))
            }
            let name =
                prepared[statement.sql]
                ?? awaited.first { $0.prepares == statement.sql }?.name
            try send(statement, as: name)
            awaited.append(PipelineStep(prepares: nil, name: ""))
        }
        guard PQpipelineSync(connection) == 1 else { throw lost() }
        return try collect(awaited)
    }

    /// Runs one or more statements of SQL text without parameters, such as a migration.
    package func execute(_ script: String) throws(PostgresError) {
        guard PQsendQuery(connection, script) == 1 else { throw lost() }
        var refusal: PostgresError?
        while let result = try nextResult() {
            if refusal == nil { refusal = error(of: result) }
            PQclear(result)
        }
        if let refusal { throw refusal }
    }

    /// `COPY … FROM STDIN (FORMAT binary)`: `sql` is that statement. Returns the number of rows stored.
    @discardableResult
    package func copyIn(_ sql: String, _ rows: BinaryCopyRows) throws(PostgresError) -> Int {
        guard PQsendQuery(connection, sql) == 1 else { throw lost() }
        guard let first = try nextResult() else { throw lost() }
        let status = PQresultStatus(first)
        let refusal = error(of: first)
        PQclear(first)
        guard status == PGRES_COPY_IN else {
            try drain()
            throw refusal ?? .decoding("not a COPY FROM STDIN: \(sql)")
        }
        try sendCopy(rows.terminated)
        guard let last = try nextResult() else { throw lost() }
        let failure = error(of: last)
        let answer = PostgresRows(taking: last)
        try drain()
        if let failure { throw failure }
        return answer.affectedCount
    }

    /// Calls `body` with each row as it arrives (always row 0 of its argument), so that memory stays bounded. When
    /// `body` throws, the statement is cancelled at the server, and the error passes on.
    package func forEachRow(
        _ sql: String, _ values: [PostgresValue], _ body: (PostgresRows) throws -> Void
    ) throws {
        try send(PostgresStatement(sql, values), as: nil)
        guard PQsetSingleRowMode(connection) == 1 else { throw lost() }
        givesSingleRows = true
        var failure: (any Error)?
        while let result = try nextResult() {
            let status = PQresultStatus(result)
            if status == PGRES_SINGLE_TUPLE, failure == nil {
                do {
                    try body(PostgresRows(taking: result))
                } catch {
                    failure = error
                    cancelStatement()
                }
                continue
            }
            if failure == nil { failure = error(of: result) }
            PQclear(result)
        }
        if let failure { throw failure }
    }

    /// Runs `body` between BEGIN and COMMIT; rolls back when it throws. `begin` may name an isolation level.
    package func transaction<T>(
        _ begin: String = "BEGIN", _ body: (PostgresSession) throws -> T
    ) throws -> T {
        try query(begin)
        do {
            let value = try body(self)
            try query("COMMIT")
            return value
        } catch {
            if !isBroken, PQtransactionStatus(connection) != PQTRANS_IDLE { try query("ROLLBACK") }
            throw error
        }
    }

    /// The process that serves this connection, as the start-up packet told it.
    package var announcedBackendPID: Int32 { PQbackendPID(connection) }

    /// The server's version as a number: 150020 is 15.20.
    package var serverVersion: Int { Int(PQserverVersion(connection)) }

    // MARK: - For the connection

    /// Whether the server has hung up while the connection lay idle.
    var hasHungUp: Bool {
        var descriptor = pollfd(fd: PQsocket(connection), events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, 0) > 0 else { return false }
        return PQconsumeInput(connection) == 0 || PQstatus(connection) != CONNECTION_OK
            || descriptor.revents & Int16(POLLHUP | POLLERR) != 0
    }

    /// Leaves no transaction open behind; a connection that can't be cleaned is broken.
    func settle() {
        guard !isBroken else { return }
        if PQstatus(connection) != CONNECTION_OK || PQpipelineStatus(connection) != PQ_PIPELINE_OFF
        {
            isBroken = true
            return
        }
        guard PQtransactionStatus(connection) != PQTRANS_IDLE else { return }
        do { try query("ROLLBACK") } catch { isBroken = true }
    }

    func markBroken() { isBroken = true }

    // MARK: - Sending

    private struct PipelineStep {
        /// The text whose preparation this step answers; nil for an execution.
        var prepares: String?
        var name: String
    }

    private func send(
        prepare statement: PostgresStatement, as name: String
    ) throws(PostgresError) {
        let types = statement.values.map(\.type.rawValue)
        guard PQsendPrepare(connection, name, statement.sql, Int32(types.count), types) == 1 else {
            throw lost()
        }
    }

    /// Executes the prepared statement `name`, or without one the text itself.
    private func send(_ statement: PostgresStatement, as name: String?) throws(PostgresError) {
        var storage: [UInt8] = []
        var places: [Int?] = []
        var lengths: [Int32] = []
        for value in statement.values {
            let at = storage.count
            let isPresent = value.appendBinary(to: &storage)
            places.append(isPresent ? at : nil)
            lengths.append(Int32(storage.count - at))
        }
        // An empty value needs an address too.
        storage.append(0)
        let formats = [Int32](repeating: 1, count: lengths.count)
        let sent = storage.withUnsafeBytes { bytes -> Int32 in
            let base = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            let pointers = places.map { place in place.flatMap { at in base.map { $0 + at } } }
            if let name {
                return PQsendQueryPrepared(
                    connection, name, Int32(lengths.count), pointers, lengths, formats, 1)
            }
            let types = statement.values.map(\.type.rawValue)
            return PQsendQueryParams(
                connection, statement.sql, Int32(lengths.count), types, pointers, lengths, formats,
                1)
        }
        guard sent == 1 else { throw lost() }
    }

    private func sendCopy(_ bytes: [UInt8]) throws(PostgresError) {
        let chunkBytesMax = 1 << 20
        var at = 0
        while at < bytes.count {
            let end = min(bytes.count, at + chunkBytesMax)
            let put = bytes.withUnsafeBytes { buffer -> Int32 in
                guard let base = buffer.baseAddress else { return 1 }
                return PQputCopyData(
                    connection, (base + at).assumingMemoryBound(to: CChar.self), Int32(end - at))
            }
            if put == -1 { throw lost() }
            if put == 1 { at = end }
            try flush(untilEmpty: put == 0)
        }
        while true {
            let put = PQputCopyEnd(connection, nil)
            if put == -1 { throw lost() }
            if put == 1 { return }
            try flush(untilEmpty: true)
        }
    }

    // MARK: - Receiving

    private func collect(_ awaited: [PipelineStep]) throws(PostgresError) -> [PostgresRows] {
        var rows: [PostgresRows] = []
        var refusal: PostgresError?
        for step in awaited {
            guard let result = try nextResult() else { throw lost() }
            let failure = error(of: result)
            if refusal == nil { refusal = failure }
            if let text = step.prepares {
                if failure == nil, PQresultStatus(result) == PGRES_COMMAND_OK {
                    prepared[text] = step.name
                }
                PQclear(result)
            } else {
                rows.append(PostgresRows(taking: result))
            }
            while let further = try nextResult() { PQclear(further) }
        }
        guard let end = try nextResult() else { throw lost() }
        let isSync = PQresultStatus(end) == PGRES_PIPELINE_SYNC
        PQclear(end)
        guard isSync, PQexitPipelineMode(connection) == 1 else { throw lost() }
        if let refusal { throw refusal }
        return rows
    }

    /// The next result, nil at the end of a statement's results. Waits for the socket, never inside libpq.
    private func nextResult() throws(PostgresError) -> OpaquePointer? {
        while true {
            let unsent = PQflush(connection)
            if unsent == -1 { throw lost() }
            if PQisBusy(connection) == 0 { return PQgetResult(connection) }
            try wait(forWriting: unsent == 1)
            if PQconsumeInput(connection) == 0 { throw lost() }
        }
    }

    private func drain() throws(PostgresError) {
        while let result = try nextResult() { PQclear(result) }
    }

    private func flush(untilEmpty: Bool) throws(PostgresError) {
        while true {
            let unsent = PQflush(connection)
            if unsent == -1 { throw lost() }
            if unsent == 0 || !untilEmpty { return }
            try wait(forWriting: true)
            if PQconsumeInput(connection) == 0 { throw lost() }
        }
    }

    private func wait(forWriting: Bool) throws(PostgresError) {
        do {
            try waitForSocket(
                connection, events: POLLIN | (forWriting ? POLLOUT : 0),
                milliseconds: replyMillisecondsMax)
        } catch {
            isBroken = true
            throw error
        }
    }

    private func cancelStatement() {
        guard let handle = PQgetCancel(connection) else { return }
        var message = [CChar](repeating: 0, count: 256)
        _ = PQcancel(handle, &message, 256)
        PQfreeCancel(handle)
    }

    private func lost() -> PostgresError {
        isBroken = true
        return .connection(trimmed(PQerrorMessage(connection)))
    }

    /// Nil for a result that is no error.
    private func error(of result: OpaquePointer) -> PostgresError? {
        switch PQresultStatus(result) {
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE, PGRES_NONFATAL_ERROR: break
        case PGRES_PIPELINE_ABORTED: return .connection("an earlier statement was refused")
        default: return nil
        }
        // The codes of postgres_ext.h: SQLSTATE, primary message, detail, hint, constraint.
        func field(_ code: Character) -> String {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
                ?? ""
        }
        guard !field("C").isEmpty else { return lost() }
        return .server(
            PostgresServerMessage(
                sqlState: field("C"), message: field("M"), detail: field("D"), hint: field("H"),
                constraint: field("n")))
    }
}

/// Waits for a socket with `poll`; EINTR is retried. Throws `timeout` after `milliseconds` of silence.
func waitForSocket(
    _ connection: OpaquePointer, events: Int32, milliseconds: Int
) throws(PostgresError) {
    var descriptor = pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0)
    while true {
        let ready = poll(&descriptor, 1, Int32(clamping: milliseconds))
        if ready > 0 { return }
        if ready == 0 { throw .timeout(milliseconds: milliseconds) }
        guard errno == EINTR else { throw .connection("poll: errno \(errno)") }
    }
}

func trimmed(_ message: UnsafePointer<CChar>?) -> String {
    guard let message else { return "" }
    let text = String(cString: message)
    let words = text.split(whereSeparator: \.isNewline).map { line in
        String(line.drop { $0 == " " || $0 == "\t" })
    }
    return words.joined(separator: "; ")
}
