package import Model
import Synchronization
package import World

/// fail2ban's jails under the names of fail2ban-prometheus-exporter, from the log, which the group `adm` may read: the
/// server's socket is for root alone.
///
/// Of what the exporter has this lacks `f2b_jail_failed_current`, `f2b_jail_count` and the jails' settings. What
/// happened before the log's last two files is not known: where the server has run for longer than they reach back,
/// the totals begin with them.
/// Source: fail2ban-prometheus-exporter 0.10 `collector/f2b/socket.go`.
package struct Fail2banReader: NodeReader {
    /// Where fail2ban logs and says its process, unless its configuration says otherwise.
    package static let standardLog = "/var/log/fail2ban.log"
    package static let standardProcessFile = "/run/fail2ban/fail2ban.pid"

    package let name = "fail2ban"
    package let job = "fail2ban"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let log: String
    private let processFile: String
    private let memory = Fail2banMemory()

    package init(
        tree: any WorldFileTree, paths: NodePaths, log: String = Fail2banReader.standardLog,
        processFile: String = Fail2banReader.standardProcessFile
    ) {
        self.tree = tree
        self.paths = paths
        self.log = log
        self.processFile = processFile
    }

    /// What kept the last reading from being whole, with what to do.
    package var problems: [String] { memory.problem.withLock { $0.map { [$0] } ?? [] } }

    /// A host on which fail2ban has not run since the agent started gives nothing, whatever log it has left. The
    /// jails come when the log was read to its end, which takes a second reading where it has more than 4 MiB. Throws
    /// nothing.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        // Taken out, so that nothing is copied; no reading runs twice.
        var state = memory.log.withLock { log in
            defer { log = Fail2banLog() }
            return log
        }
        var problem: String?
        var hasLog = true
        do throws(FileError) {
            try state.catchUp(tree, log)
            if state.isCut { problem = "more jails or bans than are kept" }
        } catch {
            hasLog = !error.isAbsence
            problem = hasLog ? error.textWithRemedy : "no \(log); see: `logtarget` in fail2ban.conf"
        }
        let isUp = isUp(state)
        let isSeen = memory.isSeen.withLock { isSeen in
            isSeen = isSeen || isUp == true
            return isSeen
        }
        var families: [MetricFamily] = []
        if isSeen || (hasLog && isUp == nil) {
            families = [up(isUp)].compactMap(\.self)
            families += self.families(of: state)
        } else {
            problem = nil
        }
        memory.log.withLock { $0 = state }
        memory.problem.withLock { $0 = problem.map { "fail2ban: \($0)" } }
        return families
    }

    /// Whether the process that logs is there, or the one of its file, which on Debian only root may read; nil where
    /// neither is known.
    private func isUp(_ log: Fail2banLog) -> Bool? {
        guard !log.hasExited else { return false }
        guard let process = log.process ?? (try? tree.number(processFile)) else { return nil }
        return (try? tree.firstLine(paths.proc("\(process)/comm")))?.hasPrefix("fail2ban") == true
    }

    private func up(_ isUp: Bool?) -> MetricFamily? {
        isUp.map {
            .gauge("f2b_up", help: "Check if the fail2ban server is up", $0 ? 1 : 0)
        }
    }

    private func families(of log: Fail2banLog) -> [MetricFamily] {
        guard log.isCaughtUp, !log.jails.isEmpty else { return [] }
        var banned = MetricFamily(
            "f2b_jail_banned_current", .gauge,
            help: "Number of IPs currently banned in this jail")
        var bans = MetricFamily(
            "f2b_jail_banned_total", .gauge,
            help: "Total number of IPs banned by this jail (includes expired bans)")
        var failures = MetricFamily(
            "f2b_jail_failed_total", .gauge,
            help: "Number of total failures on this jail's filter")
        for (name, jail) in log.jails.sorted(by: { bytesPrecede($0.key, $1.key) }) {
            let labels = Labels.one("jail", name)
            banned.points.append(.init(labels, Double(jail.banned.count)))
            bans.points.append(.init(labels, Double(jail.bannedTotal)))
            failures.points.append(.init(labels, Double(jail.failedTotal)))
        }
        return [banned, bans, failures]
    }
}

private final class Fail2banMemory: Sendable {
    let log = Mutex(Fail2banLog())
    /// Whether the server has run since the agent started.
    let isSeen = Mutex(false)
    let problem = Mutex<String?>(nil)
}
