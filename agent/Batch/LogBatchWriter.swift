import Model
package import Storage
import Wire

/// Turns collected log entries into spooled payloads, naming each stream once per dictionary.
package struct LogBatchWriter: Sendable {
    private var dictionary: SpoolDictionary?
    private var ids: [Labels: UInt32] = [:]

    package init() {}

    /// Hands a batch to the spool: one payload where it fits, and its gaps. The positions go with the last append, so
    /// that a crash before it reads all of the batch again. Throws where the spool refuses: what was handed over
    /// before stays, and writing the batch again would repeat it; so a batch should fit one payload, which
    /// `LogBatchCollector` sees to for chunks within its bounds.
    package mutating func write(
        _ batch: CollectedLogs, to sink: some SpoolSink
    ) throws(BatchError) -> WrittenBatch {
        var written = WrittenBatch()
        var problem = ""
        var items: [LogReadChunk.Item] = []
        items.reserveCapacity(batch.items.count)
        for item in batch.items {
            let reason =
                LogPayloadBuilder.problem(with: item.stream)
                ?? LogPayloadBuilder.problem(with: item.entry)
            if let reason {
                written.refused += 1
                if problem.isEmpty { problem = reason }
            } else {
                items.append(item)
            }
        }
        var gaps = batch.gaps
        if written.refused > 0 {
            gaps.append(
                GapRecord(reason: .recordCut, count: UInt64(written.refused), detail: problem))
        }
        var start = 0
        while start < items.count {
            let part = try writePart(
                items, from: start, to: sink, positions: gaps.isEmpty ? batch.positions : [])
            start += part
            written.records += part
            written.batches += 1
        }
        do {
            for (index, gap) in gaps.enumerated() {
                let isLast = index == gaps.count - 1
                try sink.append(gap, positions: isLast ? batch.positions : [])
            }
        } catch { throw .spool(error) }
        return written
    }

    /// Entries handed over; `positions` only with the last part.
    private mutating func writePart(
        _ items: [LogReadChunk.Item], from start: Int, to sink: some SpoolSink,
        positions: [SourcePosition]
    ) throws(BatchError) -> Int {
        do {
            var current = try dictionary ?? sink.dictionary(forPayloadBytes: 0)
            for _ in 0..<BatchError.attemptsMax {
                var known = dictionary == current ? ids : [:]
                let (payload, count) = Self.encode(items, from: start, &known)
                let isLast = start + count == items.count
                let outcome = try sink.append(
                    .logs, recordCount: count, payload: payload,
                    positions: isLast ? positions : [], dictionary: current)
                switch outcome {
                case .appended:
                    dictionary = current
                    ids = known
                    return count
                case .dictionaryChanged(let changed):
                    current = changed
                }
            }
        } catch {
            throw .spool(error)
        }
        throw .dictionaryUnsettled(attempts: BatchError.attemptsMax)
    }

    private static func encode(
        _ items: [LogReadChunk.Item], from start: Int, _ ids: inout [Labels: UInt32]
    ) -> ([UInt8], Int) {
        var builder = LogPayloadBuilder()
        for item in items[start...] {
            let definition = item.stream.reduce(64) {
                $0 + $1.name.utf8.count + $1.value.utf8.count + 8
            }
            let bytes = LogPayloadBuilder.bytesBound(item.entry) + definition
            guard
                builder.count == 0
                    || builder.count < WireLimits.recordsMax
                        && builder.bytesBound + bytes <= WireLimits.payloadBytesMax
            else { break }
            if ids[item.stream] == nil, ids.count < WireLimits.dictionaryIDMax {
                ids[item.stream] = UInt32(ids.count + 1)
                builder.define(UInt32(ids.count), item.stream)
            }
            builder.add(ids[item.stream] ?? 0, item.entry)
        }
        return (builder.finish(), builder.count)
    }
}
