import Glibc
import Model
import World

/// The modes of files, as a seam for tests.
package protocol FileModes: Sendable {
    /// The permission bits (0 to 0o7777); nil where there is no such file or it can't be looked at.
    func mode(of path: String) -> UInt32?
}

/// The modes through glibc; links are followed.
package struct GlibcFileModes: FileModes {
    package init() {}

    package func mode(of path: String) -> UInt32? {
        var facts = stat()
        return stat(path, &facts) == 0 ? facts.st_mode & 0o7777 : nil
    }
}

/// The host as the checks see it.
struct CheckedHost: Sendable {
    /// Bytes of one configuration file.
    static let fileBytesMax = 1 << 20
    /// Files of one folder.
    static let namesMax = 1_024

    let tree: any WorldFileTree
    let paths: NodePaths
    let calls: any HostCalls
    let modes: any FileModes
    /// The agent's own.
    let stateFolder: String
    let now: TimestampNS

    var nowSeconds: Double { Double(now.rawValue) / 1e9 }

    /// A path of the host's root file system.
    func root(_ path: String) -> String { paths.rootfs + path }

    /// The content of a file of the root file system; nil where it can't be read.
    func bytes(_ path: String) -> [UInt8]? {
        try? tree.contents(root(path), bytesMax: Self.fileBytesMax)
    }

    /// Whether something is there; nil where that can't be said.
    func isThere(_ path: String) -> Bool? {
        do throws(FileError) {
            _ = try tree.status(root(path))
            return true
        } catch { return error.errno == 2 || error.errno == 20 ? false : nil }
    }

    /// Seconds since the epoch.
    func modified(_ path: String) -> Double? {
        (try? tree.status(root(path))).map { Double($0.modified.rawValue) / 1e9 }
    }

    /// A parameter below `/proc/sys`, a whole number that may be negative; nil where there is none.
    func sysctl(_ name: String) -> Double? {
        guard let bytes = try? tree.piece(paths.proc("sys/" + name)) else { return nil }
        return ProcText.fields(bytes[...]).first.flatMap(ProcText.signedNumber)
    }

    private static let unitFolders = [
        "/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/",
    ]

    /// Whether a unit's file is there.
    func isInstalled(_ unit: String) -> Bool {
        Self.unitFolders.contains { isThere($0 + unit) == true }
    }

    /// Whether a service of the system slice has processes, by its cgroup; nil where that can't be said, as without
    /// systemd. systemd removes the cgroup of a service that ended.
    func isActive(_ service: String, in groups: ControlGroups?) -> Bool? {
        let slice = "/system.slice/"
        if let root = groups?.unified {
            guard (try? tree.firstLine(root + slice + "cgroup.events")) != nil else {
                return legacyIsActive(service, groups)
            }
            guard let bytes = try? tree.piece(root + slice + service + "/cgroup.events") else {
                return false
            }
            return bytes.split(separator: 10).contains { ProcText.equals($0, "populated 1") }
        }
        return legacyIsActive(service, groups)
    }

    private func legacyIsActive(_ service: String, _ groups: ControlGroups?) -> Bool? {
        guard let root = groups?.legacyRoot("systemd"),
            (try? tree.piece(root + "/system.slice/cgroup.procs")) != nil
        else { return nil }
        let bytes = try? tree.piece(root + "/system.slice/" + service + "/cgroup.procs")
        return !(bytes ?? []).isEmpty
    }
}
