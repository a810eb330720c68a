package import World

/// What the agent's check-up alone looks at, judged from facts.
package enum AgentChecks {
    package static let joinRemedy =
        "on the collector: sudo petrel-collector enroll create --host NAME\n"
        + "then here: sudo petrel-agent join --token TOKEN"

    /// Whether a port of the collector can be reached from here.
    package static func reach(
        _ name: String, host: String, port: Int, _ outcome: ConnectOutcome,
        errorText: (Int32) -> String
    ) -> CheckResult {
        let place = AddressAndPort(address: host, port: port)
        let found: String
        let remedy: String
        switch outcome {
        case .connected: return .ok(name, "\(place) answers")
        case .refused:
            found = "\(place): nobody listens there"
            remedy = "on the collector: systemctl status petrel-collector; petrel-collector doctor"
        case .silent:
            found = "\(place): no answer, as from a firewall"
            remedy =
                "on the collector: sudo ufw allow from THIS_HOST to any port \(port) proto tcp"
        case .unknownName(let text):
            found = "\(host): the name has no address (\(text))"
            remedy = "getent hosts \(host)   # then mend DNS or /etc/hosts, or join by address"
        case .failed(let errno):
            found = "\(place): \(errorText(errno))"
            remedy = "ip route get \(host)"
        }
        return .fail(name, found, remedy: remedy)
    }

    /// What waits in the spool, of at most `bytesMax`.
    package static func spool(records: Double?, bytes: Double, bytesMax: Double) -> CheckResult {
        let share = Int(bytes / max(1, bytesMax) * 100)
        let what = records.map { "\(Int($0)) records" } ?? "\(Int(bytes) >> 20) MiB"
        let found = "\(what) wait, \(share) % of what it may hold"
        guard share < 80 else {
            return .warn(
                "spool", "\(found); when it is full, metrics are lost oldest first and logs wait",
                remedy: "petrel-agent doctor names what is wrong with the collector; or raise "
                    + "spool.size_max in /etc/petrel/agent.yaml")
        }
        return .ok("spool", found)
    }

    /// Whether the running agent can read a log source; nil where it does not know it.
    package static func isRead(_ source: String, _ figures: OwnFigures) -> Bool? {
        figures.all("petrel_agent_log_source_up").first { $0.labels["source"] == source }
            .map { $0.value != 0 }
    }

    /// What the running agent says of its log sources and readers.
    package static func running(_ figures: OwnFigures) -> [CheckResult] {
        var results: [CheckResult] = []
        let sources = figures.all("petrel_agent_log_source_up")
        let silent = sources.filter { $0.value == 0 }.compactMap { $0.labels["source"] }
        if !silent.isEmpty {
            results.append(
                .fail(
                    "log sources", "can't be read: \(silent.joined(separator: ", "))",
                    remedy: "journalctl -u petrel-agent -g \"can't be read\" -n 20"))
        } else if !sources.isEmpty {
            results.append(.ok("log sources", "\(sources.count) read"))
        }
        let readers = figures.all("node_scrape_collector_success")
        let failed = readers.filter { $0.value == 0 }.compactMap { $0.labels["collector"] }
        if !failed.isEmpty {
            results.append(
                .warn(
                    "readers", "failed under the service: \(failed.joined(separator: ", "))",
                    remedy: "sudo petrel-agent status   # says why"))
        } else if !readers.isEmpty {
            results.append(.ok("readers", "\(readers.count) succeed under the service"))
        }
        if figures.sum("petrel_agent_spool_degraded") ?? 0 > 0 {
            results.append(
                .fail(
                    "spool disk", "the disk refuses: what is read is held in memory",
                    remedy: "df -h /var/lib/petrel; sudo dmesg -T | tail -20"))
        }
        let streams = figures.all("petrel_agent_stream_connected")
        let away = streams.filter { $0.value == 0 }.compactMap { $0.labels["stream"] }
        if !away.isEmpty {
            results.append(
                .warn(
                    "streams", "not connected: \(away.joined(separator: ", "))",
                    remedy: "journalctl -u petrel-agent -p warning -n 20"))
        } else if !streams.isEmpty {
            results.append(.ok("streams", "both connected"))
        }
        return results
    }
}
