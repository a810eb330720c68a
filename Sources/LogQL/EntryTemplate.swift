import GoTemplate
import Model

/// A template over the labels of entries: parsed once, with the labels it names already numbered.
///
/// Templates see labels as Go's `map[string]string` under `missingkey=zero`, `__error__` and `__error_details__` among
/// them where there is an error. Those made of texts, labels and `__line__` alone are put together from bytes; all
/// others run in `GoTemplate`, with the values of the labels they name.
struct EntryTemplate: Sendable {
    static let errorKind = "TemplateFormatErr"
    /// What one entry may take.
    static let limits = TemplateLimits(
        outputBytesMax: LogEntry.lineBytesMax, stepsMax: 100_000,
        workBytesMax: 16 << 20)

    /// What a template is applied to.
    struct Entry {
        var line: [UInt8]
        var timestamp: TimestampNS
        var labels: EntryLabels
    }

    /// The values of labels, for a template that comes to its turn later.
    enum Snapshot {
        /// The labels are read when they are needed.
        case none
        /// In the order of `GoTemplate.fieldNames`.
        case values([String])
        case whole([String: String])
    }

    private enum Field: Sendable {
        case label(Int32)
        case error
        case errorDetails
    }

    private enum Part: Sendable {
        case text([UInt8])
        /// An index of `fields`.
        case field(Int)
        case line
    }

    private let template: GoTemplate
    private let fields: [Field]
    /// Nil where there is more to the template.
    private let parts: [Part]?
    private let readsLine: Bool
    /// Whether the template is `{{.name}}`.
    let isOneField: Bool

    /// Parses a template that Go's errors call `name`.
    init(
        _ text: String, name: String, _ functions: [String: TemplateFunction],
        _ names: inout ByteTable
    ) throws(GoTemplateError) {
        template = try GoTemplate(text, name: name, functions: functions)
        readsLine = template.functionNames.contains(LogTemplateFunctions.lineName)
        var fields: [Field] = []
        for name in template.fieldNames {
            switch name {
            case EntryLabels.errorName: fields.append(.error)
            case EntryLabels.errorDetailsName: fields.append(.errorDetails)
            default: fields.append(.label(names.intern(name)))
            }
        }
        self.fields = fields
        var parts: [Part] = []
        var isSimple = !template.usesWholeData
        for part in template.parts ?? [] {
            switch part {
            case .text(let text): parts.append(.text(Array(text.utf8)))
            case .field(let name):
                parts.append(.field(template.fieldNames.firstIndex(of: name) ?? 0))
            case .function(LogTemplateFunctions.lineName): parts.append(.line)
            case .function: isSimple = false
            }
        }
        self.parts = isSimple && template.parts != nil ? parts : nil
        if case .field? = parts.first, parts.count == 1, isSimple {
            isOneField = true
        } else {
            isOneField = false
        }
    }

    /// The labels that the template names, in order of first use.
    var labelsRead: [String] { template.fieldNames }

    // MARK: - Expanding

    /// What `append` needs of an entry; with `copies` also what it could read from the labels itself.
    func snapshot(_ entry: Entry, copies: Bool = false) -> Snapshot {
        if template.usesWholeData {
            var whole: [String: String] = [:]
            entry.labels.visit { name, value, _ in whole[name] = value }
            return .whole(whole)
        }
        if parts != nil, !copies { return .none }
        return .values(fields.map { value($0, of: entry.labels) })
    }

    private func value(_ field: Field, of labels: EntryLabels) -> String {
        switch field {
        case .label(let number): labels.find(number).map { labels.text($0) } ?? ""
        case .error: labels.error
        case .errorDetails: labels.errorDetails
        }
    }

    /// Appends what the template makes of an entry; what it appended before an error is to be ignored.
    /// Throws the template's failure, or `limit` where the output or the work is larger than `limits`.
    func append(
        _ entry: Entry, _ snapshot: Snapshot, seesErrors: Bool, to output: inout [UInt8]
    ) throws(GoTemplateError) {
        guard let parts else {
            let inputs: [TemplateValue] = [
                readsLine ? .string(Self.text(entry.line)) : .null, .time(entry.timestamp),
                .time(entry.labels.now ?? entry.timestamp), entry.labels.toDateInZone,
            ]
            let data: TemplateValue
            switch snapshot {
            case .none: data = .record([])
            case .values(let values): data = .record(values)
            case .whole(let labels): data = .stringMap(labels)
            }
            try template.expand(data, inputs: inputs, limits: Self.limits, into: &output)
            return
        }
        for part in parts {
            switch part {
            case .text(let text): output.append(contentsOf: text)
            case .line: output.append(contentsOf: entry.line)
            case .field(let index):
                if case .values(let values) = snapshot {
                    output.append(contentsOf: values[index].utf8)
                } else {
                    append(fields[index], of: entry.labels, seesErrors: seesErrors, to: &output)
                }
            }
            guard output.count <= Self.limits.outputBytesMax else { throw tooLong }
        }
    }

    private func append(
        _ field: Field, of labels: EntryLabels, seesErrors: Bool, to output: inout [UInt8]
    ) {
        switch field {
        case .label(let number):
            guard let slot = labels.find(number) else { return }
            labels.withBytes(slot) { output.append(contentsOf: $0) }
        case .error: if seesErrors { output.append(contentsOf: labels.error.utf8) }
        case .errorDetails: if seesErrors { output.append(contentsOf: labels.errorDetails.utf8) }
        }
    }

    private var tooLong: GoTemplateError {
        let message = "the output is longer than \(Self.limits.outputBytesMax) bytes"
        return .limit(
            TemplateFault(
                line: 1, message: message, goText: "template: \(template.name): \(message)"))
    }

    /// A line as text: bytes that are no UTF-8 become U+FFFD each.
    static func text(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBufferPointer { bytes in
            if isUTF8(bytes) { return String(decoding: bytes, as: UTF8.self) }
            var repaired: [UInt8] = []
            appendRepaired(
                bytes, replacement: [0xef, 0xbf, 0xbd], blanksMarks: false, to: &repaired)
            return String(decoding: repaired, as: UTF8.self)
        }
    }
}
