import Storage

/// What became of a request of pushed samples.
struct IntakeReport {
    var outcome = SampleOutcome()
    var problems = IntakeProblems()
    var exemplars = ExemplarProblems()
    /// Why samples of a series were not stored, by its index in the request; what is told by their times is not here.
    private(set) var refused: [Int: String] = [:]

    /// Counts samples of the series of that index that can never be stored.
    mutating func refuse(
        _ index: Int, _ count: Int, _ reason: IntakeProblems.Reason, _ text: String
    ) {
        problems.add(count, reason, text)
        if count > 0, refused[index] == nil { refused[index] = text }
    }

    /// Whether all samples of the request were stored.
    var isWhole: Bool {
        refused.isEmpty && outcome.tooOldCount == 0 && outcome.tooFarAheadCount == 0
    }

    /// Why samples of the series of that index were not stored; nil where all were.
    func problem(of index: Int) -> String? {
        if let text = refused[index] { return text }
        if outcome.tooOldSources.contains(Int32(index)) { return IntakeProblems.tooOld }
        return outcome.tooFarAheadSources.contains(Int32(index))
            ? IntakeProblems.tooFarAhead : nil
    }
}

/// What of a request's samples can never be stored.
struct IntakeProblems {
    /// Why a sample was not stored.
    enum Reason: String, CaseIterable {
        case labels, histogram, limit
        case tooOld = "too_old"
        case tooFarAhead = "too_far_ahead"
    }

    static let tooOld = "older than the retention"
    static let tooFarAhead = "more than an hour ahead of the collector's clock"
    /// Different sentences that an answer has.
    private static let sentencesMax = 10

    private(set) var counts: [Reason: Int] = [:]
    private var sentences: [(text: String, count: Int)] = []
    private var untold = 0

    var isEmpty: Bool { counts.isEmpty }

    mutating func add(_ count: Int, _ reason: Reason, _ text: String) {
        guard count > 0 else { return }
        counts[reason, default: 0] += count
        if let known = sentences.firstIndex(where: { $0.text == text }) {
            sentences[known].count += count
        } else if sentences.count < Self.sentencesMax {
            sentences.append((text, count))
        } else {
            untold += count
        }
    }

    /// ` 3 older than the retention; 1 of …;` and so on.
    var text: String {
        var text = ""
        for sentence in sentences { text += " \(sentence.count) \(sentence.text);" }
        if untold > 0 { text += " \(untold) for other reasons;" }
        return String(text.dropLast())
    }
}

/// What of a request's exemplars was not stored, which no sender is told.
struct ExemplarProblems {
    /// Why an exemplar was not stored.
    enum Reason: String, CaseIterable {
        /// Labels that are none, or more than 128 characters of them.
        case labels
        /// Older than the retention or too far ahead.
        case time
        /// Past what a series, or all of them together, may have a minute.
        case limit
        /// Its series was not taken.
        case series
    }

    private(set) var counts: [Reason: Int] = [:]

    mutating func add(_ count: Int, _ reason: Reason) {
        if count > 0 { counts[reason, default: 0] += count }
    }
}

/// Why a request of pushed samples is answered with an error. Nothing of it was stored, or all of it may be sent again.
struct IngestRefusal: Error {
    var status: Int
    var message: String
    /// Seconds after which the sender should try again.
    var retryAfter: Int?

    init(_ status: Int, _ message: String, retryAfter: Int? = nil) {
        self.status = status
        self.message = message
        self.retryAfter = retryAfter
    }

    init(_ error: StorageError) {
        switch error {
        case .unavailable(let text): self.init(503, text, retryAfter: 5)
        case .exhausted(let text): self.init(503, text, retryAfter: 30)
        case .cancelled: self.init(503, "the collector is stopping", retryAfter: 5)
        case .seriesRemoved:
            self.init(503, "a series was removed meanwhile: send it again", retryAfter: 1)
        // Sent again until it is mended: nothing is lost.
        case .refused(let text), .corrupt(let text): self.init(500, text)
        case .limitExceeded(let limit, let maximum):
            self.init(503, "\(limit) of \(maximum) is reached", retryAfter: 30)
        case .badMatcher(let text): self.init(500, text)
        }
    }
}

extension WebResponse {
    /// The refusal as plain text, with the time after which to try again.
    static func text(_ refusal: IngestRefusal) -> WebResponse {
        var response = text(refusal.message + "\n", status: refusal.status)
        if let seconds = refusal.retryAfter {
            response.headers.append((name: "retry-after", value: "\(seconds)"))
        }
        return response
    }
}
