/// The origin of a page, in the form in which browsers send it: `https://grafana.example.org`.
package struct WebOrigin: Hashable, Sendable {
    /// Scheme, host and, unless it is the scheme's own, port; in lower case.
    package let text: String

    /// Nil where `text` is no `http://` or `https://` with a host (a name, an IPv4 address, an IPv6 address in brackets)
    /// and perhaps a port of 1 to 65535, and nothing after it. Source: RFC 6454, section 6.2.
    package init?(_ text: String) {
        let lower = text.lowercased()
        guard let scheme = ["http", "https"].first(where: { lower.hasPrefix($0 + "://") }) else {
            return nil
        }
        var host = lower.dropFirst(scheme.utf8.count + 3)
        var port: Int?
        if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
            let digits = host[host.index(after: colon)...]
            guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits),
                (1...65_535).contains(number)
            else { return nil }
            port = number
            host = host[..<colon]
        }
        guard Self.isHost(host) else { return nil }
        let usual = scheme == "http" ? 80 : 443
        let suffix = port.map { $0 == usual ? "" : ":\($0)" } ?? ""
        self.text = "\(scheme)://\(host)\(suffix)"
    }

    private static func isHost(_ host: Substring) -> Bool {
        if host.hasPrefix("["), host.hasSuffix("]") {
            let address = host.dropFirst().dropLast().utf8
            return address.contains(58) && address.count <= 45
                && address.allSatisfy {
                    (48...58).contains($0) || (97...102).contains($0) || $0 == 46
                }
        }
        return (1...253).contains(host.utf8.count)
            && host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
                !part.isEmpty
                    && part.utf8.allSatisfy {
                        (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 95
                    }
            }
    }
}
