import Identity
import Model
import Testing
import WorldLive

private let now = TimestampMS(1_800_000_000_000)
private let day: Int64 = 86_400_000
private let random = LiveRandom()

private func makeAuthority(_ fleet: String = "petrel") throws -> CertificateAuthority {
    try CertificateAuthority(creating: fleet, random: random, now: now)
}

private func makeHost(_ text: String) throws -> HostName { try #require(HostName(text)) }

@Suite struct PeerVerifierTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var refusal: PeerRefusal?
        var make: @Sendable (CertificateAuthority) throws -> [[UInt8]]
        var at: TimestampMS = now
        var isRevoked = false
        var testDescription: String { name }
    }

    static let agentCases: [Case] = [
        Case(name: "good", refusal: nil) { try [agent($0).der] },
        Case(
            name: "good at its last instant", refusal: nil, make: { try [agent($0).der] }, at: end),
        Case(name: "nothing shown", refusal: .noCertificate) { _ in [] },
        Case(name: "not a certificate", refusal: .unreadable) { _ in [[1, 2, 3]] },
        Case(name: "other authority of the same fleet name", refusal: .wrongAuthority) { _ in
            try [agent(makeAuthority()).der]
        },
        Case(name: "the authority itself", refusal: .wrongAuthority) { [$0.certificate.der] },
        Case(
            name: "not yet valid", refusal: .notYetValid, make: { try [agent($0).der] },
            at: TimestampMS(now.rawValue - 2 * 3_600_000)),
        Case(
            name: "expired", refusal: .expired, make: { try [agent($0).der] },
            at: TimestampMS(end.rawValue + 1000)),
        Case(name: "the collector's own", refusal: .wrongUsage) { authority in
            try [server(authority).der]
        },
        Case(
            name: "revoked", refusal: .revoked, make: { try [agent($0).der] }, isRevoked: true),
    ]

    static let end = TimestampMS(now.rawValue + 7 * day)

    static func agent(_ authority: CertificateAuthority) throws -> FleetCertificate {
        try authority.issueAgent(
            request: SigningKey().signingRequest(), host: makeHost("h1"), random: random, now: now)
    }

    static func server(_ authority: CertificateAuthority) throws -> FleetCertificate {
        try authority.issueServer(
            key: SigningKey(), names: ["vps5", "10.0.0.5"], random: random, now: now)
    }

    @Test(arguments: agentCases) func agentIsJudged(_ row: Case) throws {
        let authority = try makeAuthority()
        let verifier = try PeerVerifier(authorities: [authority.certificate])
        let chain = try row.make(authority)
        let outcome = Result { () throws(PeerRefusal) in
            try verifier.verifyAgent(chain, now: row.at) { _ in row.isRevoked }
        }
        switch outcome {
        case .success(let identity):
            #expect(row.refusal == nil)
            #expect(identity.host.text == "h1")
            #expect(identity.notAfter == Self.end)
        case .failure(let refusal): #expect(refusal == row.refusal)
        }
    }

    @Test func identityOfAnotherFleetIsNone() throws {
        let authority = try makeAuthority("north")
        let verifier = PeerVerifier(authorities: [authority.certificate], fleet: "south")
        let chain = [try Self.agent(authority).der]
        #expect(throws: PeerRefusal.noIdentity) {
            try verifier.verifyAgent(chain, now: now) { _ in false }
        }
    }

    @Test func revocationIsAskedByTheSerialThatWasIssued() throws {
        let authority = try makeAuthority()
        let leaf = try Self.agent(authority)
        let verifier = try PeerVerifier(authorities: [authority.certificate])
        var asked: [String] = []
        _ = try verifier.verifyAgent([leaf.der], now: now) {
            asked.append($0)
            return false
        }
        #expect(asked == [leaf.serial])
        #expect(leaf.serial.utf8.count == 32)
    }

    @Test func collectorIsJudged() throws {
        let authority = try makeAuthority()
        let other = try makeAuthority()
        let verifier = try PeerVerifier(authorities: [authority.certificate])
        try verifier.verifyCollector([Self.server(authority).der], now: now)
        #expect(throws: PeerRefusal.wrongAuthority) {
            try verifier.verifyCollector([Self.server(other).der], now: now)
        }
        #expect(throws: PeerRefusal.wrongUsage) {
            try verifier.verifyCollector([Self.agent(authority).der], now: now)
        }
        let late = now.advanced(byMilliseconds: 62 * day)
        #expect(throws: PeerRefusal.expired) {
            try verifier.verifyCollector([Self.server(authority).der], now: late)
        }
        // A host whose clock is half a day off may still connect.
        let early = now.advanced(byMilliseconds: -day / 2)
        try verifier.verifyCollector([Self.server(authority).der], now: early)
    }

    @Test func pinIsTheAuthoritysKey() throws {
        let authority = try makeAuthority()
        let other = try makeAuthority()
        let leaf = try Self.server(authority)
        let good = [leaf.der, authority.certificate.der]
        let pinned = try PeerVerifier.verifyPinned(
            good, authorityKeyHash: authority.certificate.keyHash, now: now)
        #expect(pinned == authority.certificate)
        #expect(throws: PeerRefusal.wrongAuthority) {
            try PeerVerifier.verifyPinned(
                good, authorityKeyHash: other.certificate.keyHash, now: now)
        }
        // Showing the pinned authority beside a leaf of another one is not enough.
        #expect(throws: PeerRefusal.wrongAuthority) {
            try PeerVerifier.verifyPinned(
                [Self.server(other).der, authority.certificate.der],
                authorityKeyHash: authority.certificate.keyHash, now: now)
        }
        #expect(throws: PeerRefusal.wrongAuthority) {
            try PeerVerifier.verifyPinned(
                [leaf.der], authorityKeyHash: authority.certificate.keyHash, now: now)
        }
    }

    @Test func requestsAreChecked() throws {
        let authority = try makeAuthority()
        var damaged = try SigningKey().signingRequest()
        damaged[damaged.count - 5] ^= 1
        for request in [damaged, [], [UInt8](repeating: 0, count: 9000)] {
            #expect(throws: IdentityError.self) {
                try authority.issueAgent(
                    request: request, host: makeHost("h1"), random: random, now: now)
            }
        }
    }

    @Test func authoritySurvivesItsFiles() throws {
        let authority = try makeAuthority("fleet-1")
        let again = try CertificateAuthority(
            keyPEM: authority.keyPEM, certificatePEM: authority.certificate.pem)
        #expect(again.fleet == "fleet-1")
        let leaf = try Self.agent(again)
        let verifier = try PeerVerifier(authorities: [authority.certificate])
        _ = try verifier.verifyAgent([leaf.der], now: now) { _ in false }
        #expect(throws: IdentityError.self) {
            try CertificateAuthority(
                keyPEM: SigningKey().pem, certificatePEM: authority.certificate.pem)
        }
    }
}
