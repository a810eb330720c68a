import Model
import PromQLSyntax
import ScriptReport

/// A line of a load that tells when the counting of the next line's samples began: `metric{a="b"}@st _ -1m 30sx3 0s+15sx2`.
///
/// Offsets are durations relative to each sample. Source: Prometheus 3.14 `promqltest` `parseSTLine`.
struct StartTimestampLine {
    var labels: Labels
    /// Milliseconds; nil for a sample without one.
    var offsets: [Int64?] = []

    /// Nil where `line` is another kind of line. Throws where it is one that can't be read.
    init?(_ line: String) throws(ScriptFailure) {
        let isBlank = { (character: Character) in character == " " || character == "\t" }
        let word = line.prefix { !isBlank($0) }
        guard word.hasSuffix("@st"), word.endIndex < line.endIndex else { return nil }
        do {
            labels = try SeriesDescription.parse("\(word.dropLast(3)) _").labels
        } catch {
            throw ScriptFailure("series of start timestamps \(word): \(error)")
        }
        for item in line[word.endIndex...].split(whereSeparator: isBlank) {
            offsets += try Self.item(item)
            guard offsets.count <= SeriesDescription.valuesMax else {
                throw ScriptFailure("more than \(SeriesDescription.valuesMax) start timestamps")
            }
        }
    }

    private static func item(_ text: Substring) throws(ScriptFailure) -> [Int64?] {
        let failure = ScriptFailure("invalid start timestamps \(text)")
        var text = text
        if text.hasPrefix("_") {
            text = text.dropFirst()
            if text.isEmpty { return [nil] }
            guard let count = repetition(text), count > 0 else { throw failure }
            return Array(repeating: nil, count: count)
        }
        guard let base = duration(&text) else { throw failure }
        if text.isEmpty { return [base] }
        var step: Int64 = 0
        if text.first != "x" {
            let isNegative = text.first == "-"
            guard isNegative || text.first == "+" else { throw failure }
            text = text.dropFirst()
            guard let size = duration(&text) else { throw failure }
            step = isNegative ? -size : size
        }
        guard let count = repetition(text) else { throw failure }
        return (0...count).map { base + Int64($0) * step }
    }

    /// The N of `xN`.
    private static func repetition(_ text: Substring) -> Int? {
        guard text.first == "x", let count = Int(text.dropFirst()),
            (0...SeriesDescription.valuesMax).contains(count)
        else { return nil }
        return count
    }

    /// Takes a duration with an optional sign off the front.
    private static func duration(_ text: inout Substring) -> Int64? {
        let isNegative = text.first == "-"
        if isNegative || text.first == "+" { text = text.dropFirst() }
        let digits = text.prefix(while: \.isNumber)
        let unit = text[digits.endIndex...].prefix { $0.isLetter && $0 != "x" }
        text = text[unit.endIndex...]
        guard let size = scriptDuration("\(digits)\(unit)") else { return nil }
        return isNegative ? -size : size
    }
}
