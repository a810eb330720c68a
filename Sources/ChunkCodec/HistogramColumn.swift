import Model

/// Native histograms, bit for bit: layouts once, then every number as a column over the samples.
///
///     layout count   then per layout: schema signed   zero threshold 64 bits   positive, negative indices: count,
///                    then distances signed   custom bounds: count, then 64 bits each
///     integer columns: layout of each sample (where there are several), counter reset hint, start timestamp
///     value columns: count, sum, zero count
///     per layout and bucket, positive ones first: a value column over the samples of that layout
enum HistogramColumn {
    /// Bucket counts of one column; what would be more is no chunk of ours.
    static let countsMax = 1 << 24

    /// What samples of one shape share.
    private struct Layout: Hashable {
        var schema: Int32
        var zeroThreshold: UInt64
        var positive: [Int32]
        var negative: [Int32]
        var customBounds: [UInt64]

        init(_ histogram: FloatHistogram) {
            schema = histogram.schema
            zeroThreshold = histogram.zeroThreshold.bitPattern
            positive = histogram.positive.indices
            negative = histogram.negative.indices
            customBounds = histogram.customBounds.map(\.bitPattern)
        }

        init(_ cursor: inout ChunkCursor) throws(ChunkError) {
            let number = try cursor.signed()
            guard let schema = Int32(exactly: number) else {
                throw ChunkError("a histogram of schema \(number) before byte \(cursor.at)")
            }
            self.schema = schema
            zeroThreshold = try cursor.bits().bitPattern
            positive = try Self.indices(&cursor)
            negative = try Self.indices(&cursor)
            customBounds = []
            for _ in 0..<(try cursor.count("bounds", max: cursor.left / 8)) {
                customBounds.append(try cursor.bits().bitPattern)
            }
        }

        private static func indices(_ cursor: inout ChunkCursor) throws(ChunkError) -> [Int32] {
            var result: [Int32] = []
            var last: Int64 = 0
            for number in 0..<(try cursor.count("buckets", max: cursor.left)) {
                let (next, overflow) = last.addingReportingOverflow(try cursor.signed())
                guard !overflow, let index = Int32(exactly: next), number == 0 || next > last
                else { throw ChunkError("buckets that do not ascend before byte \(cursor.at)") }
                result.append(index)
                last = next
            }
            return result
        }

        func write(to writer: inout ChunkWriter) {
            writer.append(signed: Int64(schema))
            writer.append(zeroThreshold, bytes: 8)
            for indices in [positive, negative] {
                writer.append(varint: indices.count)
                var last: Int64 = 0
                for index in indices {
                    writer.append(signed: Int64(index) - last)
                    last = Int64(index)
                }
            }
            writer.append(varint: customBounds.count)
            for bound in customBounds { writer.append(bound, bytes: 8) }
        }
    }

    static func write(_ samples: [HistogramSample], to writer: inout ChunkWriter) {
        var layouts: [Layout] = []
        var numbers: [Layout: Int] = [:]
        let layoutOf = samples.map { sample in
            let layout = Layout(sample.histogram)
            if let number = numbers[layout] { return number }
            numbers[layout] = layouts.count
            layouts.append(layout)
            return layouts.count - 1
        }
        writer.append(varint: layouts.count)
        for layout in layouts { layout.write(to: &writer) }
        if layouts.count > 1 { IntegerColumn.write(layoutOf.map { Int64($0) }, to: &writer) }
        IntegerColumn.write(
            samples.map { Int64($0.histogram.counterResetHint.rawValue) }, to: &writer)
        IntegerColumn.write(samples.map(\.startTimestamp), to: &writer)
        ValueColumn.write(samples.map(\.histogram.count), to: &writer)
        ValueColumn.write(samples.map(\.histogram.sum), to: &writer)
        ValueColumn.write(samples.map(\.histogram.zeroCount), to: &writer)
        for (number, layout) in layouts.enumerated() {
            let members = layoutOf.indices.filter { layoutOf[$0] == number }
            for bucket in layout.positive.indices {
                ValueColumn.write(
                    members.map { samples[$0].histogram.positive.counts[bucket] }, to: &writer)
            }
            for bucket in layout.negative.indices {
                ValueColumn.write(
                    members.map { samples[$0].histogram.negative.counts[bucket] }, to: &writer)
            }
        }
    }

    /// Reads a histogram for each of `timestamps`, of which there is one at least.
    static func read(
        _ cursor: inout ChunkCursor, at timestamps: [Int64]
    ) throws(ChunkError) -> [HistogramSample] {
        let count = timestamps.count
        var layouts: [Layout] = []
        for _ in 0..<(try cursor.count("layouts", max: count)) {
            layouts.append(try Layout(&cursor))
        }
        guard !layouts.isEmpty else { throw ChunkError("histograms without a layout") }
        let layoutOf =
            layouts.count > 1
            ? try cursor.integers(count) : [Int64](repeating: 0, count: count)
        let hints = try cursor.integers(count)
        let starts = try cursor.integers(count)
        let counts = try cursor.values(count)
        let sums = try cursor.values(count)
        let zeros = try cursor.values(count)
        // Each bucket of a layout has a column of two bytes at least; a sample has one layout's buckets.
        let bucketsMax = layouts.map { $0.positive.count + $0.negative.count }.max() ?? 0
        guard bucketsMax * count <= countsMax else {
            throw ChunkError("\(bucketsMax) buckets in \(count) histograms")
        }
        var samples: [HistogramSample] = []
        samples.reserveCapacity(count)
        var members = [[Int]](repeating: [], count: layouts.count)
        for index in 0..<count {
            guard layouts.indices.contains(Int(layoutOf[index])),
                let hint = UInt8(exactly: hints[index]).flatMap({
                    FloatHistogram.CounterResetHint(rawValue: $0)
                })
            else { throw ChunkError("a histogram of unknown layout or hint") }
            let layout = layouts[Int(layoutOf[index])]
            members[Int(layoutOf[index])].append(index)
            samples.append(
                HistogramSample(
                    timestamps[index],
                    FloatHistogram(
                        schema: layout.schema, count: counts[index], sum: sums[index],
                        zeroThreshold: Double(bitPattern: layout.zeroThreshold),
                        zeroCount: zeros[index], positive: empty(layout.positive),
                        negative: empty(layout.negative),
                        customBounds: layout.customBounds.map { Double(bitPattern: $0) },
                        counterResetHint: hint), startTimestamp: starts[index]))
        }
        for (number, layout) in layouts.enumerated() {
            for bucket in layout.positive.indices {
                let column = try cursor.values(members[number].count)
                for (value, index) in zip(column, members[number]) {
                    samples[index].histogram.positive.counts[bucket] = value
                }
            }
            for bucket in layout.negative.indices {
                let column = try cursor.values(members[number].count)
                for (value, index) in zip(column, members[number]) {
                    samples[index].histogram.negative.counts[bucket] = value
                }
            }
        }
        return samples
    }

    private static func empty(_ indices: [Int32]) -> FloatHistogram.Buckets {
        FloatHistogram.Buckets(
            indices: indices, counts: [Double](repeating: 0, count: indices.count))
    }
}

extension FloatHistogram {
    /// Of both signs.
    var bucketCount: Int { positive.indices.count + negative.indices.count }
}
