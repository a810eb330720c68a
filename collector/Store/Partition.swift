/// A table of one hour or day.
struct Partition: Sendable {
    enum Kind: Hashable, Sendable {
        case ingest
        case logBatch
        case logBlock
        /// Of a retention class.
        case chunk(Int16)
        case exemplar
    }

    var name: String
    var kind: Kind
    /// Hours or days since the Unix epoch.
    var number: Int32
    /// Of what is in it, its indexes and its large values.
    var bytes: Int
    var isAttached: Bool
    /// A detach that was interrupted must be finished first.
    var isDetachPending: Bool

    /// The table that it is a partition of.
    var parent: String {
        switch kind {
        case .ingest: "ingest_batch"
        case .logBatch: "log_batch"
        case .logBlock: "log_block"
        case .chunk(let number): "chunk_c\(number)"
        case .exemplar: "exemplar"
        }
    }

    /// As metrics call it.
    var relation: String {
        switch kind {
        case .ingest: "ingest_batch"
        case .logBatch: "log_batch"
        case .logBlock: "log_block"
        case .chunk: "chunk"
        case .exemplar: "exemplar"
        }
    }

    /// Whether it is of the log of what came, which goes when all of it stands elsewhere.
    var isOfArrival: Bool { kind == .ingest || kind == .logBatch }

    /// `chunk_d20628`, `chunk_c1_d20628`, `ingest_batch_h495082`, `log_block_d20628`; nil for other names.
    static func parse(_ name: String) -> (kind: Kind, number: Int32)? {
        let parts = name.split(separator: "_")
        guard let last = parts.last, let number = Int32(last.dropFirst()) else { return nil }
        switch (parts.dropLast().joined(separator: "_"), last.first) {
        case ("ingest_batch", "h"): return (.ingest, number)
        case ("log_batch", "h"): return (.logBatch, number)
        case ("log_block", "d"): return (.logBlock, number)
        case ("chunk", "d"): return (.chunk(0), number)
        case ("exemplar", "d"): return (.exemplar, number)
        case (let parent, "d"):
            guard parent.hasPrefix("chunk_c"), let of = Int16(parent.dropFirst(7)) else {
                return nil
            }
            return (.chunk(of), number)
        default: return nil
        }
    }
}

/// Why a partition goes.
enum DropReason: String, Hashable, Sendable, CaseIterable {
    case age, size
}
