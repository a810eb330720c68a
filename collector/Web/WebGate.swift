/// Who may ask, from which page, and what every answer carries.
///
/// The API on loopback asks for no token, so a web page must not reach it through the operator's browser: names that
/// resolve to loopback (DNS rebinding) are told apart by `Host`, pages of other sites by `Origin`.
struct WebGate: Sendable {
    private let hostNames: Set<String>
    private let allowedOrigins: Set<String>
    private let offersAdministration: Bool

    init(_ configuration: WebConfiguration) {
        hostNames = Set(configuration.hostNames.map { $0.lowercased() })
        allowedOrigins = Set(configuration.allowedOrigins.map { $0.lowercased() })
        offersAdministration = configuration.offersAdministration
    }

    /// Throws `WebRefusal` for a `Host` that is not ours, for a change or a WebSocket asked for by another site's page, and
    /// for administration that is switched off or comes from elsewhere.
    func admit(_ request: WebRequest) throws(WebRefusal) {
        guard let host = request.headers["host"], let name = Self.hostName(host),
            LoopbackName.contains(name) || hostNames.contains(name)
        else {
            throw WebRefusal(
                421,
                "this server does not answer for the host of the request; use 127.0.0.1 or "
                    + "localhost, or add the name to http.host_names")
        }
        let isChange =
            ["POST", "PUT"].contains(request.method) && Self.changesState(request.path)
        // Of a WebSocket browsers keep nothing from a foreign page: it is for the server to refuse it.
        guard isChange || WebSocketHandshake.isWanted(request) else { return }
        // Every browser says by itself which encodings it takes, and no page can keep it from it: what names a page's origin
        // without that, such as a proxy before a browser, is no page.
        let mayBePage = isChange || request.headers["accept-encoding"] != nil
        if mayBePage, let origin = request.headers["origin"], !allows(origin) {
            throw WebRefusal(403, "a page of \(origin) may not do this")
        }
        if let site = request.headers["sec-fetch-site"], site == "cross-site" {
            throw WebRefusal(403, "a page of another site may not do this")
        }
        if isChange, Self.isAdministration(request.path) { try admitAdministration(request, name) }
    }

    /// A proxy may name us by loopback as many do by default, so its other traces count too. Nothing has to leave any:
    /// that is what the switch is for, off unless it is asked for, as Prometheus' --web.enable-admin-api.
    private func admitAdministration(
        _ request: WebRequest, _ name: String
    ) throws(WebRefusal) {
        guard offersAdministration else {
            throw WebRefusal(
                503,
                "admin APIs disabled: set http.admin to true in collector.yaml, and restart the "
                    + "collector")
        }
        if let origin = request.headers["origin"], !isLoopback(origin) {
            throw WebRefusal(403, "a page of \(origin) may not delete data")
        }
        let isForwarded = Self.proxyHeaders.contains { request.headers[$0] != nil }
        guard LoopbackName.contains(name), !isForwarded else {
            throw WebRefusal(
                403,
                "data is deleted on the collector's own host alone: ask 127.0.0.1 or localhost, "
                    + "and through no proxy")
        }
    }

    private static let proxyHeaders = [
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip",
    ]

    /// The headers of an answer to `request`, beside its own.
    func headers(for request: WebRequest) -> [(name: String, value: String)] {
        var headers = Self.securityHeaders
        guard let origin = request.headers["origin"], !origin.isEmpty else { return headers }
        headers.append((name: "vary", value: "Origin"))
        guard allows(origin) else { return headers }
        headers += [
            (name: "access-control-allow-origin", value: origin),
            (
                name: "access-control-allow-headers",
                value: "Accept, Authorization, Content-Type, Origin, X-Request-Id"
            ),
            (name: "access-control-allow-methods", value: "GET, POST, OPTIONS"),
            (name: "access-control-expose-headers", value: "Date, X-Request-Id"),
        ]
        return headers
    }

    private func allows(_ origin: String) -> Bool {
        allowedOrigins.contains(origin.lowercased()) || isLoopback(origin)
    }

    private func isLoopback(_ origin: String) -> Bool {
        let origin = origin.lowercased()
        guard let separator = origin.firstRange(of: "://") else { return false }
        return Self.hostName(String(origin[separator.upperBound...]))
            .map(LoopbackName.contains) ?? false
    }

    /// What our own API, Prometheus' administration and the ways in are asked to do; everything else only reads.
    private static func changesState(_ path: [String]) -> Bool {
        guard path.first == "prometheus" else {
            return ["api", "otlp"].contains(path.first) || path == LokiPushAPI.path
        }
        return path.count > 3 && ["admin", "write", "otlp"].contains(path[3])
    }

    private static func isAdministration(_ path: [String]) -> Bool {
        path.count > 3 && path[0] == "prometheus" && path[3] == "admin"
    }

    /// `[::1]:9600` → `::1`; nil where it is no authority.
    private static func hostName(_ authority: String) -> String? {
        let authority = authority.lowercased()
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = parts.first, !name.isEmpty else { return nil }
        return String(name)
    }

    /// Source: OWASP Secure Headers Project.
    private static let securityHeaders = [
        (
            name: "content-security-policy",
            value: "default-src 'none'; style-src 'self'; img-src 'self' data:; "
                + "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                + "frame-ancestors 'none'"
        ),
        (name: "x-content-type-options", value: "nosniff"),
        (name: "x-frame-options", value: "DENY"),
        (name: "referrer-policy", value: "no-referrer"),
        (name: "cross-origin-opener-policy", value: "same-origin"),
        (name: "cache-control", value: "no-store"),
    ]
}
