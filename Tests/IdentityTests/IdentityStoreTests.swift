import Identity
import Model
import Simulation
import Testing
import World

private let now = TimestampMS(1_800_000_000_000)

private func makeIdentity(_ authority: CertificateAuthority) throws -> HostIdentity {
    let key = SigningKey()
    let certificate = try authority.issueAgent(
        request: key.signingRequest(), host: #require(HostName("h1")),
        random: SeededRandom(seed: UInt64(now.rawValue)), now: now)
    return HostIdentity(
        key: key, certificates: [certificate], authorities: [authority.certificate])
}

@Suite struct IdentityStoreTests {
    @Test func aHostThatHasNotJoinedIsTold() {
        let store = IdentityStore(
            files: SimulatedFileTree(random: SeededRandom(seed: 1)), folder: "/state")
        #expect(throws: IdentityError.notJoined(path: "/state/certificate.pem")) {
            try store.load()
        }
        #expect(store.collector() == nil)
    }

    @Test func storedIsLoaded() throws {
        let files = SimulatedFileTree(random: SeededRandom(seed: 1))
        let store = IdentityStore(files: files, folder: "/state")
        let authority = try CertificateAuthority(
            creating: "petrel", random: SeededRandom(seed: 1), now: now)
        let identity = try makeIdentity(authority)
        try store.save(identity)
        try store.save(CollectorAddress(name: "vps5", fleetPort: 9601))
        files.cutPower()
        let loaded = try store.load()
        #expect(loaded.leaf == identity.leaf)
        #expect(loaded.host?.text == "h1")
        #expect(loaded.key.matches(loaded.leaf))
        #expect(loaded.authorities == [authority.certificate])
        #expect(store.collector() == CollectorAddress(name: "vps5", fleetPort: 9601))
    }

    /// Replacing the identity is cut off at each file operation in turn, with the power: afterwards the host has the
    /// identity before or the new one, whole.
    @Test func aReplacementCutOffAnywhereLeavesAWholeIdentity() throws {
        let authority = try CertificateAuthority(
            creating: "petrel", random: SeededRandom(seed: 1), now: now)
        let before = try makeIdentity(authority)
        let after = try makeIdentity(authority)
        var sawOld = 0
        var sawNew = 0
        for step in 0..<40 {
            let files = SimulatedFileTree(random: SeededRandom(seed: UInt64(step)))
            let store = IdentityStore(files: files, folder: "/state")
            try store.save(before)
            files.setFailures(.init(at: step + 1, isLasting: true))
            let isSaved = (try? store.save(after)) != nil
            files.setFailures(.init())
            files.cutPower()
            let loaded = try store.load()
            #expect(loaded.key.matches(loaded.leaf))
            #expect(loaded.leaf == before.leaf || loaded.leaf == after.leaf)
            #expect(!isSaved || loaded.leaf == after.leaf)
            if loaded.leaf == before.leaf { sawOld += 1 } else { sawNew += 1 }
        }
        #expect(sawOld > 0 && sawNew > 0)
    }

    @Test func theAuthorityIsMadeOnce() throws {
        let files = SimulatedFileTree(random: SeededRandom(seed: 3))
        let store = AuthorityStore(files: files, folder: "/state")
        let random = SeededRandom(seed: 2)
        let made = try store.loadOrCreate(fleet: "petrel", random: random, now: now)
        files.cutPower()
        let again = try store.loadOrCreate(fleet: "other", random: random, now: now)
        #expect(again.certificate == made.certificate)
        #expect(again.fleet == "petrel")
    }
}
