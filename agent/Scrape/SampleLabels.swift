import Exposition
import Model

/// The labels that a sample of a target is stored under.
enum SampleLabels {
    enum Outcome: Hashable, Sendable {
        case labels(Labels)
        /// Relabeling drops the sample.
        case dropped
        /// It has more than can be sent.
        case unsendable
    }

    /// `exposed` with the target's labels, relabeled, within the job's limits. `line` is the text that `exposed` was read
    /// from. Throws for a label limit, and for a sample that relabeling takes the name of.
    /// Source: Prometheus 3.14 `scrape.mutateSampleLabels`, `verifyLabelLimits`.
    static func make(
        _ exposed: Labels, line: ArraySlice<UInt8>, _ target: ScrapeTarget
    ) throws(ScrapeFailure) -> Outcome {
        let job = target.job
        var builder = LabelBuilder(exposed)
        if job.honorsLabels {
            for label in target.labels
            where builder[label.name].isEmpty && !isWrittenEmpty(label.name, in: line) {
                builder[label.name] = label.value
            }
        } else {
            setTargetLabels(target.labels, &builder)
        }
        guard job.metricRelabelRules.apply(&builder) else { return .dropped }
        giveUpCollectorLabels(&builder)
        let labels = builder.labels
        guard !labels.isEmpty else { return .dropped }
        guard !labels.metricName.isEmpty else {
            throw .exposition("metric_relabel_configs takes the name of a sample, __name__")
        }
        try verify(labels, job)
        let isSendable =
            labels.count <= ScrapeLimits.labelsMax
            && labels.allSatisfy {
                $0.name.utf8.count <= ScrapeLimits.labelNameBytesMax
                    && $0.value.utf8.count <= ScrapeLimits.labelValueBytesMax
                    && !$0.value.utf8.contains(0) && !$0.name.utf8.contains(0)
            }
        return isSendable ? .labels(labels) : .unsendable
    }

    /// A label that both have is the target's; the sample's goes on as `exported_…`, shorter names first.
    private static func setTargetLabels(_ target: Labels, _ builder: inout LabelBuilder) {
        var conflicting: [Label] = []
        for label in target {
            let exposed = builder[label.name]
            if !exposed.isEmpty { conflicting.append(Label(label.name, exposed)) }
            builder[label.name] = label.value
        }
        let order = conflicting.indices.sorted { a, b in
            let (first, second) = (conflicting[a].name.utf8.count, conflicting[b].name.utf8.count)
            return first == second ? a < b : first < second
        }
        for index in order { export(conflicting[index], &builder) }
    }

    /// The collector's labels go on as `exported_…` too, with honor_labels as without: it would overwrite them, and series
    /// that nothing else tells apart would become one.
    private static func giveUpCollectorLabels(_ builder: inout LabelBuilder) {
        for name in Labels.namesOfCollector {
            let value = builder[name]
            guard !value.isEmpty else { continue }
            builder[name] = ""
            export(Label(name, value), &builder)
        }
    }

    private static func export(_ label: Label, _ builder: inout LabelBuilder) {
        var name = "exported_" + label.name
        while !builder[name].isEmpty { name = "exported_" + name }
        builder[name] = label.value
    }

    /// Whether the line says `name=""`: with honor_labels that means the label is not to be set. A quotation mark inside a
    /// value has a backslash before it, so that the text can't stand within one.
    private static func isWrittenEmpty(_ name: String, in line: ArraySlice<UInt8>) -> Bool {
        let wanted = Array((name + "=\"\"").utf8)
        guard line.count > wanted.count else { return false }
        var at = line.startIndex + 1
        while at + wanted.count <= line.endIndex {
            if line[at] == wanted[0], line[at..<(at + wanted.count)].elementsEqual(wanted),
                [UInt8(ascii: "{"), UInt8(ascii: ","), UInt8(ascii: " ")].contains(line[at - 1])
            {
                return true
            }
            at += 1
        }
        return false
    }

    private static func verify(_ labels: Labels, _ job: ScrapeJob) throws(ScrapeFailure) {
        if job.labelLimit > 0, labels.count > job.labelLimit {
            throw .labelLimit(
                "\(labels.metricName) has \(labels.count) labels; label_limit is \(job.labelLimit)")
        }
        guard job.labelNameLengthLimit > 0 || job.labelValueLengthLimit > 0 else { return }
        for label in labels {
            if job.labelNameLengthLimit > 0, label.name.utf8.count > job.labelNameLengthLimit {
                throw .labelLimit(
                    "\(labels.metricName) has a label name of \(label.name.utf8.count) bytes; "
                        + "label_name_length_limit is \(job.labelNameLengthLimit)")
            }
            if job.labelValueLengthLimit > 0, label.value.utf8.count > job.labelValueLengthLimit {
                throw .labelLimit(
                    "\(labels.metricName) has a label value of \(label.value.utf8.count) bytes; "
                        + "label_value_length_limit is \(job.labelValueLengthLimit)")
            }
        }
    }
}
