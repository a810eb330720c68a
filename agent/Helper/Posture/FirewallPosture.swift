/// Why the kernel's packet filter could not be asked.
enum NetfilterError: Error, Hashable, Sendable {
    /// The kernel has no nf_tables.
    case absent
    case denied
    case failed(operation: String, errno: Int32)
    case malformed(offset: Int)
    case tooLong

    var reason: String {
        switch self {
        case .absent: "absent"
        case .denied: "denied"
        case .failed(let operation, let errno): "\(operation): errno \(errno)"
        case .malformed: "malformed"
        case .tooLong: "too large"
        }
    }
}

/// Where the kernel's chains come from: netlink, or a recording in tests.
protocol NetfilterSource: Sendable {
    /// The netlink messages of a dump of all nf_tables chains.
    func chainDump() throws(NetfilterError) -> [UInt8]
}

/// The packet filter as the kernel has it now, whoever wrote it: ufw and iptables of today's distributions included.
///
/// What a file says and what the kernel does differ after a failed start. Policies alone are read, no rules: a chain of
/// policy `accept` that ends in a rule that drops reads `accept`. iptables-legacy's tables are only counted, since asking
/// for their policies takes a raw socket.
enum FirewallPosture {
    static let kernel = "nf_tables"
    static let legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]

    static func read(_ host: PostureHost, _ source: any NetfilterSource) -> PostureReading {
        var reading = PostureReading()
        do throws(NetfilterError) {
            let chains = try NetfilterChain.chains(in: try source.chainDump())
            reading.set(.firewallChains, chains.count { $0.hook != nil })
            for (fact, hook, family) in [
                (PostureFact.firewallInput, NetfilterChain.input, NetfilterChain.ipv4),
                (.firewallInputV6, NetfilterChain.input, NetfilterChain.ipv6),
                (.firewallForward, NetfilterChain.forward, NetfilterChain.ipv4),
            ] {
                let word = policy(of: chains, hook: hook, family: family)
                reading.add(fact, word: word, from: kernel)
            }
        } catch .absent {
            reading.note(kernel, NetfilterError.absent.reason)
        } catch { reading.fail(kernel, error.reason) }
        var tables: Int?
        for path in legacy {
            guard let text = host.text(path, &reading) else { continue }
            tables = (tables ?? 0) + text.postureLines.count { !$0.isEmpty }
        }
        if let tables { reading.set(.firewallLegacyTables, tables) }
        return reading
    }

    /// `drop` where any base chain of the hook drops what no rule accepts, `none` where there is no such chain.
    static func policy(of chains: [NetfilterChain], hook: UInt32, family: UInt8) -> String {
        let base = chains.filter {
            $0.hook == hook && $0.type == "filter"
                && ($0.family == family || $0.family == NetfilterChain.inet)
        }
        if base.isEmpty { return "none" }
        return base.contains { $0.policy == NetfilterChain.drop } ? "drop" : "accept"
    }
}

/// One chain of nf_tables. Source: Linux 6.1 `include/uapi/linux/netfilter/nf_tables.h`.
struct NetfilterChain: Hashable, Sendable {
    static let inet: UInt8 = 1
    static let ipv4: UInt8 = 2
    static let ipv6: UInt8 = 10
    /// Hooks NF_INET_LOCAL_IN and NF_INET_FORWARD.
    static let input: UInt32 = 1
    static let forward: UInt32 = 2
    /// NF_DROP.
    static let drop: UInt32 = 0

    var family: UInt8
    var table = ""
    var name = ""
    /// Nil in a chain that only other chains jump to.
    var hook: UInt32?
    var type = ""
    var policy: UInt32?

    /// Message types and attribute numbers.
    private enum Number {
        static let error: UInt16 = 2
        static let done: UInt16 = 3
        static let newChain: UInt16 = 10 << 8 | 3
        static let headerBytes = 16
        static let familyBytes = 4
        static let attributeBytes = 4
        /// Less the bits for `nested` and `network byte order`.
        static let attributeMask: UInt16 = 0x3fff
    }

    /// The chains of a dump. Throws the error that the kernel put into it.
    static func chains(in dump: [UInt8]) throws(NetfilterError) -> [NetfilterChain] {
        var chains: [NetfilterChain] = []
        var offset = 0
        while offset < dump.count {
            guard dump.count - offset >= Number.headerBytes else {
                throw .malformed(offset: offset)
            }
            let length = Int(native32(dump, offset))
            guard length >= Number.headerBytes, length <= dump.count - offset else {
                throw .malformed(offset: offset)
            }
            let body = dump[(offset + Number.headerBytes)..<(offset + length)]
            switch native16(dump, offset + 4) {
            case Number.done: return chains
            case Number.error:
                guard body.count >= 4 else { throw .malformed(offset: offset) }
                try check(Int32(bitPattern: native32(dump, offset + Number.headerBytes)))
            case Number.newChain: chains.append(try chain(body))
            default: break
            }
            offset += (length + 3) & ~3
        }
        throw .malformed(offset: offset)
    }

    /// The negative errno of an error message; 0 is an acknowledgement. EINVAL is a kernel without nf_tables.
    private static func check(_ code: Int32) throws(NetfilterError) {
        switch -code {
        case 0: return
        case 1, 13: throw .denied
        case 22, 93, 95: throw .absent
        case let errno: throw .failed(operation: "netlink", errno: errno)
        }
    }

    private static func chain(_ body: ArraySlice<UInt8>) throws(NetfilterError) -> NetfilterChain {
        guard body.count >= Number.familyBytes else { throw .malformed(offset: body.startIndex) }
        var chain = NetfilterChain(family: body[body.startIndex])
        for (number, value) in try attributes(body.dropFirst(Number.familyBytes)) {
            switch number {
            case 1: chain.table = text(value)
            case 3: chain.name = text(value)
            case 4:
                for (number, value) in try attributes(value) where number == 1 {
                    chain.hook = big32(value)
                }
            case 5: chain.policy = big32(value)
            case 7: chain.type = text(value)
            default: break
            }
        }
        return chain
    }

    private static func attributes(
        _ bytes: ArraySlice<UInt8>
    ) throws(NetfilterError) -> [(UInt16, ArraySlice<UInt8>)] {
        var found: [(UInt16, ArraySlice<UInt8>)] = []
        var rest = bytes
        while rest.count >= Number.attributeBytes {
            let start = rest.startIndex
            let length = Int(rest[start]) | Int(rest[start + 1]) << 8
            let number = UInt16(rest[start + 2]) | UInt16(rest[start + 3]) << 8
            guard length >= Number.attributeBytes, length <= rest.count else {
                throw .malformed(offset: start)
            }
            found.append((number & Number.attributeMask, rest[(start + 4)..<(start + length)]))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }

    private static func text(_ value: ArraySlice<UInt8>) -> String {
        String(decoding: value.prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func big32(_ value: ArraySlice<UInt8>) -> UInt32? {
        guard value.count == 4 else { return nil }
        return value.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Netlink's own numbers are in the machine's order, little-endian on every machine that Petrel is built for.
    private static func native32(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        UInt32(native16(bytes, offset)) | UInt32(native16(bytes, offset + 2)) << 16
    }

    private static func native16(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
    }
}
