import CollectorQuery
import Model
import Storage
import World

/// Our own REST API, `/api/v1/…`. Answers are objects with one array; errors are `{"error": text}`.
struct PetrelAPI: Sendable {
    /// Deliveries in an answer.
    static let deliveriesMax = 1000
    static let sealPath = ["api", "v1", "logs", "seal"]

    let dependencies: WebDependencies
    let follows = FollowPlaces(countMax: followsMax)

    /// The answer; nil where `path` (after `/api/v1`) or the method is no endpoint of this API.
    func respond(_ request: WebRequest, path: ArraySlice<String>) async -> WebResponse? {
        do {
            switch (request.method, Array(path)) {
            case ("GET", ["alerts"]): return try await alerts()
            case ("GET", ["hosts"]): return try await hosts()
            case ("GET", ["deliveries"]): return try await deliveries(request.parameters)
            case ("POST", ["notify", "test"]): return try await notifyTest(request.parameters)
            case ("POST", ["logs", "seal"]): return try await sealLogs()
            case ("GET", ["logs", "follow"]): return try follow(request.parameters)
            case ("GET", let path) where path.count == 2 && path[0] == "traces":
                return try await trace(path[1], request.parameters)
            default: return nil
            }
        } catch {
            let failure = QueryFailure(any: error)
            return Self.failure(failure.kind.status, failure.message)
        }
    }

    static func failure(_ status: Int, _ message: String) -> WebResponse {
        var json = JSONWriter()
        json.object { json in
            json.key("error")
            json.string(message)
        }
        return .json(json, status: status)
    }

    /// Lines are sealed by themselves; this is for who wants to see the blocks now.
    private func sealLogs() async throws -> WebResponse {
        let count = try await dependencies.sealLogs()
        var json = JSONWriter()
        json.object { json in
            json.key("blocks")
            json.number(Int64(count))
        }
        return .json(json)
    }

    private func alerts() async throws -> WebResponse {
        let records = try await dependencies.alerts()
        return Self.list("alerts", records) { record, json in
            json.key("state")
            json.string(record.state.rawValue)
            json.key("rule")
            json.string(record.rule)
            json.key("labels")
            PrometheusEnvelope.labels(record.labels, to: &json)
            json.key("annotations")
            PrometheusEnvelope.labels(record.annotations, to: &json)
            json.key("value")
            json.number(record.value)
            json.key("activeAt")
            json.string(RFC3339.text(record.activeAt))
            json.time("firedAt", record.firedAt)
            json.time("resolvedAt", record.resolvedAt)
        }
    }

    private func hosts() async throws -> WebResponse {
        let hosts = try await dependencies.hosts().sorted { $0.host < $1.host }
        let now = dependencies.clock.now.milliseconds
        return Self.list("hosts", hosts) { host, json in
            json.key("host")
            json.string(host.host.text)
            json.key("state")
            json.string(Self.state(of: host, now: now))
            for (key, value) in [
                ("agentVersion", host.facts.agentVersion), ("kernel", host.facts.kernel),
                ("operatingSystem", host.facts.operatingSystem), ("role", host.facts.role),
            ] {
                json.key(key)
                json.string(value)
            }
            json.time("enrolledAt", host.enrolledAt)
            json.time("lastSeenAt", host.lastSeenAt)
        }
    }

    /// A host is down after 30 s of silence.
    static func state(of host: FleetHost, now: TimestampMS) -> String {
        if host.revoked { return "revoked" }
        guard let seen = host.lastSeenAt else { return "enrolled" }
        return now > seen.advanced(byMilliseconds: 30_000) ? "down" : "up"
    }

    private func deliveries(_ parameters: FormParameters) async throws -> WebResponse {
        let text = parameters["limit"]
        guard text.isEmpty || Int(text).map({ (1...Self.deliveriesMax).contains($0) }) == true
        else {
            return Self.failure(400, "limit must be a number within 1...\(Self.deliveriesMax)")
        }
        let found = try await dependencies.deliveries(Int(text) ?? 100)
        return Self.list("deliveries", found) { delivery, json in
            json.time("at", delivery.attempt.at)
            for (key, value) in [
                ("id", delivery.message.id), ("receiver", delivery.message.receiver),
                ("integration", delivery.message.integration),
                ("groupKey", delivery.message.groupKey), ("error", delivery.attempt.error),
            ] {
                json.key(key)
                json.string(value)
            }
            json.key("status")
            if let status = delivery.attempt.status {
                json.number(Int64(status))
            } else {
                json.null()
            }
            json.key("alerts")
            json.number(Int64(delivery.message.alerts.count))
            json.key("durationSeconds")
            json.number(Double(delivery.attempt.durationMilliseconds) / 1000)
        }
    }

    private func notifyTest(_ parameters: FormParameters) async throws -> WebResponse {
        let receiver = parameters["receiver"]
        guard !receiver.isEmpty else {
            return Self.failure(400, "the parameter receiver is missing")
        }
        guard let outcomes = try await dependencies.notifyTest(receiver) else {
            return Self.failure(
                404, "no receiver is called \(receiver); see receivers in alerting.yaml")
        }
        return Self.list("outcomes", outcomes) { outcome, json in
            json.key("integration")
            json.string(outcome.integration)
            json.key("delivered")
            json.boolean(outcome.error.isEmpty)
            json.key("error")
            json.string(outcome.error)
            json.key("status")
            if let status = outcome.status { json.number(Int64(status)) } else { json.null() }
        }
    }

    private static func list<Element>(
        _ key: String, _ elements: [Element], _ write: (Element, inout JSONWriter) -> Void
    ) -> WebResponse {
        var json = JSONWriter()
        json.object { json in
            json.key(key)
            json.array { json in
                for element in elements { json.object { write(element, &$0) } }
            }
        }
        return .json(json)
    }
}

extension JSONWriter {
    /// A member with a time as RFC 3339, or null.
    fileprivate mutating func time(_ name: String, _ time: TimestampMS?) {
        key(name)
        if let time { string(RFC3339.text(time)) } else { null() }
    }
}
