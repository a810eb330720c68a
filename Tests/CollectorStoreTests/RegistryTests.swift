import CollectorStore
import Model
import Storage
import Testing

/// Enrolment, revocation, alerts and the outbox.
extension StoreTests {
    @Test("of racing redemptions one wins; used, expired and unknown tokens are told apart")
    func tokens() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "tokens")
            let h1 = try host("h1")
            let now = TimestampMS(Self.base)
            let later = now.advanced(byMilliseconds: 1000)
            try await store.createToken(hash: [1], host: h1, expiresAt: later)
            try await store.createToken(hash: [2], host: h1, expiresAt: later)
            let outcomes = await withTaskGroup(of: Result<HostName, any Error>.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do {
                            return .success(try await store.redeemToken(hash: [1], now: now))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: [Result<HostName, any Error>]()) { $0.append($1) }
            }
            #expect(outcomes.compactMap { try? $0.get() } == [h1])
            for case .failure(let error) in outcomes {
                #expect(error as? TokenRefusal == .used)
            }
            await #expect(throws: TokenRefusal.expired) {
                _ = try await store.redeemToken(hash: [2], now: later)
            }
            #expect(try await store.redeemToken(hash: [2], now: now) == h1)
            await #expect(throws: TokenRefusal.used) {
                _ = try await store.redeemToken(hash: [2], now: later)
            }
            await #expect(throws: TokenRefusal.unknown) {
                _ = try await store.redeemToken(hash: [3], now: now)
            }
            await store.close()
        }
    }

    @Test("a revoked host comes back by enrolment alone, not by a renewal")
    func revocation() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "revocation")
            let h1 = try host("h1")
            let now = TimestampMS(Self.base)
            let certificate = { (serial: String, lifetime: Int64) in
                IssuedCertificate(
                    host: h1, serial: serial, notBefore: now,
                    notAfter: now.advanced(byMilliseconds: lifetime))
            }
            try await store.recordCertificate(certificate("a1", 1000), isEnrolment: true)
            try await store.recordCertificate(certificate("a2", 5000), isEnrolment: false)
            #expect(try await store.revokedSerials(now: now).isEmpty)
            #expect(try await store.revoke(host: try host("nobody"), now: now) == false)
            #expect(try await store.revoke(host: h1, now: now))
            await #expect(throws: StorageError.self) {
                try await store.recordCertificate(certificate("a3", 5000), isEnrolment: false)
            }
            #expect(try await store.hosts().map(\.revoked) == [true])
            #expect(try await store.revokedSerials(now: now) == ["a1", "a2"])
            #expect(
                try await store.revokedSerials(now: now.advanced(byMilliseconds: 1000)) == ["a2"])
            try await store.recordCertificate(certificate("b1", 5000), isEnrolment: true)
            #expect(try await store.hosts().map(\.revoked) == [false])
            #expect(try await store.revokedSerials(now: now) == ["a1", "a2"])
            // A second enrolment takes the place of the first.
            try await store.recordCertificate(certificate("c1", 5000), isEnrolment: true)
            #expect(try await store.revokedSerials(now: now) == ["a1", "a2", "b1"])
            await store.close()
        }
    }

    @Test("facts and presence are kept; presence never goes back")
    func presence() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "presence")
            let h1 = try host("h1")
            let facts = HostFacts(agentVersion: "1", machineID: "m\0", kernel: "6.1", role: "db")
            try await store.recordHello(host: h1, facts: facts, at: TimestampMS(50))
            try await store.recordPresence([h1: TimestampMS(90), try host("h2"): TimestampMS(1)])
            try await store.recordPresence([h1: TimestampMS(70)])
            let hosts = try await store.hosts()
            #expect(hosts.map(\.host) == [h1])
            #expect(hosts.first?.lastSeenAt == TimestampMS(90))
            #expect(hosts.first?.facts.kernel == "6.1" && hosts.first?.facts.role == "db")
            try await store.audit(
                AuditEvent(action: "renew", subject: "h1", detail: "\0"), at: TimestampMS(1))
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.audit", on: "presence", in: cluster) == 1)
            await store.close()
        }
    }

    @Test("a claim gives the oldest of each lane, leases it, and holds the rest of the lane back")
    func lanes() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "lanes")
            let a1 = message("a1", lane: "a", at: 1)
            let a2 = message("a2", lane: "a", at: 2)
            let b1 = message("b1", lane: "b", at: 3)
            try await store.enqueue([a2, b1, a1])
            // The same id again changes nothing.
            try await store.enqueue([message("a1", lane: "c", at: 9)])
            func claim(_ now: Int64, limit: Int = 10) async throws -> [String] {
                try await store.claim(
                    now: TimestampMS(now), limit: limit, leaseMilliseconds: 100
                ).map(\.id)
            }
            #expect(try await claim(0).isEmpty, "nothing is due yet")
            let first = try await store.claim(
                now: TimestampMS(10), limit: 10, leaseMilliseconds: 100)
            #expect(first == [a1, b1])
            #expect(try await claim(109).isEmpty, "both are leased")
            #expect(try await claim(110, limit: 1) == ["a1"], "the lease ran out")
            #expect(try await claim(110) == ["b1"])
            try await store.settle(attempt("a1", status: 500), .retry(at: TimestampMS(1000)))
            try await store.settle(attempt("b1", status: nil), .abandoned)
            #expect(try await claim(999).isEmpty, "a2 waits for a1")
            #expect(try await claim(1000) == ["a1"])
            try await store.settle(attempt("a1", status: 200), .delivered)
            #expect(try await claim(1000) == ["a2"])
            let log = try await store.deliveries(limit: 2)
            #expect(log.map(\.attempt.status) == [200, nil])
            #expect(log.map(\.message.id) == ["a1", "b1"])
            #expect(log.first?.message.attemptCount == 2)
            #expect(try await store.deliveries(limit: 9).count == 3)
            await store.close()
        }
    }

    @Test("racing claims give every message once")
    func claimRace() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "claims")
            try await store.enqueue(
                (0..<60).map { message("m\($0)", lane: "l\($0 % 30)", at: Int64($0)) })
            let claimed = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        var mine: [String] = []
                        // Two rounds of 30 lanes, of 3 at a time, done by anybody.
                        for _ in 0..<40 {
                            let taken = try await store.claim(
                                now: TimestampMS(1000), limit: 3, leaseMilliseconds: 60_000)
                            for message in taken {
                                mine.append(message.id)
                                try await store.settle(
                                    attempt(message.id, status: 200), .delivered)
                            }
                        }
                        return mine
                    }
                }
                return try await group.reduce(into: [String]()) { $0 += $1 }
            }
            #expect(claimed.sorted() == (0..<60).map { "m\($0)" }.sorted())
            await store.close()
        }
    }

    @Test("an alert's state, history and messages are committed together or not at all")
    func alerts() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "alerts")
            let firing = AlertRecord(
                rule: "f;g;A;0", labels: ["alertname": "A", "x": "p\0q"],
                annotations: ["summary": "ü\0"], state: .firing,
                value: Double(bitPattern: 0x7ff8_0000_0000_0007), activeAt: TimestampMS(Self.base),
                firedAt: TimestampMS(Self.base + 1), lastNotifiedAt: TimestampMS(Self.base + 2))
            let change = AlertTransition(
                rule: firing.rule, labels: firing.labels, from: .pending, to: .firing, value: 1,
                at: TimestampMS(Self.base))
            func counts() async throws -> Int64 {
                try await TestCluster.number(
                    """
                    SELECT (SELECT count(*) FROM petrel.alert)
                        + (SELECT count(*) FROM petrel.alert_transition)
                        + (SELECT count(*) FROM petrel.outbox)
                    """, on: "alerts", in: cluster)
            }
            // PostgreSQL refuses U+0000 in an id: the last statement of the transaction fails.
            await #expect(throws: StorageError.self) {
                try await store.commit([firing], [change], [message("bad\0id", lane: "a", at: 1)])
            }
            #expect(try await counts() == 0)
            try await store.commit([firing], [change], [message("id", lane: "a", at: 1)])
            #expect(try await counts() == 3)
            let loaded = try await store.loadAlerts()
            #expect(loaded.map(\.labels) == [firing.labels])
            #expect(loaded.map(\.annotations) == [firing.annotations])
            #expect(loaded.first?.value.bitPattern == firing.value.bitPattern)
            #expect(loaded.first?.firedAt == firing.firedAt)
            #expect(loaded.first?.lastNotifiedAt == firing.lastNotifiedAt)
            var resolved = firing
            resolved.state = .inactive
            resolved.resolvedAt = TimestampMS(Self.base - 15 * 60_000 + 1)
            try await store.commit([resolved], [], [])
            #expect(try await store.loadAlerts().map(\.state) == [.inactive])
            resolved.resolvedAt = TimestampMS(Self.base - 15 * 60_000)
            try await store.commit([resolved], [], [])
            #expect(try await store.loadAlerts().isEmpty, "resolved 15 minutes ago")
            resolved.resolvedAt = nil
            try await store.commit([resolved], [], [])
            #expect(try await counts() == 2, "the record is removed, its history is not")
            await store.close()
        }
    }
}

private func message(_ id: String, lane: String, at time: Int64) -> OutboxMessage {
    OutboxMessage(
        id: id, receiver: "r", integration: "webhook/0", groupKey: lane,
        groupLabels: ["alertname": "A", "z": "\0"],
        alerts: [
            Alert(
                labels: ["alertname": "A", "v": "e\u{301}"], annotations: ["s": "t\0"],
                startsAt: TimestampMS(-5), endsAt: TimestampMS(6), generatorURL: "http://x/"),
            Alert(labels: ["alertname": "A"], annotations: .empty, startsAt: TimestampMS(7)),
        ], createdAt: TimestampMS(time))
}

private func attempt(_ id: String, status: Int?) -> DeliveryAttempt {
    DeliveryAttempt(
        messageID: id, at: TimestampMS(5), status: status, error: status == nil ? "no\0" : "",
        durationMilliseconds: 3)
}
