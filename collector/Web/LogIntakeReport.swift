import Model

/// What became of a request of pushed lines.
struct LogIntakeReport {
    /// Why a line was not stored. Source: Loki 3.6 `validation`.
    enum Reason: String, CaseIterable {
        case invalidLabels = "invalid_labels"
        case missingLabels = "missing_labels"
        case tooManyLabels = "max_label_names_per_series"
        case labelNameTooLong = "label_name_too_long"
        case labelValueTooLong = "label_value_too_long"
        case lineTooLong = "line_too_long"
        case tooFarInFuture = "too_far_in_future"
        case tooOld = "greater_than_max_sample_age"
        case metadataTooLarge = "structured_metadata_too_large"
        case metadataTooMany = "structured_metadata_too_many"
        case metadataName = "structured_metadata_name"
    }

    /// Different sentences that an answer has.
    private static let sentencesMax = 10

    /// Lines that this request committed: 0 where `isRepeat`.
    var storedCount = 0
    /// Of the lines that passed the checks here, and of their fields; lines that the storage finds too old count too.
    var byteCount = 0
    /// Whether the same request was committed before.
    var isRepeat = false
    private(set) var refused: [Reason: Int] = [:]
    private var sentences: [(text: String, count: Int, lines: Int)] = []
    private var untold = (count: 0, lines: 0)

    var refusedCount: Int { refused.values.reduce(0, +) }

    /// Counts defects, one unless told otherwise, for which `lines` lines are not stored.
    mutating func refuse(
        _ lines: Int, _ reason: Reason, defects: Int = 1, _ text: @autoclosure () -> String
    ) {
        guard lines > 0 else { return }
        refused[reason, default: 0] += lines
        guard sentences.count < Self.sentencesMax || reason == .tooOld else {
            // Of what is not told no text is made: there may be a great many.
            untold.count += defects
            untold.lines += lines
            return
        }
        let text = text()
        if let known = sentences.firstIndex(where: { $0.text == text }) {
            sentences[known].count += defects
            sentences[known].lines += lines
        } else {
            sentences.append((text, defects, lines))
        }
    }

    /// Empty where all lines were stored. Source: Loki 3.6 `GroupedErrors`.
    var text: String {
        let isOne = sentences.count == 1 && sentences[0].count == 1 && untold.count == 0
        var parts = sentences.map { sentence in
            isOne ? sentence.text : "\(sentence.count) errors like: \(sentence.text)"
        }
        if untold.count > 0 { parts.append("\(untold.count) more errors") }
        return parts.joined(separator: "; ")
    }

    /// `3 log records were rejected: 2 of them: …`; empty where all were stored.
    var recordText: String {
        guard refusedCount > 0 else { return "" }
        var text = "\(refusedCount) log records were rejected:"
        for sentence in sentences { text += " \(sentence.lines): \(sentence.text);" }
        if untold.lines > 0 { text += " \(untold.lines) for other reasons;" }
        return String(text.dropLast())
    }
}
