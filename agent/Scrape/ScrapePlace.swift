import Model

/// Where a request of a scrape goes: the target's own place, or one that a redirect named.
package struct ScrapePlace: Hashable, Sendable {
    package var isTLS: Bool
    /// Without brackets.
    package var host: String
    package var port: Int
    /// For the Host header.
    package var address: String
    /// Path and query as they are asked for.
    package var requestPath: String

    /// The target's own.
    package init(_ target: ScrapeTarget) {
        isTLS = target.isTLS
        host = target.host
        port = target.port
        address = target.address
        requestPath = target.requestPath
    }

    /// Whether the same server is asked in the same way. Another port is another server, and plain HTTP is another way.
    package func isSameServer(as other: ScrapePlace) -> Bool {
        isTLS == other.isTLS && port == other.port && host.lowercased() == other.host.lowercased()
    }

    /// Bytes of a Location.
    static let locationBytesMax = 8192

    /// Where `location`, the Location of an answer from here, leads; a fragment is none of it. Throws `redirect` for what
    /// is no such place. Source: RFC 9110 section 10.2.2; RFC 3986 section 5.2.
    package func following(_ location: String) throws(ScrapeFailure) -> ScrapePlace {
        guard location.utf8.count <= Self.locationBytesMax,
            location.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw .redirect("its Location has bytes that no URL has, or too many") }
        var rest = location.prefix { $0 != "#" }
        var place = self
        if let scheme = Self.scheme(of: rest) {
            guard scheme == "http" || scheme == "https" else {
                throw .redirect(
                    "its Location has the scheme \(scheme), and http and https are known")
            }
            place.isTLS = scheme == "https"
            rest = rest.dropFirst(scheme.utf8.count + 1)
            guard rest.hasPrefix("//") else {
                throw .redirect("its Location \(location.prefix(200)) names no host")
            }
        }
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let authority = String(rest.prefix { $0 != "/" && $0 != "?" })
            rest = rest.dropFirst(authority.count)
            guard !authority.contains("@"),
                let (host, port) = ScrapeTarget.split(
                    authority, standard: place.isTLS ? 443 : 80)
            else { throw .redirect("its Location \(location.prefix(200)) names no host and port") }
            (place.host, place.port, place.address) = (host, port, authority)
            place.requestPath = ""
        }
        place.requestPath = Self.path(place.requestPath, following: String(rest))
        return place
    }

    /// What stands before the first colon, if it is a scheme.
    private static func scheme(of text: Substring) -> String? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let scheme = text[..<colon]
        guard let first = scheme.first, first.isASCII, first.isLetter,
            scheme.utf8.allSatisfy({ byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
                    || (0x61...0x7a).contains(byte) || [0x2b, 0x2d, 0x2e].contains(byte)
            })
        else { return nil }
        return scheme.lowercased()
    }

    /// Path and query of a reference without scheme and authority, seen from `base`, which is empty behind an authority.
    private static func path(_ base: String, following reference: String) -> String {
        let basePath = base.prefix { $0 != "?" }
        let query = reference.firstIndex(of: "?").map { reference[$0...] } ?? ""
        let path = reference[..<(reference.firstIndex(of: "?") ?? reference.endIndex)]
        if path.isEmpty {
            guard !basePath.isEmpty else { return "/" + query }
            return reference.isEmpty ? base : String(basePath) + query
        }
        guard !path.hasPrefix("/") else { return withoutDots(path) + query }
        let folder = basePath[..<(basePath.lastIndex(of: "/") ?? basePath.startIndex)]
        return withoutDots(folder + "/" + path) + query
    }

    /// Source: RFC 3986 section 5.2.4.
    private static func withoutDots(_ path: Substring) -> String {
        var kept: [Substring] = []
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            switch part {
            case ".": if isLast { kept.append("") }
            case "..":
                _ = kept.popLast()
                if isLast { kept.append("") }
            default: kept.append(part)
            }
        }
        return "/" + kept.joined(separator: "/")
    }
}
