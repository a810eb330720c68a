/// Where the HTTP server listens and whom it answers.
package struct WebConfiguration: Hashable, Sendable {
    /// An IP address or `localhost`.
    package var address: String
    /// 0: one that is free.
    package var port: Int
    /// Names, beside loopback ones, that a request's `Host` may carry: what a proxy in front forwards.
    package var hostNames: [String]
    /// Origins (`https://grafana.example.org`), beside loopback ones, whose pages may read answers.
    package var allowedOrigins: [String]
    /// Whether series may be deleted over HTTP, and then on this host alone.
    package var offersAdministration: Bool
    /// Longest request body, bytes; a longer one is answered with 413.
    package var bodyBytesMax: Int
    /// Seconds after which an idle connection is closed.
    package var idleSecondsMax: Int64
    /// Milliseconds after which a client is cut that takes nothing of what it asked for, and holds it in memory.
    package var stallMillisecondsMax: Int64 = 60_000

    package init(
        address: String = "127.0.0.1", port: Int = 9600, hostNames: [String] = [],
        allowedOrigins: [String] = [], offersAdministration: Bool = false,
        bodyBytesMax: Int = 1 << 20, idleSecondsMax: Int64 = 300
    ) {
        self.address = address
        self.port = port
        self.hostNames = hostNames
        self.allowedOrigins = allowedOrigins
        self.offersAdministration = offersAdministration
        self.bodyBytesMax = bodyBytesMax
        self.idleSecondsMax = idleSecondsMax
    }

    /// Refuses what would be open to everyone. Throws `WebError.openAddress` for any address but loopback.
    package func validate() throws(WebError) {
        guard LoopbackName.contains(address) else {
            throw .openAddress("\(address):\(port)")
        }
        guard (0...65_535).contains(port) else { throw .badPort(port) }
    }
}

/// Why the HTTP server does not start.
package enum WebError: Error, Hashable, Sendable, CustomStringConvertible {
    case openAddress(String)
    case badPort(Int)

    package var description: String {
        switch self {
        case .openAddress(let address):
            "http.address \(address) is not a loopback address, and the HTTP API has no TLS and "
                + "no tokens yet: bind to 127.0.0.1:9600 and put a proxy that authenticates in "
                + "front of it"
        case .badPort(let port): "http port \(port) is not within 0...65535"
        }
    }
}

/// Names and addresses of this machine's own loopback.
enum LoopbackName {
    /// Whether `host`, without port and brackets, is `localhost`, 127.0.0.0/8 or ::1.
    static func contains(_ host: String) -> Bool {
        let host = host.lowercased()
        if host == "localhost" || host == "::1" || host.hasSuffix(".localhost") { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127"
            && parts.allSatisfy { part in
                part.utf8.count <= 3 && part.utf8.allSatisfy { (48...57).contains($0) }
                    && UInt8(part) != nil
            }
    }
}
