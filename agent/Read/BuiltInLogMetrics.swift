import Model

/// What Caddy's access lines say. The names are not those of Caddy's own metrics, which are of its handlers and may be
/// scraped beside; the label of the site is `http_host`, since `host` is the machine.
struct CaddyLogMetrics {
    private var requests = LogMetricSeries(
        name: "caddy_log_http_requests_total",
        help: "Requests in Caddy's access log, by status, site, method and route.", kind: .counter,
        labels: ["code", "http_host", "method", "route"])
    private var durations = LogMetricSeries(
        name: "caddy_log_http_request_duration_seconds",
        help: "Time that requests in Caddy's access log took, by site and route.",
        kind: .histogram(buckets: LogMetricsConfiguration.standardBuckets),
        labels: ["http_host", "route"])

    /// Takes a line whose logger is `http.log.access` or one below it; others count nothing.
    mutating func observe(_ line: LineIndex) {
        guard line.text(Self.logger)?.hasPrefix("http.log.access") == true,
            let status = line.text(Self.status).flatMap({ Int($0) }), (0...599).contains(status)
        else { return }
        let host = Self.site(line.text(Self.host) ?? "")
        let route = HTTPRoute.route(ofURI: line.text(Self.uri) ?? "")
        let method = line.text(Self.method) ?? ""
        // What nobody serves opens no new site and no new route: scanners ask for thousands.
        let isRefused = [400, 403, 404, 405, 410].contains(status)
        requests.add(
            1,
            [
                "\(status)", host,
                HTTPRoute.methods.contains(method) ? method : LogMetricSeries.other,
                route,
            ], closed: isRefused ? [1, 3] : [])
        if let seconds = line.text(Self.duration).flatMap(LogNumber.parse), seconds >= 0 {
            durations.add(seconds, [host, route], closed: isRefused ? [0, 1] : [])
        }
    }

    func families() -> [MetricFamily] { [requests, durations].compactMap { $0.family() } }

    /// Without its port, in lower case.
    private static func site(_ text: String) -> String {
        guard !text.hasPrefix("[") else { return text.lowercased() }
        return text.prefix { $0 != ":" }.lowercased()
    }

    private static let logger = FieldPath("logger")
    private static let status = FieldPath("status")
    private static let duration = FieldPath("duration")
    private static let host = FieldPath("request.host")
    private static let uri = FieldPath("request.uri")
    private static let method = FieldPath("request.method")
}

/// The shape of a path, so that a few values stand for all.
enum HTTPRoute {
    static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
    ]
    /// Parts of a path that are told apart.
    private static let partsMax = 5

    /// The path without its query: numbers, UUIDs and other ids are `:id`, files `*.EXTENSION`, and what lies deeper than 5
    /// parts `*`. O(n).
    static func route(ofURI uri: String) -> String {
        let bytes = Array(uri.utf8)
        let end = bytes.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let path = bytes[..<(end ?? bytes.count)]
        guard path.first == UInt8(ascii: "/") else { return path.isEmpty ? "" : "*" }
        var route: [UInt8] = []
        var count = 0
        let parts = path.dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            route.append(UInt8(ascii: "/"))
            guard count < partsMax else {
                route.append(UInt8(ascii: "*"))
                break
            }
            count += 1
            if isID(part) {
                route += ":id".utf8
            } else if index == parts.count - 1, let type = fileType(part) {
                route += "*.".utf8
                route += type
            } else {
                route += part
            }
        }
        return String(decoding: route, as: UTF8.self)
    }

    /// Numbers, hexadecimal ids of 8 digits and more, and texts of 20 bytes and more with a digit in them.
    private static func isID(_ part: ArraySlice<UInt8>) -> Bool {
        guard !part.isEmpty else { return false }
        var digits = 0
        var hexadecimal = 0
        for byte in part {
            switch byte {
            case 48...57: digits += 1
            case 65...70, 97...102, UInt8(ascii: "-"): hexadecimal += 1
            default: break
            }
        }
        if digits == part.count { return true }
        if digits > 0, part.count >= 8, digits + hexadecimal == part.count { return true }
        return digits > 0 && part.count >= 20 && fileType(part) == nil
    }

    /// The letters behind the last dot, where they are 1 to 5 and something stands before the dot.
    private static func fileType(_ part: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let dot = part.lastIndex(of: UInt8(ascii: ".")), dot > part.startIndex else {
            return nil
        }
        let type = part[(dot + 1)...]
        guard (1...5).contains(type.count), type.allSatisfy(RedactionText.isAlphanumeric) else {
            return nil
        }
        return type
    }
}

/// What Authentik's events say of logins. Source: Authentik 2025 `events/signals.py`,
/// `stages/authenticator_validate/challenge.py`; before 2022.7 events are logged at level debug alone.
struct AuthentikLogMetrics {
    private var logins = LogMetricSeries(
        name: "authentik_log_logins_total",
        help: "Logins in Authentik's events, by provider, method, second factor and result.",
        kind: .counter, labels: ["method", "mfa", "provider", "result"])
    private var factors = LogMetricSeries(
        name: "authentik_log_mfa_total",
        help: "Second factors in Authentik's logins, by device and result.", kind: .counter,
        labels: ["device", "result"])
    private var events = LogMetricSeries(
        name: "authentik_log_events_total", help: "Authentik's events, by action.", kind: .counter,
        labels: ["action"])
    /// Second factors of one login that count.
    private static let devicesMax = 8
    /// The provider of those who log in with what Authentik itself keeps.
    private static let ownProvider = "authentik"

    /// Takes a line whose event is `Created Event`; others count nothing.
    mutating func observe(_ line: LineIndex) {
        guard line.text(Self.event) == "Created Event",
            line.text(Self.logger)?.hasPrefix("authentik.") == true,
            let action = line.text(Self.action)
        else { return }
        events.add(1, [action])
        guard action == "login" || action == "login_failed" else { return }
        let result = action == "login" ? "success" : "failure"
        let provider =
            line.text(Self.source) ?? line.text(Self.usingSource) ?? Self.ownProvider
        let devices = devices(line)
        logins.add(
            1,
            [
                line.text(Self.method) ?? "", devices.isEmpty ? "false" : "true", provider, result,
            ])
        for device in devices { factors.add(1, [device, result]) }
    }

    func families() -> [MetricFamily] {
        [logins, factors, events].compactMap { $0.family() }
    }

    /// The kinds of second factors: of a success those that were used, of a failure the one that failed.
    private func devices(_ line: LineIndex) -> [String] {
        if let failed = line.text(Self.deviceClass) { return [failed] }
        return line.elements(Self.devices, max: Self.devicesMax).map { element in
            let name = line.text(of: element, "model_name") ?? ""
            return name.hasSuffix("device") ? String(name.dropLast("device".count)) : name
        }
    }

    private static let event = FieldPath("event")
    private static let logger = FieldPath("logger")
    private static let action = FieldPath("action")
    private static let source = FieldPath("context.source.name")
    private static let usingSource = FieldPath("context.using_source.name")
    private static let method = FieldPath("context.auth_method")
    private static let devices = FieldPath("context.auth_method_args.mfa_devices")
    private static let deviceClass = FieldPath("context.device_class")
}
