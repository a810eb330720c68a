package import LogQLSyntax
package import Model

/// A stage that another file of this target brings: `line_format` and `label_format`.
package protocol PipelineStageEvaluator: Sendable {
    /// The labels whose values the stage reads: metric queries have their parsers look for them.
    var labelsRead: [String] { get }

    /// Changes the line or the labels, or calls `labels.fail`. Never drops the entry.
    func process(_ line: inout [UInt8], timestamp: TimestampNS, labels: EntryLabels)
}

/// The stages of a query, compiled: once per query, shared by all who run it. `PipelineRun` runs it.
package struct Pipeline: Sendable {
    let stages: [CompiledStage]
    /// Label filters after `unwrap`.
    let postFilters: [LabelFilterStage]
    /// Labels whose values stages read, and what `unwrap` takes.
    package let labelsRead: [String]
    /// Names known to the compiled stages.
    let names: ByteTable
    /// Byte strings that every kept line contains as it is stored, longest first: a reader may skip what lacks one.
    package let needles: [[UInt8]]
    /// Fields that every kept entry has beside its line, or that its stream has as labels: a reader may skip by those
    /// that no stream has.
    package let metadataEqualities: [Label]

    /// Compiles the stages of a selector and the filters after its `unwrap`.
    /// Throws `LogQLError.syntax` for a stage that can't be built: a regular expression, a pattern, a path, a template.
    package init(_ selector: LogSelector, unwrap: Unwrap? = nil) throws(LogQLError) {
        var compiler = StageCompiler()
        for group in selector.buildGroups {
            for stage in group { try compiler.add(stage, group: group) }
        }
        stages = compiler.stages
        var postFilters: [LabelFilterStage] = []
        for filter in unwrap?.filters ?? [] {
            postFilters.append(try compiler.labelFilter(filter, group: [.labelFilter(filter)]))
        }
        self.postFilters = postFilters
        labelsRead = compiler.labelsRead + (unwrap.map { [$0.label] } ?? [])
        names = compiler.names
        needles = Needles.required(selector.stages)
        metadataEqualities = MetadataEqualities.required(selector.stages)
    }

    /// Whether entries come out as they go in.
    package var isEmpty: Bool { stages.isEmpty }
}

/// One evaluation of a pipeline: its streams share what it learns. Not for several threads at once.
///
/// ```
/// let run = PipelineRun(try Pipeline(selector), grouping: .by(["level"]))
/// let stream = run.forStream(labels)
/// if run.process(entry, of: stream) { counts[run.group] += 1 }
/// ```
package final class PipelineRun {
    /// The labels of the entry that was processed last.
    package let labels: EntryLabels
    /// The line of the entry that was processed last, as stages left it.
    @exclusivity(unchecked) package private(set) var line: [UInt8] = []

    let pipeline: Pipeline
    private let grouping: NumberedGrouping
    @exclusivity(unchecked) private var sets = LabelSetTable()
    @exclusivity(unchecked) private var scratch: ParserScratch

    /// `grouping` is what metric queries tell of their samples; log queries leave it out and get all labels.
    package init(_ pipeline: Pipeline, grouping: SampleGrouping = .all) {
        self.pipeline = pipeline
        var names = pipeline.names
        var hints = PipelineHints(grouping: grouping, read: pipeline.labelsRead)
        self.grouping = NumberedGrouping(grouping, &names)
        hints.number(&names)
        labels = EntryLabels(names: names, hints: hints)
        scratch = ParserScratch()
    }

    /// Prepares a stream's labels. O(labels); do it once per stream.
    package func forStream(_ labels: Labels) -> PipelineStream {
        PipelineStream(state: StreamState(labels))
    }

    /// Runs the stages over an entry; false where one of them drops it. Afterwards `line`, `labels`, `labelSet` and
    /// `group` are those of the entry, until the next call.
    package func process(
        timestamp: TimestampNS, line: [UInt8], metadata: Labels = .empty,
        of stream: PipelineStream
    ) -> Bool {
        self.line = line
        labels.begin(stream.state)
        for label in metadata { addMetadata(label) }
        return runStages(timestamp)
    }

    /// Runs the stages over an entry whose level, if it has one, is its structured metadata `detected_level`.
    package func process(_ entry: LogEntry, of stream: PipelineStream) -> Bool {
        line = entry.line
        labels.begin(stream.state)
        for label in entry.metadata { addMetadata(label) }
        if let level = entry.level { addMetadata(Label(MetricCounting.levelLabel, level)) }
        return runStages(entry.timestamp)
    }

    /// Whether the filters after `unwrap` keep the entry. To be asked after the value was taken.
    package func passesPostFilters() -> Bool {
        pipeline.postFilters.allSatisfy { $0.keeps(labels) }
    }

    /// The labels that the entry ends with; the same object for the same labels.
    package var labelSet: EntryLabelSet { sets.set(of: labels) }

    /// The number of the entry's group by `grouping`: dense, from 0. An entry with an error has all its labels as its
    /// group, `__error__` among them.
    package var group: Int { Int(sets.group(of: labels, grouping)) }

    /// The labels of group `number`.
    package func groupLabels(_ number: Int) -> Labels { sets.groups[number] }

    /// Groups seen so far.
    package var groupCount: Int { sets.groups.count }

    private func runStages(_ timestamp: TimestampNS) -> Bool {
        for stage in pipeline.stages {
            guard stage.process(&line, timestamp, labels, &scratch) else { return false }
        }
        return true
    }

    /// Source: Loki `LabelsBuilder.Add`.
    private func addMetadata(_ label: Label) {
        if label.name == EntryLabels.errorName {
            labels.error = label.value
        } else if label.name == EntryLabels.errorDetailsName {
            labels.errorDetails = label.value
        } else {
            var (name, value) = (label.name, label.value)
            var number = name.withUTF8 { labels.intern($0) }
            if labels.isOfStream(number) { number = labels.nameBesideOthers(number) }
            value.withUTF8 { labels.set(.structuredMetadata, number, $0) }
        }
    }
}

/// A stream of a `PipelineRun`.
package struct PipelineStream {
    let state: StreamState
}
