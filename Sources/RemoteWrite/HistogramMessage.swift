import Model

/// Why a native histogram makes no sense. The rest of its request may.
struct HistogramDefect: Error, Hashable, CustomStringConvertible {
    let description: String
}

/// A `Histogram` message of either version as it is written.
struct HistogramMessage {
    /// Buckets of one histogram; more are a defect.
    static let bucketsMax = 4_096

    private struct Side {
        /// Distance from the bucket after the last span, and how many buckets.
        var spans: [(offset: Int64, length: UInt64)] = []
        var deltas: [Int64] = []
        var counts: [Double] = []

        /// What `deltas` say, absolute.
        var integerCounts: [Int64] {
            var count: Int64 = 0
            return deltas.map { delta in
                count &+= delta
                return count
            }
        }

        /// 2^`steps` neighbours as one.
        func buckets(
            isFloat: Bool, steps: Int64
        ) throws(HistogramDefect) -> FloatHistogram.Buckets {
            let buckets = try buckets(isFloat: isFloat)
            guard steps > 0 else { return buckets }
            guard zip(buckets.indices, buckets.indices.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw HistogramDefect(description: "a native histogram's buckets are out of order")
            }
            var merged = FloatHistogram.Buckets()
            for (index, count) in zip(buckets.indices, buckets.counts) {
                let index = Int32(((Int64(index) - 1) >> steps) + 1)
                guard index != merged.indices.last else {
                    merged.counts[merged.counts.count - 1] += count
                    continue
                }
                merged.indices.append(index)
                merged.counts.append(count)
            }
            return merged
        }

        private func buckets(isFloat: Bool) throws(HistogramDefect) -> FloatHistogram.Buckets {
            let told = isFloat ? self.counts.count : deltas.count
            var indices: [Int32] = []
            var next: Int64 = 0
            for span in spans {
                guard span.length <= UInt64(told - indices.count) else {
                    throw HistogramDefect(
                        description: "a native histogram's spans say more than its \(told) buckets")
                }
                next += span.offset
                for _ in 0..<span.length {
                    guard let index = Int32(exactly: next) else {
                        throw HistogramDefect(
                            description: "a native histogram has a bucket of index \(next)")
                    }
                    indices.append(index)
                    next += 1
                }
            }
            guard indices.count == told else {
                throw HistogramDefect(
                    description: "a native histogram's spans say \(indices.count) of its \(told) "
                        + "buckets")
            }
            return FloatHistogram.Buckets(
                indices: indices, counts: isFloat ? counts : integerCounts.map { Double($0) })
        }
    }

    private(set) var timestamp: Int64 = 0
    private(set) var startTimestamp: Int64 = 0
    private(set) var sum = 0.0
    private var schema: Int64 = 0
    private var isFloat = false
    private var count = 0.0
    private var integerCount: UInt64 = 0
    private var zeroThreshold = 0.0
    private var zeroCount = 0.0
    private var integerZeroCount: UInt64 = 0
    private var resetHint: UInt64 = 0
    private var positive = Side()
    private var negative = Side()
    private var customBounds: [Double] = []

    /// Reads a message. `room` is how many buckets, bounds and spans the request may still have.
    init(
        _ cursor: inout WriteCursor, room: inout Int, _ limits: WriteRequest.Limits
    ) throws(RemoteWriteError) {
        while let key = try cursor.key() {
            switch key {
            case 1 << 3:
                integerCount = try cursor.varint()
                count = Double(integerCount)
                isFloat = false
            case 2 << 3 | 1:
                count = try cursor.double()
                isFloat = true
            case 3 << 3 | 1: sum = try cursor.double()
            case 4 << 3: schema = try cursor.zigzag()
            case 5 << 3 | 1: zeroThreshold = try cursor.double()
            case 6 << 3:
                integerZeroCount = try cursor.varint()
                zeroCount = Double(integerZeroCount)
            case 7 << 3 | 1:
                zeroCount = try cursor.double()
                integerZeroCount = UInt64(exactly: zeroCount) ?? 0
            case 8 << 3 | 2: negative.spans.append(try Self.span(&cursor))
            case 11 << 3 | 2: positive.spans.append(try Self.span(&cursor))
            case 14 << 3: resetHint = try cursor.varint()
            case 15 << 3: timestamp = try cursor.integer()
            case 17 << 3: startTimestamp = try cursor.integer()
            default: try readColumn(key, &cursor, room: room, limits)
            }
            guard partCount <= room else {
                throw .tooMany("buckets of native histograms", max: limits.bucketsMax)
            }
        }
        room -= partCount
    }

    private var partCount: Int {
        positive.spans.count + positive.deltas.count + positive.counts.count
            + negative.spans.count + negative.deltas.count + negative.counts.count
            + customBounds.count
    }

    /// The repeated numbers, packed or not.
    private mutating func readColumn(
        _ key: UInt64, _ cursor: inout WriteCursor, room: Int, _ limits: WriteRequest.Limits
    ) throws(RemoteWriteError) {
        switch key {
        case 9 << 3: negative.deltas.append(try cursor.zigzag())
        case 12 << 3: positive.deltas.append(try cursor.zigzag())
        case 10 << 3 | 1: negative.counts.append(try cursor.double())
        case 13 << 3 | 1: positive.counts.append(try cursor.double())
        case 16 << 3 | 1: customBounds.append(try cursor.double())
        case 9 << 3 | 2, 10 << 3 | 2, 12 << 3 | 2, 13 << 3 | 2, 16 << 3 | 2:
            var column = try cursor.nested(.histogram)
            // Every number takes a byte at least; a column that can't pass the limit is read without looking at it.
            guard column.end - column.at <= 8 * room else {
                throw .tooMany("buckets of native histograms", max: limits.bucketsMax)
            }
            while column.at < column.end {
                switch key >> 3 {
                case 9: negative.deltas.append(try column.zigzag())
                case 12: positive.deltas.append(try column.zigzag())
                case 10: negative.counts.append(try column.double())
                case 13: positive.counts.append(try column.double())
                default: customBounds.append(try column.double())
                }
            }
        default: try cursor.skip(key, known: 1...17)
        }
    }

    private static func span(
        _ cursor: inout WriteCursor
    ) throws(RemoteWriteError) -> (offset: Int64, length: UInt64) {
        var span = try cursor.nested(.bucketSpan)
        var result: (offset: Int64, length: UInt64) = (0, 0)
        while let key = try span.key() {
            switch key {
            case 1 << 3:
                // sint32: what is longer is cut as a decoder of 32 bits would.
                result.offset = Int64(Int32(truncatingIfNeeded: try span.zigzag()))
            case 2 << 3: result.length = try span.varint() & 0xffff_ffff
            default: try span.skip(key, known: 1...2)
            }
        }
        return result
    }

    /// Finer schemas than ours, which are merged down to it. Source: Prometheus 3.14 `remoteWriteAppender.AppendHistogram`.
    private static let mergedSchemas: ClosedRange<Int64> =
        Int64(FloatHistogram.exponentialSchemas.upperBound) + 1...52

    /// The histogram that the message says. Whether its numbers make sense is for `FloatHistogram.defect` to say, but for
    /// the count of integers, which a histogram of doubles has no more.
    func histogram() throws(HistogramDefect) -> FloatHistogram {
        guard
            let hint = UInt8(exactly: resetHint).flatMap({
                FloatHistogram.CounterResetHint(rawValue: $0)
            })
        else {
            throw HistogramDefect(description: "a native histogram has reset hint \(resetHint)")
        }
        let schemaMax = Int64(FloatHistogram.exponentialSchemas.upperBound)
        let steps = Self.mergedSchemas.contains(schema) ? schema - schemaMax : 0
        guard let schema = Int32(exactly: schema - steps) else {
            throw HistogramDefect(description: "a native histogram has schema \(schema)")
        }
        guard partCount <= Self.bucketsMax else {
            throw HistogramDefect(
                description: "a native histogram has \(partCount) buckets, bounds and spans, at "
                    + "most \(Self.bucketsMax) are taken")
        }
        let histogram = FloatHistogram(
            schema: schema, count: count, sum: sum, zeroThreshold: zeroThreshold,
            zeroCount: zeroCount, positive: try positive.buckets(isFloat: isFloat, steps: steps),
            negative: try negative.buckets(isFloat: isFloat, steps: steps),
            customBounds: customBounds, counterResetHint: hint)
        if !isFloat { try checkCount() }
        return histogram
    }

    /// Throws where the count of integers is not that of the buckets; those of doubles may differ, as Prometheus has it.
    /// Source: Prometheus 3.14 `Histogram.Validate`.
    private func checkCount() throws(HistogramDefect) {
        let counts = positive.integerCounts + negative.integerCounts
        // That is told as such.
        guard counts.allSatisfy({ $0 >= 0 }) else { return }
        let observed = counts.reduce(integerZeroCount) { $0 &+ UInt64($1) }
        // Observations of NaN are in no bucket.
        guard sum.isNaN ? observed <= integerCount : observed == integerCount else {
            throw HistogramDefect(
                description: "a native histogram's buckets have \(observed) observations, its "
                    + "count is \(integerCount)")
        }
    }
}
