package import World

/// TCP ports of this host on which a program waits for connections.
package enum ListeningPorts {
    /// What is read of each file at most. The kernel lists listening sockets before all others, so a host with many
    /// connections costs no more than its listeners. Source: Linux `net/ipv4/tcp_ipv4.c` `tcp_get_idx`.
    private static let bytesMax: Int64 = 1 << 20
    private static let chunkBytes = 16 * 1024

    /// Ports on which a program listens at a loopback or at every address, IPv4 or IPv6: those that the agent reaches
    /// by 127.0.0.1 or ::1. Where `host` can't tell, they are read from `/proc/net/tcp`, for which the kernel walks all
    /// its sockets; empty where that can't be read either.
    package static func read(
        tree: any WorldFileTree, paths: NodePaths, host: any HostCalls
    ) -> Set<UInt16> {
        if let ports = try? host.listeningPorts() { return ports }
        var ports: Set<UInt16> = []
        for name in ["net/tcp", "net/tcp6"] { add(paths.proc(name), tree, &ports) }
        return ports
    }

    private static func add(
        _ path: String, _ tree: any WorldFileTree, _ ports: inout Set<UInt16>
    ) {
        guard let file = try? tree.open(path, .read) else { return }
        defer { file.close() }
        var text: [UInt8] = []
        var offset: Int64 = 0
        while offset < bytesMax {
            guard let chunk = try? file.read(at: offset, count: chunkBytes), !chunk.isEmpty else {
                break
            }
            offset += Int64(chunk.count)
            text += chunk
            let whole = text.lastIndex(of: 10).map { $0 + 1 } ?? 0
            guard whole == 0 || addLines(text[..<whole], &ports) else { return }
            text.removeSubrange(..<whole)
        }
        _ = addLines(text[...], &ports)
    }

    /// Whether a socket that listens was among the lines, or none at all.
    private static func addLines(_ text: ArraySlice<UInt8>, _ ports: inout Set<UInt16>) -> Bool {
        var (sockets, listeners) = (0, 0)
        for line in text.split(separator: 10) {
            let fields = ProcText.fields(line)
            // The head has words in place of numbers.
            guard fields.count > 3, ProcText.hexadecimal(fields[3]) != nil else { continue }
            sockets += 1
            guard ProcText.equals(fields[3], "0A") else { continue }
            listeners += 1
            let place = fields[1].split(separator: UInt8(ascii: ":"))
            guard place.count == 2, isReachable(place[0]),
                let port = ProcText.hexadecimal(place[1]).flatMap({ UInt16(exactly: $0) })
            else { continue }
            ports.insert(port)
        }
        return listeners > 0 || sockets == 0
    }

    /// Whether an address as the kernel prints it, words of the host's byte order, is a loopback or every address.
    private static func isReachable(_ address: ArraySlice<UInt8>) -> Bool {
        if ProcText.hasPrefix(address, "0000000000000000FFFF0000") {
            return isReachable(address.dropFirst(24))
        }
        switch address.count {
        case 8:
            return address.allSatisfy { $0 == UInt8(ascii: "0") }
                || ProcText.equals(address.suffix(2), "7F")
        case 32:
            return address.allSatisfy { $0 == UInt8(ascii: "0") }
                || ProcText.equals(address, "00000000000000000000000001000000")
        default: return false
        }
    }
}
