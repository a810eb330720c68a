import Identity
import Model
import Simulation
import Testing

private let start = TimestampMS(1_800_000_000_000)

@Suite struct JoinRuleTests {
    private func makeAuthority() throws -> CertificateAuthority {
        try CertificateAuthority(creating: "petrel", random: SeededRandom(seed: 1), now: start)
    }

    private func makeToken(_ host: String, _ authority: CertificateAuthority) throws
        -> EnrolmentToken
    {
        EnrolmentToken(
            host: try #require(HostName(host)), authorityKeyHash: authority.certificate.keyHash,
            fleetPort: 9601, enrolmentPort: 9602, collectorNames: [],
            random: SeededRandom(seed: 2))
    }

    private func makeIdentity(_ authority: CertificateAuthority) throws -> HostIdentity {
        let key = SigningKey()
        let certificate = try authority.issueAgent(
            request: key.signingRequest(), host: #require(HostName("db1")),
            random: SeededRandom(seed: 3), now: start)
        return HostIdentity(
            key: key, certificates: [certificate], authorities: [authority.certificate])
    }

    /// Days after the certificate was made, the token's host and fleet; whether the token is taken without force.
    @Test(
        arguments: [
            (0, "db1", true, true), (0, "db2", true, false), (0, "db1", false, false),
            (0, "db2", false, false), (6, "db2", true, false), (8, "db2", true, true),
            (8, "db1", false, true),
        ] as [(Int64, String, Bool, Bool)])
    func aValidIdentityIsNotTakenAwaySilently(
        _ days: Int64, _ host: String, _ isSameFleet: Bool, _ isTaken: Bool
    ) throws {
        let fleet = try makeAuthority()
        let other = try makeAuthority()
        let refusal = JoinRule.refusal(
            of: try makeToken(host, isSameFleet ? fleet : other), over: try makeIdentity(fleet),
            now: start.advanced(byMilliseconds: days * 86_400_000))
        #expect((refusal == nil) == isTaken)
        if let refusal {
            #expect(refusal.contains("db1") && refusal.contains("--force"))
            #expect(refusal.contains(isSameFleet ? "db2 of the same fleet" : "another fleet"))
        }
    }

    @Test func aNewHostJoins() throws {
        let token = try makeToken("db1", makeAuthority())
        #expect(JoinRule.refusal(of: token, over: nil, now: start) == nil)
    }
}
