package import Model

/// How a host is told to join: the names by which it reaches the collector, and the lines to paste there. Pure.
package struct JoinInvitation: Hashable, Sendable {
    /// Where the collector listens and by which names it believes to be reached.
    package struct Collector: Hashable, Sendable {
        /// What the collector's machine calls itself.
        package var machineName: String
        package var fleet: AddressAndPort
        package var enrolment: AddressAndPort
        /// Best first.
        package var reachableNames: [String]
        /// Where the first of them comes from, for a person.
        package var origin: String
        /// Whether somebody wrote them down in `fleet.advertise`.
        package var isAdvertised: Bool

        package init(
            machineName: String, fleet: AddressAndPort, enrolment: AddressAndPort,
            reachableNames: [String], origin: String, isAdvertised: Bool
        ) {
            self.machineName = machineName
            self.fleet = fleet
            self.enrolment = enrolment
            self.reachableNames = reachableNames
            self.origin = origin
            self.isAdvertised = isAdvertised
        }
    }

    private let host: HostName
    private let collector: Collector
    private let isThisMachine: Bool
    /// How the host reaches the collector, best first: over loopback where it is the collector's own.
    package let names: [String]

    package init(host: HostName, collector: Collector) {
        self.host = host
        self.collector = collector
        isThisMachine = Self.isSameMachine(host.text, collector.machineName)
        let listenOnLoopback = [collector.fleet, collector.enrolment].allSatisfy {
            ["0.0.0.0", "::", Self.loopback].contains($0.address)
        }
        names =
            isThisMachine && listenOnLoopback
            ? [Self.loopback] + collector.reachableNames.filter { $0 != Self.loopback }
            : collector.reachableNames
    }

    private static let loopback = "127.0.0.1"

    /// Whether two names are one machine's: equal, or equal without the domain where only one of them has one.
    static func isSameMachine(_ one: String, _ other: String) -> Bool {
        let (one, other) = (one.lowercased(), other.lowercased())
        guard one != other else { return true }
        guard !one.contains(".") || !other.contains(".") else { return false }
        return one.prefix { $0 != "." } == other.prefix { $0 != "." }
    }

    /// The lines to paste on the host, and where the address in them comes from.
    package func text(token: String, life: PrometheusDuration) -> String {
        """
        Paste these on \(host), within \(life):

            sudo apt install ./petrel-agent_*.deb    # where it is not installed yet
            sudo petrel-agent join --collector \(names.first ?? "ADDRESS") --token \(token)

        \(explanation)
        \(host) must reach TCP ports \(collector.enrolment.port) (join) and \
        \(collector.fleet.port) (stream). The token alone:
        """
    }

    /// Where the address comes from, and what to do where the host does not reach it.
    private var explanation: String {
        guard let best = names.first else {
            return "ADDRESS is how \(host) reaches this collector: it listens on every address and "
                + "this machine has none that other hosts can use. Set fleet.advertise in "
                + "collector.yaml to say it once."
        }
        if CollectorChecks.isLoopback(best) {
            return isThisMachine
                ? "\(host) is this machine: it joins over loopback."
                : "\(best) is loopback (\(collector.origin)): other hosts can't reach this collector "
                    + "there. Set \(loopbackKeys) in collector.yaml to what \(host) reaches."
        }
        return "The address comes from \(collector.origin)"
            + (collector.isAdvertised
                ? "."
                : "; set fleet.advertise in collector.yaml to another, where hosts do not reach it.")
    }

    /// The keys of the configuration that name loopback.
    private var loopbackKeys: String {
        let keys = [
            ("fleet.listen", CollectorChecks.isLoopback(collector.fleet.address)),
            ("fleet.enroll", CollectorChecks.isLoopback(collector.enrolment.address)),
            ("fleet.advertise", collector.isAdvertised),
        ]
        return keys.filter(\.1).map(\.0).joined(separator: " and ")
    }
}
