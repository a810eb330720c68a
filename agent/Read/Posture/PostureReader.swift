package import Model
import Synchronization
package import World

/// Whether this host is set up as it should be: some fifty checks of files, the kernel's settings and services, and of
/// what the root helper found. No child process; nothing is changed.
///
/// The host is looked at every hour, and within a minute after one of a few files changed (their size, time and
/// identity are asked for at each reading); in between the last look stands.
///
/// Under petrel-agent.service: /tmp, /var/tmp and /dev are the unit's own (PrivateTmp, PrivateDevices), so mounts are
/// those of process 1; /lib/modules is hidden (ProtectKernelModules), so the newest kernel is that of /boot; /proc/sys
/// and /sys can be read (ProtectKernelTunables), /etc, /var/lib and /run too (ProtectSystem=strict). What only root may
/// read (shadow, the kernel's packet filter, audit's rules, sshd's files of mode 0600) is the helper's:
/// `PostureRootFacts`.
/// Source: docs/posture.md; names of apt's metrics: node-exporter-textfile-collector-scripts `apt_info.py`.
package struct PostureReader: NodeReader {
    /// Between two looks at a host on which nothing changed, and at apt's lists in any case.
    package static let ageMaxNanoseconds: Int64 = 3_600_000_000_000
    /// Between two looks, whatever changes.
    package static let ageMinNanoseconds: Int64 = 60_000_000_000

    package let name = "posture"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let calls: any HostCalls
    private let modes: any FileModes
    private let options: PostureOptions
    private let stateFolder: String
    private let memory = PostureMemory()

    /// `stateFolder` is the agent's own, whose modes are checked.
    package init(
        tree: any WorldFileTree, paths: NodePaths, host: any HostCalls = GlibcHostCalls(),
        modes: any FileModes = GlibcFileModes(), options: PostureOptions = PostureOptions(),
        stateFolder: String
    ) {
        self.tree = tree
        self.paths = paths
        calls = host
        self.modes = modes
        self.options = options
        self.stateFolder = stateFolder
    }

    /// Throws nothing: what can't be read is an unknown check.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let host = CheckedHost(
            tree: tree, paths: paths, calls: calls, modes: modes, stateFolder: stateFolder,
            now: now)
        let stamps = Self.watched.map { try? tree.status(host.root($0)) }
        if let families = memory.families(now, stamps) { return families }
        var findings = PostureFindings()
        let facts = PostureRootFacts(
            tree: tree, path: host.root(PostureRootFacts.path), nowSeconds: host.nowSeconds)
        PostureKernelChecks.look(host, &findings)
        PostureServiceChecks.look(host, &findings)
        PostureAccountChecks.look(host, &findings)
        PostureHelperChecks.look(host, facts, &findings)
        updates(host, &findings)
        let families = families(findings, host)
        memory.keep(families, now, stamps)
        return families
    }

    /// What is asked for at each reading: a change of one of them is worth a look.
    private static let watched = [
        PostureRootFacts.path, "/etc/passwd", "/etc/group", "/etc/apt/apt.conf.d",
        "/etc/apt/apt.conf.d/20auto-upgrades", SecurityUpdates.status, SecurityUpdates.folder,
        "/run/reboot-required", aptFile,
    ]

    /// Debian's timer for apt_info.py writes here; then the names of apt's metrics are its.
    private static let aptFile = "/var/lib/prometheus/node-exporter/apt.prom"

    // MARK: - Updates

    private func updates(_ host: CheckedHost, _ findings: inout PostureFindings) {
        guard host.isThere(SecurityUpdates.status) == true else { return }
        do throws(SecurityUpdates.Unknown) {
            let lists = try SecurityUpdates.lists(host)
            guard let updated = SecurityUpdates.updatedAt(lists, host),
                host.nowSeconds - updated <= SecurityUpdates.ageMaxSeconds
            else {
                throw SecurityUpdates.Unknown(reason: "apt has not updated its lists for a week")
            }
            let stamps = ([SecurityUpdates.status] + lists).map {
                try? tree.status(host.root($0))
            }
            let found: PendingUpdates
            if let kept = memory.updates(host.now, stamps) {
                found = kept
            } else {
                found = try SecurityUpdates.read(lists, host)
                memory.keep(found, host.now, stamps)
            }
            findings.updates = found
            findings.set(.securityUpdates, found.count == 0, "\(found.count) packages")
        } catch { findings.unknown(.securityUpdates, error.reason) }
    }

    // MARK: - Families

    private func families(_ findings: PostureFindings, _ host: CheckedHost) -> [MetricFamily] {
        var checks = MetricFamily(
            "petrel_posture_check", .gauge,
            help: "Whether a check passes (1), fails (0) or can't be judged (-1).")
        var infos = MetricFamily(
            "petrel_posture_info", .gauge,
            help: "What a check expects and what it found; without a check what is told alone.")
        var (passed, judged) = (0.0, 0.0)
        for check in PostureCheck.allCases where !options.ignored.contains(check) {
            guard let finding = findings.findings[check] else { continue }
            checks.points.append(
                .init(
                    .two("check", check.rawValue, "severity", check.severity.rawValue),
                    finding.passes.map { $0 ? 1 : 0 } ?? -1))
            infos.points.append(
                .init(Self.info(check.rawValue, check.expected, finding.actual), 1))
            guard let passes = finding.passes else { continue }
            judged += check.severity.weight
            if passes { passed += check.severity.weight }
        }
        for note in findings.notes {
            infos.points.append(.init(Self.info(note.name, "", note.actual), 1))
        }
        var families = [checks, infos]
        if judged > 0 {
            families.append(
                .gauge(
                    "petrel_posture_score",
                    help: "Percent of the checks that could be judged and pass, by the weight of "
                        + "their severity: 8 critical, 4 high, 2 medium, 1 low.",
                    100 * passed / judged))
        }
        families.append(
            .gauge(
                "petrel_posture_last_run_timestamp_seconds",
                help: "When the host was looked at last, in seconds since the epoch.",
                host.nowSeconds.rounded(.down)))
        if host.isThere(Self.aptFile) != true { families += packages(findings) }
        return families
    }

    private static func info(_ check: String, _ expected: String, _ actual: String) -> Labels {
        Labels([Label("actual", actual), Label("check", check), Label("expected", expected)])
    }

    /// What apt_info.py tells, of security updates alone, under its names.
    private func packages(_ findings: PostureFindings) -> [MetricFamily] {
        var families: [MetricFamily] = []
        if let updates = findings.updates {
            families = [
                Self.byOrigin(
                    "apt_upgrades_pending", "Apt packages pending updates by origin",
                    updates.pending),
                Self.byOrigin(
                    "apt_upgrades_held", "Apt packages pending updates but held back.",
                    updates.held),
            ]
        }
        if let needsReboot = findings.needsReboot {
            families.append(
                .gauge(
                    "node_reboot_required", help: "Node reboot is required for software updates.",
                    needsReboot ? 1 : 0))
        }
        return families
    }

    /// One point without labels where nothing is pending, as apt_info.py has it.
    private static func byOrigin(
        _ name: String, _ help: String, _ counts: [PendingUpdates.Source: Int]
    ) -> MetricFamily {
        var points = counts.map { source, count in
            MetricFamily.Point(
                Labels([Label("arch", source.architecture), Label("origin", source.origin)]),
                Double(count))
        }
        points.sort { $0.labels < $1.labels }
        if points.isEmpty { points = [.init(.empty, 0)] }
        return MetricFamily(name, .gauge, help: help, points: points)
    }
}

/// What the last look came to.
private final class PostureMemory: Sendable {
    private struct Look {
        var families: [MetricFamily]
        var at: TimestampNS
        /// When the next one is due though nothing changes.
        var due: TimestampNS
        var stamps: [FileStatus?]
    }

    private struct Packages {
        var updates: PendingUpdates
        var at: TimestampNS
        var stamps: [FileStatus?]
        /// A list changed since.
        var isOutdated = false

        var due: TimestampNS { at.advanced(byNanoseconds: PostureReader.ageMaxNanoseconds) }
    }

    private struct State {
        var look: Look?
        var packages: Packages?
    }

    private let state = Mutex(State())

    /// The families of the last look where it still stands. A clock that was set back makes everything old.
    func families(_ now: TimestampNS, _ stamps: [FileStatus?]) -> [MetricFamily]? {
        state.withLock { state in
            guard let look = state.look, look.at <= now else { return nil }
            let soon = look.at.advanced(byNanoseconds: PostureReader.ageMinNanoseconds)
            return now < (look.stamps == stamps ? look.due : min(look.due, soon))
                ? look.families : nil
        }
    }

    func keep(_ families: [MetricFamily], _ now: TimestampNS, _ stamps: [FileStatus?]) {
        state.withLock { state in
            var due = now.advanced(byNanoseconds: PostureReader.ageMaxNanoseconds)
            if let packages = state.packages, packages.isOutdated { due = min(due, packages.due) }
            state.look = Look(families: families, at: now, due: due, stamps: stamps)
        }
    }

    /// The updates of the last reading of the lists where it is younger than an hour or no file changed since.
    func updates(_ now: TimestampNS, _ stamps: [FileStatus?]) -> PendingUpdates? {
        state.withLock { state in
            guard var packages = state.packages else { return nil }
            packages.isOutdated = packages.stamps != stamps
            state.packages = packages
            let isYoung = packages.at <= now && now < packages.due
            return !packages.isOutdated || isYoung ? packages.updates : nil
        }
    }

    func keep(_ updates: PendingUpdates, _ now: TimestampNS, _ stamps: [FileStatus?]) {
        state.withLock {
            $0.packages = Packages(updates: updates, at: now, stamps: stamps)
        }
    }
}
