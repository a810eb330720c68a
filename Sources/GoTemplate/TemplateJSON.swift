internal import Model

extension TemplateEscape {
    /// A value as JSON; keys of maps in byte order, times as RFC 3339.
    package static func json(_ value: TemplateValue) -> String {
        switch value {
        case .null, .function: return "null"
        case .bool(let bool): return bool ? "true" : "false"
        case .int(let int): return String(int)
        case .float(let double): return double.isFinite ? GoFloat.shortest(double) : "null"
        case .string(let text): return jsonString(text)
        case .list(let items): return "[" + items.map(json).joined(separator: ",") + "]"
        case .map(let entries): return object(entries)
        case .stringMap(let entries): return object(entries.mapValues { .string($0) })
        case .record: return "{}"
        case .instant(let time): return jsonString(GoTime.format(time, GoTime.rfc3339Nano))
        case .duration(let nanoseconds): return String(nanoseconds)
        case .object(let item): return item.base.map(json) ?? object(item.fields)
        }
    }

    private static func object(_ entries: [String: TemplateValue]) -> String {
        let sorted = entries.sorted { bytesPrecede($0.key, $1.key) }
        return "{" + sorted.map { jsonString($0.key) + ":" + json($0.value) }.joined(separator: ",")
            + "}"
    }

    /// A JSON string literal with its quotes.
    private static func jsonString(_ text: String) -> String {
        var escaped = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": escaped += "\\\""
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\r": escaped += "\\r"
            case "\t": escaped += "\\t"
            default:
                if scalar.value < 32 {
                    let code = String(scalar.value, radix: 16)
                    escaped += "\\u00" + (code.count < 2 ? "0" : "") + code
                } else {
                    escaped.unicodeScalars.append(scalar)
                }
            }
        }
        return escaped + "\""
    }
}
