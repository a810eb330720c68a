import FoundationEssentials
import QueryMath

/// An attribute of a resource, a scope, a data point, an exemplar or a log record.
struct Attribute {
    /// Nil where it is no UTF-8.
    var key: String?
    var value: AttributeValue
}

/// `AnyValue`.
indirect enum AttributeValue {
    case empty
    case text(String)
    case boolean(Bool)
    case integer(Int64)
    case double(Double)
    case bytes([UInt8])
    case array([AttributeValue])
    case map([Attribute])
    /// A text that is no UTF-8.
    case invalid([UInt8])

    /// The value as a label has it; nil where a text in it is no UTF-8.
    ///
    /// Arrays and maps are JSON as Go writes it, names in order; a map or array with a number that JSON can't say is
    /// empty. Source: OpenTelemetry Collector `pdata/pcommon.Value.AsString`.
    var labelText: String? {
        switch self {
        case .empty: ""
        case .text(let text): text
        case .boolean(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .double(let value):
            value.isFinite
                ? Self.number(value) : "json: unsupported value: \(GoFloat.general(value))"
        case .bytes(let bytes): Data(bytes).base64EncodedString()
        case .array, .map: jsonText
        case .invalid: nil
        }
    }

    private var jsonText: String? {
        var text = ""
        do throws(TextDefect) { try write(to: &text) } catch {
            switch error {
            case .notUTF8: return nil
            case .notJSON: return ""
            }
        }
        return text
    }

    private enum TextDefect: Error { case notUTF8, notJSON }

    private func write(to json: inout String) throws(TextDefect) {
        switch self {
        case .empty: json += "null"
        case .text(let text): Self.quote(text, to: &json)
        case .boolean(let value): json += value ? "true" : "false"
        case .integer(let value): json += "\(value)"
        case .double(let value):
            guard value.isFinite else { throw .notJSON }
            json += Self.number(value)
        case .bytes(let bytes): Self.quote(Data(bytes).base64EncodedString(), to: &json)
        case .array(let values):
            json += "["
            for (index, value) in values.enumerated() {
                if index > 0 { json += "," }
                try value.write(to: &json)
            }
            json += "]"
        case .map(let members): try Self.write(members, to: &json)
        case .invalid: throw .notUTF8
        }
    }

    private static func write(
        _ members: [Attribute], to json: inout String
    ) throws(TextDefect) {
        var named: [(key: String, value: AttributeValue)] = []
        for member in members {
            guard let key = member.key else { throw .notUTF8 }
            named.append((key, member.value))
        }
        named.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        json += "{"
        for (index, member) in named.enumerated() {
            if index > 0 { json += "," }
            quote(member.key, to: &json)
            json += ":"
            try member.value.write(to: &json)
        }
        json += "}"
    }

    /// `1e-7` where Prometheus' API has `1e-07`. Source: Go `encoding/json.floatEncoder`, which pdata's `AsString` follows.
    private static func number(_ value: Double) -> String {
        var text = Array(GoFloat.json(value).utf8)
        if text.count >= 4, text.suffix(4).starts(with: "e-0".utf8) {
            text.remove(at: text.count - 2)
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Source: Go `encoding/json.Marshal`, which escapes what HTML would read as markup.
    private static func quote(_ text: String, to json: inout String) {
        json += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": json += "\\\(scalar)"
            case "\u{8}": json += "\\b"
            case "\u{c}": json += "\\f"
            case "\n": json += "\\n"
            case "\r": json += "\\r"
            case "\t": json += "\\t"
            case "\u{0}"..<" ", "<", ">", "&", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: json.unicodeScalars.append(scalar)
            }
        }
        json += "\""
    }
}
