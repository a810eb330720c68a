import Model
import Testing

@Suite("the grid of scrapes")
struct ScrapeGridTests {
    /// A grid of 15 s with a clock that its waits move.
    private struct Rig {
        static let start: Int64 = 1_700_000_000_000
        var now = start + 5_000
        var grid: ScrapeGrid

        init(offset: Int64 = 0) {
            grid = ScrapeGrid(
                intervalMilliseconds: 15_000, offsetMilliseconds: offset,
                startedAt: TimestampMS(now))
        }

        /// Waits until something is to be scraped; its time as milliseconds since `start`, and what was missed.
        mutating func next() throws -> [Int64] {
            for _ in 0..<1_000 {
                switch grid.step(at: TimestampMS(now)) {
                case .wait(let milliseconds):
                    try #require((1...15_000).contains(milliseconds))
                    now += milliseconds
                case .scrape(let time, let missed):
                    #expect(time.rawValue <= now && now < time.rawValue + 15_000)
                    return [time.rawValue - Self.start, missed]
                }
            }
            throw NeverScraped()
        }
    }

    private struct NeverScraped: Error {}

    @Test("the first time is the one after the start, and each comes once")
    func regular() throws {
        var rig = Rig()
        #expect(try rig.next() == [10_000, 0])
        #expect(rig.now == Rig.start + 10_000)
        rig.now += 400
        #expect(try rig.next() == [25_000, 0])
        #expect(try rig.next() == [40_000, 0])
        var shifted = Rig(offset: 7_000)
        #expect(try shifted.next() == [17_000, 0])
        #expect(
            shifted.grid.next(after: TimestampMS(Rig.start + 17_000)).rawValue == Rig.start + 32_000
        )
        #expect(
            shifted.grid.next(after: TimestampMS(Rig.start + 16_999)).rawValue == Rig.start + 17_000
        )
    }

    @Test("a scrape that lasts past the next time is followed by that one at once")
    func overrun() throws {
        var rig = Rig()
        #expect(try rig.next() == [10_000, 0])
        rig.now += 15_010
        #expect(try rig.next() == [25_000, 0])
        #expect(rig.now == Rig.start + 25_010, "without a wait")
        rig.now += 14_900
        #expect(try rig.next() == [40_000, 0])
        #expect(rig.now == Rig.start + 40_000)
        // One that ends on the very time.
        rig.now += 15_000
        #expect(try rig.next() == [55_000, 0])
    }

    @Test("of several times that passed the newest is scraped, and the others are missed")
    func missed() throws {
        var rig = Rig()
        #expect(try rig.next() == [10_000, 0])
        rig.now += 46_000
        #expect(try rig.next() == [55_000, 2])
        #expect(try rig.next() == [70_000, 0])
        // A clock that is set forward by an hour.
        rig.now += 3_600_000
        #expect(try rig.next() == [3_670_000, 239])
    }

    @Test("a clock that is set back repeats no time, and one that is set back far begins anew")
    func setBack() throws {
        var rig = Rig()
        #expect(try rig.next() == [10_000, 0])
        rig.now -= 140_000
        #expect(try rig.next() == [25_000, 0])
        rig.now -= 3_600_000
        #expect(try rig.next() == [-3_560_000, 0])
        #expect(try rig.next() == [-3_545_000, 0])
        // Before the epoch, too.
        rig.now = -1
        #expect(try rig.next() == [-Rig.start, 0])
    }
}
