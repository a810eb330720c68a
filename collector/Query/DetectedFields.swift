package import LogQL
import LogQLSyntax
package import Model
package import Storage
import Synchronization

/// A field that lines were found to have.
package struct DetectedField: Hashable, Sendable {
    package var label: String
    package var type: DetectedFieldType
    /// Different values seen.
    package var cardinality: Int
    /// `json`, `logfmt`: what finds it in the lines; empty for fields beside the line alone.
    package var parsers: [String]
    /// Where it stands in lines of JSON; empty for others.
    package var jsonPath: [String]
}

/// Which lines are looked at for fields.
package struct DetectedFieldsRequest: Hashable, Sendable {
    /// A log query.
    package var text: String
    /// Inclusive.
    package var from: TimestampNS
    /// Exclusive.
    package var to: TimestampNS
    /// The newest lines that are looked at.
    package var lineCountMax: Int
    /// Fields, or values, of an answer.
    package var resultCountMax: Int

    package init(
        text: String, from: TimestampNS, to: TimestampNS, lineCountMax: Int = 100,
        resultCountMax: Int = 1000
    ) {
        self.text = text
        self.from = from
        self.to = to
        self.lineCountMax = lineCountMax
        self.resultCountMax = resultCountMax
    }
}

/// A stream label that is worth showing.
package struct DetectedLabel: Hashable, Sendable {
    package var label: String
    /// Different values.
    package var cardinality: Int
}

// Source: Loki 3.6 `detected_fields`, `detected_labels`, their behaviour. Values are counted, not estimated.
extension LogQueryService {
    /// What fields lines have, in themselves and beside them, by name. Throws `badData` for what is no log query.
    package func detectedFields(
        _ request: DetectedFieldsRequest
    ) async throws(QueryFailure) -> [DetectedField] {
        let streams = try await newestLines(request)
        var collection = DetectedFieldCollection(fieldCountMax: request.resultCountMax)
        collection.add(streams)
        return collection.fields
    }

    /// The values that field `name` has, in byte order.
    package func detectedFieldValues(
        _ name: String, _ request: DetectedFieldsRequest
    ) async throws(QueryFailure) -> [String] {
        let streams = try await newestLines(request)
        var values: Set<ExactText> = []
        var reader = EntryFieldReader()
        search: for stream in streams {
            reader.begin(stream.labels)
            for entry in stream.entries {
                var found = reader.fields(of: entry).found.filter { $0.name == name }.map(\.value)
                let beside = entry.structuredMetadata[name]
                if !beside.isEmpty { found.append(beside) }
                for value in found {
                    guard values.count < request.resultCountMax else { break search }
                    values.insert(ExactText(value))
                }
            }
        }
        return values.map(\.text).sorted(by: bytesPrecede)
    }

    /// The labels of streams, by name, but for those all of whose values are ids or numbers.
    package func detectedLabels(
        _ scope: LabelScope
    ) async throws(QueryFailure) -> [DetectedLabel] {
        var values: [ExactText: Set<ExactText>] = [:]
        for labels in try await streams(scope) {
            for label in labels {
                values[ExactText(label.name), default: []].insert(ExactText(label.value))
            }
        }
        return values.filter { DetectedLabelRule.shows($0.key.text, $0.value.map(\.text)) }
            .map { DetectedLabel(label: $0.key.text, cardinality: $0.value.count) }
            .sorted { bytesPrecede($0.label, $1.label) }
    }

    private func newestLines(
        _ request: DetectedFieldsRequest
    ) async throws(QueryFailure) -> [LogResultStream] {
        _ = try Self.prepareLog(request.text)
        var range = LogRangeRequest(
            text: request.text, from: request.from, to: request.to,
            entriesMax: request.lineCountMax)
        range.hasCategories = true
        // Lines have no steps: a long time is not too long.
        range.stepNanoseconds = .max
        guard case .streams(let streams) = try await self.range(range).value else { return [] }
        return streams
    }
}

/// Which stream labels are shown. Source: Loki 3.6 `shouldRejectLabel`.
enum DetectedLabelRule {
    /// Shown whatever their values are.
    private static let named: Set<String> = ["cluster", "namespace", "instance", "pod"]

    static func shows(_ name: String, _ values: [String]) -> Bool {
        if named.contains(name)
            || values.count <= 2 && values.allSatisfy({ $0 == "0" || $0 == "1" })
        {
            return true
        }
        return !values.allSatisfy(isID)
    }

    private static func isID(_ value: String) -> Bool {
        switch DetectedFieldType(of: value) {
        case .int, .float: true
        case .string, .boolean, .duration, .bytes: isUUID(Array(value.utf8))
        }
    }

    /// Source: google/uuid `Parse`: 32 hexadecimal digits, or with dashes, in braces or after `urn:uuid:`.
    private static func isUUID(_ text: [UInt8]) -> Bool {
        var text = text[...]
        let prefix = Array("urn:uuid:".utf8)
        if text.count == 36 + prefix.count {
            guard text.prefix(prefix.count).map({ $0 | 0x20 }) == prefix.map({ $0 | 0x20 }) else {
                return false
            }
            text = text.dropFirst(prefix.count)
        } else if text.count == 38 {
            guard text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}") else {
                return false
            }
            text = text.dropFirst().dropLast()
        }
        var digits = Array(text)
        if digits.count == 36 {
            for place in [23, 18, 13, 8] {
                guard digits[place] == UInt8(ascii: "-") else { return false }
                digits.remove(at: place)
            }
        }
        return digits.count == 32
            && digits.allSatisfy { byte in
                (48...57).contains(byte) || (97...102).contains(byte | 0x20)
            }
    }
}

/// The fields of lines as they are found.
private struct DetectedFieldCollection {
    private struct Found {
        var type = DetectedFieldType.string
        var values: Set<ExactText> = []
        var parsers: [String] = []
        var jsonPath: [String] = []
    }

    let fieldCountMax: Int
    private var found: [ExactText: Found] = [:]
    private var reader = EntryFieldReader()

    init(fieldCountMax: Int) { self.fieldCountMax = fieldCountMax }

    var fields: [DetectedField] {
        found.map { name, field in
            DetectedField(
                label: name.text, type: field.type, cardinality: field.values.count,
                parsers: field.parsers, jsonPath: field.jsonPath)
        }.sorted { bytesPrecede($0.label, $1.label) }
    }

    mutating func add(_ streams: [LogResultStream]) {
        for stream in streams {
            reader.begin(stream.labels)
            for entry in stream.entries {
                for label in entry.structuredMetadata { add(label, parser: nil, path: []) }
                let (labels, parser) = reader.fields(of: entry)
                let paths = parser == "json" ? JSONFieldPaths.paths(of: entry.line) : [:]
                for label in labels {
                    add(label, parser: parser, path: Self.path(label.name, paths))
                }
            }
        }
    }

    private mutating func add(_ label: Label, parser: String?, path: [String]) {
        let name = ExactText(label.name)
        guard found[name] != nil || found.count < fieldCountMax else { return }
        var field = found[name] ?? Found()
        if let parser, !field.parsers.contains(parser) { field.parsers.append(parser) }
        if field.jsonPath.isEmpty { field.jsonPath = path }
        field.type = DetectedFieldType(of: label.value)
        field.values.insert(ExactText(label.value))
        found[name] = field
    }

    /// A field that gave way to a label of the stream has `_extracted` behind its name.
    private static func path(_ name: String, _ paths: [String: [String]]) -> [String] {
        if let path = paths[name] { return path }
        let suffix = PipelineLabelNames.extractedSuffix
        guard name.hasSuffix(suffix) else { return [] }
        return paths[String(name.dropLast(suffix.count))] ?? []
    }
}

/// Finds the fields of lines: as JSON, and where a line is none as logfmt.
private struct EntryFieldReader {
    private let json = Self.run(.json([]))
    private let logfmt = Self.run(.logfmt([], []))
    private var streams: (json: PipelineStream, logfmt: PipelineStream)

    init() { streams = (json.forStream(.empty), logfmt.forStream(.empty)) }

    private static func run(_ stage: PipelineStage) -> PipelineRun {
        do {
            return PipelineRun(try Pipeline(LogSelector(matchers: [], stages: [stage])))
        } catch { preconditionFailure("a parser without parameters does not compile: \(error)") }
    }

    /// Entries of a stream with these labels come next.
    mutating func begin(_ labels: Labels) {
        streams = (json.forStream(labels), logfmt.forStream(labels))
    }

    /// What the query's own parsers found, and the line's fields; and what found the latter.
    func fields(of entry: LogResultEntry) -> (found: [Label], parser: String) {
        var found = entry.parsed.filter { !PipelineLabelNames.own.contains($0.name) }
        func read(_ run: PipelineRun, _ stream: PipelineStream) -> Bool {
            _ = run.process(
                timestamp: entry.timestamp, line: entry.line, metadata: entry.structuredMetadata,
                of: stream)
            guard !run.labels.hasError else { return false }
            run.labels.visit { name, value, category in
                guard category == .parsed, !PipelineLabelNames.own.contains(name) else { return }
                let label = Label(name, value)
                if !found.contains(label) { found.append(label) }
            }
            return true
        }
        if read(json, streams.json) { return (found, "json") }
        _ = read(logfmt, streams.logfmt)
        return (found, "logfmt")
    }
}
