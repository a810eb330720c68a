/// The name of a host of the fleet: 1-63 characters of `a-z 0-9 - .`, beginning and ending with a letter or digit.
package struct HostName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let text: String

    /// Nil where `text` breaks the rule above.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        let isAlphanumeric = { (b: UInt8) in (97...122).contains(b) || (48...57).contains(b) }
        guard (1...63).contains(bytes.count), isAlphanumeric(bytes[0]),
            isAlphanumeric(bytes[bytes.count - 1]),
            bytes.allSatisfy({ isAlphanumeric($0) || $0 == 45 || $0 == 46 })
        else { return nil }
        self.text = text
    }

    package var description: String { text }
    package static func < (a: Self, b: Self) -> Bool { bytesPrecede(a.text, b.text) }
}

/// The two streams of an agent; each has a spool, a connection and a sequence of its own.
package enum StreamKind: UInt8, Hashable, Sendable, CaseIterable {
    case metrics = 1
    case logs = 2

    package var name: String {
        switch self {
        case .metrics: "metrics"
        case .logs: "logs"
        }
    }
}

/// The place of a batch in a stream: contiguous from 1 within an epoch. An epoch is minted at random when a spool is
/// made or when recovery finds a loss it cannot account for.
package struct BatchPosition: Hashable, Sendable {
    package var epoch: UInt64
    package var sequence: UInt64

    package init(epoch: UInt64, sequence: UInt64) {
        self.epoch = epoch
        self.sequence = sequence
    }
}

/// Why records were lost. The raw value is the `reason` label of metrics and the text in the database.
package enum GapReason: String, Hashable, Sendable, CaseIterable {
    case spoolFull = "spool_full"
    case recordCut = "record_cut"
    case decodeError = "decode_error"
    case journaldVacuum = "journald_vacuum"
    case journaldSuppressed = "journald_suppressed"
    case fileLost = "file_lost"
    case tornTail = "torn_tail"
    case corruptSegment = "corrupt_segment"
    case rateLimited = "rate_limited"
    case seriesLimited = "series_limited"
    case clock = "clock"
    case rejected = "rejected"
    case restore = "restore"
}

/// A loss that happened and is accounted for: the record that stands in a stream where records are missing.
package struct GapRecord: Hashable, Sendable {
    package var reason: GapReason
    /// How many records (samples or log entries) are missing; 0 where it can't be known.
    package var count: UInt64
    /// Time range of what is missing, both ends inclusive; nil where unknown.
    package var from: TimestampNS?
    package var to: TimestampNS?
    /// The source, for a person: a file's path, `journal`, a reader's name; empty for the stream as a whole.
    package var source: String
    /// What happened, in a sentence for a person.
    package var detail: String

    package init(
        reason: GapReason, count: UInt64, from: TimestampNS? = nil, to: TimestampNS? = nil,
        source: String = "", detail: String = ""
    ) {
        self.reason = reason
        self.count = count
        self.from = from
        self.to = to
        self.source = source
        self.detail = detail
    }
}

/// What an agent says of its host at hello.
package struct HostFacts: Hashable, Sendable {
    package var agentVersion: String
    package var machineID: String
    package var bootID: String
    package var kernel: String
    package var operatingSystem: String
    package var role: String
    /// Random number of the agent's process; 0 where it did not say.
    package var instance: UInt64

    package init(
        agentVersion: String = "", machineID: String = "", bootID: String = "",
        kernel: String = "", operatingSystem: String = "", role: String = "",
        instance: UInt64 = 0
    ) {
        self.agentVersion = agentVersion
        self.machineID = machineID
        self.bootID = bootID
        self.kernel = kernel
        self.operatingSystem = operatingSystem
        self.role = role
        self.instance = instance
    }
}
