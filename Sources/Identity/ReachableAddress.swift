/// An address of one of this machine's network interfaces.
package struct InterfaceAddress: Hashable, Sendable {
    /// `eth0`, `wg0`, …
    package var interface: String
    /// IPv4 or IPv6 in text form, without a zone.
    package var address: String

    package init(interface: String, address: String) {
        self.interface = interface
        self.address = address
    }
}

/// Guesses by which of its own addresses other hosts reach this machine, where nobody said it.
package enum ReachableAddress {
    /// Bridges and pairs that only containers and virtual machines of this host see.
    private static let inwardPrefixes = [
        "docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "podman", "cni", "flannel", "cali",
    ]

    /// The usable ones of `addresses`, best first and always in the same order: private IPv4 (RFC 1918), unique local
    /// IPv6 (RFC 4193), shared (RFC 6598, as overlay networks use it), public IPv4, public IPv6; among equals by the
    /// interface's name, then by address. Loopback, link-local and container addresses are left out, and IPv6 where the
    /// program listens on IPv4 alone.
    package static func choose(
        _ addresses: [InterfaceAddress], isVersionFourOnly: Bool = false
    ) -> [InterfaceAddress] {
        var ranked: [(rank: Int, item: InterfaceAddress, bytes: [UInt8])] = []
        for item in Set(addresses) {
            guard !inwardPrefixes.contains(where: { item.interface.hasPrefix($0) }),
                let bytes = addressBytes(item.address), let rank = rank(bytes),
                bytes.count == 4 || !isVersionFourOnly
            else { continue }
            ranked.append((rank, item, bytes))
        }
        ranked.sort { a, b in
            if a.rank != b.rank { return a.rank < b.rank }
            if a.item.interface != b.item.interface { return a.item.interface < b.item.interface }
            return a.bytes.lexicographicallyPrecedes(b.bytes)
        }
        return ranked.map(\.item)
    }

    /// Nil for what no other host can use.
    private static func rank(_ bytes: [UInt8]) -> Int? {
        guard bytes.count == 4 else {
            switch (bytes[0], bytes[1]) {
            case (0xfc...0xfd, _): return 1
            case (0x20...0x3f, _): return 4
            default: return nil
            }
        }
        switch (bytes[0], bytes[1]) {
        case (10, _), (172, 16...31), (192, 168): return 0
        case (100, 64...127): return 2
        case (0, _), (127, _), (169, 254), (224..., _): return nil
        default: return 3
        }
    }
}
