import AgentRead
import Logging
import Model
import World
import WorldLive

/// What this host is and which readers it has.
enum HostReading {
    /// The readers of the host and its services that `configuration` leaves.
    static func readers(
        _ paths: NodePaths, _ configuration: AgentConfiguration, logger: Logger? = nil
    ) -> [any NodeReader] {
        let (tree, clock) = (LiveFileTree(), LiveClock())
        let services = configuration.services
        let containers: any ContainerNames =
            services.isOn("docker") ? DockerNames(clock: clock) : NoContainerNames()
        let posture = configuration.posture
        return StandardReaders.make(
            tree: tree, paths: paths, options: configuration.nodeOptions, host: GlibcHostCalls(),
            containers: containers, version: PetrelAgent.version, revision: "",
            report: { error in
                logger?.warning("a text file is left out", metadata: ["error": "\(error)"])
            })
            + ServiceReaders.make(
                tree: tree, paths: paths, options: services,
                identityFolder: configuration.identityFolder, clock: clock, random: LiveRandom())
            + (posture.isEnabled
                ? [
                    PostureReader(
                        tree: tree, paths: paths, options: posture,
                        stateFolder: configuration.stateDirectory)
                ] : [])
    }

    /// Root becomes the agent's user, where there is one: what root may read says nothing of what the agent can.
    static func readAsTheAgent(_ configuration: AgentConfiguration) {
        // A folder that is not there, or is root's: it stays root.
        _ = try? ProcessOwner.become(ownerOf: configuration.stateDirectory)
    }

    /// The host's node name, for the `instance` label of its metrics.
    static func nodeName() -> String {
        (try? GlibcHostCalls().identity().node) ?? "localhost"
    }

    static func facts(role: String) -> HostFacts {
        let files = LiveFileTree()
        func line(_ path: String) -> String {
            let text = (try? files.contents(path)).map { String(decoding: $0, as: UTF8.self) }
            return String((text ?? "").prefix { !$0.isNewline })
        }
        let release = (try? files.contents("/etc/os-release")).map {
            String(decoding: $0, as: UTF8.self)
        }
        let name = (release ?? "").split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }
        let kernel = try? GlibcHostCalls().identity().release
        return HostFacts(
            agentVersion: PetrelAgent.version, machineID: line("/etc/machine-id"),
            bootID: line("/proc/sys/kernel/random/boot_id"), kernel: kernel ?? "",
            operatingSystem: String((name ?? "").dropFirst(12).filter { $0 != "\"" }), role: role,
            instance: max(1, LiveRandom().next()))
    }
}
