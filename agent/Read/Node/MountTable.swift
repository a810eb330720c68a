/// One mount as `mountinfo` lists it.
package struct Mount: Hashable, Sendable {
    package var device: String
    /// As the host names it, without the prefix of `--path.rootfs`.
    package var mountPoint: String
    package var type: String
    package var major: String
    package var minor: String
    /// Set in the mount's or the file system's own options.
    package var isReadOnly: Bool
}

/// The format of `/proc/PID/mountinfo`. Source: proc_pid_mountinfo(5).
package enum MountTable {
    /// The mounts of `bytes` in order. A line that breaks the format throws `malformed` with its number.
    ///
    ///     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    ///     id parent major:minor root mount-point options [tags…] - type source super-options
    package static func parse(
        _ bytes: [UInt8], path: String, rootfs: String
    ) throws(ReadError) -> [Mount] {
        var mounts: [Mount] = []
        var number = 0
        var malformed: Int?
        ProcText.forEachLine(bytes) { line in
            number += 1
            let fields = ProcText.fields(line)
            guard let dash = fields.dropFirst(6).firstIndex(where: { ProcText.equals($0, "-") }),
                fields.count > dash + 3
            else {
                malformed = malformed ?? number
                return
            }
            let device = fields[2].split(separator: UInt8(ascii: ":"))
            guard device.count == 2 else {
                malformed = malformed ?? number
                return
            }
            let options = [fields[5], fields[dash + 3]].flatMap {
                $0.split(separator: UInt8(ascii: ","))
            }
            mounts.append(
                Mount(
                    device: unescaped(fields[dash + 2]),
                    mountPoint: stripped(unescaped(fields[4]), rootfs),
                    type: ProcText.string(fields[dash + 1]), major: ProcText.string(device[0]),
                    minor: ProcText.string(device[1]),
                    isReadOnly: options.contains { ProcText.equals($0, "ro") }))
        }
        if let malformed {
            throw .malformed(path: path, detail: "line \(malformed) is no mountinfo line")
        }
        return mounts
    }

    /// Text whose space, tab, newline and backslash the kernel wrote as `\040`, `\011`, `\012`, `\134`.
    static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        guard text.contains(UInt8(ascii: "\\")) else { return ProcText.string(text) }
        var out: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            let digits = text[(index + 1)...].prefix(3)
            if text[index] == UInt8(ascii: "\\"), digits.count == 3,
                digits.allSatisfy({ (48...55).contains($0) }), digits.first ?? 52 < 52
            {
                out.append(digits.reduce(0) { $0 << 3 | ($1 - 48) })
                index += 4
            } else {
                out.append(text[index])
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func stripped(_ mountPoint: String, _ rootfs: String) -> String {
        guard !rootfs.isEmpty else { return mountPoint }
        if mountPoint == rootfs { return "/" }
        guard mountPoint.hasPrefix(rootfs + "/") else { return mountPoint }
        return String(mountPoint.dropFirst(rootfs.count))
    }

    /// node_exporter's default, `^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`.
    package static func isMountPointExcludedByDefault(_ mountPoint: String) -> Bool {
        for root in ["/dev", "/proc", "/sys"]
        where mountPoint == root || mountPoint.hasPrefix(root + "/") {
            return true
        }
        for parent in ["/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/"]
        where mountPoint.hasPrefix(parent) && mountPoint != parent {
            return true
        }
        return false
    }

    /// node_exporter's default list of file systems that hold nobody's data.
    package static func isTypeExcludedByDefault(_ type: String) -> Bool {
        excludedTypes.contains(type)
    }

    private static let excludedTypes: Set<String> = [
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
        "devtmpfs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "overlay", "proc",
        "procfs", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "erofs", "sysfs",
        "tracefs",
    ]
}
