import LinearRegex
import LogQLSyntax
import Model

/// A stage, ready to run.
enum CompiledStage: Sendable {
    case lineFilter(LineMatcher)
    case labelFilter(LabelFilterStage)
    case json
    case jsonPaths(JSONPathStage)
    case logfmt(LogfmtFlags)
    case logfmtKeys(LogfmtKeyStage)
    case regexp(RegexpStage)
    case pattern(PatternStage)
    case unpack
    case decolorize
    case drop([SelectionStage])
    /// With the number of `__preserve_error__`, which always stays.
    case keep([SelectionStage], preserved: Int32)
    /// `line_format`, `label_format`.
    case evaluator(any PipelineStageEvaluator)

    /// Runs the stage over an entry; false where it drops the entry.
    func process(
        _ line: inout [UInt8], _ timestamp: TimestampNS, _ labels: EntryLabels,
        _ scratch: inout ParserScratch
    ) -> Bool {
        switch self {
        case .lineFilter(let matcher): return matcher.keeps(line)
        case .labelFilter(let filter): return filter.keeps(labels)
        case .json: JSONStage.process(line, labels, &scratch)
        case .jsonPaths(let stage): stage.process(line, labels, &scratch)
        case .logfmt(let flags): LogfmtStage.process(line, flags, labels, &scratch)
        case .logfmtKeys(let stage): stage.process(line, labels, &scratch)
        case .regexp(let stage): stage.process(line, labels)
        case .pattern(let stage): stage.process(line, labels)
        case .unpack: UnpackStage.process(&line, labels, &scratch)
        case .decolorize: DecolorizeStage.process(&line)
        case .drop(let selections): for selection in selections { selection.drop(labels) }
        case .keep(let selections, let preserved):
            SelectionStage.keep(selections, labels, preserved: preserved)
        case .evaluator(let stage):
            stage.process(&line, timestamp: timestamp, labels: labels)
        }
        return true
    }
}

/// Makes the stages of one pipeline, which share the numbers of names.
struct StageCompiler {
    private(set) var stages: [CompiledStage] = []
    private(set) var names = ByteTable()
    /// Labels whose values stages read.
    private(set) var labelsRead: [String] = []

    /// Adds a stage; `group` is named in complaints.
    mutating func add(_ stage: PipelineStage, group: [PipelineStage]) throws(LogQLError) {
        do throws(StageFault) { stages.append(try compiled(stage)) } catch {
            throw .syntax(.stage(group, reason: error.text))
        }
    }

    mutating func labelFilter(
        _ filter: LabelFilter, group: [PipelineStage]
    ) throws(LogQLError) -> LabelFilterStage {
        do throws(StageFault) { return try labelFilter(filter, depth: 0) } catch {
            throw .syntax(.stage(group, reason: error.text))
        }
    }

    private mutating func compiled(_ stage: PipelineStage) throws(StageFault) -> CompiledStage {
        switch stage {
        case .lineFilter(let filter): return .lineFilter(try LineMatcher(filter))
        case .labelFilter(let filter): return .labelFilter(try labelFilter(filter, depth: 0))
        case .json(let extractions): return try json(extractions)
        case .logfmt(let flags, let extractions): return try logfmt(flags, extractions)
        case .regexp(let text): return .regexp(try regexp(text))
        case .pattern(let text): return .pattern(try pattern(text))
        case .unpack: return .unpack
        case .decolorize: return .decolorize
        case .lineFormat(let text): return evaluator(try TemplateStages.lineFormat(text, &names))
        case .labelFormat(let formats):
            return evaluator(try TemplateStages.labelFormat(formats, &names))
        case .drop(let selections):
            var compiled: [SelectionStage] = []
            for selection in selections { compiled.append(try self.selection(selection)) }
            return .drop(compiled)
        case .keep(let selections):
            var compiled: [SelectionStage] = []
            for selection in selections { compiled.append(try self.selection(selection)) }
            return .keep(compiled, preserved: names.intern(EntryLabels.preserveErrorName))
        }
    }

    private mutating func evaluator(_ stage: any PipelineStageEvaluator) -> CompiledStage {
        labelsRead += stage.labelsRead
        return .evaluator(stage)
    }

    // MARK: - Parsers

    private mutating func json(
        _ extractions: [LabelExtraction]
    ) throws(StageFault) -> CompiledStage {
        guard !extractions.isEmpty else { return .json }
        var targets: [(name: Int32, path: JSONPath)] = []
        for extraction in extractions {
            do throws(StageFault) {
                targets.append((names.intern(extraction.label), try JSONPath(extraction.path)))
            } catch {
                throw StageFault("cannot parse expression [\(extraction.path)]: \(error.text)")
            }
        }
        return .jsonPaths(JSONPathStage(targets))
    }

    private mutating func logfmt(
        _ flags: LogfmtFlags, _ extractions: [LabelExtraction]
    ) throws(StageFault) -> CompiledStage {
        guard !extractions.isEmpty else { return .logfmt(flags) }
        var targets: [(name: Int32, label: String, key: LogfmtKey)] = []
        for extraction in extractions {
            do throws(StageFault) {
                let key = try LogfmtKey(extraction.path)
                targets.append((names.intern(extraction.label), extraction.label, key))
            } catch {
                throw StageFault("cannot parse expression [\(extraction.path)]: \(error.text)")
            }
        }
        return .logfmtKeys(LogfmtKeyStage(targets, flags: flags))
    }

    private mutating func regexp(_ text: String) throws(StageFault) -> RegexpStage {
        let regex: LinearRegex
        do { regex = try LinearRegex(text, anchored: false, dotMatchesLineEnd: false) } catch {
            throw StageFault(regexErrorText(error))
        }
        var numbers: [Int32?] = []
        for name in regex.groupNames {
            guard let name else {
                numbers.append(nil)
                continue
            }
            // RE2 takes letters, digits and underscores; a label does not begin with a digit.
            let isLabelName = name.utf8.first.map { !(48...57).contains($0) } ?? false
            numbers.append(names.intern(isLabelName ? name : "_" + name))
        }
        guard numbers.contains(where: { $0 != nil }) else {
            throw StageFault("at least one named capture must be supplied")
        }
        return RegexpStage(regex, names: numbers)
    }

    private mutating func pattern(_ text: String) throws(StageFault) -> PatternStage {
        let pattern: PatternExpression
        do { pattern = try PatternExpression.capturing(text) } catch {
            throw StageFault(error.description)
        }
        return PatternStage(pattern) { names.intern($0) }
    }

    // MARK: - Labels

    private mutating func selection(
        _ selection: LabelSelection
    ) throws(StageFault) -> SelectionStage {
        switch selection {
        case .name(let name):
            return SelectionStage(name: names.intern(name), text: name, matcher: nil)
        case .matcher(let matcher):
            return SelectionStage(
                name: names.intern(matcher.name), text: matcher.name,
                matcher: try ValueMatcher(matcher))
        }
    }

    private mutating func labelFilter(
        _ filter: LabelFilter, depth: Int
    ) throws(StageFault) -> LabelFilterStage {
        guard depth < LogQLParser.depthMax else { throw StageFault("too many label filters") }
        switch filter {
        case .string(let matcher):
            let compiled = try ValueMatcher(matcher, dotMatchesLineEnd: false)
            if matcher.name == EntryLabels.errorName {
                labelsRead.append(matcher.name)
                return .error(compiled)
            }
            return .string(read(matcher.name), compiled)
        case .number(let name, let comparison, let value):
            return .number(read(name), comparison, value)
        case .duration(let name, let comparison, let value):
            return .duration(read(name), comparison, value)
        case .bytes(let name, let comparison, let value):
            return .bytes(read(name), comparison, value)
        case .ip(let name, let isNegated, let pattern):
            return .ip(read(name), isNegated: isNegated, try IPPattern(pattern))
        case .and(let left, let right):
            return .and(
                try labelFilter(left, depth: depth + 1), try labelFilter(right, depth: depth + 1))
        case .or(let left, let right):
            return .or(
                try labelFilter(left, depth: depth + 1), try labelFilter(right, depth: depth + 1))
        }
    }

    private mutating func read(_ name: String) -> Int32 {
        labelsRead.append(name)
        return names.intern(name)
    }
}
