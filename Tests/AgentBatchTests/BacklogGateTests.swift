import AgentBatch
import Storage
import Testing

@Suite("Sources that are far behind")
struct BacklogGateTests {
    private static func spool(acknowledged: UInt64, waiting: UInt64) -> SpoolStatus {
        SpoolStatus(
            epoch: 1, firstSequence: 1, lastSequence: 1, producedRecords: acknowledged + waiting,
            gapRecords: 0, spoolRecords: waiting, spoolBytes: 0)
    }

    private static let second: Int64 = 1_000_000_000

    /// The gate after `seconds` in each of which the collector took `pace` records.
    private static func gate(pace: UInt64, seconds: Int64, waiting: UInt64) -> BacklogGate {
        var gate = BacklogGate()
        for now in 0...seconds {
            _ = gate.holds(
                spool(acknowledged: pace * UInt64(now), waiting: waiting), now: now * second)
        }
        return gate
    }

    @Test(
        "they wait while the spool holds more than the collector takes in three seconds",
        arguments: [(29_000, false), (31_000, true)] as [(UInt64, Bool)])
    func pace(waiting: UInt64, holds: Bool) {
        var gate = Self.gate(pace: 10_000, seconds: 10, waiting: waiting)
        let isHeld = gate.holds(
            Self.spool(acknowledged: 100_000, waiting: waiting), now: 10 * Self.second)
        #expect(isHeld == holds)
    }

    @Test("a little in the spool stops nobody, however slow the collector is")
    func free() {
        var gate = Self.gate(pace: 10, seconds: 10, waiting: 20_000)
        let isHeld = gate.holds(
            Self.spool(acknowledged: 100, waiting: 20_000), now: 10 * Self.second)
        #expect(!isHeld)
    }

    @Test("a collector that takes nothing stops nobody, and neither does a first look")
    func away() {
        var gate = BacklogGate()
        let first = gate.holds(Self.spool(acknowledged: 0, waiting: 1_000_000), now: 0)
        #expect(!first)
        gate = Self.gate(pace: 10_000, seconds: 10, waiting: 100_000)
        let stopped = Self.spool(acknowledged: 100_000, waiting: 100_000)
        let held = [11, 12, 15].map { gate.holds(stopped, now: $0 * Self.second) }
        #expect(held == [true, false, false])
    }

    @Test("figures that fall back, as after a restored database, begin anew")
    func restored() {
        var gate = Self.gate(pace: 10_000, seconds: 10, waiting: 100_000)
        for now in Int64(11)...20 {
            _ = gate.holds(Self.spool(acknowledged: 5, waiting: 100_000), now: now * Self.second)
        }
        let isHeld = gate.holds(
            Self.spool(acknowledged: 5, waiting: 100_000), now: 21 * Self.second)
        #expect(!isHeld)
    }
}
