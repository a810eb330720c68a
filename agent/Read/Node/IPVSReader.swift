package import Model
package import World

/// The kernel's load balancer: its totals, and connections and weight of each real server.
/// Source: node_exporter 1.12 `ipvs_linux.go`; procfs `ipvs.go`.
package struct IPVSReader: NodeReader {
    package let name = "ipvs"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families where the kernel has no IPVS. Tables past 16 MiB throw `file` with EFBIG.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/ip_vs_stats")
        guard let stats = try tree.bytesIfPresent(path) else { return [] }
        return try totals(stats, path: path) + backends()
    }

    /// The third line: five numbers to the base 16.
    private func totals(_ bytes: [UInt8], path: String) throws(ReadError) -> [MetricFamily] {
        let lines = bytes.split(separator: 10)
        let fields = lines.count > 2 ? ProcText.fields(lines[2]) : []
        let numbers = fields.compactMap(ProcText.hexadecimal)
        guard numbers.count == 5, fields.count == 5 else {
            throw .malformed(path: path, detail: "no five numbers in the third line")
        }
        let names = [
            ("connections_total", "The total number of connections made."),
            ("incoming_packets_total", "The total number of incoming packets."),
            ("outgoing_packets_total", "The total number of outgoing packets."),
            ("incoming_bytes_total", "The total amount of incoming data."),
            ("outgoing_bytes_total", "The total amount of outgoing data."),
        ]
        return zip(names, numbers).map { name, number in
            .counter("node_ipvs_" + name.0, help: name.1, Double(number))
        }
    }

    /// Active connections, inactive ones and weight.
    private struct Counts {
        var active: UInt64 = 0
        var inactive: UInt64 = 0
        var weight: UInt64 = 0
    }

    private func backends() throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/ip_vs")
        let bytes = try tree.bytes(path)
        var service: [String: String] = [:]
        var counts: [Labels: Counts] = [:]
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard fields.count >= 2, !ProcText.equals(fields[1], "RemoteAddress:Port") else {
                continue
            }
            switch ProcText.string(fields[0]) {
            case "TCP", "UDP", "SCTP":
                let (address, port) = try Self.endpoint(fields[1], path: path)
                service = [
                    "proto": ProcText.string(fields[0]), "local_address": address,
                    "local_port": "\(port)",
                ]
            case "FWM":
                service = [
                    "proto": "FWM", "local_mark": ProcText.string(fields[1]), "local_port": "0",
                ]
            case "->":
                let numbers = fields.dropFirst(3).prefix(3).compactMap(ProcText.unsigned)
                guard numbers.count == 3 else {
                    throw .malformed(path: path, detail: "no server: \(ProcText.string(line))")
                }
                let (address, port) = try Self.endpoint(fields[1], path: path)
                service["remote_address"] = address
                service["remote_port"] = "\(port)"
                let labels = Labels(service)
                counts[labels, default: Counts()].active &+= numbers[1]
                counts[labels, default: Counts()].inactive &+= numbers[2]
                counts[labels, default: Counts()].weight &+= numbers[0]
            default: break
            }
        }
        return Self.families(counts)
    }

    private static func families(_ counts: [Labels: Counts]) -> [MetricFamily] {
        guard !counts.isEmpty else { return [] }
        var active = MetricFamily(
            "node_ipvs_backend_connections_active", .gauge,
            help: "The current active connections by local and remote address.")
        var inactive = MetricFamily(
            "node_ipvs_backend_connections_inactive", .gauge,
            help: "The current inactive connections by local and remote address.")
        var weight = MetricFamily(
            "node_ipvs_backend_weight", .gauge,
            help: "The current backend weight by local and remote address.")
        for (labels, count) in counts.sorted(by: { $0.key < $1.key }) {
            active.points.append(.init(labels, Double(count.active)))
            inactive.points.append(.init(labels, Double(count.inactive)))
            weight.points.append(.init(labels, Double(count.weight)))
        }
        return [active, inactive, weight]
    }

    /// `C0A80016:0CEA` → `192.168.0.22` and 3306; `[2620:0000:…:0001]:0050` → its shortest form and 80.
    private static func endpoint(
        _ field: ArraySlice<UInt8>, path: String
    ) throws(ReadError) -> (address: String, port: UInt64) {
        guard let colon = field.lastIndex(of: UInt8(ascii: ":")),
            let port = ProcText.hexadecimal(field[(colon + 1)...]), port <= 65_535,
            let address = address(field[..<colon])
        else {
            throw .malformed(path: path, detail: "no address: \(ProcText.string(field))")
        }
        return (address, port)
    }

    private static func address(_ text: ArraySlice<UInt8>) -> String? {
        if text.count == 8, let value = ProcText.hexadecimal(text) {
            return [24, 16, 8, 0].map { "\((value >> UInt64($0)) & 255)" }.joined(separator: ".")
        }
        guard text.first == UInt8(ascii: "["), text.last == UInt8(ascii: "]") else { return nil }
        let groups = text.dropFirst().dropLast().split(
            separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        let numbers = groups.compactMap { $0.count <= 4 ? ProcText.hexadecimal($0) : nil }
        guard groups.count == 8, numbers.count == 8 else { return nil }
        return shortest(numbers)
    }

    /// The form of RFC 5952: the first longest run of two or more zeros is `::`. Go writes an IPv4 address that is
    /// mapped (`::ffff:0:0/96`) as IPv4.
    private static func shortest(_ groups: [UInt64]) -> String {
        let texts = groups.map { String($0, radix: 16) }
        if groups.prefix(5).allSatisfy({ $0 == 0 }), groups.count == 8, groups[5] == 0xffff {
            let (high, low) = (groups[6], groups[7])
            return "\(high >> 8).\(high & 255).\(low >> 8).\(low & 255)"
        }
        var longest = 0..<0
        var start = 0
        for index in groups.indices {
            if groups[index] != 0 {
                start = index + 1
            } else if index + 1 - start > max(longest.count, 1) {
                longest = start..<(index + 1)
            }
        }
        guard !longest.isEmpty else { return texts.joined(separator: ":") }
        return texts[..<longest.lowerBound].joined(separator: ":") + "::"
            + texts[longest.upperBound...].joined(separator: ":")
    }
}
