/// A JSON value of a conformance file or an answer, and whether it is as a schema says.
enum JSONValue: Decodable, Hashable, Sendable {
    case null
    case boolean(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    subscript(name: String) -> JSONValue? { object?[name] }

    var object: [String: JSONValue]? { if case .object(let value) = self { value } else { nil } }
    var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    var string: String? { if case .string(let value) = self { value } else { nil } }
    var number: Double? { if case .number(let value) = self { value } else { nil } }

    /// The value at a dotted path.
    func at(_ path: String) -> JSONValue? {
        path.split(separator: ".").reduce(self as JSONValue?) { $0?[String($1)] }
    }

    var isEmptyCollection: Bool { array?.isEmpty ?? object?.isEmpty ?? true }
}

/// As much of JSON Schema 2020-12 as the conformance files need.
struct JSONSchema {
    let definitions: [String: JSONValue]

    /// What is wrong with `value`; nil where nothing is.
    func fault(_ value: JSONValue, _ schema: JSONValue, at place: String = "$") -> String? {
        if case .boolean(let allows) = schema { return allows ? nil : "\(place): not allowed" }
        guard let rules = schema.object else { return "\(place): no schema" }
        for (name, rule) in rules {
            if let fault = fault(value, name, rule, rules, place) { return fault }
        }
        return nil
    }

    private func fault(
        _ value: JSONValue, _ name: String, _ rule: JSONValue, _ rules: [String: JSONValue],
        _ place: String
    ) -> String? {
        switch name {
        case "$ref":
            let key = String((rule.string ?? "").split(separator: "/").last ?? "")
            return definitions[key].map { fault(value, $0, at: place) } ?? "no definition \(key)"
        case "type": return isType(rule, value) ? nil : "\(place): not \(rule)"
        case "const": return value == rule ? nil : "\(place): not \(rule)"
        case "enum": return rule.array?.contains(value) == true ? nil : "\(place): not in \(rule)"
        case "allOf": return rule.array?.lazy.compactMap { fault(value, $0, at: place) }.first
        case "anyOf":
            let faults = (rule.array ?? []).map { fault(value, $0, at: place) }
            return faults.contains(nil) ? nil : faults.compactMap { $0 }.joined(separator: " and ")
        case "not": return fault(value, rule) == nil ? "\(place): is \(rule)" : nil
        case "required", "properties", "additionalProperties":
            return objectFault(value, name, rule, rules, place)
        case "items", "prefixItems", "minItems", "maxItems", "contains":
            return arrayFault(value, name, rule, rules, place)
        case "pattern":
            guard let text = value.string, let pattern = rule.string else { return nil }
            guard let regex = try? Regex(pattern) else { return "\(place): bad \(pattern)" }
            return text.contains(regex) ? nil : "\(place): \(text) is not like \(pattern)"
        case "minimum":
            guard let number = value.number, let minimum = rule.number else { return nil }
            return number >= minimum ? nil : "\(place): \(number) is too small"
        default: return "\(place): the keyword \(name) is unknown"
        }
    }

    private func isType(_ type: JSONValue, _ value: JSONValue) -> Bool {
        if let types = type.array { return types.contains { isType($0, value) } }
        return switch (type.string, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("null", .null),
            ("boolean", .boolean), ("number", .number):
            true
        case ("integer", .number(let number)): number == number.rounded()
        default: false
        }
    }

    private func objectFault(
        _ value: JSONValue, _ name: String, _ rule: JSONValue, _ rules: [String: JSONValue],
        _ place: String
    ) -> String? {
        guard let object = value.object else { return nil }
        let properties = rules["properties"]?.object ?? [:]
        switch name {
        case "required":
            let missing = (rule.array ?? []).compactMap(\.string).first { object[$0] == nil }
            return missing.map { "\(place): \($0) is missing" }
        case "properties":
            return properties.lazy.compactMap { key, schema in
                object[key].flatMap { fault($0, schema, at: "\(place).\(key)") }
            }.first
        default:
            return object.lazy.compactMap { key, value in
                properties[key] == nil ? fault(value, rule, at: "\(place).\(key)") : nil
            }.first
        }
    }

    private func arrayFault(
        _ value: JSONValue, _ name: String, _ rule: JSONValue, _ rules: [String: JSONValue],
        _ place: String
    ) -> String? {
        guard let array = value.array else { return nil }
        switch name {
        case "items":
            let first = rules["prefixItems"]?.array?.count ?? 0
            return array.dropFirst(first).lazy.compactMap { fault($0, rule, at: "\(place)[]") }
                .first
        case "prefixItems":
            return zip(array, rule.array ?? []).lazy.compactMap {
                fault($0, $1, at: "\(place)[]")
            }.first
        case "minItems": return Double(array.count) >= rule.number ?? 0 ? nil : "\(place): short"
        case "maxItems":
            return Double(array.count) <= rule.number ?? 0 ? nil : "\(place): too long"
        default:
            let isFound = array.contains { fault($0, rule, at: place) == nil }
            return isFound ? nil : "\(place): nothing like \(rule)"
        }
    }
}
