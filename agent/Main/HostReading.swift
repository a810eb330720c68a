import AgentRead
import Glibc
import Model
import World
import WorldLive

/// What this host is and which readers it has.
enum HostReading {
    /// Every node reader of this version, in order of name.
    static func readers(_ paths: NodePaths) -> [any NodeReader] {
        let tree = LiveFileTree()
        let host = GlibcHostCalls()
        return [
            CPUReader(tree: tree, paths: paths), DiskReader(tree: tree, paths: paths),
            FileSystemReader(tree: tree, paths: paths, host: host),
            LoadReader(tree: tree, paths: paths), MemoryReader(tree: tree, paths: paths),
            NetworkReader(tree: tree, paths: paths),
            ProcessReader(
                tree: tree, version: PetrelAgent.version,
                pageBytes: Int(sysconf(Int32(_SC_PAGESIZE)))),
            StatReader(tree: tree, paths: paths),
            TimeReader(tree: tree, paths: paths, host: host), IdentityReader(host: host),
        ]
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
            operatingSystem: String((name ?? "").dropFirst(12).filter { $0 != "\"" }), role: role)
    }
}
