package import Model

/// Samples of one series as a chunk takes and gives them: `timestamps[i]` belongs to `values[i]`.
package struct ChunkColumn: Hashable, Sendable {
    /// Milliseconds since the epoch, strictly ascending.
    package var timestamps: [Int64]
    /// Any bit pattern.
    package var values: [Double]
    /// When the counting of `values[i]` began, 0 where it isn't known; empty where it is known of none.
    package var startTimestamps: [Int64]
    /// At times of their own, strictly ascending; a time has a value or a histogram.
    package var histograms: [HistogramSample]

    /// Traps on columns of different length.
    package init(
        timestamps: [Int64] = [], values: [Double] = [], startTimestamps: [Int64] = [],
        histograms: [HistogramSample] = []
    ) {
        precondition(
            timestamps.count == values.count
                && (startTimestamps.isEmpty || startTimestamps.count == values.count),
            "columns of different length")
        self.timestamps = timestamps
        self.values = values
        self.startTimestamps = startTimestamps
        self.histograms = histograms
    }

    package var isEmpty: Bool { timestamps.isEmpty && histograms.isEmpty }
    /// Values and histograms.
    package var count: Int { timestamps.count + histograms.count }
    /// The earliest time; nil where there is none.
    package var first: Int64? {
        guard let histogram = histograms.first?.timestamp else { return timestamps.first }
        return min(histogram, timestamps.first ?? histogram)
    }
    /// The latest time; nil where there is none.
    package var last: Int64? {
        guard let histogram = histograms.last?.timestamp else { return timestamps.last }
        return max(histogram, timestamps.last ?? histogram)
    }

    // MARK: Changing

    /// Puts a value at its place in time. What was there at the same time is replaced. `start`: 0 where it isn't known.
    package mutating func insert(_ timestamp: Int64, _ value: Double, start: Int64 = 0) {
        let hasStarts = start != 0 || !startTimestamps.isEmpty
        if hasStarts, startTimestamps.isEmpty {
            startTimestamps = [Int64](repeating: 0, count: timestamps.count)
        }
        if let last = timestamps.last, last >= timestamp {
            let index = firstIndex(in: timestamps) { $0 >= timestamp }
            if timestamps[index] == timestamp {
                values[index] = value
                if hasStarts { startTimestamps[index] = start }
            } else {
                timestamps.insert(timestamp, at: index)
                values.insert(value, at: index)
                if hasStarts { startTimestamps.insert(start, at: index) }
            }
        } else {
            timestamps.append(timestamp)
            values.append(value)
            if hasStarts { startTimestamps.append(start) }
        }
        if let last = histograms.last?.timestamp, last >= timestamp {
            histograms.removeAll { $0.timestamp == timestamp }
        }
    }

    /// Puts a histogram at its place in time. What was there at the same time is replaced.
    package mutating func insert(_ sample: HistogramSample) {
        let index = firstIndex(in: histograms) { $0.timestamp >= sample.timestamp }
        if index < histograms.count, histograms[index].timestamp == sample.timestamp {
            histograms[index] = sample
        } else {
            histograms.insert(sample, at: index)
        }
        guard let last = timestamps.last, last >= sample.timestamp else { return }
        let at = firstIndex(in: timestamps) { $0 >= sample.timestamp }
        guard timestamps[at] == sample.timestamp else { return }
        timestamps.remove(at: at)
        values.remove(at: at)
        if !startTimestamps.isEmpty { startTimestamps.remove(at: at) }
    }

    /// Takes in samples that were received later: at equal times they count.
    package mutating func merge(_ later: ChunkColumn) {
        guard let start = later.first else { return }
        guard let last, last >= start else { return append(later) }
        // One pass where it is numbers alone; what else overlaps is rare.
        guard histograms.isEmpty, later.histograms.isEmpty, startTimestamps.isEmpty,
            later.startTimestamps.isEmpty
        else {
            for index in later.timestamps.indices {
                insert(
                    later.timestamps[index], later.values[index],
                    start: later.startTimestamps.isEmpty ? 0 : later.startTimestamps[index])
            }
            for sample in later.histograms { insert(sample) }
            return
        }
        // What is earlier stays where it is.
        let low = firstIndex(in: timestamps) { $0 >= start }
        var mergedTimes: [Int64] = []
        var mergedValues: [Double] = []
        mergedTimes.reserveCapacity(timestamps.count - low + later.timestamps.count)
        mergedValues.reserveCapacity(timestamps.count - low + later.timestamps.count)
        var old = low
        for new in later.timestamps.indices {
            let time = later.timestamps[new]
            while old < timestamps.count, timestamps[old] < time {
                mergedTimes.append(timestamps[old])
                mergedValues.append(values[old])
                old += 1
            }
            if old < timestamps.count, timestamps[old] == time { old += 1 }
            mergedTimes.append(time)
            mergedValues.append(later.values[new])
        }
        mergedTimes += timestamps[old...]
        mergedValues += values[old...]
        timestamps.replaceSubrange(low..., with: mergedTimes)
        values.replaceSubrange(low..., with: mergedValues)
    }

    /// `pieces` as one column; at equal times those later in the list count. See `JoinedTimes`.
    package static func joined(
        _ pieces: [ChunkColumn], _ times: inout JoinedTimes
    ) -> ChunkColumn {
        guard pieces.count > 1 else { return pieces.first ?? ChunkColumn() }
        let runs = runs(of: pieces)
        let isPlain = runs.allSatisfy { $0.startTimestamps.isEmpty && $0.histograms.isEmpty }
        guard isPlain, runs.count > 1 else {
            return runs.dropFirst().reduce(into: runs.first ?? ChunkColumn()) { $0.merge($1) }
        }
        var values: [Double] = []
        values.reserveCapacity(runs.reduce(0) { $0 + $1.values.count })
        for run in runs { values += run.values }
        return ChunkColumn(timestamps: times.joined(runs), values: values)
    }

    /// `pieces` as columns of which each is later than the one before: what overlaps is merged.
    private static func runs(of pieces: [ChunkColumn]) -> [ChunkColumn] {
        var runs: [ChunkColumn] = []
        runs.reserveCapacity(pieces.count)
        for piece in pieces {
            guard let first = piece.first else { continue }
            guard let last = runs.last?.last, last >= first else {
                runs.append(piece)
                continue
            }
            while runs.count > 1, let before = runs[runs.count - 2].last, before >= first {
                let later = runs.removeLast()
                runs[runs.count - 1].merge(later)
            }
            runs[runs.count - 1].merge(piece)
        }
        return runs
    }

    /// Appends samples that are all later in time.
    private mutating func append(_ other: ChunkColumn) {
        if startTimestamps.isEmpty != other.startTimestamps.isEmpty {
            if startTimestamps.isEmpty {
                startTimestamps = [Int64](repeating: 0, count: timestamps.count)
                startTimestamps += other.startTimestamps
            } else {
                startTimestamps += [Int64](repeating: 0, count: other.timestamps.count)
            }
        } else {
            startTimestamps += other.startTimestamps
        }
        timestamps += other.timestamps
        values += other.values
        histograms += other.histograms
    }

    // MARK: Cutting

    /// The samples in (after, through].
    package func cut(after: Int64, through: Int64) -> ChunkColumn {
        guard let first, let last else { return self }
        if first > after, last <= through { return self }
        let low = firstIndex(in: timestamps) { $0 > after }
        let high = max(low, firstIndex(in: timestamps) { $0 > through })
        let lowHistogram = firstIndex(in: histograms) { $0.timestamp > after }
        let highHistogram = max(
            lowHistogram, firstIndex(in: histograms) { $0.timestamp > through })
        return ChunkColumn(
            timestamps: Array(timestamps[low..<high]), values: Array(values[low..<high]),
            startTimestamps: startTimestamps.isEmpty ? [] : Array(startTimestamps[low..<high]),
            histograms: Array(histograms[lowHistogram..<highHistogram]))
    }
}

/// The times of the columns that were joined last. Series of one target have the same ones, and so their columns share one
/// buffer instead of holding a copy each.
package struct JoinedTimes: Sendable {
    private var parts: [[Int64]] = []
    private var whole: [Int64] = []

    package init() {}

    fileprivate mutating func joined(_ pieces: [ChunkColumn]) -> [Int64] {
        // Columns of one chunk have their times in one buffer, so that comparing them is mostly comparing addresses.
        let isKnown =
            parts.count == pieces.count
            && zip(parts, pieces).allSatisfy { $0 == $1.timestamps }
        guard !isKnown else { return whole }
        parts = pieces.map(\.timestamps)
        whole = Array(parts.joined())
        return whole
    }
}

/// The first index of a sorted array at which `isPast` holds; its count where it holds nowhere.
private func firstIndex<Element>(
    in array: [Element], where isPast: (Element) -> Bool
) -> Int {
    var low = 0
    var high = array.count
    while low < high {
        let middle = (low + high) / 2
        if isPast(array[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
}
