import Exposition
import Model
import World

/// A kernel parameter and the values that pass.
///
/// Values are sets: a stricter setting than the usual one passes too. Source of the meanings: Linux
/// `admin-guide/sysctl/{kernel,net,fs}.rst`, `networking/ip-sysctl.rst`.
struct PostureSysctl: Sendable {
    /// How the value for all interfaces and that of one make the one that counts.
    /// Source: Linux 6.1 `include/linux/inetdevice.h`.
    enum Combination: Hashable, Sendable {
        /// `max`: rp_filter.
        case largest
        /// Either is enough: send_redirects, log_martians.
        case either
        /// It takes both: accept_source_route.
        case both
        /// `both` where the interface forwards, `either` where it does not: accept_redirects.
        case bothIfForwarding
    }

    /// Below `/proc/sys`, or below `net/ipv4/conf/<interface>` where there is a combination.
    var path: String
    var combination: Combination?
    var expected: String
    var accepts: @Sendable (Double) -> Bool

    private init(
        _ path: String, _ accepted: Set<Double>, _ combination: Combination? = nil
    ) {
        self.path = path
        self.combination = combination
        expected = accepted.sorted().map { String(Int($0)) }.joined(separator: " or ")
        accepts = { accepted.contains($0) }
    }

    /// sysrq: 1 allows everything, bit 8 dumps of processes and registers, bit 64 signals to processes.
    private static let sysrq: PostureSysctl = {
        var sysctl = PostureSysctl("kernel/sysrq", [0])
        sysctl.expected = "0, or a mask without 1, 8 and 64"
        sysctl.accepts = { value in
            guard let mask = Int(exactly: value), mask >= 0 else { return false }
            return mask & (1 | 8 | 64) == 0
        }
        return sysctl
    }()

    static let all: [PostureCheck: PostureSysctl] = [
        .acceptRedirects: PostureSysctl("accept_redirects", [0], .bothIfForwarding),
        .acceptSourceRoute: PostureSysctl("accept_source_route", [0], .both),
        .dmesgRestrict: PostureSysctl("kernel/dmesg_restrict", [1]),
        .kptrRestrict: PostureSysctl("kernel/kptr_restrict", [1, 2]),
        .logMartians: PostureSysctl("log_martians", [1], .either),
        // 3 and 4 are Debian's and Ubuntu's own.
        .perfEventParanoid: PostureSysctl("kernel/perf_event_paranoid", [2, 3, 4]),
        .protectedFIFOs: PostureSysctl("fs/protected_fifos", [1, 2]),
        .protectedHardlinks: PostureSysctl("fs/protected_hardlinks", [1]),
        .protectedRegular: PostureSysctl("fs/protected_regular", [1, 2]),
        .protectedSymlinks: PostureSysctl("fs/protected_symlinks", [1]),
        .ptraceScope: PostureSysctl("kernel/yama/ptrace_scope", [1, 2, 3]),
        .randomizeVASpace: PostureSysctl("kernel/randomize_va_space", [2]),
        .rpFilter: PostureSysctl("rp_filter", [1, 2], .largest),
        .sendRedirects: PostureSysctl("send_redirects", [0], .either),
        // 2 (systemd-coredump sets it) writes dumps of setuid programs where only root reads them.
        .suidDumpable: PostureSysctl("fs/suid_dumpable", [0, 2]),
        .sysrq: sysrq,
        .tcpSyncookies: PostureSysctl("net/ipv4/tcp_syncookies", [1, 2]),
        .unprivilegedBPF: PostureSysctl("kernel/unprivileged_bpf_disabled", [1, 2]),
    ]

    // MARK: - Looking

    /// Interfaces that are looked at; with more of them the check is unknown.
    static let interfacesMax = 1_024
    private static let interfaces = "net/ipv4/conf"

    static func look(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let names = interfaceNames(host)
        for (check, sysctl) in all {
            if let combination = sysctl.combination {
                sysctl.judge(check, combination, names, host, &findings)
            } else if let value = host.sysctl(sysctl.path) {
                findings.set(check, sysctl.accepts(value), GoFloat.text(value))
            } else {
                findings.unknown(check, "not there")
            }
        }
    }

    /// Without `all`, `default` and the loopback; nil where they can't be listed or are too many.
    private static func interfaceNames(_ host: CheckedHost) -> [String]? {
        guard let names = try? host.tree.list(host.paths.proc("sys/" + interfaces)),
            names.count <= interfacesMax
        else { return nil }
        return names.filter { !["all", "default", "lo"].contains($0) }.sorted(by: bytesPrecede)
    }

    private func judge(
        _ check: PostureCheck, _ combination: Combination, _ names: [String]?,
        _ host: CheckedHost, _ findings: inout PostureFindings
    ) {
        guard let names, let all = host.sysctl(Self.interfaces + "/all/" + path) else {
            findings.unknown(check, names == nil ? "interfaces can't be listed" : "not there")
            return
        }
        // Without an interface the value that the first one meets is the common one.
        var values: Set<Double> = names.isEmpty ? [all] : []
        for name in names {
            let folder = Self.interfaces + "/" + name + "/"
            // An interface that went meanwhile has none.
            guard let own = host.sysctl(folder + path) else { continue }
            values.insert(
                Self.effective(combination, all, own) {
                    host.sysctl(folder + "forwarding") == 1
                })
        }
        guard !values.isEmpty else {
            findings.unknown(check, "not there")
            return
        }
        findings.set(
            check, values.allSatisfy(accepts),
            values.sorted().map(GoFloat.text).joined(separator: ", "))
    }

    private static func effective(
        _ combination: Combination, _ all: Double, _ own: Double, _ forwards: () -> Bool
    ) -> Double {
        switch combination {
        case .largest, .either: max(all, own)
        case .both: min(all, own)
        case .bothIfForwarding: forwards() ? min(all, own) : max(all, own)
        }
    }
}
