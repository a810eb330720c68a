import Identity
import Model
import Simulation
import Testing
import World
import WorldLive

private func makeToken(names: [String] = ["10.0.0.5", "vps5.example"]) throws -> EnrolmentToken {
    EnrolmentToken(
        host: try #require(HostName("h1")), authorityKeyHash: [UInt8](repeating: 7, count: 32),
        fleetPort: 9601, enrolmentPort: 9602, collectorNames: names, random: LiveRandom())
}

@Suite struct EnrolmentTokenTests {
    @Test(arguments: [[], ["a"], ["10.0.0.5", "vps5.example", "fd00::5"]])
    func roundTrip(_ names: [String]) throws {
        let token = try makeToken(names: names)
        #expect(try EnrolmentToken(text: token.text) == token)
        #expect(try EnrolmentToken(text: " \n\(token.text)\r\n") == token)
        #expect(!"\(token)".contains(String(token.text.dropFirst(8).prefix(8))))
        #expect(EnrolmentToken.hash(ofSecret: token.secret) == token.secretHash)
    }

    @Test func everyTypoIsNoticed() throws {
        let text = Array(try makeToken().text.utf8)
        for position in text.indices {
            var typo = text
            typo[position] = typo[position] == 65 ? 66 : 65
            #expect(throws: IdentityError.self) {
                try EnrolmentToken(text: String(decoding: typo, as: UTF8.self))
            }
            #expect(throws: IdentityError.self) {
                try EnrolmentToken(text: String(decoding: text[..<position], as: UTF8.self))
            }
        }
    }

    @Test(arguments: [
        ("", TokenFault.noPrefix), ("ptl", .noPrefix), ("ptl_", .damaged), ("ptl_A", .damaged),
        ("ptl_AAAA", .damaged), ("ptl_AA*A", .badCharacter(position: 7)),
        ("ptl_" + String(repeating: "A", count: 5000), .tooLong),
    ])
    func faultsAreNamed(_ text: String, _ fault: TokenFault) {
        #expect(throws: IdentityError.badToken(fault)) { try EnrolmentToken(text: text) }
    }

    @Test func anyBytesAreAnError() {
        let random = LiveRandom()
        let alphabet = Array("ABCdef019-_ptl".utf8)
        for _ in 0..<5000 {
            let bytes = random.bytes(count: Int(random.next() % 300))
            let letters = bytes.map { alphabet[Int($0) % alphabet.count] }
            #expect(throws: IdentityError.self) {
                try EnrolmentToken(text: "ptl_" + String(decoding: letters, as: UTF8.self))
            }
        }
    }

    @Test(arguments: [
        ("10.0.0.5", 4), ("255.255.255.255", 4), ("::", 16), ("::1", 16), ("fd00::5", 16),
        ("1:2:3:4:5:6:7:8", 16), ("::ffff:10.0.0.1", 16), ("1::", 16), ("10.0.0", 0),
        ("01.0.0.0", 0),
        ("256.0.0.1", 0), ("vps5", 0), ("1:2:3", 0), (":::", 0), ("1::2::3", 0), ("12345::", 0),
        ("", 0), ("10.0.0.5.", 0), ("1:2:3:4:5:6:7:8:9", 0),
    ])
    func addresses(_ text: String, _ count: Int) {
        #expect(addressBytes(text)?.count ?? 0 == count)
    }
}
