import Glibc
package import World

/// Asks the kernel and the network of this machine.
package struct LiveHostProbe: HostProbe {
    /// Processes whose open files are looked through for the holder of a port; further ones are passed over.
    private static let processesMax = 100_000
    /// Groups of one account.
    private static let groupsMax = 1_024

    package init() {}

    package func connect(host: String, port: Int, milliseconds: Int) -> ConnectOutcome {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else { return .unknownName(String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(list) }
        let entries = Array(
            sequence(first: list, next: { $0?.pointee.ai_next }).compactMap { $0?.pointee })
        return .best(ofAddresses: entries.count, milliseconds: milliseconds, clock: LiveClock()) {
            attempt(entries[$0], milliseconds: Int32(clamping: $1))
        }
    }

    private func attempt(_ entry: addrinfo, milliseconds: Int32) -> ConnectOutcome {
        let number = socket(
            entry.ai_family, entry.ai_socktype | O_NONBLOCK | O_CLOEXEC, entry.ai_protocol)
        guard number >= 0 else { return .failed(errno: errno) }
        defer { close(number) }
        if Glibc.connect(number, entry.ai_addr, entry.ai_addrlen) == 0 { return .connected }
        guard errno == EINPROGRESS else {
            return errno == ECONNREFUSED ? .refused : .failed(errno: errno)
        }
        var waited = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
        let end = LiveClock().monotonicNanoseconds + Int64(milliseconds) * 1_000_000
        while true {
            let left = max(0, (end - LiveClock().monotonicNanoseconds) / 1_000_000)
            let ready = poll(&waited, 1, Int32(clamping: left))
            if ready == 0 { return .silent }
            if ready > 0 { break }
            guard errno == EINTR else { return .failed(errno: errno) }
        }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &length)
        switch code {
        case 0: return .connected
        case ECONNREFUSED: return .refused
        case ETIMEDOUT: return .silent
        default: return .failed(errno: code)
        }
    }

    package func listeners(port: Int) -> [Listener] {
        let files = LiveFileTree()
        var found: [(address: String, inode: String)] = []
        for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
            guard let bytes = try? files.contents(path) else { continue }
            for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
                // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
                let words = line.split(separator: " ")
                guard words.count > 9, words[3] == "0A" else { continue }
                let place = words[1].split(separator: ":")
                guard place.count == 2, Int(place[1], radix: 16) == port else { continue }
                found.append((Self.address(place[0]), String(words[9])))
            }
        }
        let holders = found.isEmpty ? [:] : programs(holding: Set(found.map(\.inode)))
        return found.map { Listener(address: $0.address, port: port, program: holders[$0.inode]) }
    }

    /// The text of an address in `/proc/net/tcp`: words of four bytes, each in the machine's order.
    private static func address(_ hexadecimal: Substring) -> String {
        var words: [UInt32] = []
        var rest = hexadecimal
        while !rest.isEmpty {
            words.append(UInt32(rest.prefix(8), radix: 16) ?? 0)
            rest = rest.dropFirst(8)
        }
        var text = [CChar](repeating: 0, count: 64)
        let family = words.count == 1 ? AF_INET : AF_INET6
        guard inet_ntop(family, words, &text, socklen_t(text.count)) != nil else { return "" }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The names of the programs that have these sockets open, by inode; those of other users only root sees.
    private func programs(holding inodes: Set<String>) -> [String: String] {
        let files = LiveFileTree()
        var holders: [String: String] = [:]
        let processes = ((try? files.list("/proc")) ?? []).filter { $0.allSatisfy(\.isNumber) }
        for process in processes.prefix(Self.processesMax) {
            guard let open = try? files.list("/proc/\(process)/fd") else { continue }
            for number in open {
                guard let target = try? files.readLink("/proc/\(process)/fd/\(number)"),
                    target.hasPrefix("socket:[")
                else { continue }
                let inode = String(target.dropFirst(8).dropLast())
                guard inodes.contains(inode), holders[inode] == nil,
                    let name = try? files.contents("/proc/\(process)/comm")
                else { continue }
                holders[inode] = String(decoding: name.prefix { $0 != 10 }, as: UTF8.self)
            }
            if holders.count == inodes.count { break }
        }
        return holders
    }

    package func clockSynchronisation() -> ClockSynchronisation? {
        // Swift's Glibc module leaves sys/timex.h out, so that call and layout are spelt out here.
        typealias Adjust = @convention(c) (UnsafeMutableRawPointer) -> Int32
        guard let symbol = dlsym(nil, "adjtimex") else { return nil }
        let adjust = unsafeBitCast(symbol, to: Adjust.self)
        // `modes` 0 reads alone, for which no capability is needed.
        var state = [Int64](repeating: 0, count: Timex.words)
        return state.withUnsafeMutableBytes { bytes -> ClockSynchronisation? in
            guard let start = bytes.baseAddress, adjust(start) >= 0 else { return nil }
            let status = bytes.load(fromByteOffset: Timex.statusOffset, as: Int32.self)
            return ClockSynchronisation(
                isSynchronised: status & Timex.unsynchronised == 0,
                errorMaxMicroseconds: bytes.load(
                    fromByteOffset: Timex.errorMaxOffset, as: Int64.self))
        }
    }

    /// `struct timex` where `long` has 64 bits. Source: Linux include/uapi/linux/timex.h.
    private enum Timex {
        /// 208 bytes, and room to spare.
        static let words = 32
        static let errorMaxOffset = 24
        static let statusOffset = 40
        /// `STA_UNSYNC`.
        static let unsynchronised: Int32 = 0x0040
    }

    package func groups(of account: UserAccount) -> [UInt32] {
        var count = Int32(Self.groupsMax)
        var groups = [gid_t](repeating: 0, count: Self.groupsMax)
        guard getgrouplist(account.name, account.group, &groups, &count) >= 0 else {
            return [account.group]
        }
        return Array(groups.prefix(Int(count)))
    }
}
