import Model
import Startup
import Testing

@Suite("How a host is told to join")
struct JoinInvitationTests {
    private static func invitation(
        _ host: String, machine: String = "hub", fleet: String = "0.0.0.0",
        enrolment: String = "0.0.0.0", names: [String], origin: String = "fleet.listen",
        isAdvertised: Bool = false
    ) throws -> JoinInvitation {
        JoinInvitation(
            host: try #require(HostName(host)),
            collector: JoinInvitation.Collector(
                machineName: machine, fleet: AddressAndPort(address: fleet, port: 9601),
                enrolment: AddressAndPort(address: enrolment, port: 9602), reachableNames: names,
                origin: origin, isAdvertised: isAdvertised))
    }

    /// The host, the collector's machine, where both listeners listen, the names it believes in, those in the token.
    @Test(
        "names: loopback first where both are one machine and both listeners take it",
        arguments: [
            ("db1", "hub", "0.0.0.0", "0.0.0.0", ["10.0.0.5"], ["10.0.0.5"]),
            ("hub", "hub", "0.0.0.0", "0.0.0.0", ["10.0.0.5"], ["127.0.0.1", "10.0.0.5"]),
            ("hub", "hub", "::", "127.0.0.1", ["10.0.0.5"], ["127.0.0.1", "10.0.0.5"]),
            ("hub", "hub", "10.0.0.5", "0.0.0.0", ["10.0.0.5"], ["10.0.0.5"]),
            ("hub", "hub", "0.0.0.0", "10.0.0.5", ["10.0.0.5"], ["10.0.0.5"]),
            ("hub", "hub", "127.0.0.1", "127.0.0.1", ["127.0.0.1"], ["127.0.0.1"]),
            ("hub", "hub", "0.0.0.0", "0.0.0.0", ["a", "127.0.0.1"], ["127.0.0.1", "a"]),
            // What is configured stays, also where it is of no use to the host.
            ("db1", "hub", "127.0.0.1", "127.0.0.1", ["127.0.0.1"], ["127.0.0.1"]),
            ("db1", "hub", "0.0.0.0", "0.0.0.0", ["a", "127.0.0.1"], ["a", "127.0.0.1"]),
            ("db1", "hub", "0.0.0.0", "0.0.0.0", [], []),
            ("hub", "hub", "0.0.0.0", "0.0.0.0", [], ["127.0.0.1"]),
        ] as [(String, String, String, String, [String], [String])])
    func names(
        host: String, machine: String, fleet: String, enrolment: String, reachable: [String],
        expected: [String]
    ) throws {
        let invitation = try Self.invitation(
            host, machine: machine, fleet: fleet, enrolment: enrolment, names: reachable)
        #expect(invitation.names == expected)
    }

    @Test(
        "two names are one machine's where they are equal, or where one has no domain",
        arguments: [
            ("hub", "hub", true), ("hub", "HUB", true), ("hub", "hub.east.example", true),
            ("hub.east", "hub", true), ("hub.east", "Hub.East", true),
            ("hub.east", "hub.west", false), ("hub.east", "hub.east.example", false),
            ("hub", "hub1", false), ("hub", "", false),
        ])
    func machines(host: String, machine: String, isSame: Bool) throws {
        let invitation = try Self.invitation(host, machine: machine, names: ["10.0.0.5"])
        #expect((invitation.names.first == "127.0.0.1") == isSame)
    }

    /// The host, where the collector listens, the names it believes in, whether they are written down; what is said.
    @Test(
        "the text says where the address comes from and what to do where it is of no use",
        arguments: [
            ("hub", "0.0.0.0", ["10.0.0.5"], false, "hub is this machine: it joins over loopback."),
            ("db1", "0.0.0.0", [], false, "it listens on every address"),
            (
                "db1", "127.0.0.1", ["127.0.0.1"], false,
                "other hosts can't reach this collector there. Set fleet.listen and fleet.enroll in"
            ),
            (
                "db1", "0.0.0.0", ["127.0.0.1"], true,
                "other hosts can't reach this collector there. Set fleet.advertise in"
            ),
            (
                "db1", "127.0.0.1", ["localhost"], true,
                "Set fleet.listen and fleet.enroll and fleet.advertise in"
            ),
            (
                "db1", "0.0.0.0", ["10.0.0.5"], false,
                "comes from eth0; set fleet.advertise in collector.yaml to another"
            ),
            ("db1", "0.0.0.0", ["10.0.0.5"], true, "comes from eth0."),
        ] as [(String, String, [String], Bool, String)])
    func text(
        host: String, listen: String, reachable: [String], isAdvertised: Bool, said: String
    ) throws {
        let invitation = try Self.invitation(
            host, fleet: listen, enrolment: listen, names: reachable, origin: "eth0",
            isAdvertised: isAdvertised)
        let text = invitation.text(
            token: "petrel1-abc", life: PrometheusDuration(milliseconds: 900_000))
        #expect(text.contains(said))
        #expect(text.contains("this machine: it joins over loopback") == (host == "hub"))
        #expect(text.contains("listens on every address") == reachable.isEmpty)
        let place = invitation.names.first ?? "ADDRESS"
        #expect(text.hasPrefix("Paste these on \(host), within 15m:\n\n"))
        #expect(
            text.contains("    sudo petrel-agent join --collector \(place) --token petrel1-abc\n"))
        #expect(text.contains("TCP ports 9602 (join) and 9601 (stream). The token alone:"))
        #expect(!text.hasSuffix("\n"))
    }
}
