package import Model

/// Reads metrics in the Prometheus text format or OpenMetrics, entry by entry, as a scraper takes them.
///
/// What Prometheus takes is taken, and what it refuses is refused: one bad line and the rest is not read. The rules of
/// OpenMetrics that reach beyond a line are for `OpenMetricsChecker`. Entries refer to the text by ranges of bytes, so
/// that a series which is known from the scrape before costs no text of its own: `series` is its key.
///
/// Stricter than Prometheus: a NUL at the beginning of a line is an error and not the end; HELP and TYPE want a blank
/// after the name. Other than there: timestamps in seconds go to the nearest millisecond.
/// Source: Prometheus 3.14 `model/textparse`; OpenMetrics 1.0; Prometheus "Exposition formats".
package struct ExpositionParser: Sendable {
    /// Bounds; text past one is refused with an error.
    package struct Limits: Hashable, Sendable {
        package var lineBytesMax: Int
        package var labelsMax: Int

        package init(lineBytesMax: Int = 1 << 20, labelsMax: Int = 256) {
            self.lineBytesMax = lineBytesMax
            self.labelsMax = labelsMax
        }
    }

    /// What a line is; ranges are of the text's bytes, with their escapes.
    package enum Entry: Hashable, Sendable {
        case help(metric: Range<Int>, text: Range<Int>)
        case type(metric: Range<Int>, ExpositionType)
        case unit(metric: Range<Int>, unit: Range<Int>)
        case comment
        /// The parser's `sample`.
        case sample
    }

    /// A sample as it stands in the text.
    package struct Sample: Sendable {
        /// Name and labels as they are written: equal bytes are the same series, of one target.
        package var series: Range<Int>
        /// The metric's name as it is written.
        package var name: Range<Int>
        package var value: Double
        /// Nil where the line says none.
        package var timestamp: TimestampMS?
        /// Its exemplar as it is written: labels, value and time; empty where there is none.
        package var exemplar: Range<Int>
    }

    /// An example of what was counted, with the labels of its trace.
    package struct Exemplar: Hashable, Sendable {
        package var labels: Labels
        package var value: Double
        package var timestamp: TimestampMS?

        package init(labels: Labels, value: Double, timestamp: TimestampMS? = nil) {
            self.labels = labels
            self.value = value
            self.timestamp = timestamp
        }
    }

    package let bytes: [UInt8]
    package let format: ExpositionFormat
    private let limits: Limits
    private var at = 0
    private var isOver = false
    /// What the last TYPE line said.
    package private(set) var lastType = ExpositionType.unknown
    private(set) var line = ExpositionScanner.SampleLine()

    package init(_ bytes: [UInt8], _ format: ExpositionFormat, limits: Limits = Limits()) {
        self.bytes = bytes
        self.format = format
        self.limits = limits
    }

    /// Reads on from byte `at`, where a line begins, behind a TYPE line that said `type`.
    init(
        _ bytes: [UInt8], _ format: ExpositionFormat, limits: Limits, at: Int, type: ExpositionType
    ) {
        self.init(bytes, format, limits: limits)
        self.at = at
        lastType = type
    }

    /// The next entry; nil at the end. After an error there is none. O(bytes of the line).
    package mutating func next() throws(ExpositionError) -> Entry? {
        guard !isOver else { return nil }
        var line = ExpositionScanner.SampleLine()
        swap(&line, &self.line)
        defer { swap(&line, &self.line) }
        let (bytes, start, format, limits) = (self.bytes, at, format, limits)
        let result = bytes.withUnsafeBufferPointer { text in
            Self.next(text, from: start, format, limits, &line)
        }
        switch result {
        case .success(let (entry, end)):
            at = end
            isOver = entry == nil
            if case .type(_, let type) = entry { lastType = type }
            return entry
        case .failure(let failure):
            isOver = true
            throw failure.located(in: bytes)
        }
    }

    /// The sample that `next` found last.
    package var sample: Sample {
        Sample(
            series: line.series, name: line.name, value: line.value,
            timestamp: line.timestamp.map { TimestampMS($0) }, exemplar: line.exemplarText)
    }

    /// The labels of the sample found last, its name among them; labels without a value are left out.
    ///
    /// The bounds of a histogram's buckets and a summary's quantiles are spelled one way: `1` is `1.0`.
    /// Source: Prometheus 3.14 `normalizeFloatsInLabelValues`. Throws for a label that is there twice.
    package func labels(
        normalizingBounds: Bool = true
    ) throws(ExpositionError) -> Labels {
        let hasBounds = lastType == .histogram || lastType == .summary
        do throws(ExpositionFailure) {
            var labels = pieces(line.labels)
            if normalizingBounds, hasBounds,
                let index = labels.firstIndex(where: { $0.name == lastType.boundLabel })
            {
                labels[index].value = Self.normalizedBound(labels[index].value)
            }
            labels.append(Label(Labels.metricNameLabel, text(line.name)))
            return try Self.set(labels, at: line.series.lowerBound)
        } catch { throw error.located(in: bytes) }
    }

    /// The exemplar of the sample found last.
    package func exemplar() throws(ExpositionError) -> Exemplar? {
        guard !line.exemplarText.isEmpty else { return nil }
        do throws(ExpositionFailure) {
            let at = line.exemplarText.lowerBound
            return Exemplar(
                labels: try Self.set(pieces(line.exemplarLabels), at: at),
                value: line.exemplarValue,
                timestamp: line.exemplarTimestamp.map { TimestampMS($0) })
        } catch { throw error.located(in: bytes) }
    }

    /// A range of a name, a label value or a help text without its escapes. An escape that is none stays as it is.
    package func text(_ range: Range<Int>) -> String {
        let slice = bytes[range]
        guard slice.contains(UInt8(ascii: "\\")) else {
            return String(decoding: slice, as: UTF8.self)
        }
        return String(decoding: unescaped(slice, quotes: true), as: UTF8.self)
    }

    /// A help text: in the Prometheus format a quote has no escape there.
    package func help(_ range: Range<Int>) -> String {
        String(
            decoding: unescaped(bytes[range], quotes: format == .openMetrics), as: UTF8.self)
    }

    private func unescaped(_ slice: ArraySlice<UInt8>, quotes: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(slice.count)
        var at = slice.startIndex
        while at < slice.endIndex {
            let byte = slice[at]
            at += 1
            guard byte == UInt8(ascii: "\\"), at < slice.endIndex else {
                result.append(byte)
                continue
            }
            switch slice[at] {
            case UInt8(ascii: "n"): result.append(UInt8(ascii: "\n"))
            case UInt8(ascii: "\\"): result.append(UInt8(ascii: "\\"))
            case UInt8(ascii: "\"") where quotes: result.append(UInt8(ascii: "\""))
            default: result += [byte, slice[at]]
            }
            at += 1
        }
        return result
    }

    private func pieces(_ pieces: [ExpositionScanner.LabelPiece]) -> [Label] {
        pieces.map { Label(text($0.name), text($0.value)) }
    }

    private static func set(_ labels: [Label], at: Int) throws(ExpositionFailure) -> Labels {
        let sorted = labels.sorted { bytesPrecede($0.name, $1.name) }
        for (label, next) in zip(sorted, sorted.dropFirst())
        where label.name.utf8.elementsEqual(next.name.utf8) {
            throw ExpositionFailure(.duplicateLabel(label.name), at: at)
        }
        return Labels(sortedUnchecked: sorted.filter { !$0.value.isEmpty })
    }

    /// `1` as `1.0`; what is no number as it is. Source: Prometheus 3.14 `formatOpenMetricsFloat`.
    package static func normalizedBound(_ text: String) -> String {
        guard let value = Array(text.utf8).withUnsafeBufferPointer({ ExpositionNumber.parse($0) })
        else { return text }
        let shortest = GoFloat.text(value)
        let isDecimal = shortest.utf8.contains {
            $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "e")
        }
        return value.isFinite && !isDecimal ? shortest + ".0" : shortest
    }
}

// One entry from a place on.
extension ExpositionParser {
    private typealias Found = (entry: Entry?, end: Int)

    private static func next(
        _ text: UnsafeBufferPointer<UInt8>, from start: Int, _ format: ExpositionFormat,
        _ limits: Limits, _ line: inout ExpositionScanner.SampleLine
    ) -> Result<Found, ExpositionFailure> {
        var scanner = ExpositionScanner(text, at: start, format, labelsMax: limits.labelsMax)
        do throws(ExpositionFailure) {
            if format == .prometheusText { scanner.skipBlankLines() }
            let begin = scanner.at
            let entry = try entry(&scanner, format, limits, &line)
            guard scanner.at - begin <= limits.lineBytesMax || entry == nil else {
                throw ExpositionFailure(.lineTooLong(bytesMax: limits.lineBytesMax), at: begin)
            }
            return .success((entry, scanner.at))
        } catch { return .failure(error) }
    }

    private static func entry(
        _ scanner: inout ExpositionScanner, _ format: ExpositionFormat, _ limits: Limits,
        _ line: inout ExpositionScanner.SampleLine
    ) throws(ExpositionFailure) -> Entry? {
        guard !scanner.isAtEnd else {
            guard format == .prometheusText else {
                throw ExpositionFailure(.missingEOF, at: scanner.at)
            }
            return nil
        }
        switch scanner.current {
        case UInt8(ascii: "#"):
            return format == .openMetrics
                ? try openMetricsComment(&scanner) : try comment(&scanner)
        case UInt8(ascii: "\n"): throw ExpositionFailure(.blankLine, at: scanner.at)
        default:
            try scanner.sample(&line)
            return .sample
        }
    }

    /// `# HELP`, `# TYPE`, or any other comment.
    private static func comment(
        _ scanner: inout ExpositionScanner
    ) throws(ExpositionFailure) -> Entry {
        scanner.at += 1
        let afterHash = scanner.at
        scanner.skipBlanks()
        let isSpaced = scanner.at > afterHash
        let isHelp = isSpaced && scanner.take("HELP")
        let isType = isSpaced && !isHelp && scanner.take("TYPE")
        let afterWord = scanner.at
        scanner.skipBlanks()
        guard isHelp || isType, scanner.at > afterWord else {
            _ = scanner.takeLine()
            return .comment
        }
        let metric = try scanner.metadataName()
        let hasText = scanner.current != UInt8(ascii: "\n")
        guard !hasText || scanner.take(" ") || scanner.take("\t") else {
            throw ExpositionFailure(.expected("a blank after the metric's name"), at: scanner.at)
        }
        return try isHelp ? help(metric, &scanner) : type(metric, &scanner, unknown: "untyped")
    }

    private static func openMetricsComment(
        _ scanner: inout ExpositionScanner
    ) throws(ExpositionFailure) -> Entry? {
        let start = scanner.at
        if scanner.take("# EOF") {
            _ = scanner.take("\n")
            guard scanner.isAtEnd else { throw ExpositionFailure(.dataAfterEOF, at: scanner.at) }
            return nil
        }
        let isHelp = scanner.take("# HELP ")
        let isType = !isHelp && scanner.take("# TYPE ")
        guard isHelp || isType || scanner.take("# UNIT ") else {
            throw ExpositionFailure(.expected("# HELP, # TYPE, # UNIT or # EOF"), at: start)
        }
        let metric = try scanner.metadataName()
        guard scanner.take(" ") else {
            throw ExpositionFailure(.expected("a blank after the metric's name"), at: scanner.at)
        }
        if isHelp { return try help(metric, &scanner) }
        if isType { return try type(metric, &scanner, unknown: "unknown") }
        let at = scanner.at
        let unit = scanner.takeLine()
        guard unit.isEmpty || scanner.ends(metric, in: unit) else {
            throw ExpositionFailure(
                .unitIsNoSuffix(unit: scanner.shown(unit), metric: scanner.shown(metric)), at: at)
        }
        return .unit(metric: metric, unit: unit)
    }

    private static func help(
        _ metric: Range<Int>, _ scanner: inout ExpositionScanner
    ) throws(ExpositionFailure) -> Entry {
        let at = scanner.at
        let text = scanner.takeLine()
        guard scanner.isUTF8(text) else {
            throw ExpositionFailure(.notUTF8("a help text"), at: at)
        }
        return .help(metric: metric, text: text)
    }

    private static func type(
        _ metric: Range<Int>, _ scanner: inout ExpositionScanner, unknown: String
    ) throws(ExpositionFailure) -> Entry {
        let at = scanner.at
        let word = scanner.shown(scanner.takeLine())
        if word == unknown { return .type(metric: metric, .unknown) }
        let isPlain = unknown == "untyped"
        guard let type = ExpositionType(rawValue: word), type != .unknown,
            !isPlain || [.counter, .gauge, .histogram, .summary].contains(type)
        else { throw ExpositionFailure(.badType(word), at: at) }
        return .type(metric: metric, type)
    }
}

extension ExpositionScanner {
    /// Passes over blank lines and the blanks before the next entry.
    mutating func skipBlankLines() {
        skipBlanks()
        while !isAtEnd, current == UInt8(ascii: "\n") {
            at += 1
            skipBlanks()
        }
    }

    /// Whether the text of `name` ends with an underscore and the text of `unit`.
    func ends(_ name: Range<Int>, in unit: Range<Int>) -> Bool {
        guard name.count > unit.count else { return false }
        let suffix = name.upperBound - unit.count
        return byte(suffix - 1) == UInt8(ascii: "_")
            && (0..<unit.count).allSatisfy { byte(suffix + $0) == byte(unit.lowerBound + $0) }
    }
}
