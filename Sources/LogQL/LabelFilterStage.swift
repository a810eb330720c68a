import LinearRegex
import LogQLSyntax
import Model

/// A condition on labels, compiled. What a value cannot be read as sets `__error__` and keeps the entry, unless another
/// error is set already; a label that is not there drops it. Texts compare a missing label as an empty one, and they
/// alone see `__error__`. Source: LogQL's documentation, "Label filter expression"; Loki 3.6.
indirect enum LabelFilterStage: Sendable {
    case string(Int32, ValueMatcher)
    case error(ValueMatcher)
    case number(Int32, LabelFilter.Comparison, Double)
    case duration(Int32, LabelFilter.Comparison, Int64)
    case bytes(Int32, LabelFilter.Comparison, UInt64)
    case ip(Int32, isNegated: Bool, IPPattern)
    case and(LabelFilterStage, LabelFilterStage)
    case or(LabelFilterStage, LabelFilterStage)

    func keeps(_ labels: EntryLabels) -> Bool {
        switch self {
        case .string(let name, let matcher):
            return labels.withBytes(name) { matcher.matches($0) }
        case .error(let matcher): return matcher.matches(labels.error)
        case .number(let name, let comparison, let wanted):
            return compare(labels, name, comparison, wanted, GoNumberReader.float)
        case .duration(let name, let comparison, let wanted):
            return compare(labels, name, comparison, wanted, GoNumberReader.duration)
        case .bytes(let name, let comparison, let wanted):
            return compare(labels, name, comparison, wanted, GoNumberReader.size)
        case .ip(let name, let isNegated, let pattern):
            // Only texts drop entries that have an error.
            if labels.hasError { return true }
            return labels.withBytes(name) { value in
                value.map { pattern.isFound(in: $0) != isNegated } ?? false
            }
        case .and(let left, let right):
            // Both are asked, for each may set an error.
            let isLeft = left.keeps(labels)
            return right.keeps(labels) && isLeft
        case .or(let left, let right): return left.keeps(labels) || right.keeps(labels)
        }
    }

    private func compare<Value: Comparable & Sendable>(
        _ labels: EntryLabels, _ name: Int32, _ comparison: LabelFilter.Comparison,
        _ wanted: Value, _ read: (String) -> GoValue<Value>
    ) -> Bool {
        guard let slot = labels.find(name) else { return false }
        switch read(labels.text(slot)) {
        case .value(let value):
            return switch comparison {
            case .equal: value == wanted
            case .notEqual: value != wanted
            case .greater: value > wanted
            case .greaterOrEqual: value >= wanted
            case .less: value < wanted
            case .lessOrEqual: value <= wanted
            }
        case .fault(let details):
            if !labels.hasError {
                labels.error = EntryFailure.labelFilter
                labels.errorDetails = details
            }
            return true
        }
    }
}

/// A `LabelMatcher`'s condition on a value, compiled; expressions are anchored at both ends.
struct ValueMatcher: Sendable {
    private enum Test {
        case anything
        case equal([[UInt8]])
        case regex(LinearRegex)
    }

    private let test: Test
    private let isNegated: Bool

    /// Without `dotMatchesLineEnd` `.` stands for any character but a line end.
    init(_ matcher: LabelMatcher, dotMatchesLineEnd: Bool = true) throws(StageFault) {
        switch matcher.operation {
        case .equal, .notEqual: test = .equal([Array(matcher.value.utf8)])
        case .matchesRegex, .notMatchesRegex:
            let regex: LinearRegex
            do {
                regex = try LinearRegex(
                    matcher.value, anchored: true,
                    dotMatchesLineEnd: dotMatchesLineEnd || asksForTextAlone(matcher.value))
            } catch {
                throw StageFault(regexErrorText(error))
            }
            if matcher.value == ".*" {
                test = .anything
            } else if let texts = regex.literalAlternatives,
                !matcher.value.unicodeScalars.contains("\u{fffd}")
            {
                test = .equal(texts.map { Array($0.utf8) })
            } else {
                test = .regex(regex)
            }
        }
        isNegated = matcher.operation == .notEqual || matcher.operation == .notMatchesRegex
    }

    /// Of the bytes of a text; nil stands for the empty one.
    func matches(_ value: UnsafeBufferPointer<UInt8>?) -> Bool {
        let value = value ?? UnsafeBufferPointer(start: nil, count: 0)
        return isMatch(value) != isNegated
    }

    func matches(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { isMatch($0) } != isNegated
    }

    private func isMatch(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        switch test {
        case .anything: return true
        case .equal(let texts):
            for text in texts {
                let isSame = text.withUnsafeBufferPointer { bytesAreEqual($0, value) }
                if isSame { return true }
            }
            return false
        case .regex(let regex): return regex.matches(utf8: value)
        }
    }
}

/// One of `drop` and `keep`, compiled.
struct SelectionStage: Sendable {
    let name: Int32
    let text: String
    /// Nil for a name alone.
    let matcher: ValueMatcher?

    /// Takes the label away where it is selected. `__error__` and `__error_details__` go alone.
    /// Source: Loki 3.6 `DropLabels`.
    func drop(_ labels: EntryLabels) {
        switch text {
        case EntryLabels.errorName:
            if matcher?.matches(labels.error) ?? true { labels.error = "" }
        case EntryLabels.errorDetailsName:
            if matcher?.matches(labels.errorDetails) ?? true { labels.errorDetails = "" }
        default:
            if let matcher {
                if labels.withBytes(name, matcher.matches) { labels.delete(name) }
            } else if labels.find(name) != nil {
                labels.delete(name)
            }
        }
    }

    /// Takes all labels away but those selected, and the errors. Source: Loki 3.6 `KeepLabels`.
    static func keep(_ selections: [SelectionStage], _ labels: EntryLabels, preserved: Int32) {
        guard !selections.isEmpty else { return }
        for slot in labels.base + labels.added where slot.isLive {
            guard slot.name != preserved else { continue }
            let isKept = selections.contains { selection in
                selection.name == slot.name
                    && (selection.matcher.map { matcher in
                        labels.withBytes(slot) { matcher.matches($0) }
                    } ?? true)
            }
            if !isKept { labels.delete(slot.name) }
        }
    }
}
