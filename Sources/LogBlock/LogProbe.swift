package import Model

/// What blocks must have for a line of theirs to be wanted; what is asked can only rule blocks out.
package struct LogProbe: Sendable {
    /// Hashes of trigrams; see `TrigramFilter`.
    package private(set) var trigrams: [UInt32] = []
    /// Each must be in a block's filter of ids.
    private var words: [UInt64] = []
    /// Each must be in a block's filter of ids, unless the block has a long run.
    private var traces: [UInt64] = []
    /// Of `words`, those that the filters of traces have as well: traces, UUIDs, and fields that name traces.
    private var wholeTraces: [UInt64] = []

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

    /// Hashes that a filter must have.
    package struct Ids: Sendable {
        package let hashes: [UInt64]
        /// Hashes from here on say nothing of who has a long run.
        private let bareStart: Int

        fileprivate init(_ sure: [UInt64], bare: [UInt64]) {
            hashes = sure + bare
            bareStart = sure.count
        }

        /// Whether lines that are wanted may be there. `mayContain` asks the filter for the hash at an index.
        package func mayPass(
            hasLongRun: Bool, _ mayContain: (_ index: Int, _ hash: UInt64) -> Bool
        ) -> Bool {
            hashes.indices.allSatisfy { index in
                hasLongRun && index >= bareStart || mayContain(index, hashes[index])
            }
        }
    }

    /// Of a block's filter of ids.
    package var blockIds: Ids { Ids(words, bare: traces) }
    /// Of a filter of traces.
    package var groupIds: Ids { Ids(wholeTraces, bare: traces) }

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
}
