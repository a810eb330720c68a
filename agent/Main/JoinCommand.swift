import AgentSpool
import AgentStream
import ArgumentParser
import Glibc
import Identity
import Model
import NIOCore
import NIOPosix
import Startup
import World
import WorldLive

/// `petrel-agent join`: makes this host a member of the fleet.
struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Makes this host a member of the fleet with a token.",
        discussion: """
            The identity in the state folder is replaced only once the new one is there. A running agent connects by \
            itself; what waits in its spool is sent under the new identity.
            """)
    @OptionGroup var options: AgentOptions
    @Option(help: "The token that 'petrel-collector enroll create' printed; '-' reads it.")
    var token: String
    @Option(help: "Host name or address of the collector, where the token does not know it.")
    var collector: String?
    @Flag(help: "Gives up a valid identity of another name or fleet.")
    var force = false

    /// The user of the packaged unit.
    static let packagedUser = "petrel-agent"

    func run() async throws {
        let configuration = try options.configuration()
        let token = try EnrolmentToken(text: tokenText())
        try takeOwnership(configuration)
        try configuration.prepareStateDirectory(LiveFileTree())
        let store = IdentityStore(files: LiveFileTree(), folder: configuration.identityFolder)
        let clock = LiveClock()
        if !force,
            let refusal = JoinRule.refusal(
                of: token, over: try? store.load(), now: clock.now.milliseconds)
        {
            throw StartError(refusal)
        }
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let enroller = Enroller(store: store, clock: clock, eventLoops: eventLoops)
        do {
            let host = try await enroller.join(token: token, collectorHost: collector)
            try? await eventLoops.shutdownGracefully()
            print("joined the fleet as \(host)")
            print(nextStep(configuration))
        } catch {
            try? await eventLoops.shutdownGracefully()
            throw StartError("could not join: \(error)")
        }
    }

    private func tokenText() throws -> String {
        guard token == "-" else { return token }
        guard let line = readLine() else {
            throw ValidationError("--token -: standard input is empty")
        }
        return line
    }

    /// Root works as the owner of the state folder, so that the agent can read what is left there.
    private func takeOwnership(_ configuration: AgentConfiguration) throws {
        let folder = configuration.stateDirectory
        do throws(FileError) {
            try ProcessOwner.become(
                ownerOfState: folder, packagedAt: AgentConfiguration().stateDirectory,
                for: Self.packagedUser, entrusted: [configuration.identityFolder])
        } catch {
            let reason = LiveSurroundings().errorText(error.errno)
            throw StartError(
                "\(error.operation) \(error.path): \(reason); the state "
                    + "folder \(folder) must belong to the agent's user")
        }
    }

    /// What is left to do: nothing where an agent runs, for it looks at the identity every few seconds.
    private func nextStep(_ configuration: AgentConfiguration) -> String {
        let files = LiveFileTree()
        let lock = Spool.lockFile(
            directory: "\(configuration.spoolFolder)/\(StreamKind.metrics.name)")
        if (try? files.status(lock)) != nil {
            do throws(FileError) {
                try files.lock(lock).close()
            } catch {
                if error.errno == EWOULDBLOCK {
                    return "the running agent connects by itself within a few seconds"
                }
            }
        }
        let isPackaged = ["/etc", "/run", "/usr/lib", "/lib"].contains {
            (try? files.status("\($0)/systemd/system/petrel-agent.service")) != nil
        }
        return isPackaged
            ? "next: sudo systemctl enable --now petrel-agent"
            : "next: petrel-agent run --state-dir \(configuration.stateDirectory)"
    }
}
