/// When something is scraped: at `k × interval + offset`, at each time once at most. Pure.
///
/// A time that comes while the scrape before is under way is scraped at once when that ends; of several the newest is, and
/// the others are missed. The first is the one after the start: a sample must not claim a time before there was anybody to
/// read it.
package struct ScrapeGrid: Hashable, Sendable {
    /// What to do now.
    package enum Step: Hashable, Sendable {
        /// Nothing for so long; 1 ms to the interval.
        case wait(milliseconds: Int64)
        /// Scrape for this time. So many times before it passed without a scrape, those that a clock which was set forward
        /// passed over among them.
        case scrape(at: TimestampMS, missed: Int64)
    }

    /// Intervals: a clock that is set back by no more repeats no time, for the collector has those; the grid waits until
    /// the clock is there again. After a larger step it begins anew.
    package static let setBackMax: Int64 = 10

    private let interval: Int64
    private let offset: Int64
    /// The newest time that was scraped or came before the start.
    private var last: TimestampMS

    /// `intervalMilliseconds` is at least 1.
    package init(
        intervalMilliseconds: Int64, offsetMilliseconds: Int64 = 0, startedAt: TimestampMS
    ) {
        precondition(intervalMilliseconds > 0, "a grid without an interval")
        interval = intervalMilliseconds
        offset = offsetMilliseconds
        last = startedAt
        last = tick(at: startedAt)
    }

    /// What to do at `now`. Who is told to scrape has to: the time does not come again.
    package mutating func step(at now: TimestampMS) -> Step {
        let tick = tick(at: now)
        if tick > last {
            let missed = (tick.rawValue - last.rawValue) / interval - 1
            last = tick
            return .scrape(at: tick, missed: missed)
        }
        if tick.rawValue < last.rawValue - Self.setBackMax * interval { last = tick }
        return .wait(milliseconds: next(after: now).rawValue - now.rawValue)
    }

    /// The first time of the grid after `time`.
    package func next(after time: TimestampMS) -> TimestampMS {
        tick(at: time).advanced(byMilliseconds: interval)
    }

    /// The last time of the grid that is not after `time`.
    private func tick(at time: TimestampMS) -> TimestampMS {
        let since = time.rawValue - offset
        let steps = since >= 0 ? since / interval : (since - interval + 1) / interval
        return TimestampMS(steps * interval + offset)
    }
}
