import Model
import Storage

/// The store's counts, slice by slice, so that those of a long time are never in memory at once.
struct RateSlices {
    /// Nanoseconds of a slice: the first, and the bounds. Slices become shorter where there is much in them.
    private static let widthFirst: Int64 = 6 * 3_600_000_000_000
    private static let widthMin: Int64 = 60_000_000_000
    private static let widthMax: Int64 = 4 * 86_400_000_000_000
    /// Counts in a slice below which the next may be longer, and above which it is shorter: a count is about 50 bytes.
    private static let countsFew = 25_000
    private static let countsMany = 100_000

    let service: LogQueryService
    let matchers: [LabelMatcher]
    let grid: LogRateGrid
    private var width: Int64
    /// The slice that was asked for last, and the first of its counts that was not given yet.
    private var fetched: (page: LogRatePage, after: TimestampNS, through: TimestampNS)?
    private var place = 0

    init(service: LogQueryService, matchers: [LabelMatcher], grid: LogRateGrid = .minutes) {
        self.service = service
        self.matchers = matchers
        self.grid = grid
        width = min(Self.widthFirst, 360 * grid.widthNanoseconds)
    }

    /// The counts of times that end in `(after, slice.through]`; the slice ends at `through` or before.
    /// In ascending order of times; `horizon` is the end of all that will be asked for. All are ends of the grid.
    mutating func slice(
        after: TimestampNS, through: TimestampNS, horizon: TimestampNS
    ) async throws -> (page: LogRatePage, through: TimestampNS) {
        let page: LogRatePage
        let last: TimestampNS
        if let fetched, fetched.after <= after, after < fetched.through {
            (page, last) = (fetched.page, fetched.through)
        } else {
            (page, last) = try await fetch(after: after, horizon: horizon)
        }
        let end = min(through, last)
        while place < page.rates.count, page.rates[place].through <= after { place += 1 }
        let first = place
        while place < page.rates.count, page.rates[place].through <= end { place += 1 }
        if place - first == page.rates.count { return (page, end) }
        let rates = Array(page.rates[first..<place])
        return (
            LogRatePage(streams: page.streams, rates: rates, blockCount: page.blockCount), end
        )
    }

    private mutating func fetch(
        after: TimestampNS, horizon: TimestampNS
    ) async throws -> (page: LogRatePage, through: TimestampNS) {
        try Task.checkCancellation()
        fetched = nil
        place = 0
        let length = max(1, width / grid.widthNanoseconds) * grid.widthNanoseconds
        let end = min(horizon, after.advanced(byNanoseconds: length))
        let page = try await service.reader.logRates(matchers, from: after, to: end, grid: grid)
        if page.rates.count > Self.countsMany {
            width = max(width / 2, Self.widthMin)
        } else if page.rates.count < Self.countsFew {
            width = min(2 * width, Self.widthMax)
        }
        fetched = (page, after, end)
        return (page, end)
    }

    /// Calls `body` with all counts of the minutes that `[from, to)` touches, oldest first; a minute of which only the
    /// end at `from` itself would be in the range is left out.
    static func forEach(
        _ service: LogQueryService, _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS,
        _ body: (LogRatePage) throws -> Void
    ) async throws {
        let (first, through) = minutes(from, to)
        var after = first
        var slices = RateSlices(service: service, matchers: matchers)
        while after < through {
            let slice = try await slices.slice(
                after: after, through: through, horizon: through)
            try body(slice.page)
            after = slice.through
        }
    }

    /// The ends of minutes around a range of time.
    private static func minutes(
        _ from: TimestampNS, _ to: TimestampNS
    ) -> (after: TimestampNS, through: TimestampNS) {
        // A day short of the ends of time, so that nothing overflows.
        let bound = Int64.max - 86_400_000_000_000
        let width = LogRate.widthNanoseconds
        func down(_ time: Int64) -> Int64 {
            let (quotient, rest) = time.quotientAndRemainder(dividingBy: width)
            return (rest < 0 ? quotient - 1 : quotient) * width
        }
        let first = min(max(from.rawValue, -bound), bound)
        let last = min(max(to.rawValue, -bound), bound)
        return (TimestampNS(down(first)), TimestampNS(down(last + width - 1)))
    }
}
