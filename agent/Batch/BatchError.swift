/// Why a batch could not be handed to the spool.
package enum BatchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The spool began a new dictionary for each of several attempts: its segments are too small for the payload.
    case dictionaryUnsettled(attempts: Int)
    /// The spool refused; its own error follows. What was being written is not held and may be written again.
    case spool(any Error & Sendable)

    package var description: String {
        switch self {
        case .dictionaryUnsettled(let attempts):
            "the spool changed its dictionary \(attempts) times: raise its segment size"
        case .spool(let error): "\(error)"
        }
    }

    package static func == (a: Self, b: Self) -> Bool { a.description == b.description }
    package func hash(into hasher: inout Hasher) { hasher.combine(description) }

    /// Attempts to encode for a changing dictionary.
    static let attemptsMax = 4
}

/// What writing a scrape or a log batch came to.
package struct WrittenBatch: Hashable, Sendable {
    /// Samples or entries handed to the spool.
    package var records = 0
    /// Samples or entries that can't be sent; a gap record stands for them.
    package var refused = 0
    /// Batches handed to the spool, gaps aside.
    package var batches = 0

    package init() {}
}
