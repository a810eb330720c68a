import Exposition
package import Model
package import World

/// Reads what only root can read of the host's security settings and puts it into Prometheus' text format.
///
/// Facts and counts, no secrets: no key, hash, user name or rule text. What can't be read is -1 or `unknown` and has its
/// reason in `petrel_posture_root_problem_info`: nothing here ever passes because it is missing.
package struct PostureHelper: Sendable {
    private let host: PostureHost
    private let source: any NetfilterSource
    private let clock: any WorldClock

    /// `root` is where the host's root is mounted: `/`, or a folder in tests.
    package init(tree: any WorldFileTree, root: String = "/", clock: any WorldClock) {
        self.init(tree: tree, root: root, clock: clock, source: NetfilterSocket())
    }

    /// With a recorded dump of the kernel's chains instead of the kernel.
    package init(
        tree: any WorldFileTree, root: String, clock: any WorldClock, chainDump: [UInt8]
    ) {
        self.init(
            tree: tree, root: root, clock: clock, source: RecordedNetfilter(dump: chainDump))
    }

    private init(
        tree: any WorldFileTree, root: String, clock: any WorldClock,
        source: any NetfilterSource
    ) {
        var root = root[...]
        while root.hasSuffix("/") { root.removeLast() }
        host = PostureHost(tree: tree, root: String(root))
        self.clock = clock
        self.source = source
    }

    /// Every group's reading, in the groups' order.
    package func readings() -> [(PostureGroup, PostureReading)] {
        PostureGroup.allCases.map { ($0, read($0)) }
    }

    /// The readings as one exposition.
    package func exposition() -> [UInt8] {
        ExpositionWriter.text(Self.families(readings(), now: clock.now))
    }

    private func read(_ group: PostureGroup) -> PostureReading {
        switch group {
        case .kernel: KernelPosture.read(host)
        case .ufw: UFWPosture.read(host)
        case .firewall: FirewallPosture.read(host, source)
        case .audit: AuditPosture.read(host)
        case .sudo: SudoPosture.read(host)
        case .sshd: SSHPosture.read(host)
        case .accounts: AccountPosture.read(host)
        case .rootKeys: RootKeysPosture.read(host)
        case .fail2ban: Fail2banPosture.read(host)
        case .apparmor: AppArmorPosture.read(host)
        }
    }

    /// The readings as metric families. Each fact of each group is there in every run.
    package static func families(
        _ readings: [(PostureGroup, PostureReading)], now: TimestampNS
    ) -> [MetricFamily] {
        var values: [MetricFamily.Point] = []
        var words: [MetricFamily.Point] = []
        var successes: [MetricFamily.Point] = []
        var problems: [MetricFamily.Point] = []
        for (group, reading) in readings {
            for fact in group.facts {
                guard fact.isWord else {
                    values.append(
                        MetricFamily.Point(
                            ["fact": fact.rawValue], reading.numbers[fact] ?? unknown))
                    continue
                }
                let found = reading.words.filter { $0.fact == fact }
                // A host without jails has no jail to name; the count tells it from one that could not be read.
                if found.isEmpty, fact != .fail2banJail {
                    words.append(
                        MetricFamily.Point(["fact": fact.rawValue, "value": "unknown"], 1))
                }
                for word in found {
                    let labels: Labels = [
                        "fact": fact.rawValue, "source": word.source, "value": word.value,
                    ]
                    words.append(MetricFamily.Point(labels, 1))
                }
            }
            successes.append(
                MetricFamily.Point(["group": group.rawValue], reading.isComplete ? 1 : 0))
            problems += reading.problems.map { problem in
                MetricFamily.Point(
                    [
                        "group": group.rawValue, "path": problem.path, "reason": problem.reason,
                    ], 1)
            }
        }
        return [
            MetricFamily(
                "petrel_posture_root_value", .gauge,
                help: "What root read, as a number; -1 is unknown.", points: values),
            MetricFamily(
                "petrel_posture_root_info", .gauge,
                help: "What root read, as a word, and the file that says it.", points: words),
            MetricFamily(
                "petrel_posture_root_success", .gauge,
                help: "0 where something that is there could not be read.", points: successes),
            MetricFamily(
                "petrel_posture_root_problem_info", .gauge,
                help: "Why facts of a group are unknown.", points: problems),
            MetricFamily(
                "petrel_posture_root_last_run_timestamp_seconds", .gauge,
                help: "When the helper ran last.",
                points: [MetricFamily.Point(.empty, Double(now.rawValue / 1_000_000_000))]),
        ]
    }

    private static let unknown: Double = -1
}

/// Chains that were recorded.
private struct RecordedNetfilter: NetfilterSource {
    let dump: [UInt8]
    func chainDump() throws(NetfilterError) -> [UInt8] { dump }
}
