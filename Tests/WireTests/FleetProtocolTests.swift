import Testing
import Wire

@Suite struct FleetProtocolTests {
    /// A build's own version, the version that the other side chose, and whether the build can go on in it.
    @Test(
        arguments: [
            (1, 0, true), (1, 1, true), (1, 2, false), (2, 0, true), (2, 1, true), (2, 2, true),
            (2, 3, false), (5, 0, false), (5, 3, false), (5, 4, true), (5, 5, true), (5, 6, false),
        ] as [(UInt32, UInt32, Bool)])
    func aBuildSpeaksItsOwnVersionAndTheOneBefore(
        _ newest: UInt32, _ version: UInt32, _ isSpoken: Bool
    ) {
        #expect(FleetProtocol(newest: newest).speaks(version) == isSpoken)
    }

    @Test(arguments: [(0, "1"), (1, "1"), (2, "1 to 2"), (5, "4 to 5")] as [(UInt32, String)])
    func versionsAreNamed(_ newest: UInt32, _ text: String) {
        #expect(FleetProtocol(newest: newest).text == text)
    }
}
