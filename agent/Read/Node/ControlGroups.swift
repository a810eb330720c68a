import Model
import World

/// One cgroup whose resources are read.
struct ControlGroup: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// A systemd unit, by its name.
        case unit(String)
        /// A Docker container, by its id of 64 hex digits.
        case container(String)
    }

    /// The path below the hierarchy's root, with a slash in front: cAdvisor's label `id`.
    let id: String
    let kind: Kind

    var isContainer: Bool {
        switch kind {
        case .unit: false
        case .container: true
        }
    }
}

/// The cgroup hierarchies of a host.
///
/// Version 2 has one tree for all controllers. Version 1 has one tree a controller, below a folder of the controllers'
/// names (`cpu,cpuacct`), and systemd's own below `systemd`. The hybrid has version 1's trees and version 2's below
/// `unified`, which then has few controllers or none, but systemd's units, their CPU time and pressure.
/// Source: Linux `admin-guide/cgroup-v2.rst` and `admin-guide/cgroup-v1`; systemd `cgroup-util.c`.
struct ControlGroups: Sendable {
    /// A controller by version 2's name.
    enum Controller: String, Sendable { case cpu, memory, io, pids }

    /// The root of version 2's tree.
    let unified: String?
    /// What version 2's tree controls in a hybrid; a pure version 2 asks it for everything.
    private let unifiedControllers: Set<String>
    /// Version 1's roots by controller, `systemd` among them.
    private let legacy: [String: String]

    /// What is mounted below `fs/cgroup`; nil where there is no hierarchy.
    static func detect(
        tree: any WorldFileTree, paths: NodePaths
    ) throws(ReadError) -> ControlGroups? {
        let folder = paths.sys("fs/cgroup")
        if try tree.firstLine(folder + "/cgroup.controllers") != nil {
            return ControlGroups(unified: folder, unifiedControllers: [], legacy: [:])
        }
        var legacy: [String: String] = [:]
        var unified: String?
        var unifiedControllers: Set<String> = []
        for entry in try tree.entriesIfReadable(folder).sorted(by: bytesPrecede) {
            let path = folder + "/" + entry
            if entry == "unified" {
                guard let line = try tree.firstLine(path + "/cgroup.controllers") else { continue }
                unified = path
                unifiedControllers = Set(line.split(separator: " ").map(String.init))
                continue
            }
            for part in entry.split(separator: ",") {
                let controller = String(part)
                if legacyControllers.contains(controller), legacy[controller] == nil {
                    legacy[controller] = path
                }
            }
        }
        guard unified != nil || !legacy.isEmpty else { return nil }
        return ControlGroups(
            unified: unified, unifiedControllers: unifiedControllers, legacy: legacy)
    }

    private static let legacyControllers: Set<String> = [
        "cpu", "cpuacct", "memory", "pids", "blkio", "systemd",
    ]

    /// Version 2's root where it has this controller.
    func root(_ controller: Controller) -> String? {
        legacy.isEmpty || unifiedControllers.contains(controller.rawValue) ? unified : nil
    }

    /// Version 1's root of a controller by version 1's name.
    func legacyRoot(_ name: String) -> String? { legacy[name] }

    /// Roots that list between them every cgroup: a unit without accounting is in systemd's alone, a container without
    /// systemd in the controllers' alone.
    var listedRoots: [String] {
        var roots: [String] = []
        for root in [unified, legacy["systemd"], legacy["memory"], legacy["cpuacct"]] {
            if let root, !roots.contains(root) { roots.append(root) }
        }
        return roots
    }

    /// At most `countMax` cgroups in order of `id`, and how many were left out; containers go before units, so that a
    /// flood of units can't hide them.
    ///
    /// Read are: services and scopes of every top slice and of the slices one level below it, `user.slice` as a whole,
    /// `init.scope`, and Docker's containers under both of its cgroup drivers.
    func groups(
        tree: any WorldFileTree, countMax: Int
    ) throws(ReadError) -> (groups: [ControlGroup], leftOut: Int) {
        var found: [String: ControlGroup] = [:]
        for root in listedRoots {
            for entry in try tree.entriesIfReadable(root) {
                switch entry {
                case "user.slice", "init.scope":
                    found["/" + entry] = ControlGroup(id: "/" + entry, kind: .unit(entry))
                case "docker":
                    for name in try tree.entriesIfReadable(root + "/docker") {
                        guard Self.isContainerID(name) else { continue }
                        let id = "/docker/" + name
                        found[id] = ControlGroup(id: id, kind: .container(name))
                    }
                default:
                    guard entry.hasSuffix(".slice") else { continue }
                    try walk(slice: "/" + entry, root: root, tree: tree, depthLeft: 1, into: &found)
                }
            }
        }
        var groups = Array(found.values)
        let leftOut = max(0, groups.count - countMax)
        if leftOut > 0 {
            groups.sort {
                $0.isContainer == $1.isContainer
                    ? bytesPrecede($0.id, $1.id) : $0.isContainer
            }
            groups.removeLast(leftOut)
        }
        groups.sort { bytesPrecede($0.id, $1.id) }
        return (groups, leftOut)
    }

    private func walk(
        slice: String, root: String, tree: any WorldFileTree, depthLeft: Int,
        into found: inout [String: ControlGroup]
    ) throws(ReadError) {
        for entry in try tree.entriesIfReadable(root + slice) {
            if entry.hasSuffix(".slice"), depthLeft > 0 {
                try walk(
                    slice: slice + "/" + entry, root: root, tree: tree, depthLeft: depthLeft - 1,
                    into: &found)
            } else if entry.hasSuffix(".service") || entry.hasSuffix(".scope") {
                let id = slice + "/" + entry
                found[id] = ControlGroup(id: id, kind: Self.kind(of: entry))
            }
        }
    }

    /// `docker-<id>.scope` is a container; systemd puts `_` before a unit's name that could be a file's of the kernel.
    static func kind(of name: String) -> ControlGroup.Kind {
        if name.hasPrefix("docker-"), name.hasSuffix(".scope") {
            let id = String(name.dropFirst("docker-".count).dropLast(".scope".count))
            if isContainerID(id) { return .container(id) }
        }
        return .unit(name.hasPrefix("_") ? String(name.dropFirst()) : name)
    }

    private static func isContainerID(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
}
