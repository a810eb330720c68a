import ChunkCodec
import Model
import Postgres
import Storage

/// The `data` of a row of `ingest_batch`: chunks of `Chunk.slotsMax` entries each, each behind its length (LEB128).
enum BatchData {
    /// Samples of one entry; 32 of them fit a chunk whatever their times.
    static let entrySamplesMax = Chunk.timesMax / Chunk.slotsMax

    /// One row's entries as bytes, at least one; a series' samples may be several entries.
    static func encode(_ columns: [ChunkColumn]) -> [UInt8] {
        var writer = RecordWriter()
        for start in stride(from: 0, to: columns.count, by: Chunk.slotsMax) {
            let slots = columns[start..<min(start + Chunk.slotsMax, columns.count)]
            writer.append(bytes: Chunk.encode(Array(slots)))
        }
        return writer.bytes
    }

    /// The entries of a row of `count`. Throws `corrupt`.
    static func decode(_ bytes: [UInt8], count: Int) throws(StorageError) -> [ChunkColumn] {
        var reader = RecordReader(bytes)
        var columns: [ChunkColumn] = []
        while !reader.isAtEnd {
            guard let data = try? reader.data() else {
                throw .corrupt("the data of a batch ends within a chunk")
            }
            do throws(ChunkError) {
                let chunk = try Chunk(data)
                for slot in 0..<chunk.slotCount { columns.append(try chunk.column(slot: slot)) }
            } catch { throw .corrupt("the data of a batch: \(error)") }
        }
        guard columns.count == count else {
            throw .corrupt("the data of a batch has \(columns.count) columns of \(count)")
        }
        return columns
    }
}

extension ScrapeColumns {
    /// The NaN that PostgreSQL reads from text.
    private static let textNaN = 0x7ff8_0000_0000_0000 as UInt64

    /// `series`, `vals` and `data` of its row of `ingest_batch`. Samples with start timestamps are `data`, and so are values
    /// that have a NaN of other bits, such as a staleness marker: a dump is text, in which every `float8` that is NaN reads
    /// NaN.
    var rowColumns: [PostgresValue] {
        let ids = series.map(\.rawValue)
        let isPlain =
            startTimestamps.isEmpty
            && !values.contains { $0.isNaN && $0.bitPattern != Self.textNaN }
        guard !isPlain else { return [.int4Array(ids), .float8Array(values), .null(.bytea)] }
        return [.int4Array(ids), .null(.float8Array), .bytea(BatchData.encode(chunkColumns))]
    }

    /// A column of one sample for each series.
    var chunkColumns: [ChunkColumn] {
        values.indices.map { index in
            let start = startTimestamps.isEmpty ? 0 : startTimestamps[index]
            return ChunkColumn(
                timestamps: [timestamp.rawValue], values: [values[index]],
                startTimestamps: start == 0 ? [] : [start])
        }
    }

    /// Those of a row without samples.
    static let noRowColumns: [PostgresValue] = [
        .null(.int4Array), .null(.float8Array), .null(.bytea),
    ]
}

/// A batch of pushed samples as rows of `ingest_batch`.
struct PushedRows: Sendable {
    /// Times that get a row of their own where every series has one sample: not more than a sixteenth of them.
    private static let samplesPerTimeMin = 16

    /// Rows of a time, a column of series and one of values.
    private(set) var scrapes: [ScrapeColumns] = []
    /// The entries of one row with `data`.
    private(set) var entries: [(series: SeriesID, column: ChunkColumn)] = []

    /// `places[i]` is that of `batch.runs[i]`.
    init(_ batch: SampleBatch, _ places: [SeriesPlace?]) {
        if let scrapes = Self.scrapes(batch) {
            self.scrapes = scrapes
        } else {
            entries = Self.entries(batch, places)
        }
    }

    /// The batch as scrapes; nil where it has better be chunks.
    private static func scrapes(_ batch: SampleBatch) -> [ScrapeColumns]? {
        guard batch.histograms.isEmpty, batch.startTimestamps.isEmpty,
            batch.runs.count == batch.values.count,
            batch.runs.allSatisfy({ $0.sampleCount == 1 })
        else { return nil }
        let timesMax = max(1, batch.values.count / samplesPerTimeMin)
        var rowOf: [Int64: Int] = [:]
        var rows: [(time: Int64, series: [SeriesID], values: [Double])] = []
        var last = -1
        for (index, time) in batch.timestamps.enumerated() {
            if last < 0 || rows[last].time != time {
                last = rowOf[time] ?? rows.count
                if last == rows.count {
                    guard rows.count < timesMax else { return nil }
                    rowOf[time] = last
                    rows.append((time, [], []))
                }
            }
            rows[last].series.append(batch.runs[index].series)
            rows[last].values.append(batch.values[index])
        }
        return rows.map { row in
            var seen: Set<SeriesID> = Set(minimumCapacity: row.series.count)
            guard row.series.contains(where: { !seen.insert($0).inserted }) else {
                return ScrapeColumns(
                    timestamp: TimestampMS(row.time), series: row.series, values: row.values)
            }
            // A series twice at one time: the last counts.
            var newest: [SeriesID: Double] = [:]
            for (series, value) in zip(row.series, row.values) { newest[series] = value }
            let order = newest.keys.sorted()
            return ScrapeColumns(
                timestamp: TimestampMS(row.time), series: order,
                values: order.map { newest[$0] ?? .nan })
        }
    }

    /// One column a series, neighbours side by side, cut where it is longer than an entry may be.
    private static func entries(
        _ batch: SampleBatch, _ places: [SeriesPlace?]
    ) -> [(series: SeriesID, column: ChunkColumn)] {
        var columns: [(series: SeriesID, place: SeriesPlace?, column: ChunkColumn)] = []
        var indexOf: [SeriesID: Int] = [:]
        var sample = 0
        var histogram = 0
        for (run, place) in zip(batch.runs, places) {
            let column = column(
                batch, sample..<sample + run.sampleCount,
                histogram..<histogram + run.histogramCount)
            sample += run.sampleCount
            histogram += run.histogramCount
            if let known = indexOf[run.series] {
                columns[known].column.merge(column)
            } else {
                indexOf[run.series] = columns.count
                columns.append((run.series, place, column))
            }
        }
        // A chunk's series share a time column, which those of one target have in common.
        columns.sort { a, b in
            (a.place?.group ?? 0, a.place?.slot ?? 0) < (b.place?.group ?? 0, b.place?.slot ?? 0)
        }
        return columns.filter { !$0.column.isEmpty }.flatMap { series, _, column in
            cut(column).map { (series, $0) }
        }
    }

    private static func column(
        _ batch: SampleBatch, _ samples: Range<Int>, _ histograms: Range<Int>
    ) -> ChunkColumn {
        let times = batch.timestamps[samples]
        let starts = batch.startTimestamps.isEmpty ? [] : batch.startTimestamps[samples]
        let hasStarts = starts.contains { $0 != 0 }
        var result = ChunkColumn()
        if zip(times, times.dropFirst()).allSatisfy({ $0 < $1 }) {
            result = ChunkColumn(
                timestamps: Array(times), values: Array(batch.values[samples]),
                startTimestamps: hasStarts ? Array(starts) : [])
        } else {
            for index in samples {
                result.insert(
                    batch.timestamps[index], batch.values[index],
                    start: hasStarts ? batch.startTimestamps[index] : 0)
            }
        }
        for index in histograms { result.insert(batch.histograms[index]) }
        return result
    }

    private static func cut(_ column: ChunkColumn) -> [ChunkColumn] {
        guard column.count > BatchData.entrySamplesMax else { return [column] }
        // Of so many times, each of another sample, one part of either half is smaller than the whole.
        let times = (column.timestamps + column.histograms.map(\.timestamp)).sorted()
        let middle = times[times.count / 2 - 1]
        return cut(column.cut(after: .min, through: middle))
            + cut(column.cut(after: middle, through: .max))
    }
}
