import GoTemplate
import LogQLSyntax
import Model

/// Where `line_format` and `label_format` come in. Both throw the reason that Loki gives for refusing a template.
enum TemplateStages {
    /// `names` are the pipeline's; the template's labels get numbers in it.
    static func lineFormat(
        _ text: String, _ names: inout ByteTable
    ) throws(StageFault) -> any PipelineStageEvaluator {
        do throws(GoTemplateError) {
            return LineFormatStage(
                template: try EntryTemplate(text, name: "line", LogTemplateFunctions.make(), &names)
            )
        } catch {
            throw StageFault("invalid line template: \(error.goText)")
        }
    }

    /// Throws for `__error__` and for a label that is there twice, too. Source: Loki `NewLabelsFormatter`.
    static func labelFormat(
        _ formats: [LabelFormat], _ names: inout ByteTable
    ) throws(StageFault) -> any PipelineStageEvaluator {
        var seen: Set<String> = []
        for format in formats {
            guard format.label != EntryLabels.errorName else {
                throw StageFault("\(format.label) cannot be formatted")
            }
            guard seen.insert(format.label).inserted else {
                throw StageFault(
                    "multiple label name '\(format.label)' not allowed in a single format operation"
                )
            }
        }
        let functions = LogTemplateFunctions.make()
        var steps: [LabelFormatStage.Step] = []
        var read: [String] = []
        for format in formats {
            let target = names.intern(format.label)
            switch format.value {
            case .rename(let source):
                read.append(source)
                steps.append(.rename(target, from: names.intern(source)))
            case .template(let text):
                do throws(GoTemplateError) {
                    let template = try EntryTemplate(text, name: "label", functions, &names)
                    read += template.labelsRead
                    steps.append(.template(target, template))
                } catch {
                    throw StageFault(
                        "invalid template for label '\(format.label)': \(error.goText)")
                }
            }
        }
        var isRead: Set<String> = []
        return LabelFormatStage(steps, labelsRead: read.filter { isRead.insert($0).inserted })
    }
}

/// `line_format`. A line whose template fails stays as it is.
struct LineFormatStage: PipelineStageEvaluator {
    let template: EntryTemplate

    var labelsRead: [String] { template.labelsRead }

    func process(_ line: inout [UInt8], timestamp: TimestampNS, labels: EntryLabels) {
        labels.formatted.removeAll(keepingCapacity: true)
        let entry = EntryTemplate.Entry(line: line, timestamp: timestamp, labels: labels)
        do throws(GoTemplateError) {
            // Loki takes a line that is one label from the label, not from all that templates see.
            try template.append(
                entry, template.snapshot(entry), seesErrors: !template.isOneField,
                to: &labels.formatted)
            line = Array(labels.formatted)
        } catch {
            labels.fail(EntryTemplate.errorKind, error.goText)
        }
    }
}

/// `label_format`. Renames happen in turn; all templates see the labels as they are when the first one's turn comes.
/// A label whose template fails stays as it is. Source: Loki `LabelsFormatter.Process`.
struct LabelFormatStage: PipelineStageEvaluator {
    enum Step: Sendable {
        case rename(Int32, from: Int32)
        case template(Int32, EntryTemplate)
    }

    let labelsRead: [String]
    private let steps: [Step]
    /// The templates after the first: only they need to remember what labels were.
    private let later: [EntryTemplate]

    init(_ steps: [Step], labelsRead: [String]) {
        self.steps = steps
        self.labelsRead = labelsRead
        later = Array(
            steps.compactMap { step in
                if case .template(_, let template) = step { template } else { nil }
            }.dropFirst())
    }

    func process(_ line: inout [UInt8], timestamp: TimestampNS, labels: EntryLabels) {
        let entry = EntryTemplate.Entry(line: line, timestamp: timestamp, labels: labels)
        var snapshots: [EntryTemplate.Snapshot] = []
        var isRemembered = false
        var templateIndex = 0
        for step in steps {
            switch step {
            case .rename(let target, let source):
                guard let slot = labels.find(source) else { continue }
                labels.formatted.removeAll(keepingCapacity: true)
                labels.withBytes(slot) { labels.formatted.append(contentsOf: $0) }
                labels.setFormatted(target)
                labels.delete(source)
            case .template(let target, let template):
                let snapshot: EntryTemplate.Snapshot
                if isRemembered {
                    snapshot = snapshots[templateIndex - 1]
                } else {
                    snapshot = template.snapshot(entry)
                    snapshots = later.map { $0.snapshot(entry, copies: true) }
                    // Where there were no labels, Loki looks again.
                    isRemembered = !later.isEmpty && !labels.isEmpty
                }
                templateIndex += 1
                format(target, template, entry, snapshot)
            }
        }
    }

    private func format(
        _ target: Int32, _ template: EntryTemplate, _ entry: EntryTemplate.Entry,
        _ snapshot: EntryTemplate.Snapshot
    ) {
        let labels = entry.labels
        labels.formatted.removeAll(keepingCapacity: true)
        do throws(GoTemplateError) {
            try template.append(entry, snapshot, seesErrors: true, to: &labels.formatted)
        } catch {
            labels.fail(EntryTemplate.errorKind, error.goText)
            return
        }
        labels.setFormatted(target)
    }
}
