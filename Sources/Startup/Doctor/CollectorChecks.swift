package import Model
package import Storage
package import World

/// What the collector's check-up alone looks at, judged from facts.
package enum CollectorChecks {
    /// A host is worth a word after so long without a message.
    static let silenceMillisecondsMax: Int64 = 5 * 60_000
    /// A certificate that ends sooner was not renewed in time: they live a week and are renewed at half of it.
    static let certificateMillisecondsMin: Int64 = 2 * 86_400_000
    static let skewSecondsMax = 5.0

    /// Everything that is said of a database that answers.
    package static func database(_ facts: DatabaseFacts) -> [CheckResult] {
        [version(facts), pooler(facts.pooler), migrations(facts), roles(facts)] + settings(facts)
    }

    private static func version(_ facts: DatabaseFacts) -> CheckResult {
        let text =
            "PostgreSQL \(facts.version / 10_000).\(facts.version % 10_000), "
            + "\(facts.database) as \(facts.user), \(HostChecks.mebibytes(facts.size))"
        guard facts.version >= 140_000 else {
            return .fail(
                "database", "\(text): too old, 14 or newer is needed",
                remedy: "upgrade the cluster: sudo pg_upgradecluster VERSION main")
        }
        guard !facts.isSuperuser else {
            return .warn(
                "database", "\(text), which is a superuser",
                remedy: "sudo petrel-collector setup-database   # makes an owner without that right"
            )
        }
        return .ok("database", text)
    }

    /// What stands between the collector and its server.
    package static func pooler(_ pooler: DatabaseFacts.Pooler) -> CheckResult {
        switch pooler {
        case .none: .ok("pooler", "none between: the connection is PostgreSQL's own")
        case .session:
            .warn(
                "pooler",
                "a pooler in session mode stands between: it takes connections and gives none",
                remedy: "point database.url in /etc/petrel/collector.yaml at the server's own port")
        case .transaction:
            .fail(
                "pooler",
                "a pooler in transaction mode stands between: roles, settings and prepared "
                    + "statements of a session break there",
                remedy:
                    "point database.url in /etc/petrel/collector.yaml at the server's own port, "
                    + "or at a pool with pool_mode = session")
        }
    }

    private static func migrations(_ facts: DatabaseFacts) -> CheckResult {
        let name = "schema"
        let newest = facts.known.last ?? 0
        if let ahead = facts.applied.last, ahead > newest {
            return .fail(
                name, "the database is at migration \(ahead), this build knows \(newest)",
                remedy: "install the newer petrel-collector again")
        }
        let missing = facts.known.filter { !facts.applied.contains($0) }
        guard missing.isEmpty else {
            let numbers = missing.map(String.init).joined(separator: ", ")
            return .warn(
                name, "migrations \(numbers) are not applied yet: the start applies them",
                remedy: "sudo petrel-collector migrate")
        }
        return .ok(name, "at migration \(newest), as this build")
    }

    private static func roles(_ facts: DatabaseFacts) -> CheckResult {
        let wanting = facts.roles.filter { !$0.exists || !$0.isMember }
        guard !wanting.isEmpty else {
            return .ok("roles", facts.roles.map(\.name).joined(separator: ", "))
        }
        let what = wanting.map {
            $0.exists ? "\(facts.user) is no member of \($0.name)" : "\($0.name) does not exist"
        }
        return .warn(
            "roles", "\(what.joined(separator: "; ")): the owner does all the work",
            remedy: "sudo petrel-collector setup-database")
    }

    private static func settings(_ facts: DatabaseFacts) -> [CheckResult] {
        var results: [CheckResult] = []
        func demand(_ name: String, _ isGood: Bool, _ verdict: CheckResult.Verdict, _ why: String) {
            guard !isGood else { return }
            let found = "\(name) is \(facts.settings[name] ?? "unknown"): \(why)"
            let remedy =
                "sudo -u postgres psql -c \"ALTER SYSTEM SET \(name) = on\" "
                + "-c \"SELECT pg_reload_conf()\""
            results.append(CheckResult("settings", verdict, found, remedy: remedy))
        }
        func isOn(_ name: String) -> Bool { facts.settings[name] == "on" }
        demand("fsync", isOn("fsync"), .fail, "a power cut can destroy the whole database")
        demand(
            "full_page_writes", isOn("full_page_writes"), .fail,
            "a power cut can leave half-written pages")
        demand(
            "synchronous_commit", facts.settings["synchronous_commit"] != "off", .warn,
            "the collector sets it for itself, other clients may lose what was committed")
        demand("autovacuum", isOn("autovacuum"), .fail, "tables grow without bound")
        return results.isEmpty
            ? [.ok("settings", "fsync, full_page_writes and autovacuum are on")] : results
    }

    /// Why the database could not be asked.
    package static func unreachable(_ error: String, isPrivate: Bool) -> CheckResult {
        .fail(
            "database", error,
            remedy: isPrivate
                ? "journalctl -u petrel-collector -n 50; ls /usr/lib/postgresql/*/bin/postgres"
                : "pg_lsclusters; psql \"DATABASE_URL\" -c 'SELECT 1'   # then: sudo petrel-collector "
                    + "setup-database")
    }

    /// Names by which agents reach the collector.
    package static func advertised(_ names: [String], fleet: AddressAndPort) -> CheckResult {
        let name = "address for agents"
        let remedy = "fleet: {advertise: [10.0.0.5]}   # in /etc/petrel/collector.yaml"
        guard !isLoopback(fleet.address) else {
            return .warn(
                name, "\(fleet) is loopback: agents of other hosts can't reach it",
                remedy:
                    "fleet: {listen: \"0.0.0.0:\(fleet.port)\"}   # in /etc/petrel/collector.yaml")
        }
        guard let best = names.first else {
            return .warn(
                name, "none is known: a join must name the collector with --collector",
                remedy: remedy)
        }
        guard !isLoopback(best) else {
            return .warn(name, "\(best) is loopback: it leads agents to themselves", remedy: remedy)
        }
        return .ok(name, names.joined(separator: ", "))
    }

    /// Hosts that are silent, or whose certificates end soon.
    package static func hosts(_ hosts: [DatabaseFacts.Host], now: TimestampMS) -> [CheckResult] {
        let live = hosts.filter { !$0.isRevoked }
        guard !live.isEmpty else {
            return [
                .warn(
                    "hosts", "no host has joined yet",
                    remedy: "sudo petrel-collector enroll create --host NAME")
            ]
        }
        var results: [CheckResult] = []
        for host in live {
            if let end = host.notAfter, end.rawValue - now.rawValue < certificateMillisecondsMin {
                let isOver = end < now
                results.append(
                    .warn(
                        "hosts",
                        "\(host.name): its certificate \(isOver ? "ended" : "ends") on "
                            + RFC3339.text(end),
                        remedy: isOver
                            ? "sudo petrel-collector enroll create --host \(host.name)"
                            : "on \(host.name): petrel-agent doctor"))
            } else if let seen = host.lastSeenAt,
                now.rawValue - seen.rawValue > silenceMillisecondsMax
            {
                results.append(
                    .warn(
                        "hosts", "\(host.name): silent since \(RFC3339.text(seen))",
                        remedy: "on \(host.name): petrel-agent doctor\n"
                            + "if it is gone for good: sudo petrel-collector enroll revoke --host "
                            + host.name))
            }
        }
        return results.isEmpty ? [.ok("hosts", "\(live.count) joined, none silent")] : results
    }

    /// Clocks of hosts as the running collector sees them.
    package static func skews(_ figures: OwnFigures) -> CheckResult? {
        let skews = figures.all("petrel_agent_clock_skew_seconds")
        guard !skews.isEmpty else { return nil }
        let off = skews.filter { abs($0.value) > skewSecondsMax }
        guard !off.isEmpty else { return .ok("clocks of hosts", "within \(Int(skewSecondsMax)) s") }
        let names = Set(off.compactMap { $0.labels["host"] }).sorted(by: bytesPrecede)
        return .warn(
            "clocks of hosts",
            "off by more than \(Int(skewSecondsMax)) s: "
                + names.joined(separator: ", "),
            remedy: "on each: sudo timedatectl set-ntp true")
    }

    /// The authority's key: its owner's alone.
    package static func authorityKey(
        _ path: String, _ status: Result<FileOwnership, FileError>, errorText: (Int32) -> String
    ) -> CheckResult {
        let name = "authority key"
        return HostChecks.madeAtStart(
            name, path, status, service: "petrel-collector", errorText: errorText
        ) { facts in
            guard facts.mode & 0o077 == 0 else {
                return .fail(
                    name,
                    "\(path) is open to others (mode \(HostChecks.octal(facts.mode))): "
                        + "whoever read it can pass for any host",
                    remedy: "sudo chmod 0600 \(path)")
            }
            return .ok(name, "\(path), mode \(HostChecks.octal(facts.mode))")
        }
    }

    static func isLoopback(_ name: String) -> Bool {
        name == "localhost" || name == "::1" || name.hasPrefix("127.")
    }
}
