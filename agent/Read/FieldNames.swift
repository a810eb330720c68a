/// A name as the number of its letters: upper and lower case and `_`, `-`, `.` between words make no difference, so that
/// `trace_id`, `traceId`, `trace.id` and `TRACE_ID` are one.
enum NameCode {
    /// Letters that a name may have: 27^13 fits 64 bits, so that different names have different numbers.
    static let lettersMax = 13

    /// 0 for names with other bytes, and for longer ones.
    static func of(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
        guard range.count <= 2 * lettersMax else { return 0 }
        var code: UInt64 = 0
        var letters = 0
        for index in range {
            let byte = bytes[index]
            switch byte {
            case 97...122: code = code &* 27 &+ UInt64(byte &- 96)
            case 65...90: code = code &* 27 &+ UInt64(byte &- 64)
            case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): continue
            default: return 0
            }
            letters += 1
        }
        return letters <= lettersMax ? code : 0
    }

    static func of(_ name: String) -> UInt64 {
        let bytes = Array(name.utf8)
        return of(bytes, bytes.indices)
    }
}

/// Finds what a name means by its code: open addressing in 256 places.
struct NameTable<Meaning: Sendable>: Sendable {
    private var codes = [UInt64](repeating: 0, count: 256)
    private var meanings: [Meaning?] = Array(repeating: nil, count: 256)

    /// At most 128 names, so that there is always an empty place.
    init(_ names: [(String, Meaning)]) {
        precondition(names.count <= 128, "too many names")
        for (name, meaning) in names {
            let code = NameCode.of(name)
            precondition(code != 0, "no such name")
            var place = Self.place(code)
            while codes[place] != 0, codes[place] != code { place = (place + 1) & 255 }
            codes[place] = code
            meanings[place] = meaning
        }
    }

    func meaning(_ code: UInt64) -> Meaning? {
        guard code != 0 else { return nil }
        var place = Self.place(code)
        while codes[place] != code {
            if codes[place] == 0 { return nil }
            place = (place + 1) & 255
        }
        return meanings[place]
    }

    private static func place(_ code: UInt64) -> Int {
        Int(truncatingIfNeeded: (code &* 0x9e37_79b9_7f4a_7c15) >> 56)
    }
}

/// What the name of a member says to the extractor.
enum FieldMeaning: UInt8, Sendable {
    case traceID, spanID, requestID, userID, action, result
    case level, errorSeverity, traceParent
    /// Members by which the lines of known services are told, and that hold more there.
    case logger, event, request, context, user, responseHeaders, status, stateCode
    case commandTag, uuid, method

    /// The common field of this meaning; nil for those that are none by themselves.
    var field: String? {
        switch self {
        case .traceID: "trace_id"
        case .spanID: "span_id"
        case .requestID: "request_id"
        case .userID: "user_id"
        case .action: "action"
        case .result: "result"
        case .level, .errorSeverity, .traceParent, .logger, .event, .request, .context, .user,
            .responseHeaders, .status, .stateCode, .commandTag, .uuid, .method:
            nil
        }
    }

    /// Sources: OpenTelemetry "Trace Context in non-OTLP Log Formats"; Elastic Common Schema (`trace.id`, `event.action`,
    /// `event.outcome`); Datadog (`dd.trace_id`, `usr.id`); Caddy 2 (`traceID`); pino, Fastify (`reqId`).
    static let names = NameTable<FieldMeaning>([
        ("trace_id", .traceID), ("dd.trace_id", .traceID), ("otelTraceID", .traceID),
        ("span_id", .spanID), ("dd.span_id", .spanID), ("otelSpanID", .spanID),
        ("traceparent", .traceParent),
        ("request_id", .requestID), ("x-request-id", .requestID), ("reqId", .requestID),
        ("user_id", .userID), ("usr.id", .userID),
        ("action", .action), ("event.action", .action),
        ("result", .result), ("event.outcome", .result),
        ("level", .level), ("lvl", .level), ("levelname", .level), ("log.level", .level),
        ("severity", .level), ("severity_text", .level),
        ("error_severity", .errorSeverity),
        ("logger", .logger), ("event", .event), ("request", .request), ("context", .context),
        ("user", .user), ("resp_headers", .responseHeaders), ("status", .status),
        ("state_code", .stateCode), ("ps", .commandTag), ("uuid", .uuid), ("method", .method),
    ])
}

/// The levels that loggers' words mean.
enum LevelWords {
    /// The level of a word; nil for other words.
    static func level(_ bytes: [UInt8], _ range: Range<Int>) -> String? {
        guard let first = range.first, range.count <= 16 else { return nil }
        if (48...57).contains(bytes[first]) { return numbered(bytes, range) }
        var word = range
        // PostgreSQL's DEBUG1 to DEBUG5.
        if let last = word.last, (48...57).contains(bytes[last]) { word.removeLast() }
        guard let level = names.meaning(NameCode.of(bytes, word)) else { return nil }
        return word.count == range.count || level == "debug" ? level : nil
    }

    /// Source: bunyan and pino.
    private static func numbered(_ bytes: [UInt8], _ range: Range<Int>) -> String? {
        guard range.count == 2, bytes[range.lowerBound + 1] == 48 else { return nil }
        switch bytes[range.lowerBound] {
        case 49: return "trace"
        case 50: return "debug"
        case 51: return "info"
        case 52: return "warn"
        case 53: return "error"
        case 54: return "fatal"
        default: return nil
        }
    }

    private static let names = NameTable<String>([
        ("trace", "trace"), ("verbose", "trace"), ("finest", "trace"),
        ("debug", "debug"), ("dbug", "debug"), ("dbg", "debug"),
        ("info", "info"), ("information", "info"), ("notice", "info"), ("log", "info"),
        ("inf", "info"),
        ("warn", "warn"), ("warning", "warn"), ("wrn", "warn"),
        ("error", "error"), ("err", "error"), ("eror", "error"), ("severe", "error"),
        ("critical", "critical"), ("crit", "critical"),
        ("fatal", "fatal"), ("panic", "fatal"), ("emerg", "fatal"), ("emergency", "fatal"),
        ("alert", "fatal"),
    ])
}

extension Range where Bound == Int {
    fileprivate mutating func removeLast() { self = lowerBound..<(upperBound - 1) }
}
