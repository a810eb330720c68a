package import Model

/// What blocks must have for a line of theirs to be wanted; what is asked can only rule blocks out.
package struct LogProbe: Sendable {
    /// Hashes of trigrams; see `TrigramFilter`.
    package private(set) var trigrams: [UInt32] = []
    /// Each must be in a block's filter of ids.
    package private(set) var words: [UInt64] = []
    /// Each must be in a block's filter of ids, unless the block has a long run.
    package private(set) var traces: [UInt64] = []
    /// Of `words`, those that the filters of traces have as well: traces, UUIDs, and fields that name traces.
    package private(set) var wholeTraces: [UInt64] = []

    /// More trigrams of a needle than this tell little.
    private static let trigramsMax = 64

    /// Fields whose values are in the filters of traces.
    package static let traceFields: Set<String> = ["trace_id", "request_id"]

    /// For lines that contain all of `needles` and have all of `fields`.
    package init(needles: [[UInt8]], fields: [Label] = []) {
        for needle in needles {
            for hash in TrigramFilter.hashes(of: needle) where trigrams.count < Self.trigramsMax {
                trigrams.append(hash)
            }
            needle.withUnsafeBufferPointer { insert(needle: $0) }
        }
        for field in fields where !field.value.isEmpty {
            let hash = LogHash.hash(field.value.utf8)
            words.append(hash)
            if Self.traceFields.contains(field.name) { wholeTraces.append(hash) }
        }
    }

    package var isEmpty: Bool { trigrams.isEmpty && words.isEmpty && traces.isEmpty }
    package var hasIds: Bool { !words.isEmpty || !traces.isEmpty }
    package var hasTraces: Bool { !traces.isEmpty || !wholeTraces.isEmpty }

    /// What stands at an end of the needle may go on beyond it in the line.
    private mutating func insert(needle: UnsafeBufferPointer<UInt8>) {
        var scanner = TokenScanner(needle)
        while let token = scanner.next() {
            switch token {
            case .word(let range, let isTrace):
                let isWhole = range.lowerBound > 0 && range.upperBound < needle.count
                let hash = LogHash.hash(needle[range])
                // Digits may be part of a number whose point lies beyond.
                if isWhole {
                    words.append(hash)
                    if isTrace { wholeTraces.append(hash) }
                } else if isTrace {
                    traces.append(hash)
                }
            case .uuid(let range):
                words.append(LogHash.hash(needle[range]))
                wholeTraces.append(LogHash.hash(needle[range]))
            case .address(let range):
                if range.lowerBound > 0, range.upperBound < needle.count {
                    words.append(LogHash.hash(needle[range]))
                }
            case .longRun: break
            }
        }
    }

    /// Whether a group of blocks, or a block, may have what the filter of traces has.
    package func mayPass(traceFilter: BlockFilter, hasLongRun: Bool) -> Bool {
        wholeTraces.allSatisfy(traceFilter.mayContain)
            && (hasLongRun || traces.allSatisfy(traceFilter.mayContain))
    }

    package func mayPass(idFilter: BlockFilter, hasLongRun: Bool) -> Bool {
        words.allSatisfy(idFilter.mayContain)
            && (hasLongRun || traces.allSatisfy(idFilter.mayContain))
    }
}
