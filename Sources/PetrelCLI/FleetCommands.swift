import ArgumentParser

/// `petrel alerts`.
struct AlertsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts", abstract: "Show alerts that are pending or firing.")

    @OptionGroup var collector: CollectorOptions

    private struct Answer: Decodable {
        struct Alert: Decodable {
            var state: String
            var labels: [String: String]
            var annotations: [String: String]
            var activeAt: String
        }
        var alerts: [Alert]
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let body = try await client.get("/api/v1/alerts")
        guard let answer = try client.decode(Answer.self, body) else { return }
        var table = TextTable("STATE", "ALERT", "SINCE", "LABELS", "SUMMARY")
        let order = ["firing", "pending"]
        for alert in answer.alerts.filter({ order.contains($0.state) })
            .sorted(by: { $0.state < $1.state })
        {
            let labels = alert.labels.filter { $0.key != "alertname" }
                .sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            table.append(
                alert.state, alert.labels["alertname"] ?? "", alert.activeAt,
                labels.joined(separator: ","),
                alert.annotations["summary"] ?? alert.annotations["description"] ?? "")
        }
        if table.isEmpty { print("no alerts") } else { table.write() }
    }
}

/// `petrel hosts`.
struct HostsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts", abstract: "Show the hosts of the fleet.")

    @OptionGroup var collector: CollectorOptions

    private struct Answer: Decodable {
        struct Host: Decodable {
            var host: String
            var state: String
            var agentVersion: String
            var operatingSystem: String
            var kernel: String
            var lastSeenAt: String?
        }
        var hosts: [Host]
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let body = try await client.get("/api/v1/hosts")
        guard let answer = try client.decode(Answer.self, body) else { return }
        var table = TextTable("HOST", "STATE", "LAST SEEN", "AGENT", "SYSTEM", "KERNEL")
        for host in answer.hosts {
            table.append(
                host.host, host.state, host.lastSeenAt ?? "never", host.agentVersion,
                host.operatingSystem, host.kernel)
        }
        if table.isEmpty {
            print("no hosts; enrol one: petrel-collector enroll create --host NAME")
        } else {
            table.write()
        }
    }
}

/// `petrel deliveries`.
struct DeliveriesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deliveries",
        abstract: "Show the newest attempts to deliver notifications.")

    @OptionGroup var collector: CollectorOptions
    @Option(help: "At most so many, within 1...1000.")
    var limit: Int = 50

    private struct Answer: Decodable {
        struct Delivery: Decodable {
            var at: String
            var receiver: String
            var integration: String
            var status: Int?
            var error: String
            var alerts: Int
            var durationSeconds: Double
        }
        var deliveries: [Delivery]
    }

    func validate() throws {
        guard (1...1000).contains(limit) else {
            throw ValidationError("--limit must be within 1...1000")
        }
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let body = try await client.get("/api/v1/deliveries", [("limit", "\(limit)")])
        guard let answer = try client.decode(Answer.self, body) else { return }
        var table = TextTable(
            "TIME", "RECEIVER", "INTEGRATION", "ALERTS", "STATUS", "SECONDS", "ERROR")
        for delivery in answer.deliveries {
            table.append(
                delivery.at, delivery.receiver, delivery.integration, "\(delivery.alerts)",
                delivery.status.map { "\($0)" } ?? "-", "\(delivery.durationSeconds)",
                delivery.error)
        }
        if table.isEmpty { print("no deliveries") } else { table.write() }
    }
}

/// `petrel notify …`.
struct NotifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notify", abstract: "Try out notifications.",
        subcommands: [NotifyTestCommand.self])
}

/// `petrel notify test RECEIVER`.
struct NotifyTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Send a test notification through a receiver.")

    @OptionGroup var collector: CollectorOptions
    @Argument(help: "A receiver of alerting.yaml.")
    var receiver: String

    private struct Answer: Decodable {
        struct Outcome: Decodable {
            var integration: String
            var delivered: Bool
            var error: String
            var status: Int?
        }
        var outcomes: [Outcome]
    }

    func run() async throws {
        let client = CollectorClient(options: collector)
        let body = try await client.post("/api/v1/notify/test", [("receiver", receiver)])
        guard let answer = try client.decode(Answer.self, body) else { return }
        guard !answer.outcomes.isEmpty else {
            throw CommandFailure("receiver \(receiver) has no integration: nothing was sent")
        }
        var table = TextTable("INTEGRATION", "RESULT", "STATUS", "ERROR")
        for outcome in answer.outcomes {
            table.append(
                outcome.integration, outcome.delivered ? "delivered" : "failed",
                outcome.status.map { "\($0)" } ?? "-", outcome.error)
        }
        table.write()
        if answer.outcomes.contains(where: { !$0.delivered }) { throw ExitCode(1) }
    }
}
