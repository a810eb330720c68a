package import Model

/// A line of a test script: a series and its values, `metric{a="b"} 1 2 _x3 1+2x4 stale {{schema:0 count:1}}`.
package struct SeriesDescription: Hashable, Sendable {
    package var labels: Labels
    package var values: [SequenceValue]

    package init(labels: Labels, values: [SequenceValue]) {
        self.labels = labels
        self.values = values
    }

    /// The most values that one line may stand for, repetitions written out.
    package static let valuesMax = 1_000_000

    /// The series of `line`. Throws where it is none, or stands for more than `valuesMax` values.
    /// Source: Prometheus 3.14 `generated_parser.y` `series_description`.
    package static func parse(_ line: String) throws(PromQLParseError) -> SeriesDescription {
        let bytes = Array(line.utf8)
        // A script line may be long; what bounds it is `valuesMax`.
        var options = PromQLParserOptions.everything
        options.queryBytesMax = .max
        let metricEnd = metricLength(bytes)
        var parser = try ExpressionParser(Array(bytes[..<metricEnd]), options)
        let (labels, _) = try parser.parseMetric()
        guard parser.token.kind == .endOfInput else { throw parser.unexpected() }
        var scanner = SequenceScanner(bytes, at: metricEnd)
        return SeriesDescription(labels: labels, values: try scanner.scan())
    }
}

/// One value of a series description.
package enum SequenceValue: Hashable, Sendable {
    /// `_`: no sample at this step.
    case omitted
    /// A number; `stale` is `StalenessMarker.value`.
    case float(Double)
    /// A native histogram, `base` plus `increments` times `increment`.
    case histogram(HistogramDescription, increment: HistogramDescription?, increments: Int)

    /// Floats are equal where their bit patterns are.
    package static func == (a: Self, b: Self) -> Bool {
        switch (a, b) {
        case (.omitted, .omitted): true
        case (.float(let x), .float(let y)): x.bitPattern == y.bitPattern
        case (.histogram(let x, let dx, let nx), .histogram(let y, let dy, let ny)):
            x == y && dx == dy && nx == ny
        case (.omitted, _), (.float, _), (.histogram, _): false
        }
    }

    package func hash(into hasher: inout Hasher) {
        switch self {
        case .omitted: hasher.combine(0)
        case .float(let value): hasher.combine(value.bitPattern)
        case .histogram(let base, _, let increments):
            hasher.combine(base)
            hasher.combine(increments)
        }
    }
}

/// A native histogram as a script writes it, `{{schema:1 sum:5 buckets:[1 2]}}`; bucket counts are absolute.
package struct HistogramDescription: Hashable, Sendable {
    package enum CounterResetHint: String, Hashable, Sendable {
        case unknown, reset
        case notReset = "not_reset"
        case gauge
    }

    /// -4 ... 8 for exponential buckets, -53 for custom ones.
    package var schema = 0
    package var sum = 0.0
    package var count = 0.0
    package var zeroBucket = 0.0
    package var zeroBucketWidth = 0.0
    package var customValues: [Double] = []
    /// The index of the first of `buckets`.
    package var offset = 0
    package var buckets: [Double] = []
    /// The index of the first of `negativeBuckets`.
    package var negativeOffset = 0
    package var negativeBuckets: [Double] = []
    /// Nil where the script does not say.
    package var counterResetHint: CounterResetHint?

    package init() {}
}

/// Where the values begin: after the name and the closing brace, strings skipped.
private func metricLength(_ bytes: [UInt8]) -> Int {
    var index = 0
    while index < bytes.count, isSpace(bytes[index]) { index += 1 }
    while index < bytes.count,
        isLetter(bytes[index]) || isDigit(bytes[index]) || bytes[index] == UInt8(ascii: ":")
    {
        index += 1
    }
    guard index < bytes.count, bytes[index] == UInt8(ascii: "{") else { return index }
    while index < bytes.count, bytes[index] != UInt8(ascii: "}") {
        let quote = bytes[index]
        index += 1
        guard isQuote(quote) else { continue }
        while index < bytes.count, bytes[index] != quote {
            let isEscape = bytes[index] == UInt8(ascii: "\\") && quote != UInt8(ascii: "`")
            index += isEscape ? 2 : 1
        }
        index += 1
    }
    return min(index + 1, bytes.count)
}

/// Reads the values of a series description, from the space after the metric to the end of the line.
private struct SequenceScanner {
    private let source: [UInt8]
    private var position: Int
    private var values: [SequenceValue] = []

    init(_ source: [UInt8], at start: Int) {
        self.source = source
        position = start
    }

    mutating func scan() throws(PromQLParseError) -> [SequenceValue] {
        while true {
            let start = position
            skipSpaces()
            guard position < source.count else { return values }
            guard position > start else {
                throw failure("unexpected \(quoted(textHere)) in series values", at: start)
            }
            try scanItem()
        }
    }

    private mutating func scanItem() throws(PromQLParseError) {
        if accept("_") {
            let count = try accept("x") ? scanInteger() : 1
            try append(.omitted, count: count)
        } else if accept("{{") {
            try scanHistogramItem()
        } else {
            let value = try scanSignedNumber()
            if accept("x") {
                try append(.float(value), count: try scanInteger(), plusFirst: true)
            } else if isHere("+") || isHere("-") {
                try scanProgression(from: value)
            } else {
                try append(.float(value), count: 1)
            }
        }
    }

    /// `1+2x3` is 1, 3, 5, 7: repeated addition, so that rounding is as in Prometheus.
    private mutating func scanProgression(from first: Double) throws(PromQLParseError) {
        let step = try scanSignedNumber()
        guard accept("x") else {
            throw failure("unexpected \(quoted(textHere)) in series values, expected \"x\"")
        }
        let count = try scanInteger()
        var value = first
        for _ in 0...count {
            try append(.float(value), count: 1)
            value += step
        }
    }

    private mutating func append(
        _ value: SequenceValue, count: Int, plusFirst: Bool = false
    ) throws(PromQLParseError) {
        // `ax3` is the value at time 0 and three more.
        let total = plusFirst ? count + 1 : count
        guard values.count + total <= SeriesDescription.valuesMax else {
            throw failure("series has more than \(SeriesDescription.valuesMax) values")
        }
        values.append(contentsOf: repeatElement(value, count: total))
    }

    // MARK: - Numbers

    private mutating func scanSignedNumber() throws(PromQLParseError) -> Double {
        let isNegative = isHere("-")
        if isNegative || isHere("+") { position += 1 }
        let value = try scanNumber()
        return isNegative ? -value : value
    }

    private mutating func scanNumber() throws(PromQLParseError) -> Double {
        let start = position
        guard start < source.count else {
            throw failure("unexpected end of input in series values")
        }
        if isLetter(source[start]) {
            let word = source[start...].prefix(while: isLetter)
            position += word.count
            switch String(decoding: word, as: UTF8.self) {
            case "stale": return StalenessMarker.value
            case let text where ["inf", "nan"].contains(text.lowercased()):
                return text.lowercased() == "inf" ? .infinity : .nan
            case let text:
                throw failure(
                    "unexpected identifier \(quoted(text)) in series values, "
                        + "expected number or \"stale\"", at: start)
            }
        }
        var scanner = NumberScanner(source, at: start, isInSeries: true)
        guard scanner.scanNumber() else {
            throw failure("bad number syntax: \(quoted(textHere))", at: start)
        }
        position = scanner.position
        let text = String(decoding: source[start..<position], as: UTF8.self)
        guard let value = NumberScanner.value(of: text) else {
            throw failure("error parsing number: \(quoted(text)) is no number in range", at: start)
        }
        return value
    }

    private mutating func scanInteger() throws(PromQLParseError) -> Int {
        let digits = source[position...].prefix(while: isDigit)
        guard let value = Int(String(decoding: digits, as: UTF8.self)),
            value <= SeriesDescription.valuesMax
        else {
            throw failure("invalid repetition in series values: \(quoted(textHere))")
        }
        position += digits.count
        return value
    }

    // MARK: - Histograms

    private mutating func scanHistogramItem() throws(PromQLParseError) {
        let base = try scanHistogram()
        var increment: HistogramDescription?
        var sign = 1
        if isHere("+{{") || isHere("-{{") {
            sign = isHere("-") ? -1 : 1
            position += 3
            increment = try scanHistogram()
            guard isHere("x") else {
                throw failure("unexpected \(quoted(textHere)) in series values, expected \"x\"")
            }
        }
        guard accept("x") else {
            return try append(.histogram(base, increment: nil, increments: 0), count: 1)
        }
        for index in 0...(try scanInteger()) {
            let increments = increment == nil ? 0 : sign * index
            try append(
                .histogram(base, increment: increment, increments: increments), count: 1)
        }
    }

    /// What stands between `{{`, already read, and `}}`.
    private mutating func scanHistogram() throws(PromQLParseError) -> HistogramDescription {
        var histogram = HistogramDescription()
        var seen: Set<String> = []
        while true {
            skipSpaces()
            if accept("}}") { return histogram }
            let start = position
            let word = source[position...].prefix(while: isLetter)
            let key = String(decoding: word, as: UTF8.self).lowercased()
            position += word.count
            guard !key.isEmpty else {
                throw failure("histogram description incomplete unexpected: \(quoted(textHere))")
            }
            guard accept(":") else {
                throw failure("missing `:` for histogram descriptor \(quoted(key))", at: start)
            }
            guard seen.insert(key).inserted else {
                throw failure("duplicate key \(quoted(key)) in histogram", at: start)
            }
            try scanDescriptor(key, of: &histogram, at: start)
        }
    }

    private mutating func scanDescriptor(
        _ key: String, of histogram: inout HistogramDescription, at start: Int
    ) throws(PromQLParseError) {
        switch key {
        case "schema": histogram.schema = try scanSignedInteger()
        case "sum": histogram.sum = try scanSignedNumber()
        case "count": histogram.count = try scanSignedNumber()
        case "z_bucket": histogram.zeroBucket = try scanSignedNumber()
        case "z_bucket_w": histogram.zeroBucketWidth = try scanSignedNumber()
        case "custom_values": histogram.customValues = try scanNumbers()
        case "offset": histogram.offset = try scanSignedInteger()
        case "buckets": histogram.buckets = try scanNumbers()
        case "n_offset": histogram.negativeOffset = try scanSignedInteger()
        case "n_buckets": histogram.negativeBuckets = try scanNumbers()
        case "counter_reset_hint":
            let word = source[position...].prefix(while: isLetter)
            let hint = String(decoding: word, as: UTF8.self)
            guard let value = HistogramDescription.CounterResetHint(rawValue: hint) else {
                throw failure("unknown counter_reset_hint \(quoted(hint))")
            }
            position += word.count
            histogram.counterResetHint = value
        default: throw failure("bad histogram descriptor found: \(quoted(key))", at: start)
        }
    }

    private mutating func scanSignedInteger() throws(PromQLParseError) -> Int {
        accept("-") ? -(try scanInteger()) : try scanInteger()
    }

    private mutating func scanNumbers() throws(PromQLParseError) -> [Double] {
        guard accept("[") else { throw failure("expected \"[\" in buckets description") }
        var numbers: [Double] = []
        while true {
            skipSpaces()
            if accept("]") { return numbers }
            numbers.append(try scanSignedNumber())
        }
    }

    // MARK: - Characters

    private mutating func skipSpaces() {
        while position < source.count, isSpace(source[position]) { position += 1 }
    }

    private func isHere(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { source[position...].starts(with: $0) }
    }

    private mutating func accept(_ text: StaticString) -> Bool {
        guard isHere(text) else { return false }
        position += text.utf8CodeUnitCount
        return true
    }

    /// The rest of the word here, for messages.
    private var textHere: String {
        String(decoding: source[position...].prefix { !isSpace($0) }.prefix(40), as: UTF8.self)
    }

    private func failure(_ message: String, at start: Int? = nil) -> PromQLParseError {
        let offset = start ?? position
        return PromQLParseError(message, at: SourceRange(offset, source.count), in: source)
    }
}
