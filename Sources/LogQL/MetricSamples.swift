import LogQLSyntax
import Model

/// What is taken of each entry of a range aggregation, compiled.
struct SampleExtraction: Sendable {
    enum Value: Sendable {
        case one
        case byteCount
        case unwrapped(label: String, Unwrap.Conversion?)
    }

    let value: Value
    let pipeline: Pipeline
    let grouping: SampleGrouping
    /// Whether lines have no part in it but by their number and length.
    let ignoresLines: Bool

    /// `outer` is the grouping of a `sum` around it, where one may do its work. Throws for a stage that can't be built.
    init(_ range: RangeAggregation, sumGrouping outer: Grouping?) throws(MetricError) {
        var selector = range.selector
        let countsBytes = range.operation == .bytesRate || range.operation == .bytesOverTime
        if !countsBytes { selector.stages = Self.withoutIdleFormats(selector.stages) }
        do { pipeline = try Pipeline(selector, unwrap: range.unwrap) } catch {
            throw .query(error)
        }
        ignoresLines = range.unwrap == nil && selector.stages.allSatisfy(Self.dropsErrorsOnly)
        let grouping = range.operation == .absentOverTime ? Grouping(labels: []) : range.grouping
        let effective = outer ?? grouping
        guard let unwrap = range.unwrap else {
            value = countsBytes ? .byteCount : .one
            self.grouping = SampleGrouping(effective)
            return
        }
        value = .unwrapped(label: unwrap.label, unwrap.conversion)
        switch SampleGrouping(effective) {
        case .all: self.grouping = .without([unwrap.label])
        case .without(let labels): self.grouping = .without(labels + [unwrap.label])
        case .nothing: self.grouping = .nothing
        case .by(let labels): self.grouping = .by(labels)
        }
    }

    /// Without a `line_format` after which nothing looks at the line: what it would do, and fail to do, is never seen.
    /// Source: Loki 3.6 `removeLineformat`.
    private static func withoutIdleFormats(_ stages: [PipelineStage]) -> [PipelineStage] {
        guard let last = stages.lastIndex(where: readsLine) else {
            return stages.filter { !isLineFormat($0) }
        }
        return stages[...last] + stages[(last + 1)...].filter { !isLineFormat($0) }
    }

    private static func isLineFormat(_ stage: PipelineStage) -> Bool {
        if case .lineFormat = stage { true } else { false }
    }

    private static func readsLine(_ stage: PipelineStage) -> Bool {
        switch stage {
        case .lineFilter, .json, .logfmt, .regexp, .pattern, .unpack: true
        case .labelFilter, .decolorize, .lineFormat, .labelFormat, .drop, .keep: false
        }
    }

    /// `drop __error__, __error_details__`, as Grafana's volume histogram has it.
    private static func dropsErrorsOnly(_ stage: PipelineStage) -> Bool {
        guard case .drop(let selections) = stage else { return false }
        return selections.allSatisfy { selection in
            switch selection {
            case .name(EntryLabels.errorName), .name(EntryLabels.errorDetailsName): true
            case .name, .matcher: false
            }
        }
    }
}

/// One evaluation of a `SampleExtraction`.
final class SampleReader {
    /// `__error__` of a label that is no number. Source: Loki 3.6.
    private static let extractionError = "SampleExtractionErr"
    private static let isTrue = "true"

    /// Levels of a stream whose groups are remembered; of more the last gives way.
    private static let levelsMax = 16

    /// Of a stream and level: the group of the last entry, for others with the same fields.
    private struct KnownGroup {
        var level: String?
        var metadata: Labels
        var group: Int
    }

    let run: PipelineRun
    /// Of the sample taken last.
    private(set) var group = 0
    /// Whether samples are the lengths of lines.
    let countsBytes: Bool
    private let ignoresLines: Bool
    private var streams: [PipelineStream] = []
    /// By stream, one for each level.
    private var known: [[KnownGroup]] = []
    private let value: SampleExtraction.Value
    private let label: LabelName
    private let conversion: Unwrap.Conversion?
    private let preserveError: LabelName

    init(_ extraction: SampleExtraction) {
        run = PipelineRun(extraction.pipeline, grouping: extraction.grouping)
        value = extraction.value
        ignoresLines = extraction.ignoresLines
        countsBytes = if case .byteCount = extraction.value { true } else { false }
        preserveError = run.labels.name(EntryLabels.preserveErrorName)
        if case .unwrapped(let label, let conversion) = value {
            self.label = run.labels.name(label)
            self.conversion = conversion
        } else {
            label = preserveError
            conversion = nil
        }
    }

    /// Makes known the next stream.
    func add(stream: Labels) {
        streams.append(run.forStream(stream))
        if ignoresLines { known.append([]) }
    }

    /// The value of an entry of stream `number`; nil where the pipeline drops it or it has no label to unwrap. `group` is
    /// its group. Throws where the entry has an error that nothing has dealt with.
    func sample(_ entry: LogEntry, of number: Int) throws(MetricError) -> Double? {
        if ignoresLines, let found = knownGroup(entry, number) {
            group = found
            return countsBytes ? Double(entry.line.count) : 1
        }
        guard run.process(entry, of: streams[number]) else { return nil }
        let result: Double
        switch value {
        case .one: result = 1
        case .byteCount: result = Double(run.line.count)
        case .unwrapped:
            guard let number = unwrapped(), run.passesPostFilters() else { return nil }
            result = number
        }
        if run.labels.hasError { try checkError() }
        group = run.group
        if ignoresLines { remember(entry, number) }
        return result
    }

    private func knownGroup(_ entry: LogEntry, _ number: Int) -> Int? {
        for place in known[number].indices where known[number][place].level == entry.level {
            let isSame = known[number][place].metadata == entry.metadata
            return isSame ? known[number][place].group : nil
        }
        return nil
    }

    private func remember(_ entry: LogEntry, _ number: Int) {
        let found = KnownGroup(level: entry.level, metadata: entry.metadata, group: group)
        if let place = known[number].firstIndex(where: { $0.level == entry.level }) {
            known[number][place] = found
        } else {
            if known[number].count == Self.levelsMax { known[number].removeLast() }
            known[number].append(found)
        }
    }

    private func checkError() throws(MetricError) {
        guard run.labels.value(of: preserveError) != Self.isTrue else { return }
        throw .pipeline(run.labelSet.all)
    }

    /// 0 with an error where the text is none of the right kind.
    private func unwrapped() -> Double? {
        if conversion == nil {
            let small = run.labels.withValue(of: label) { $0.flatMap(Self.smallInteger) }
            if let small { return small }
        }
        guard let text = run.labels.value(of: label), !text.isEmpty else { return nil }
        let fault: String
        switch conversion {
        case nil:
            switch GoNumberReader.float(text) {
            case .value(let value): return value
            case .fault(let reason): fault = reason
            }
        case .duration, .durationSeconds:
            switch GoNumberReader.duration(text) {
            case .value(let nanoseconds): return RangeWindows.seconds(nanoseconds)
            case .fault(let reason): fault = reason
            }
        case .bytes:
            switch GoNumberReader.size(text) {
            case .value(let bytes): return Double(bytes)
            case .fault(let reason): fault = reason
            }
        }
        // Never one of those that `__preserve_error__` lets pass.
        run.labels.error = Self.extractionError
        run.labels.errorDetails = fault
        return 0
    }

    /// Up to 15 digits, as most numbers in logs have, without a detour by way of a text.
    private static func smallInteger(_ bytes: UnsafeBufferPointer<UInt8>) -> Double? {
        guard !bytes.isEmpty, bytes.count <= 15 else { return nil }
        var value: Int64 = 0
        for byte in bytes {
            guard byte &- 48 < 10 else { return nil }
            value = value * 10 + Int64(byte - 48)
        }
        return Double(value)
    }
}
