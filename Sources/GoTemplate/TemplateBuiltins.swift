internal import Model

extension TemplateValue {
    /// The text of a string; other types are refused.
    package func requireString() throws(GoTemplateError) -> String {
        guard case .string(let text) = plain else {
            throw .function("wrong type for value; expected string; got \(typeName)")
        }
        return text
    }

    var isNull: Bool {
        if case .null = self { return true }
        return false
    }
}

/// The functions of Go's `text/template` but `and` and `or`, which the interpreter evaluates itself.
enum TemplateBuiltins {
    private static let any = 0...Int.max

    static let functions: [String: TemplateFunction] = [
        "not": TemplateFunction(1...1) { .bool(!$0[0].isTrue) },
        "len": TemplateFunction(1...1) { (a) throws(GoTemplateError) in .int(try count(a[0])) },
        "index": TemplateFunction(1...Int.max) { (a) throws(GoTemplateError) in
            var value = a[0]
            for key in a.dropFirst() { value = try index(value, key) }
            return value
        },
        "slice": TemplateFunction(1...4) { (a) throws(GoTemplateError) in try slice(a) },
        "print": TemplateFunction(any) { .string(joined($0)) },
        "println": TemplateFunction(any) { a in
            .string(a.map(\.printed).joined(separator: " ") + "\n")
        },
        "printf": TemplateFunction([.string], restMax: .max) { (a) throws(GoTemplateError) in
            var format = GoFormat(try a[0].requireString(), Array(a.dropFirst()))
            return .string(format.run())
        },
        "html": TemplateFunction(any) { .string(TemplateEscape.html(joined($0))) },
        "js": TemplateFunction(any) { .string(TemplateEscape.javaScript(joined($0))) },
        "urlquery": TemplateFunction(any) { .string(TemplateEscape.query(joined($0))) },
        "call": TemplateFunction(1...Int.max) { (a) throws(GoTemplateError) in
            guard case .function(let function) = a[0] else {
                throw .function("non-function of type \(a[0].typeName)")
            }
            guard function.arity.contains(a.count - 1) else {
                throw .function("wrong number of arguments: got \(a.count - 1)")
            }
            return try function.body(Array(a.dropFirst()))
        },
        "eq": TemplateFunction(2...Int.max) { (a) throws(GoTemplateError) in
            for other in a.dropFirst() where try equal(a[0], other) { return .bool(true) }
            return .bool(false)
        },
        "ne": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
            .bool(!(try equal(a[0], a[1])))
        },
        "lt": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
            .bool(try precedes(a[0], a[1]))
        },
        "le": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
            if try precedes(a[0], a[1]) { return .bool(true) }
            return .bool(try equal(a[0], a[1]))
        },
        "gt": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
            if try precedes(a[0], a[1]) { return .bool(false) }
            return .bool(!(try equal(a[0], a[1])))
        },
        "ge": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
            .bool(!(try precedes(a[0], a[1])))
        },
    ]

    /// `fmt.Sprint`: a space between two operands where neither is a string.
    static func joined(_ values: [TemplateValue]) -> String {
        var text = ""
        var previousIsString = true
        for (index, value) in values.enumerated() {
            var isString = false
            if case .string = value.plain { isString = true }
            if index > 0, !isString, !previousIsString { text += " " }
            text += value.printed
            previousIsString = isString
        }
        return text
    }

    private static func count(_ value: TemplateValue) throws(GoTemplateError) -> Int {
        switch value.plain {
        case .string(let text): return text.utf8.count
        case .list(let items): return items.count
        case .map(let entries): return entries.count
        case .stringMap(let entries): return entries.count
        case .null, .bool, .int, .float, .record, .instant, .duration, .object, .function:
            throw .function("len of type \(value.typeName)")
        }
    }

    private static func index(
        _ value: TemplateValue, _ key: TemplateValue
    ) throws(GoTemplateError) -> TemplateValue {
        switch value.plain {
        case .list(let items):
            let position = try self.position(key, count: items.count)
            return items[position]
        case .string(let text):
            let bytes = Array(text.utf8)
            return .int(Int(bytes[try position(key, count: bytes.count)]))
        case .map(let entries): return entries[try key.requireString()] ?? .null
        case .stringMap(let entries): return .string(entries[try key.requireString()] ?? "")
        case .null: throw .function("index of untyped nil")
        case .bool, .int, .float, .record, .instant, .duration, .object, .function:
            throw .function("can't index item of type \(value.typeName)")
        }
    }

    private static func position(
        _ key: TemplateValue, count: Int
    ) throws(GoTemplateError) -> Int {
        guard case .int(let position) = key.plain else {
            throw .function("cannot index slice/array with type \(key.typeName)")
        }
        guard (0..<count).contains(position) else {
            throw .function("index out of range: \(position)")
        }
        return position
    }

    private static func slice(_ a: [TemplateValue]) throws(GoTemplateError) -> TemplateValue {
        let total = try count(a[0])
        var bounds = [0, total]
        for (index, argument) in a.dropFirst().prefix(2).enumerated() {
            guard case .int(let bound) = argument.plain, (0...total).contains(bound) else {
                throw .function("index out of range: \(argument.text)")
            }
            bounds[index] = bound
        }
        guard bounds[0] <= bounds[1] else {
            throw .function("invalid slice index: \(bounds[0]) > \(bounds[1])")
        }
        switch a[0].plain {
        case .string(let text):
            return .string(
                String(decoding: Array(text.utf8)[bounds[0]..<bounds[1]], as: UTF8.self))
        case .list(let items): return .list(Array(items[bounds[0]..<bounds[1]]))
        case .null, .bool, .int, .float, .map, .stringMap, .record, .instant, .duration, .object,
            .function:
            throw .function("can't slice item of type \(a[0].typeName)")
        }
    }

    /// Values of different kinds can't be compared, as in Go; nil equals only nil.
    private static func equal(
        _ a: TemplateValue, _ b: TemplateValue
    ) throws(GoTemplateError) -> Bool {
        switch (a.plain, b.plain) {
        case (.null, .null): return true
        case (.null, _), (_, .null): return false
        case (.bool(let a), .bool(let b)): return a == b
        case (.int(let a), .int(let b)): return a == b
        case (.float(let a), .float(let b)): return a == b
        // Byte by byte: `==` takes differently composed letters for the same.
        case (.string(let a), .string(let b)): return a.utf8.elementsEqual(b.utf8)
        case (.instant(let a), .instant(let b)): return a == b
        case (.duration(let a), .duration(let b)): return a == b
        default: throw incomparable(a, b)
        }
    }

    private static func precedes(
        _ a: TemplateValue, _ b: TemplateValue
    ) throws(GoTemplateError) -> Bool {
        switch (a.plain, b.plain) {
        case (.int(let a), .int(let b)): return a < b
        case (.float(let a), .float(let b)): return a < b
        case (.string(let a), .string(let b)): return bytesPrecede(a, b)
        case (.duration(let a), .duration(let b)): return a < b
        default: throw incomparable(a, b)
        }
    }

    private static func incomparable(_ a: TemplateValue, _ b: TemplateValue) -> GoTemplateError {
        .function("incompatible types for comparison: \(a.typeName) and \(b.typeName)")
    }
}

extension TemplateValue {
    /// As `print` shows it: nil is `<nil>`, while an action prints `<no value>`.
    fileprivate var printed: String { isNull ? "<nil>" : text }
}

/// Escapes for the places that templates write to.
package enum TemplateEscape {
    /// Text for HTML. Source: Go text/template HTMLEscapeString.
    package static func html(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&#34;"
            case "'": escaped += "&#39;"
            case "\0": escaped += "\u{fffd}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// Text inside a JavaScript string. Source: Go text/template JSEscapeString.
    package static func javaScript(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "'": escaped += "\\'"
            case "\"": escaped += "\\\""
            case "<", ">", "&", "=":
                escaped += "\\u00" + String(scalar.value, radix: 16, uppercase: true)
            default:
                if scalar.value < 32 {
                    let code = String(scalar.value, radix: 16, uppercase: true)
                    escaped += "\\u00" + (code.count < 2 ? "0" : "") + code
                } else {
                    escaped.unicodeScalars.append(scalar)
                }
            }
        }
        return escaped
    }

    /// A value of a URL's query; a space becomes `+`. Source: Go net/url QueryEscape.
    package static func query(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            let scalar = Unicode.Scalar(byte)
            let isKept =
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || "-_.~".unicodeScalars.contains(scalar)
            if isKept {
                escaped.unicodeScalars.append(scalar)
            } else if byte == 32 {
                escaped += "+"
            } else {
                escaped += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
            }
        }
        return escaped
    }
}
