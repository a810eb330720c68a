/// Reads one line of either text format; every byte is looked at a bounded number of times.
///
/// Past the end stands a line feed. `at` never passes the end of the text.
/// Source: Prometheus 3.14 `textparse/promlex.l`, `openmetricslex.l` and their parsers.
struct ExpositionScanner {
    /// Where a sample's label stands; both are what lies between quotes, with its escapes.
    struct LabelPiece {
        var name: Range<Int>
        var value: Range<Int>
    }

    /// What a line of a sample says.
    struct SampleLine {
        var series = 0..<0
        var name = 0..<0
        var labels: [LabelPiece] = []
        var value = 0.0
        var timestampText = 0..<0
        var timestamp: Int64?
        var exemplarLabels: [LabelPiece] = []
        /// Labels, value and time; empty where there is none.
        var exemplarText = 0..<0
        var exemplarValue = 0.0
        var exemplarTimestamp: Int64?
        /// A comma before a closing brace, or none between labels.
        var hasLooseCommas = false

        mutating func reset() {
            labels.removeAll(keepingCapacity: true)
            exemplarLabels.removeAll(keepingCapacity: true)
            timestampText = 0..<0
            timestamp = nil
            exemplarText = 0..<0
            exemplarTimestamp = nil
            hasLooseCommas = false
        }
    }

    private let text: UnsafeBufferPointer<UInt8>
    private let isOpenMetrics: Bool
    private let labelsMax: Int
    var at: Int

    init(
        _ text: UnsafeBufferPointer<UInt8>, at: Int, _ format: ExpositionFormat, labelsMax: Int
    ) {
        precondition(at >= 0 && at <= text.count, "outside the text")
        self.text = text
        self.at = at
        self.labelsMax = labelsMax
        isOpenMetrics = format == .openMetrics
    }

    var isAtEnd: Bool { at >= text.count }

    @inline(__always)
    var current: UInt8 { at < text.count ? text[at] : UInt8(ascii: "\n") }

    @inline(__always)
    mutating func skipBlanks() {
        while at < text.count, text[at] == UInt8(ascii: " ") || text[at] == UInt8(ascii: "\t") {
            at += 1
        }
    }

    /// Blanks between tokens, where the format allows them.
    @inline(__always)
    private mutating func skipOptionalBlanks() { if !isOpenMetrics { skipBlanks() } }

    /// Steps over `word` where it stands here.
    mutating func take(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard text.count - at >= count else { return false }
        for offset in 0..<count where text[at + offset] != word.utf8Start[offset] { return false }
        at += count
        return true
    }

    /// Steps over the rest of the line and its line feed; gives the rest.
    mutating func takeLine() -> Range<Int> {
        let start = at
        while at < text.count, text[at] != UInt8(ascii: "\n") { at += 1 }
        let end = at
        if at < text.count { at += 1 }
        return start..<end
    }

    private mutating func endLine(_ expectation: String) throws(ExpositionFailure) {
        guard current == UInt8(ascii: "\n") else {
            throw ExpositionFailure(.expected(expectation), at: at)
        }
        if at < text.count { at += 1 }
    }

    // MARK: Names

    @inline(__always)
    private static func isNameStart(_ byte: UInt8, colons: Bool) -> Bool {
        let letter = byte | 0x20
        return letter &- 97 < 26 || byte == UInt8(ascii: "_")
            || colons && byte == UInt8(ascii: ":")
    }

    /// A name of letters, digits and underscores, and colons if they are allowed; empty where there is none.
    @inline(__always)
    mutating func plainName(colons: Bool) -> Range<Int> {
        let start = at
        guard at < text.count, Self.isNameStart(text[at], colons: colons) else { return at..<at }
        at += 1
        while at < text.count,
            Self.isNameStart(text[at], colons: colons) || text[at] &- 48 < 10
        {
            at += 1
        }
        return start..<at
    }

    /// What stands between the quotes at hand, UTF-8. `mayBreak`: whether a line feed may be among it.
    private mutating func quoted(
        _ what: String, mayBreak: Bool
    ) throws(ExpositionFailure) -> Range<Int> {
        let opening = at
        var isASCII = true
        at += 1
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "\"") {
                let range = opening + 1..<at
                at += 1
                guard isASCII || isUTF8(range) else {
                    throw ExpositionFailure(.notUTF8(what), at: opening)
                }
                return range
            }
            if byte == UInt8(ascii: "\\") {
                at += 1
                guard at < text.count, text[at] != UInt8(ascii: "\n") else { break }
                isASCII = isASCII && text[at] < 0x80
            } else if byte == UInt8(ascii: "\n"), !mayBreak {
                break
            } else {
                isASCII = isASCII && byte < 0x80
            }
            at += 1
        }
        throw ExpositionFailure(.expected("a quote that closes \(what)"), at: opening)
    }

    func isUTF8(_ range: Range<Int>) -> Bool {
        String(validating: text[range], as: UTF8.self) != nil
    }

    /// The name of a metric behind HELP, TYPE or UNIT.
    mutating func metadataName() throws(ExpositionFailure) -> Range<Int> {
        let start = at
        let name =
            current == UInt8(ascii: "\"")
            ? try quoted("a metric name", mayBreak: false) : plainName(colons: true)
        guard !name.isEmpty else { throw ExpositionFailure(.expected("a metric name"), at: start) }
        return name
    }

    // MARK: Samples

    /// Reads a sample's line to its end.
    mutating func sample(_ line: inout SampleLine) throws(ExpositionFailure) {
        line.reset()
        let start = at
        line.name = plainName(colons: true)
        line.series = start..<at
        if !line.name.isEmpty { skipOptionalBlanks() }
        if current == UInt8(ascii: "{") {
            try labelSet(&line.labels, name: &line.name, &line.hasLooseCommas, isExemplar: false)
            line.series = start..<at
        }
        guard !line.name.isEmpty else {
            throw ExpositionFailure(
                at == start ? .expected("a metric name or a comment") : .noMetricName, at: start)
        }
        try blank("a blank and a value")
        line.value = try number()
        if isOpenMetrics { try openMetricsRest(&line) } else { try plainRest(&line) }
    }

    /// One blank in OpenMetrics, any number of them else.
    @inline(__always)
    private mutating func blank(_ expectation: String) throws(ExpositionFailure) {
        guard isOpenMetrics else {
            skipBlanks()
            return
        }
        guard current == UInt8(ascii: " ") else {
            throw ExpositionFailure(.expected(expectation), at: at)
        }
        at += 1
    }

    /// The bytes up to the next blank, tab (not in OpenMetrics) or line feed.
    @inline(__always)
    private mutating func word() -> Range<Int> {
        let start = at
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\n") { break }
            if byte == UInt8(ascii: "\t"), !isOpenMetrics { break }
            at += 1
        }
        return start..<at
    }

    private mutating func number() throws(ExpositionFailure) -> Double {
        let range = word()
        guard !range.isEmpty else {
            throw ExpositionFailure(.expected("a value"), at: range.lowerBound)
        }
        guard let value = ExpositionNumber.parse(UnsafeBufferPointer(rebasing: text[range])) else {
            throw ExpositionFailure(.badNumber(shown(range)), at: range.lowerBound)
        }
        return value
    }

    /// Seconds in OpenMetrics, to the nearest millisecond. Prometheus cuts instead, and makes 0.122 of some 0.123.
    private mutating func seconds() throws(ExpositionFailure) -> Int64 {
        let range = word()
        guard let value = ExpositionNumber.parse(UnsafeBufferPointer(rebasing: text[range])),
            value.isFinite
        else { throw ExpositionFailure(.badTimestamp(shown(range)), at: range.lowerBound) }
        let milliseconds = (value * 1000).rounded()
        if milliseconds >= 0x1p63 { return .max }
        return milliseconds <= -0x1p63 ? .min : Int64(milliseconds)
    }

    private mutating func plainRest(_ line: inout SampleLine) throws(ExpositionFailure) {
        skipBlanks()
        if current != UInt8(ascii: "\n") {
            let start = at
            var milliseconds: Int64 = 0
            var isSound = true
            while at < text.count, text[at] &- 48 < 10 {
                let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 10)
                let (sum, carry) = product.addingReportingOverflow(Int64(text[at] &- 48))
                isSound = isSound && !overflow && !carry
                milliseconds = sum
                at += 1
            }
            let end = at
            skipBlanks()
            guard isSound, end > start, current == UInt8(ascii: "\n") else {
                at = start
                throw ExpositionFailure(.badTimestamp(shown(takeLine())), at: start)
            }
            line.timestampText = start..<end
            line.timestamp = milliseconds
        }
        try endLine("the end of the line")
    }

    private mutating func openMetricsRest(_ line: inout SampleLine) throws(ExpositionFailure) {
        if current == UInt8(ascii: " "), at + 1 < text.count, text[at + 1] != UInt8(ascii: "#") {
            at += 1
            let start = at
            line.timestamp = try seconds()
            line.timestampText = start..<at
        }
        if current == UInt8(ascii: " ") { try exemplar(&line) }
        guard at < text.count else { throw ExpositionFailure(.missingEOF, at: at) }
        try endLine("the end of the line")
    }

    private mutating func exemplar(_ line: inout SampleLine) throws(ExpositionFailure) {
        let start = at
        guard take(" # "), current == UInt8(ascii: "{") else {
            throw ExpositionFailure(
                .expected("an exemplar, ` # {name=\"value\"} value`, or the end of the line"),
                at: start)
        }
        var name = 0..<0
        let labels = at
        try labelSet(&line.exemplarLabels, name: &name, &line.hasLooseCommas, isExemplar: true)
        try blank("a blank and the exemplar's value")
        line.exemplarValue = try number()
        if current == UInt8(ascii: " ") {
            at += 1
            line.exemplarTimestamp = try seconds()
        }
        line.exemplarText = labels..<at
    }

    /// Reads `{…}`. A quoted text without `=` is the metric's name.
    private mutating func labelSet(
        _ labels: inout [LabelPiece], name: inout Range<Int>, _ hasLooseCommas: inout Bool,
        isExemplar: Bool
    ) throws(ExpositionFailure) {
        at += 1
        skipOptionalBlanks()
        var isAfterComma = false
        while current != UInt8(ascii: "}") {
            let start = at
            let isQuoted = current == UInt8(ascii: "\"")
            let label =
                isQuoted
                ? try quoted("a name", mayBreak: false) : plainName(colons: false)
            guard !label.isEmpty else {
                throw ExpositionFailure(.expected("a label name"), at: start)
            }
            skipOptionalBlanks()
            if isQuoted, !isExemplar, current == UInt8(ascii: ",") || current == UInt8(ascii: "}") {
                guard name.isEmpty else { throw ExpositionFailure(.secondMetricName, at: start) }
                name = label
            } else {
                labels.append(LabelPiece(name: label, value: try labelValue()))
                guard labels.count <= labelsMax else {
                    throw ExpositionFailure(.tooManyLabels(max: labelsMax), at: start)
                }
            }
            skipOptionalBlanks()
            isAfterComma = current == UInt8(ascii: ",")
            if isAfterComma {
                at += 1
                skipOptionalBlanks()
            } else if current != UInt8(ascii: "}") {
                // Prometheus takes labels without a comma between them, in its own format.
                guard !isOpenMetrics else {
                    throw ExpositionFailure(.expected("a comma or a closing brace"), at: at)
                }
                hasLooseCommas = true
            }
        }
        hasLooseCommas = hasLooseCommas || isAfterComma
        at += 1
    }

    private mutating func labelValue() throws(ExpositionFailure) -> Range<Int> {
        guard current == UInt8(ascii: "=") else {
            throw ExpositionFailure(.expected("= and a label value"), at: at)
        }
        at += 1
        skipOptionalBlanks()
        guard current == UInt8(ascii: "\"") else {
            throw ExpositionFailure(.expected("a label value in double quotes"), at: at)
        }
        return try quoted("a label value", mayBreak: !isOpenMetrics)
    }

    // MARK: Text

    func byte(_ index: Int) -> UInt8 { text[index] }

    /// `range` for an error: at most 40 bytes of it.
    func shown(_ range: Range<Int>) -> String {
        let part = String(decoding: text[range.prefix(40)], as: UTF8.self)
        return range.count > 40 ? part + "…" : part
    }
}
