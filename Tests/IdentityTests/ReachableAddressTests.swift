import Identity
import Testing

@Suite struct ReachableAddressTests {
    private func check(_ given: [(String, String)], _ expected: [String]) {
        for addresses in [given, given.reversed()] {
            let chosen = ReachableAddress.choose(
                addresses.map { InterfaceAddress(interface: $0.0, address: $0.1) })
            #expect(chosen.map(\.address) == expected)
        }
    }

    @Test func privateAddressesComeFirst() {
        check(
            [
                ("eth0", "203.0.113.7"), ("eth0", "2001:db8::7"), ("eth1", "10.0.0.5"),
                ("tailscale0", "100.64.3.2"), ("eth1", "fd00::5"),
            ], ["10.0.0.5", "fd00::5", "100.64.3.2", "203.0.113.7", "2001:db8::7"])
    }

    /// The default listener is 0.0.0.0, which no IPv6 connection reaches.
    @Test func aListenerOfVersionFourNamesNoOther() {
        let chosen = ReachableAddress.choose(
            [("eth0", "fd00::2"), ("eth0", "198.51.100.2"), ("eth0", "2001:db8::1")].map {
                InterfaceAddress(interface: $0.0, address: $0.1)
            }, isVersionFourOnly: true)
        #expect(chosen.map(\.address) == ["198.51.100.2"])
    }

    @Test func amongEqualsTheInterfacesNameDecides() {
        check(
            [("wg0", "10.8.0.1"), ("eth1", "192.168.1.9"), ("eth1", "192.168.1.10")],
            ["192.168.1.9", "192.168.1.10", "10.8.0.1"])
    }

    @Test(arguments: [
        ("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "169.254.1.1"), ("eth0", "fe80::1"),
        ("docker0", "172.17.0.1"), ("br-3f2a", "172.18.0.1"), ("veth12", "10.1.1.1"),
        ("virbr0", "192.168.122.1"), ("eth0", "224.0.0.1"), ("eth0", "0.0.0.0"),
        ("eth0", "ff02::1"), ("eth0", "::"), ("eth0", "fe80::1%eth0"), ("eth0", ""),
    ])
    func whatNoOtherHostReachesIsLeftOut(_ interface: String, _ address: String) {
        check([(interface, address)], [])
    }

    @Test(arguments: [
        ("172.15.0.1", "172.16.0.1"), ("172.32.0.1", "172.31.0.1"), ("11.0.0.1", "10.0.0.1"),
        ("192.167.0.1", "192.168.0.1"), ("100.63.0.1", "100.64.0.1"),
        ("100.128.0.1", "100.127.0.1"),
    ])
    func theEdgesOfTheRanges(_ outside: String, _ inside: String) {
        check([("a", outside), ("b", inside)], [inside, outside])
    }
}
