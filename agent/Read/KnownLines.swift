import Model

/// Members of a JSON line by which the lines of Caddy, Authentik and PostgreSQL are told, and what they hold beside the
/// common names. Of a member that comes twice the first counts.
struct KnownLine {
    private var logger: LineMember?
    private var event: LineMember?
    private var request: LineMember?
    private var context: LineMember?
    private var user: LineMember?
    private var responseHeaders: LineMember?
    private var status: LineMember?
    private var stateCode: LineMember?
    private var commandTag: LineMember?
    private var uuid: LineMember?
    private var method: LineMember?
    private var errorSeverity: LineMember?

    mutating func note(_ meaning: FieldMeaning, _ member: LineMember) {
        switch meaning {
        case .logger: logger = logger ?? member
        case .event: event = event ?? member
        case .request: request = request ?? member
        case .context: context = context ?? member
        case .user: user = user ?? member
        case .responseHeaders: responseHeaders = responseHeaders ?? member
        case .status: status = status ?? member
        case .stateCode: stateCode = stateCode ?? member
        case .commandTag: commandTag = commandTag ?? member
        case .uuid: uuid = uuid ?? member
        case .method: method = method ?? member
        case .errorSeverity: errorSeverity = errorSeverity ?? member
        case .traceID, .spanID, .requestID, .userID, .action, .result, .level, .traceParent: break
        }
    }

    func extract(_ line: [UInt8], into result: inout ExtractedFields) {
        if let errorSeverity {
            extractPostgreSQL(line, errorSeverity, &result)
        } else if let logger, logger.kind == .text {
            if LineText.hasPrefix(line, logger.value, "http.log.access") {
                extractCaddy(line, &result)
            } else if LineText.hasPrefix(line, logger.value, "authentik.") {
                extractAuthentik(line, &result)
            }
        }
    }

    /// PostgreSQL's jsonlog: who, what command, and the SQLSTATE where it is an error.
    /// Source: PostgreSQL 18 `jsonlog.c`.
    private func extractPostgreSQL(
        _ line: [UInt8], _ severity: LineMember, _ result: inout ExtractedFields
    ) {
        if result.level == nil { result.level = LevelWords.level(line, severity.value) }
        set("user_id", user, line, &result)
        set("action", commandTag, line, &result)
        if let stateCode, !LineText.equals(line, stateCode.value, "00000") {
            set("result", stateCode, line, &result)
        }
    }

    /// An access line: the method as action, the status as result, ids from the headers of request and answer.
    /// Source: Caddy 2.10 `modules/caddyhttp/logging.go`, `marshalers.go`.
    private func extractCaddy(_ line: [UInt8], _ result: inout ExtractedFields) {
        set("result", status, line, &result)
        if let request, request.kind == .object {
            var members = ObjectMembers(
                line, from: request.value.lowerBound, to: request.value.upperBound)
            while let member = members.next() {
                if LineText.equals(line, member.key, "method") {
                    set("action", member, line, &result)
                } else if LineText.equals(line, member.key, "headers") {
                    extractHeaders(line, member, &result)
                }
            }
        }
        if let responseHeaders { extractHeaders(line, responseHeaders, &result) }
        set("request_id", uuid, line, &result)
    }

    private func extractHeaders(
        _ line: [UInt8], _ headers: LineMember, _ result: inout ExtractedFields
    ) {
        guard headers.kind == .object else { return }
        let names = FieldMeaning.names
        var members = ObjectMembers(
            line, from: headers.value.lowerBound, to: headers.value.upperBound)
        while let member = members.next() {
            guard let meaning = names.meaning(NameCode.of(line, member.key)),
                meaning == .requestID || meaning == .traceParent, member.kind == .array,
                let element = ObjectMembers.firstText(line, ofArray: member.value),
                let text = LineText.string(line, element)
            else { continue }
            if meaning == .traceParent {
                result.set(traceParent: text)
            } else {
                result.set("request_id", text)
            }
        }
    }

    /// An event: who did it and whether it went well; its `action` is a common name already. Of the lines of requests the
    /// method, the status and the user. Source: Authentik 2025 `events/models.py`, `root/middleware.py`.
    private func extractAuthentik(_ line: [UInt8], _ result: inout ExtractedFields) {
        guard let event, event.kind == .text, LineText.equals(line, event.value, "Created Event")
        else {
            set("action", method, line, &result)
            set("result", status, line, &result)
            set("user_id", user, line, &result)
            return
        }
        let action = result.fields.first { $0.name == "action" }?.value ?? ""
        if let outcome = Authentik.outcome(ofAction: action) { result.set("result", outcome) }
        // Who fails to log in is nobody yet: the name is what was typed.
        if action == "login_failed", let context, context.kind == .object {
            set("user_id", Self.member(line, of: context, "username"), line, &result)
        }
        if let user, user.kind == .object {
            set("user_id", Self.member(line, of: user, "username"), line, &result)
            set("user_id", Self.member(line, of: user, "pk"), line, &result)
        }
    }

    private func set(
        _ name: String, _ member: LineMember?, _ line: [UInt8], _ result: inout ExtractedFields
    ) {
        guard let member, let value = FieldExtractor.value(line, member) else { return }
        result.set(name, value)
    }

    /// The member `name` of an object. O(n).
    static func member(
        _ line: [UInt8], of object: LineMember, _ name: StaticString
    ) -> LineMember? {
        guard object.kind == .object else { return nil }
        var members = ObjectMembers(
            line, from: object.value.lowerBound, to: object.value.upperBound)
        while let member = members.next() {
            if LineText.equals(line, member.key, name) { return member }
        }
        return nil
    }
}

/// What Authentik's words mean.
enum Authentik {
    /// `success` or `failure`; nil for actions that are neither. Source: Authentik 2025 `EventAction`.
    static func outcome(ofAction action: String) -> String? {
        switch action {
        case "login", "authorize_application": return "success"
        case "login_failed", "suspicious_request", "configuration_error": return "failure"
        default: return action.hasSuffix("_exception") ? "failure" : nil
        }
    }
}

/// Lines without a form of their own that begin with a time or a process: the level that they carry.
enum PlainLines {
    /// How far behind the time a level is looked for. Bytes.
    private static let levelBytesMax = 128

    /// False where the line is none of these; a digit begins it.
    static func extract(
        _ line: [UInt8], from start: Int, to end: Int, into result: inout ExtractedFields
    ) -> Bool {
        guard end - start >= 19, isDate(line, start) else {
            return extractValkey(line, from: start, to: end, into: &result)
        }
        if extractCSV(line, from: start, to: end, into: &result) { return true }
        extractLevel(line, from: start + 19, to: min(end, start + 19 + levelBytesMax), &result)
        return true
    }

    /// `2026-11-26 15:19:17`, with a `T` too.
    private static func isDate(_ line: [UInt8], _ start: Int) -> Bool {
        for offset in 0..<19 {
            let byte = line[start + offset]
            switch offset {
            case 4, 7: guard byte == UInt8(ascii: "-") else { return false }
            case 10: guard byte == 32 || byte == UInt8(ascii: "T") else { return false }
            case 13, 16: guard byte == UInt8(ascii: ":") else { return false }
            default: guard (48...57).contains(byte) else { return false }
            }
        }
        return true
    }

    /// The first word in capitals that is a level: `[12] app@db ERROR:  `, `WARNING C-0x1: `, ` - INFO - `.
    /// Source: PostgreSQL's log_line_prefix, PgBouncer, Python's logging, fail2ban.
    private static func extractLevel(
        _ line: [UInt8], from start: Int, to end: Int, _ result: inout ExtractedFields
    ) {
        var index = start
        var previous: Range<Int> = start..<start
        while index < end {
            guard isWordByte(line[index]) else {
                index += 1
                continue
            }
            let wordStart = index
            var isCapital = true
            while index < end, isWordByte(line[index]) {
                if (97...122).contains(line[index]) { isCapital = false }
                index += 1
            }
            let word = wordStart..<index
            let isPostgreSQL =
                index + 2 < line.count && line[index] == UInt8(ascii: ":")
                && line[index + 1] == 32 && line[index + 2] == 32
            if isCapital, word.count >= 3, (65...90).contains(line[wordStart]) {
                if let level = LevelWords.level(line, word) {
                    result.level = level
                    if isPostgreSQL { extractUser(line, previous, &result) }
                    return
                }
                // DETAIL, HINT, STATEMENT and the like: the level stands with the line before.
                if isPostgreSQL { return }
            }
            if index < end, line[index] == 32 { previous = word }
        }
    }

    /// The user of `user@database`.
    private static func extractUser(
        _ line: [UInt8], _ word: Range<Int>, _ result: inout ExtractedFields
    ) {
        guard let at = line[word].firstIndex(of: UInt8(ascii: "@")) else { return }
        result.set("user_id", ProcText.string(line[word.lowerBound..<at]))
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "@"):
            true
        default: byte >= 0x80
        }
    }

    /// PostgreSQL's csvlog, by its first 13 columns: 2 the user, 8 the command, 12 the severity, 13 the SQLSTATE. The
    /// lines that a quoted message goes on in begin with no time and have no fields. Source: PostgreSQL 18 `csvlog.c`.
    private static func extractCSV(
        _ line: [UInt8], from start: Int, to end: Int, into result: inout ExtractedFields
    ) -> Bool {
        var index = start
        var columns: [Range<Int>] = []
        columns.reserveCapacity(13)
        while columns.count < 13, index < end {
            let isQuoted = line[index] == UInt8(ascii: "\"")
            if isQuoted { index += 1 }
            let columnStart = index
            while index < end {
                if isQuoted, line[index] == UInt8(ascii: "\"") {
                    // A quote inside is doubled.
                    guard index + 1 < end, line[index + 1] == UInt8(ascii: "\"") else { break }
                    index += 1
                } else if !isQuoted, line[index] == UInt8(ascii: ",") {
                    break
                } else if columns.isEmpty, index - start > 40 {
                    return false
                }
                index += 1
            }
            columns.append(columnStart..<index)
            if isQuoted { index += 1 }
            guard index < end, line[index] == UInt8(ascii: ",") else { break }
            index += 1
        }
        guard columns.count == 13, columns[12].count == 5,
            let level = LevelWords.level(line, columns[11])
        else { return false }
        result.level = level
        result.set("user_id", ProcText.string(line[columns[1]]))
        result.set("action", ProcText.string(line[columns[7]]))
        if !LineText.equals(line, columns[12], "00000") {
            result.set("result", ProcText.string(line[columns[12]]))
        }
        return true
    }

    /// `1234:M 26 Nov 2026 15:19:17.123 * Ready`: the level is one sign. Source: Valkey 8 `serverLogRaw`.
    private static func extractValkey(
        _ line: [UInt8], from start: Int, to end: Int, into result: inout ExtractedFields
    ) -> Bool {
        var index = start
        while index < end, index - start < 10, (48...57).contains(line[index]) { index += 1 }
        guard index + 30 < end, line[index] == UInt8(ascii: ":"), line[index + 2] == 32,
            (65...90).contains(line[index + 1]), line[index + 5] == 32, line[index + 9] == 32,
            line[index + 14] == 32, line[index + 17] == UInt8(ascii: ":"), line[index + 27] == 32,
            line[index + 29] == 32
        else { return false }
        switch line[index + 28] {
        case UInt8(ascii: "."), UInt8(ascii: "-"): result.level = "debug"
        case UInt8(ascii: "*"): result.level = "info"
        case UInt8(ascii: "#"): result.level = "warn"
        default: return false
        }
        return true
    }
}
