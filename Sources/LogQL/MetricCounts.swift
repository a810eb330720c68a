package import LogQLSyntax
package import Model

/// Lines of a stream and level in a bucket of time that a store has counted already.
package struct LineCount: Hashable, Sendable {
    /// The end of the bucket, inclusive: the bucket is `(through - width, through]`, as windows are.
    package var through: TimestampNS
    package var lineCount: Int
    /// Of the lines, without their ends.
    package var byteCount: Int
    /// What the label `MetricCounting.levelLabel` says of these lines; nil where they have none.
    package var level: String?

    package init(through: TimestampNS, lineCount: Int, byteCount: Int, level: String? = nil) {
        self.through = through
        self.lineCount = lineCount
        self.byteCount = byteCount
        self.level = level
    }
}

/// Which counts a store keeps.
package struct MetricCounting: Hashable, Sendable {
    /// Buckets end at `phaseNanoseconds + n * widthNanoseconds`, inclusive. With a phase of 0 a line at 12:00:00 sharp
    /// belongs to the minute that ends there, which is what windows of whole minutes want; a store that gives it to the
    /// minute that begins there has the phase -1, and the last minute of each window has to be read.
    package var widthNanoseconds: Int64
    package var phaseNanoseconds: Int64
    /// The label that the level is in.
    package static let levelLabel = "detected_level"
    /// Labels that only streams have, never the fields beside a line: a query may group counts by them. Nil: by all,
    /// and who reads finds out, with `MetricSelection.groupingLabels`, where counts will not do.
    package var streamLabels: Set<String>?

    package init(
        widthNanoseconds: Int64 = 60_000_000_000, phaseNanoseconds: Int64 = 0,
        streamLabels: Set<String>?
    ) {
        precondition(widthNanoseconds > 0, "buckets without width")
        self.widthNanoseconds = widthNanoseconds
        self.phaseNanoseconds = phaseNanoseconds
        self.streamLabels = streamLabels
    }

    /// Whether counts have all labels that samples are grouped by.
    func knows(_ grouping: SampleGrouping) -> Bool {
        switch grouping {
        case .all, .without: false
        case .nothing: true
        case .by(let names):
            names.allSatisfy { $0 == Self.levelLabel || streamLabels?.contains($0) ?? true }
        }
    }
}

extension MetricCounting {
    /// Nanoseconds below which counts would be about as many as the lines.
    private static let widthMin: Int64 = 1_000_000_000
    /// From here on whole minutes and two edges that are read are less than all times.
    private static let widthMax: Int64 = 30 * 60_000_000_000

    /// Which counts answer a query without reading a line at the ends of its windows: buckets that all windows consist of.
    /// Whole minutes where these do, and where bytes are asked for, which are counted by the minute alone.
    package static func fitting(
        _ expression: MetricExpression, at times: MetricTimes
    ) -> MetricCounting {
        let minutes = MetricCounting(streamLabels: nil)
        let ranges = expression.ranges
        guard let first = ranges.first, !ranges.contains(where: { $0.operation.countsBytes })
        else { return minutes }
        let start: TimestampNS
        var width: Int64
        switch times {
        case .instant(let time): (start, width) = (time, 0)
        case .range(let from, _, let step): (start, width) = (from, step)
        }
        for range in ranges {
            width = greatestCommonDivisor(width, range.rangeNanoseconds)
            width = greatestCommonDivisor(
                width,
                range.offsetNanoseconds.subtractingReportingOverflow(
                    first.offsetNanoseconds
                ).partialValue)
        }
        guard (widthMin..<widthMax).contains(width) else { return minutes }
        let phase =
            start.rawValue.subtractingReportingOverflow(first.offsetNanoseconds).partialValue
            % width
        let minute = minutes.widthNanoseconds
        if width % minute == 0, phase % minute == 0 { return minutes }
        return MetricCounting(
            widthNanoseconds: width, phaseNanoseconds: phase, streamLabels: nil)
    }

    private static func greatestCommonDivisor(_ a: Int64, _ b: Int64) -> Int64 {
        var (a, b) = (a.magnitude, b.magnitude)
        while b != 0 { (a, b) = (b, a % b) }
        return Int64(clamping: a)
    }
}

/// A part of a selection's time and how it is to be read.
package struct MetricSpan: Hashable, Sendable {
    /// Exclusive.
    package var after: TimestampNS
    /// Inclusive.
    package var through: TimestampNS
    /// From counts, else from entries.
    package var isCounted: Bool

    package init(after: TimestampNS, through: TimestampNS, isCounted: Bool) {
        self.after = after
        self.through = through
        self.isCounted = isCounted
    }
}

/// Cuts a selection's time into what counts answer exactly and what has to be read.
struct SpanCutter {
    /// More buckets than this are not looked at one by one: all is read.
    static let bucketsMax = 1 << 20

    private var spans: [MetricSpan] = []

    /// `isExact` tells whether a bucket `(after, through]` may be counted.
    static func cut(
        from: Int64, to: Int64, _ counting: MetricCounting, isExact: (Int64, Int64) -> Bool
    ) -> [MetricSpan] {
        var cutter = SpanCutter()
        let width = counting.widthNanoseconds
        let (after, through) = (from - 1, to - 1)
        guard after < through else { return [] }
        var (index, rest) = (after - counting.phaseNanoseconds).quotientAndRemainder(
            dividingBy: width)
        if rest < 0 {
            index -= 1
            rest += width
        }
        var begin = index * width + counting.phaseNanoseconds
        guard (through - begin) / width < bucketsMax else {
            cutter.append(after, through, isCounted: false)
            return cutter.spans
        }
        while begin < through {
            let end = begin + width
            let isWhole = begin >= after && end <= through
            cutter.append(
                max(begin, after), min(end, through), isCounted: isWhole && isExact(begin, end))
            begin = end
        }
        return cutter.spans
    }

    private mutating func append(_ after: Int64, _ through: Int64, isCounted: Bool) {
        if let last = spans.last, last.isCounted == isCounted {
            spans[spans.count - 1].through = TimestampNS(through)
        } else {
            spans.append(
                MetricSpan(
                    after: TimestampNS(after), through: TimestampNS(through),
                    isCounted: isCounted))
        }
    }
}
