package import World

/// A Caddy that `services.caddy` names.
package struct CaddyTarget: Hashable, Sendable, ServiceTarget {
    /// Of its admin endpoint: an IP address or `localhost`, and a port.
    package var address: ServiceAddress
    /// The label `server` of its series; nil: none, for a host's only one.
    package var label: String?
    package var isExpected: Bool { true }

    /// Those that the configuration may name.
    package static let serversMax = 8

    package init(_ address: ServiceAddress, label: String? = nil) {
        self.address = address
        self.label = label
    }
}

/// Whether Caddy's admin endpoint is there, by what it answers to `GET /metrics`; nothing else is asked of it.
/// Source: Caddy `modules/metrics/adminmetrics.go`: there on every admin endpoint, whatever the Caddyfile says; series of
/// HTTP servers where the Caddyfile says `metrics`, and from the first request on.
package enum CaddyProbe {
    package enum Finding: Hashable, Sendable {
        /// Nobody listens, or who listens does not answer as Caddy does.
        case absent
        /// `countsRequests`: it has series `caddy_http_…`.
        case caddy(ServiceAddress, countsRequests: Bool)
        /// A Caddyfile is here, and who listens answers with this status and not with 200.
        case refuses(ServiceAddress, status: Int)
    }

    /// Of the admin endpoint, where the Caddyfile names no other. Source: Caddy `DefaultAdminListen`.
    package static let port: UInt16 = 2019
    /// All that one look may take.
    package static let milliseconds: Int64 = 1_000
    private static let caddyfile = "/etc/caddy/Caddyfile"
    private static let headLinesMax = 100
    /// Caddy's own names come first in what it answers; those behind this many lines are not looked for.
    private static let linesMax = 5_000
    private static let lineBytesMax = 64 << 10

    /// Looks whether a program listens at port 2019 of a loopback, and asks it. Blocks for at most `milliseconds`.
    package static func look(
        tree: any WorldFileTree, paths: NodePaths, clock: any WorldClock,
        host: any HostCalls = GlibcHostCalls(), port: UInt16 = CaddyProbe.port
    ) -> Finding {
        guard ListeningPorts.read(tree: tree, paths: paths, host: host).contains(port) else {
            return .absent
        }
        return ask(
            ["127.0.0.1", "::1"].map { .tcp(host: $0, port: port) },
            isExpected: (try? tree.status(paths.rootfs + caddyfile)) != nil, clock: clock)
    }

    /// Asks at each of `addresses` until Caddy answers; where none does, `refuses` is told only of a Caddy that
    /// `isExpected`. Blocks for at most `milliseconds`.
    package static func ask(
        _ addresses: [ServiceAddress], isExpected: Bool, clock: any WorldClock,
        milliseconds: Int64 = CaddyProbe.milliseconds
    ) -> Finding {
        let end = clock.monotonicNanoseconds + milliseconds * 1_000_000
        var finding = Finding.absent
        for address in addresses {
            // The first question is the first that it counts: to the second one Caddy has a series of its own.
            for _ in 0..<2 {
                let left = (end - clock.monotonicNanoseconds) / 1_000_000
                guard left > 0, let answer = try? Answer(address, clock, milliseconds: left) else {
                    break
                }
                guard answer.status == 200 else {
                    if isExpected { finding = .refuses(address, status: answer.status) }
                    break
                }
                if answer.isCaddys {
                    return .caddy(address, countsRequests: answer.countsRequests)
                }
            }
        }
        return finding
    }

    private struct Answer {
        var status = 0
        var isCaddys = false
        var countsRequests = false

        init(
            _ address: ServiceAddress, _ clock: any WorldClock, milliseconds: Int64
        ) throws(ServiceError) {
            let socket = try ServiceSocket(address, clock: clock, milliseconds: milliseconds)
            // By 1.0, so that the body comes as it is and not in chunks. The name is one that Caddy lets in.
            try socket.write(
                Array("GET /metrics HTTP/1.0\r\nHost: \(address)\r\nConnection: close\r\n\r\n".utf8)
            )
            let first = try socket.line(bytesMax: lineBytesMax).split(separator: 32)
            guard first.count >= 2, ProcText.hasPrefix(first[0], "HTTP/1."),
                let code = ProcText.unsigned(first[1]).flatMap({ Int(exactly: $0) })
            else { throw .malformed(address, detail: "no HTTP status line") }
            status = code
            guard status == 200 else { return }
            var head = 0
            while try !socket.line(bytesMax: lineBytesMax).isEmpty {
                head += 1
                guard head < headLinesMax else {
                    throw .malformed(address, detail: "an HTTP head that does not end")
                }
            }
            do throws(ServiceError) {
                for _ in 0..<linesMax where !countsRequests {
                    read(try socket.line(bytesMax: lineBytesMax)[...])
                }
            } catch .closed {
                return
            }
        }

        private mutating func read(_ line: ArraySlice<UInt8>) {
            guard ProcText.hasPrefix(line, "caddy_") else { return }
            isCaddys = true
            countsRequests = ProcText.hasPrefix(line, "caddy_http_")
        }
    }
}
