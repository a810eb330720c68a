import LogBlock
import Model
import Postgres
import Storage

/// Columns of a row of `log_batch` that `logLines` takes, and those of one of `log_block`.
let logBatchColumnsSQL = "ts, levels, level_names, meta, lines, odd, NULL::bytea"
let logBlockColumnsSQL = "ts, levels, level_names, meta, lines, odd, packed"
/// Their number.
let logColumnCount = 7

/// A row of log lines in the making.
struct LogRow: Sendable {
    var stream: Int32
    var columns: LogBlockColumns

    /// The values of `columnNames`.
    var values: [PostgresValue] {
        [
            .int4(stream), .int8(columns.timestamps.first ?? 0),
            .int8(columns.timestamps.last ?? 0), .int4(Int32(columns.lineCount)),
            .int4(Int32(clamping: columns.byteCount)), .int4Array(columns.rates),
            .textArray(columns.levelNames.map { withoutNUL($0) }), .int8Array(columns.timestamps),
            .bytea(columns.levels),
            columns.metadata.isEmpty ? .null(.bytea) : .bytea(columns.metadata),
            .utf8(columns.text),
            columns.oddLines.isEmpty ? .null(.bytea) : .bytea(columns.oddLines),
            .textArray(columns.fieldNames.map { withoutNUL($0) }),
        ]
    }

    static let columnNames =
        "stream_id, first_ns, last_ns, line_count, byte_count, rates, level_names, ts, levels, meta, "
        + "lines, odd, fields"
    static let columnCount = 13

    /// The rows of entries of one stream, in any order; entries of one time stay in theirs.
    static func rows(_ entries: [LogEntry], of stream: Int32) -> [LogRow] {
        LogBlockColumns.cut(inTimeOrder(entries)).map {
            LogRow(stream: stream, columns: LogBlockColumns($0))
        }
    }

    /// Sorted by time, stably.
    static func inTimeOrder(_ entries: [LogEntry]) -> [LogEntry] {
        let isSorted = zip(entries, entries.dropFirst()).allSatisfy { $0.timestamp <= $1.timestamp }
        guard !isSorted else { return entries }
        return entries.enumerated().sorted {
            ($0.element.timestamp, $0.offset) < ($1.element.timestamp, $1.offset)
        }.map(\.element)
    }
}

extension PostgresRows {
    /// The lines of a row with the columns of `logBatchColumnsSQL` or `logBlockColumnsSQL` from `column` on. `name` says which row it is.
    func logLines(_ row: Int, _ column: Int, name: String) throws -> LogBlockLines {
        let names = try textArray(row, column + 2).map { $0 ?? "" }
        do throws(LogBlockError) {
            let text =
                isNull(row, column + 6)
                ? bytes(row, column + 4) : try PackedText.unpack(bytes(row, column + 6))
            return try LogBlockLines(
                timestamps: (try? int8Array(row, column)) ?? [], levelNames: names,
                levels: bytes(row, column + 1), text: text,
                oddLines: bytes(row, column + 5), metadata: bytes(row, column + 3))
        } catch { throw StorageError.corrupt("\(name): \(error)") }
    }
}

extension LogBlockLines {
    /// All entries. Throws `corrupt`.
    func entries(name: String) throws(StorageError) -> [LogEntry] {
        do throws(LogBlockError) {
            var entries: [LogEntry] = []
            entries.reserveCapacity(count)
            for index in 0..<count { entries.append(try entry(index)) }
            return entries
        } catch { throw .corrupt("\(name): \(error)") }
    }
}

/// What log entries a batch has that are stored, and what becomes of the others.
struct TakenLogs: Sendable {
    var rows: [LogRow] = []
    /// Streams and entries as they are stored.
    var streams: [LogStream] = []
    /// Of entries that are older than the retention.
    var tooOld: GapRecord?

    /// A field of an entry whose time was too far ahead: RFC 3339.
    static let originalTimeField = "petrel_original_timestamp"

    var entryCount: Int { rows.reduce(0) { $0 + $1.columns.lineCount } }

    /// None.
    init() {}

    /// `numbers[i]` is that of `contents[i]`. Entries of times before `oldest` are left out, those after `newest` are stored
    /// at `receivedAt` with their time beside them: a host's wrong clock costs no line.
    init(
        _ contents: [LogStream], numbers: ArraySlice<Int32>, oldest: Int64, newest: Int64,
        receivedAt: TimestampNS
    ) {
        var oldCount = 0
        var oldSpan: (from: TimestampNS, to: TimestampNS)?
        for (stream, number) in zip(contents, numbers) {
            let isTimely = stream.entries.allSatisfy {
                (oldest...newest).contains($0.timestamp.rawValue)
            }
            var kept = stream
            if !isTimely {
                kept.entries = stream.entries.compactMap { entry in
                    let time = entry.timestamp
                    guard time.rawValue >= oldest else {
                        oldCount += 1
                        oldSpan = (
                            min(oldSpan?.from ?? time, time), max(oldSpan?.to ?? time, time)
                        )
                        return nil
                    }
                    return time.rawValue <= newest ? entry : Self.moved(entry, to: receivedAt)
                }
            }
            guard !kept.entries.isEmpty else { continue }
            rows += LogRow.rows(kept.entries, of: number)
            streams.append(kept)
        }
        guard let oldSpan else { return }
        tooOld = GapRecord(
            reason: .clock, count: UInt64(oldCount), from: oldSpan.from, to: oldSpan.to,
            detail: "log lines older than the retention by the collector's clock")
    }

    private static func moved(_ entry: LogEntry, to time: TimestampNS) -> LogEntry {
        var moved = entry
        moved.timestamp = time
        var labels = Array(entry.metadata)
        labels.removeAll { $0.name == originalTimeField }
        labels.append(Label(originalTimeField, RFC3339.text(entry.timestamp)))
        moved.metadata = Labels(labels)
        return moved
    }
}
