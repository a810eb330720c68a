import JSONReading

/// What the helper forwards.
package enum DockerRoute: Hashable, Sendable {
    case ping
    case info
    case containers
    /// An id or a name, of `[A-Za-z0-9_.-]` alone.
    case container(String)
    case events
}

/// Why a request is not forwarded.
package enum DockerRefusal: Error, Hashable, Sendable {
    case method(String)
    case path
    /// The request has a body, or says that it will.
    case body
    case upgrade
    case targetTooLong
    /// A query parameter that the path does not take, or takes otherwise.
    case parameter(String, expected: String)

    /// The HTTP status of the answer.
    package var status: Int {
        switch self {
        case .method: 405
        case .path, .upgrade: 403
        case .body, .parameter: 400
        case .targetTooLong: 414
        }
    }

    /// What was wrong, and what is allowed.
    package var message: String {
        switch self {
        case .method(let method): "\(method) is not forwarded. \(Self.allowed)"
        case .path: "This path is not forwarded. \(Self.allowed)"
        case .body: "A request with a body is not forwarded. \(Self.allowed)"
        case .upgrade: "Upgrades are not forwarded. \(Self.allowed)"
        case .targetTooLong:
            "The path and query have more than \(DockerRequest.targetBytesMax) bytes."
        case .parameter(let name, let expected):
            "The parameter \(name) is not forwarded as it stands: \(expected)."
        }
    }

    static let allowed =
        "petrel-agent docker-helper forwards only GET of /_ping, /info, /containers/json (all, filters), "
        + "/containers/{id}/json and /events (since, until, filters), with or without /v1.NN."
}

/// A request that may be forwarded, taken apart and put together again: no byte of the client's reaches Docker unread.
package struct DockerRequest: Hashable, Sendable {
    /// Bytes of path and query.
    package static let targetBytesMax = 4096
    private static let filterValuesMax = 64

    package var route: DockerRoute
    /// `v1.43`; nil where the client asks for the daemon's newest.
    package var version: String?
    /// In the order in which they are sent, not yet percent-encoded.
    package var query: [Parameter]

    /// One parameter of a query.
    package struct Parameter: Hashable, Sendable {
        package var name: String
        package var value: String
    }

    /// Reads the request line. `target` is the request target in origin form.
    package init(method: String, target: String) throws(DockerRefusal) {
        guard method == "GET" else { throw .method(String(method.prefix(16))) }
        guard target.utf8.count <= Self.targetBytesMax else { throw .targetTooLong }
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var segments = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard segments.count > 1, segments.removeFirst().isEmpty else { throw .path }
        if let first = segments.first, Self.isVersion(first) {
            version = String(segments.removeFirst())
        }
        switch segments.count {
        case 1 where segments[0] == "_ping": route = .ping
        case 1 where segments[0] == "info": route = .info
        case 1 where segments[0] == "events": route = .events
        case 2 where segments[0] == "containers" && segments[1] == "json": route = .containers
        case 3
        where segments[0] == "containers" && segments[2] == "json"
            && Self.isContainer(segments[1]):
            route = .container(String(segments[1]))
        default: throw .path
        }
        query = []
        query = try Self.query(parts.count > 1 ? parts[1] : "", of: route)
    }

    /// The request target for Docker.
    package var target: String {
        var text = version.map { "/" + $0 } ?? ""
        switch route {
        case .ping: text += "/_ping"
        case .info: text += "/info"
        case .containers: text += "/containers/json"
        case .container(let id): text += "/containers/\(id)/json"
        case .events: text += "/events"
        }
        for (index, parameter) in query.enumerated() {
            text += index == 0 ? "?" : "&"
            text += parameter.name + "=" + PercentCoding.encoded(parameter.value)
        }
        return text
    }

    /// `v1.` and one to three digits.
    private static func isVersion(_ text: Substring) -> Bool {
        let digits = text.dropFirst(3).utf8
        return text.hasPrefix("v1.") && 1...3 ~= digits.count && digits.allSatisfy { 48...57 ~= $0 }
    }

    /// Source: moby `daemon/names`: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    private static func isContainer(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 255 else {
            return false
        }
        return text.utf8.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
                || $0 == UInt8(ascii: "-")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: false
        }
    }

    private static func query(
        _ text: Substring, of route: DockerRoute
    ) throws(DockerRefusal) -> [Parameter] {
        let allowed: [String] =
            switch route {
            case .ping, .info, .container: []
            case .containers: ["all", "filters"]
            case .events: ["since", "until", "filters"]
            }
        var parameters: [Parameter] = []
        for pair in text.split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let given = PercentCoding.decoded(sides[0]) ?? "?"
            let value = PercentCoding.decoded(sides.count > 1 ? sides[1] : "")
            guard allowed.contains(given), !parameters.contains(where: { $0.name == given }),
                let value
            else {
                let list = allowed.isEmpty ? "none" : allowed.joined(separator: ", ")
                throw .parameter(
                    String(given.prefix(64)), expected: "this path takes \(list), each once")
            }
            parameters.append(
                Parameter(name: given, value: try checked(given, value, of: route)))
        }
        if route == .events, !parameters.contains(where: { $0.name == "filters" }) {
            parameters.append(Parameter(name: "filters", value: "{\"type\":[\"container\"]}"))
        }
        return parameters
    }

    private static func checked(
        _ name: String, _ value: String, of route: DockerRoute
    ) throws(DockerRefusal) -> String {
        switch name {
        case "all":
            switch value {
            case "1", "true", "True": return "1"
            case "0", "false", "False": return "0"
            default: throw .parameter(name, expected: "expected 0, 1, true or false")
            }
        case "since", "until":
            let parts = value.split(separator: ".", omittingEmptySubsequences: false)
            let areDigits = parts.allSatisfy { part in
                !part.isEmpty && part.utf8.allSatisfy { 48...57 ~= $0 }
            }
            guard areDigits, parts.count <= 2, parts[0].utf8.count <= 12,
                parts.count == 1 || parts[1].utf8.count <= 9
            else { throw .parameter(name, expected: "expected Unix seconds, 1700000000.123") }
            return value
        default: return try filters(value, of: route)
        }
    }

    /// Docker's `filters`, `{"name":["a","b"]}` or the older `{"name":{"a":true}}`, read and written anew.
    private static func filters(
        _ text: String, of route: DockerRoute
    ) throws(DockerRefusal) -> String {
        let allowed =
            route == .events
            ? ["container", "event", "type"] : ["id", "label", "name", "status"]
        let expected =
            "expected an object of \(allowed.joined(separator: ", ")), each with up to "
            + "\(filterValuesMax) values"
            + (route == .events
                ? "; the type is container, an event an action's name or one of "
                    + healthEvents.joined(separator: ", ")
                : "; labels that may hold secrets can't be searched")
        var found: [String: [String]]
        do throws(JSONError) {
            found = try filterValues(text)
        } catch { throw .parameter("filters", expected: expected) }
        if route == .events, found["type"] == nil { found["type"] = ["container"] }
        var output = Array("{".utf8)
        for (index, (name, values)) in found.sorted(by: { $0.key < $1.key }).enumerated() {
            guard allowed.contains(name), values.count <= filterValuesMax,
                isAllowed(name, values)
            else { throw .parameter("filters", expected: expected) }
            if index > 0 { output.append(UInt8(ascii: ",")) }
            JSONText.append(name, to: &output)
            output += ":[".utf8
            for (position, value) in values.enumerated() {
                if position > 0 { output.append(UInt8(ascii: ",")) }
                JSONText.append(value, to: &output)
            }
            output.append(UInt8(ascii: "]"))
        }
        output.append(UInt8(ascii: "}"))
        return String(decoding: output, as: UTF8.self)
    }

    private static func isAllowed(_ name: String, _ values: [String]) -> Bool {
        switch name {
        case "type": values == ["container"]
        case "event": values.allSatisfy { healthEvents.contains($0) || isActionName($0) }
        case "label":
            values.allSatisfy { LabelPolicy.keeps(String($0.prefix { $0 != "=" })) }
        default: true
        }
    }

    /// The actions that may be asked for with what stands behind their colon.
    private static let healthEvents = ["health_status: healthy", "health_status: unhealthy"]

    /// Docker compares prefixes where it is asked for `exec_create`, `exec_start` or `health_status`: values beside it such
    /// as `exec_create: sh -c a` would find out a command line letter by letter. Source: moby daemon/events/filter.go.
    private static func isActionName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { 97...122 ~= $0 || $0 == UInt8(ascii: "_") }
    }

    private static func filterValues(_ text: String) throws(JSONError) -> [String: [String]] {
        var reader = JSONReader(Array(text.utf8))
        guard try reader.kind() == .object else { throw .unexpectedShape }
        var found: [String: [String]] = [:]
        try reader.enter()
        var isFirst = true
        while let name = try reader.nextName(isFirst: &isFirst) {
            var values: [String] = []
            var isFirstValue = true
            switch try reader.kind() {
            case .array:
                try reader.enter()
                while try reader.nextElement(isFirst: &isFirstValue) {
                    guard try reader.kind() == .string else { throw .unexpectedShape }
                    values.append(try reader.string())
                }
            case .object:
                try reader.enter()
                while let value = try reader.nextName(isFirst: &isFirstValue) {
                    guard try reader.kind() == .boolean, try reader.boolean() else {
                        throw .unexpectedShape
                    }
                    values.append(value)
                }
            case .string, .number, .boolean, .null: throw .unexpectedShape
            }
            guard found.updateValue(values, forKey: name) == nil else { throw .unexpectedShape }
        }
        try reader.end()
        return found
    }
}

/// `%XX` in queries.
enum PercentCoding {
    /// Everything but unreserved characters as `%XX`. Source: RFC 3986 section 2.3.
    static func encoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                bytes.append(byte)
            default:
                bytes.append(UInt8(ascii: "%"))
                bytes += [hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The text with `%XX` resolved and `+` as a space; nil where it is malformed or no UTF-8.
    static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): bytes.append(32)
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst(), let low = rest.popFirst(),
                    let left = Character(Unicode.Scalar(high)).hexDigitValue,
                    let right = Character(Unicode.Scalar(low)).hexDigitValue
                else { return nil }
                bytes.append(UInt8(left << 4 | right))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static let hexDigits = Array("0123456789ABCDEF".utf8)
}
