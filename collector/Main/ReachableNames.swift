import Glibc
import Identity
import Startup

extension CollectorConfiguration {
    /// How agents reach the collector, best first: `fleet.advertise`, else the address listened on, else (listening on
    /// every address) those of this machine that other hosts can use.
    var reachableNames: [String] {
        if !advertised.isEmpty { return advertised }
        guard listensEverywhere else { return [fleet.address] }
        return Array(ownAddresses.map(\.address).prefix(EnrolmentToken.collectorNamesMax))
    }

    /// What a host that is to join has to know of this collector.
    var asInviting: JoinInvitation.Collector {
        JoinInvitation.Collector(
            machineName: Self.machineName, fleet: fleet, enrolment: enroll,
            reachableNames: reachableNames, origin: reachableOrigin,
            isAdvertised: !advertised.isEmpty)
    }

    /// What this machine calls itself; empty where it can't be told.
    static var machineName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, 255) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Where the first of `reachableNames` comes from, for a person.
    private var reachableOrigin: String {
        if !advertised.isEmpty { return "fleet.advertise" }
        guard listensEverywhere else { return "fleet.listen" }
        guard let first = ownAddresses.first else { return "nothing" }
        return "this machine's interface \(first.interface)"
    }

    private var ownAddresses: [InterfaceAddress] {
        ReachableAddress.choose(
            Self.interfaceAddresses(), isVersionFourOnly: fleet.address == "0.0.0.0")
    }

    private var listensEverywhere: Bool { ["0.0.0.0", "::"].contains(fleet.address) }

    /// Addresses of the interfaces that are up.
    private static func interfaceAddresses() -> [InterfaceAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [InterfaceAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard entry.ifa_flags & UInt32(IFF_UP) != 0,
                entry.ifa_flags & UInt32(IFF_LOOPBACK) == 0,
                let address = entry.ifa_addr
            else { continue }
            let length: Int
            switch Int32(address.pointee.sa_family) {
            case AF_INET: length = MemoryLayout<sockaddr_in>.size
            case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
            default: continue
            }
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(
                    address, socklen_t(length), &text, socklen_t(text.count), nil, 0,
                    NI_NUMERICHOST) == 0
            else { continue }
            let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            // A zone (`fe80::1%eth0`) means nothing to other hosts.
            let plain = String(decoding: bytes.prefix { $0 != UInt8(ascii: "%") }, as: UTF8.self)
            found.append(
                InterfaceAddress(interface: String(cString: entry.ifa_name), address: plain))
        }
        return found
    }
}
