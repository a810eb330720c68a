package import Model

/// Why bytes were refused as a whole. Sent again they would be refused again.
package enum WireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes are no message of this type.
    case malformed(message: String, detail: String)
    /// A bound of `WireLimits` is passed.
    case tooLarge(what: String, actual: Int, maximum: Int)
    /// A block of values ends early, has a count of its own, or holds an unknown tag; `offset` in bytes.
    case badValues(offset: Int, detail: String)

    package var description: String {
        switch self {
        case .malformed(let message, let detail): "not a \(message): \(detail)"
        case .tooLarge(let what, let actual, let maximum):
            "\(what) is \(actual), at most \(maximum)"
        case .badValues(let offset, let detail): "values, byte \(offset): \(detail)"
        }
    }
}

/// The bounds of what one batch may hold; both ends keep them.
package enum WireLimits {
    /// Bytes of a batch's payload.
    package static let payloadBytesMax = 1 << 20
    /// Samples or log entries of a batch.
    package static let recordsMax = 20_000
    /// Highest id in a dictionary, and so its definitions.
    package static let dictionaryIDMax = 1 << 18
    /// Labels of a series or stream.
    package static let labelsMax = 64
    package static let labelNameBytesMax = 1024
    package static let labelValueBytesMax = 8192
    package static let helpBytesMax = 8192
    package static let unitBytesMax = 1024
    /// Exemplars of a batch; what is past it is left out.
    package static let exemplarsMax = 1_000
    /// Bytes of an exemplar: 128 characters, and what stands around 64 labels.
    package static let exemplarBytesMax = 1024
    /// The latest start timestamp, milliseconds since the epoch: the end of the year 9999. The earliest is 1.
    package static let startTimestampMax: Int64 = 253_402_300_799_999
    /// Fields of structured metadata of one log entry.
    package static let metadataMax = 128
    package static let metadataValueBytesMax = 64 * 1024
    /// Bytes of a gap's source and detail.
    package static let gapTextBytesMax = 1024
    /// Problems named one by one; the last one stands for all that follow.
    package static let problemsMax = 100
}

/// Records of a batch that are refused while the rest is stored.
package struct RecordProblem: Hashable, Sendable {
    /// Index of the definition, scrape or log record within its list in the batch.
    package var record: Int
    /// Samples or log entries that are lost by it; 0 for a definition.
    package var count: Int
    package var reason: GapReason
    /// Names what is wrong, for a person.
    package var detail: String

    package init(record: Int, count: Int, reason: GapReason = .rejected, detail: String) {
        self.record = record
        self.count = count
        self.reason = reason
        self.detail = detail
    }
}

/// A list of problems that stops growing at `WireLimits.problemsMax` but goes on counting.
struct ProblemList {
    private(set) var problems: [RecordProblem] = []

    mutating func note(_ record: Int, lost count: Int, _ detail: String) {
        guard problems.count >= WireLimits.problemsMax else {
            problems.append(RecordProblem(record: record, count: count, detail: detail))
            return
        }
        problems[problems.count - 1].count += count
    }
}
