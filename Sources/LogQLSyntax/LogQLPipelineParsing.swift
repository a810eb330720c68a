import Model

// Pipelines: line filters, parsers, label filters, formats.

extension LogQLParser {
    /// Stages up to the first token that begins none; before a range `| unwrap` begins none.
    mutating func pipeline(
        mayUnwrap: Bool
    ) throws(LogQLSyntaxError) -> [PipelineStage] {
        var stages: [PipelineStage] = []
        while case .word(let word) = kind {
            if let operation = word.lineFilter {
                step()
                stages += try lineFilters(operation)
            } else if word == .pipe, !mayUnwrap || following != .word(.unwrap) {
                step()
                stages.append(try stage())
            } else {
                break
            }
        }
        return stages
    }

    /// One filter; a negated `or` chain means none of its patterns, which is a filter each.
    private mutating func lineFilters(
        _ operation: LineFilter.Operation
    ) throws(LogQLSyntaxError) -> [PipelineStage] {
        var patterns = [try linePattern()]
        while skip(.or) { patterns.append(try linePattern()) }
        guard operation.isNegated else { return [.lineFilter(LineFilter(operation, patterns))] }
        return patterns.map { .lineFilter(LineFilter(operation, [$0])) }
    }

    private mutating func linePattern() throws(LogQLSyntaxError) -> LineFilter.Pattern {
        if at(.ip) { return LineFilter.Pattern(try address(), isIP: true) }
        guard case .string(let bytes) = kind else { throw unexpected("STRING", "ip") }
        step()
        return LineFilter.Pattern(bytes)
    }

    /// `ip("…")`, its first word being the current token.
    private mutating func address() throws(LogQLSyntaxError) -> [UInt8] {
        step()
        try expect(.openParenthesis)
        let bytes = try string()
        try expect(.closeParenthesis)
        return bytes
    }

    /// What follows a `|`.
    private mutating func stage() throws(LogQLSyntaxError) -> PipelineStage {
        if case .identifier = kind { return .labelFilter(try labelFilter()) }
        guard case .word(let word) = kind else { throw unexpected() }
        switch word {
        case .openParenthesis: return .labelFilter(try labelFilter())
        case .json:
            step()
            return .json(try extractions())
        case .logfmt:
            step()
            return try logfmt()
        case .regexp:
            step()
            return .regexp(try checkedRegexp())
        case .pattern:
            step()
            return .pattern(try checkedPattern())
        case .unpack:
            step()
            return .unpack
        case .decolorize:
            step()
            return .decolorize
        case .lineFormat:
            step()
            return .lineFormat(try text())
        case .labelFormat:
            step()
            return .labelFormat(try labelFormats())
        case .drop:
            step()
            return .drop(try selections())
        case .keep:
            step()
            return .keep(try selections())
        default: throw unexpected()
        }
    }

    private mutating func checkedRegexp() throws(LogQLSyntaxError) -> String {
        let text = try text()
        if let reason = regexpParserComplaint(text) {
            throw .invalid("invalid regexp parser: \(reason)")
        }
        return text
    }

    private mutating func checkedPattern() throws(LogQLSyntaxError) -> String {
        let text = try text()
        do { _ = try PatternExpression.capturing(text) } catch {
            throw .invalid("invalid pattern parser: \(error)")
        }
        return text
    }

    // MARK: - Lists

    private mutating func name() throws(LogQLSyntaxError) -> String {
        guard case .identifier(let name) = kind else { throw unexpected("IDENTIFIER") }
        step()
        return name
    }

    /// `a="x", b`; none where no name follows.
    private mutating func extractions() throws(LogQLSyntaxError) -> [LabelExtraction] {
        var extractions: [LabelExtraction] = []
        guard case .identifier = kind else { return extractions }
        repeat {
            let label = try name()
            extractions.append(LabelExtraction(label, skip(.equal) ? try text() : label))
        } while skip(.comma)
        return extractions
    }

    private mutating func logfmt() throws(LogQLSyntaxError) -> PipelineStage {
        var flags: LogfmtFlags = []
        while case .flag(let flag) = kind {
            flags.insert(flag)
            step()
        }
        return .logfmt(flags, try extractions())
    }

    private mutating func labelFormats() throws(LogQLSyntaxError) -> [LabelFormat] {
        var formats: [LabelFormat] = []
        repeat {
            let label = try name()
            try expect(.equal)
            switch kind {
            case .identifier(let source): formats.append(LabelFormat(label, .rename(source)))
            case .string(let bytes):
                let template = String(decoding: bytes, as: UTF8.self)
                formats.append(LabelFormat(label, .template(template)))
            default: throw unexpected("IDENTIFIER", "STRING")
            }
            step()
        } while skip(.comma)
        return formats
    }

    private mutating func selections() throws(LogQLSyntaxError) -> [LabelSelection] {
        var selections: [LabelSelection] = []
        repeat {
            let label = try name()
            if case .word(let word) = kind,
                let operation = LabelMatcher.Operation(rawValue: word.rawValue)
            {
                step()
                selections.append(.matcher(try matcher(label, operation).0))
            } else {
                selections.append(.name(label))
            }
        } while skip(.comma)
        return selections
    }

    // MARK: - Label filters

    private struct FilterNode {
        var filter: LabelFilter
        var height = 1
    }

    /// What the filter being read is the right side of.
    private enum FilterContext { case and, or, other }

    mutating func labelFilter() throws(LogQLSyntaxError) -> LabelFilter {
        try labelFilter(in: .other).filter
    }

    /// `and` binds tighter than `or` and both to the left; `,` and a blank take all that follows.
    /// Source: Loki's grammar.
    private mutating func labelFilter(
        in context: FilterContext
    ) throws(LogQLSyntaxError) -> FilterNode {
        try enter()
        defer { leave() }
        var left = try oneLabelFilter()
        while true {
            switch kind {
            case .word(.or):
                guard context == .other else { return left }
                step()
                left = try joined(left, try labelFilter(in: .or), LabelFilter.or)
            case .word(.and):
                guard context != .and else { return left }
                step()
                left = try joined(left, try labelFilter(in: .and), LabelFilter.and)
            case .word(.comma):
                step()
                left = try joined(left, try labelFilter(in: .other), LabelFilter.and)
            case .identifier, .word(.openParenthesis):
                left = try joined(left, try labelFilter(in: .other), LabelFilter.and)
            default: return left
            }
        }
    }

    private func joined(
        _ left: FilterNode, _ right: FilterNode, _ join: (LabelFilter, LabelFilter) -> LabelFilter
    ) throws(LogQLSyntaxError) -> FilterNode {
        let height = max(left.height, right.height) + 1
        try checkHeight(height)
        return FilterNode(filter: join(left.filter, right.filter), height: height)
    }

    private mutating func oneLabelFilter() throws(LogQLSyntaxError) -> FilterNode {
        if skip(.openParenthesis) {
            let inner = try labelFilter(in: .other)
            guard skip(.closeParenthesis) else { throw unexpected() }
            return inner
        }
        guard case .identifier(let label) = kind else { throw unexpected("IDENTIFIER", "(") }
        step()
        guard case .word(let word) = kind,
            word.comparison != nil || LabelMatcher.Operation(rawValue: word.rawValue) != nil
        else { throw unexpected() }
        step()
        return FilterNode(filter: try comparison(label, word))
    }

    /// The value that the label is compared with.
    private mutating func comparison(
        _ label: String, _ word: LogQLWord
    ) throws(LogQLSyntaxError) -> LabelFilter {
        if case .string = kind, let operation = LabelMatcher.Operation(rawValue: word.rawValue) {
            return .string(try matcher(label, operation).0)
        }
        guard let comparison = word.comparison else { throw unexpected("STRING") }
        switch kind {
        case .word(.ip) where word == .equal || word == .notEqual:
            let pattern = String(decoding: try address(), as: UTF8.self)
            return .ip(label, isNegated: word == .notEqual, pattern: pattern)
        case .duration(let nanoseconds):
            step()
            return .duration(label, comparison, nanoseconds)
        case .bytes(let bytes):
            step()
            return .bytes(label, comparison, bytes)
        case .number, .word(.add), .word(.subtract):
            return .number(label, comparison, try literal().get())
        default: throw unexpected()
        }
    }
}
