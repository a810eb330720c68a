import ArgumentParser
import CollectorStore
import Identity
import Model
import Startup
import Storage
import World
import WorldLive

/// `petrel-collector enroll create|revoke|list`: who belongs to the fleet.
struct EnrollCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enroll", abstract: "Who belongs to the fleet.",
        subcommands: [Create.self, Revoke.self, List.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a single-use token that lets a host join; the token is the last line."
        )
        @OptionGroup var common: CommonOptions
        @Option(help: "Name of the host: a-z, 0-9, '-' and '.'.")
        var host: String
        @Option(help: "How long the token is good for.")
        var ttl = "15m"

        func run() async throws {
            guard let host = HostName(host) else {
                throw ValidationError(
                    "--host '\(self.host)': a host name has 1-63 characters of a-z, 0-9, '-' and '.'"
                )
            }
            guard let life = PrometheusDuration(ttl), (1...86_400_000).contains(life.milliseconds)
            else {
                throw ValidationError("--ttl '\(ttl)': expected a duration up to 24h, such as 15m")
            }
            let configuration = try common.configuration()
            let random = LiveRandom()
            try await withStore(configuration) { store in
                let now = LiveClock().now.milliseconds
                let authority = try configuration.authority(
                    LiveFileTree(), random: random, now: now)
                let invitation = JoinInvitation(host: host, collector: configuration.asInviting)
                let token = EnrolmentToken(
                    host: host, authorityKeyHash: authority.certificate.keyHash,
                    fleetPort: UInt16(configuration.fleet.port),
                    enrolmentPort: UInt16(configuration.enroll.port),
                    collectorNames: invitation.names, random: random)
                try await store.createToken(
                    hash: token.secretHash, host: host,
                    expiresAt: now.advanced(byMilliseconds: life.milliseconds))
                try await store.audit(
                    AuditEvent(action: "enroll.create", subject: host.text, detail: "ttl \(ttl)"),
                    at: now)
                print(invitation.text(token: token.text, life: life))
                print(token.text)
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuses a host from now on and closes its live streams within a second.")
        @OptionGroup var common: CommonOptions
        @Option(help: "Name of the host.")
        var host: String

        func run() async throws {
            guard let host = HostName(host) else {
                throw ValidationError("--host '\(self.host)' is not a host name")
            }
            try await withStore(common.configuration()) { store in
                let now = LiveClock().now.milliseconds
                guard try await store.revoke(host: host, now: now) else {
                    throw StartError(
                        "no host '\(host)' is enrolled: see 'petrel-collector enroll list'")
                }
                try await store.audit(
                    AuditEvent(action: "enroll.revoke", subject: host.text, detail: "by command"),
                    at: now)
                print("\(host) is revoked; a new token lets it join again")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Every host that ever joined.")
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await withStore(common.configuration()) { store in
                let hosts = try await store.hosts().sorted { $0.host < $1.host }
                guard !hosts.isEmpty else {
                    print("no host has joined yet")
                    return
                }
                for host in hosts {
                    let seen = host.lastSeenAt.map { RFC3339.text($0) } ?? "never"
                    let state = host.revoked ? "revoked" : "enrolled"
                    print(
                        "\(host.host)\t\(state)\tlast seen \(seen)\t\(host.facts.agentVersion)")
                }
            }
        }
    }
}

/// Opens the store beside a running collector, or starts its private PostgreSQL for the time of the command.
func withStore(
    _ configuration: CollectorConfiguration, _ body: (CollectorStore) async throws -> Void
) async throws {
    try configuration.becomeDataOwner()
    try configuration.prepareDataDirectory(LiveFileTree())
    let store = try await openStore(
        configuration, logger: configuration.logger(LiveSurroundings(), level: "warning"))
    do {
        try await body(store)
        await store.closeAsGuest()
    } catch {
        await store.closeAsGuest()
        if let error = error as? StorageError { throw StartError(explain(error)) }
        throw error
    }
}
