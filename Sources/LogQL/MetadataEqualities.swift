import LogQLSyntax
import Model

/// Fields that entries which a pipeline keeps all have beside their line, unless their stream has a label of that name.
enum MetadataEqualities {
    static let countMax = 16
    /// Labels that are no fields beside the line, though they look like them.
    private static let others = PipelineLabelNames.own.union([MetricCounting.levelLabel])

    /// Of the label filters in front of the first stage that sets or takes away labels: those for one text, alone or
    /// with others by `and`. Names with `_extracted` at their end are left out: a field may have come by it from its
    /// stream's label.
    static func required(_ stages: [PipelineStage]) -> [Label] {
        var found: [Label] = []
        scan: for stage in stages {
            switch stage {
            case .labelFilter(let filter): add(filter, to: &found)
            case .lineFilter, .decolorize, .lineFormat: break
            case .json, .logfmt, .regexp, .pattern, .unpack, .labelFormat, .drop, .keep: break scan
            }
        }
        return Array(found.prefix(countMax))
    }

    /// Filters are no deeper than the parser allows.
    private static func add(_ filter: LabelFilter, to found: inout [Label]) {
        switch filter {
        case .string(let matcher):
            let label = Label(matcher.name, matcher.value)
            guard matcher.operation == .equal, !matcher.value.isEmpty,
                !others.contains(matcher.name),
                !matcher.name.hasSuffix(PipelineLabelNames.extractedSuffix), !found.contains(label)
            else { return }
            found.append(label)
        case .and(let left, let right):
            add(left, to: &found)
            add(right, to: &found)
        case .or, .number, .duration, .bytes, .ip: break
        }
    }
}
