import AgentHelper
import ArgumentParser
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Startup
import World
import WorldLive

/// `petrel-agent docker-helper`: the one process that may open Docker's socket, for the agent that may not.
struct DockerHelperCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "docker-helper",
        abstract: "Answers the agent's questions about containers, without Docker's powers.",
        discussion: """
            Forwards GET of /containers/json, /containers/{id}/json, /events, /info and /_ping; environment, command \
            lines and labels that look like secrets do not pass. Takes the socket that systemd hands over \
            (LISTEN_FDS), otherwise makes the one of --listen.
            """)
    @Option(help: "Docker's own socket.")
    var dockerSocket = "/var/run/docker.sock"
    @Option(help: "The socket to listen on.")
    var listen = "/run/petrel/docker.sock"
    @Option(help: "The user that may ask, besides root; the socket is of its group.")
    var peerUser = "petrel-agent"
    @Option(help: "Log level: debug, info, notice, warning, error.")
    var logLevel = "info"

    func run() async throws {
        let logger = Logger(
            label: "petrel-agent", level: logLevel, format: .auto, surroundings: LiveSurroundings(),
            clock: LiveClock())
        let peer = try helperPeer(named: peerUser)
        let handedOver = try Self.handedOver()
        let listener: Int32
        do throws(HelperSocketError) {
            listener =
                if let handedOver { try HelperSocket.adopt(handedOver) } else {
                    try HelperSocket.listen(path: listen, group: peer.group)
                }
        } catch { throw StartError("\(error)") }
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await DockerHelperServer.make(
            DockerHelperConfiguration(dockerSocket: dockerSocket, users: [0, peer.user]),
            listener: listener, group: eventLoops, logger: logger)
        logger.info(
            "serving",
            metadata: [
                "socket": "\(handedOver == nil ? listen : "of systemd")",
                "docker": "\(dockerSocket)", "peer": "\(peerUser)",
            ])
        let services = ServiceList.group(
            [server, MemoryTrim(clock: LiveClock())], endsWithFirst: true, logger: logger)
        var failure: (any Error)?
        do { try await services.run() } catch { failure = error }
        if handedOver == nil { HelperSocket.remove(path: listen) }
        try? await eventLoops.shutdownGracefully()
        if let failure { throw StartError("\(failure)") }
    }

    /// The descriptor that systemd passed to this very process; nil where it passed none. Source: sd_listen_fds(3).
    private static func handedOver() throws -> Int32? {
        guard let process = getenv("LISTEN_PID"), let count = getenv("LISTEN_FDS"),
            String(cString: process) == String(getpid())
        else { return nil }
        guard String(cString: count) == "1" else {
            throw StartError(
                "systemd handed over \(String(cString: count)) sockets: petrel-docker-helper.socket must have one ListenStream"
            )
        }
        return firstDescriptor
    }

    /// SD_LISTEN_FDS_START.
    private static let firstDescriptor: Int32 = 3
}

/// `petrel-agent posture-helper`: reads as root what the agent may not, once, and leaves the facts for it.
struct PostureHelperCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "posture-helper",
        abstract: "Reads the security settings that only root may read, into a file for the agent.")
    @Option(help: "The file to write, in Prometheus' text format; - is standard output.")
    var out = "-"
    @Option(help: "The user whose group may read the file.")
    var peerUser = "petrel-agent"
    @Option(help: "Where the root of the host to look at is mounted.")
    var root = "/"

    func run() throws {
        let helper = PostureHelper(tree: LiveFileTree(), root: root, clock: LiveClock())
        let text = helper.exposition()
        guard out != "-" else { return try StandardOutput.write(text) }
        let peer = try helperPeer(named: peerUser)
        do throws(PublishError) {
            try PublishedFile.write(text, to: out, group: peer.group)
        } catch { throw StartError("\(error)") }
    }
}

/// The user for whom a helper works.
private func helperPeer(named name: String) throws -> UserAccount {
    guard let peer = LiveFileTree().account(named: name) else {
        throw StartError(
            "there is no user '\(name)': install the petrel-agent package, or name another with --peer-user"
        )
    }
    return peer
}
