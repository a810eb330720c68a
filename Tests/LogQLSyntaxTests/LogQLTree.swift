import LogQLSyntax
import Model

/// Builds trees from the `ast` of the table; nil for a form that it does not know.
enum LogQLTree {
    static func expression(_ node: JSONNode) -> LogQLExpression? {
        if node["node"].text == "selector" { return selector(node).map { .log($0) } }
        return metric(node).map { .metric($0) }
    }

    static func matchers(_ node: JSONNode) -> [LabelMatcher] {
        node.list.compactMap { item in
            let texts = item.texts
            guard texts.count == 3, let operation = LabelMatcher.Operation(rawValue: texts[1])
            else { return nil }
            return LabelMatcher(texts[0], operation, texts[2])
        }
    }

    private static func selector(_ node: JSONNode) -> LogSelector? {
        let stages = node["stages"].list.map(stage)
        guard stages.allSatisfy({ $0 != nil }) else { return nil }
        return LogSelector(matchers: matchers(node["matchers"]), stages: stages.compactMap { $0 })
    }

    private static func stage(_ node: JSONNode) -> PipelineStage? {
        let extractions = node["expressions"].list.map {
            LabelExtraction($0.texts[0], $0.texts[1])
        }
        switch node["stage"].text {
        case "line_filter":
            guard let operation = LineFilter.Operation(rawValue: node["op"].text ?? "") else {
                return nil
            }
            let patterns = ([node] + node["or"].list).map {
                LineFilter.Pattern(
                    Array(($0["match"].text ?? "").utf8), isIP: $0["func"].text == "ip")
            }
            return .lineFilter(LineFilter(operation, patterns))
        case "json": return .json(extractions)
        case "logfmt":
            var flags: LogfmtFlags = []
            if node["flags"].texts.contains("--strict") { flags.insert(.strict) }
            if node["flags"].texts.contains("--keep-empty") { flags.insert(.keepEmpty) }
            return .logfmt(flags, extractions)
        case "regexp": return node["param"].text.map { .regexp($0) }
        case "pattern": return node["param"].text.map { .pattern($0) }
        case "unpack": return .unpack
        case "decolorize": return .decolorize
        case "line_format": return node["template"].text.map { .lineFormat($0) }
        case "label_format":
            return .labelFormat(
                node["formats"].list.map { format in
                    LabelFormat(
                        format["name"].text ?? "",
                        format["rename_from"].text.map { .rename($0) }
                            ?? .template(format["template"].text ?? ""))
                })
        case "label_filter": return filter(node["filter"]).map { .labelFilter($0) }
        default: return nil
        }
    }

    private static func filter(_ node: JSONNode) -> LabelFilter? {
        let name = node["name"].text ?? ""
        let sign = node["op"].text ?? ""
        let comparison = LabelFilter.Comparison(rawValue: sign == "=" ? "==" : sign)
        switch node["filter"].text {
        case "and", "or":
            guard let left = filter(node["left"]), let right = filter(node["right"]) else {
                return nil
            }
            return node["filter"].text == "and" ? .and(left, right) : .or(left, right)
        case "string":
            return LabelMatcher.Operation(rawValue: sign).map {
                .string(LabelMatcher(name, $0, node["value"].text ?? ""))
            }
        case "number":
            return comparison.map { .number(name, $0, node["value"].number ?? .nan) }
        case "duration":
            return comparison.map {
                .duration(name, $0, Int64(node["value_ns"].number ?? node["value"].number ?? 0))
            }
        case "bytes":
            return comparison.map { .bytes(name, $0, UInt64(node["value"].number ?? 0)) }
        case "ip": return .ip(name, isNegated: sign == "!=", pattern: node["value"].text ?? "")
        default: return nil
        }
    }

    private static func metric(_ node: JSONNode) -> MetricExpression? {
        switch node["node"].text {
        case "literal": return node["value"].number.map { .literal($0) }
        case "vector": return node["value"].number.map { .vector($0) }
        case "range_agg": return range(node).map { .range($0) }
        case "vector_agg":
            guard let operand = metric(node["left"]),
                let operation = VectorAggregation.Operation(rawValue: node["op"].text ?? "")
            else { return nil }
            let by = grouping(node["grouping"])
            return .aggregation(
                VectorAggregation(
                    operation, operand, parameter: node["param"].number.map { Int($0) },
                    grouping: by == Grouping(labels: []) ? nil : by))
        case "binop": return binary(node).map { .binary($0) }
        case "label_replace":
            return metric(node["left"]).map {
                .labelReplace(
                    LabelReplacement(
                        $0, destination: node["dst"].text ?? "",
                        replacement: node["replacement"].text ?? "",
                        source: node["src"].text ?? "", regex: node["regex"].text ?? ""))
            }
        default: return nil
        }
    }

    private static func grouping(_ node: JSONNode) -> Grouping? {
        node.isNull
            ? nil : Grouping(isWithout: node["without"].bool ?? false, labels: node["labels"].texts)
    }

    private static func range(_ node: JSONNode) -> RangeAggregation? {
        let range = node["range"]
        guard let selector = selector(range["selector"]),
            let operation = RangeAggregation.Operation(rawValue: node["op"].text ?? "")
        else { return nil }
        var unwrap: Unwrap?
        if let label = range["unwrap"]["label"].text {
            unwrap = Unwrap(
                label,
                conversion: Unwrap.Conversion(
                    rawValue: range["unwrap"]["conversion"].text ?? ""),
                filters: range["unwrap"]["post_filters"].list.compactMap(filter))
        }
        return RangeAggregation(
            operation, selector, rangeNanoseconds: Int64(range["interval_ns"].number ?? 0),
            unwrap: unwrap, offsetNanoseconds: Int64(range["offset_ns"].number ?? 0),
            parameter: node["param"].number, grouping: grouping(node["grouping"]))
    }

    private static func binary(_ node: JSONNode) -> BinaryOperation? {
        guard let left = metric(node["left"]), let right = metric(node["right"]),
            let operation = BinaryOperation.Operation(rawValue: node["op"].text ?? "")
        else { return nil }
        let options = node["options"]
        let labels = options["labels"].texts
        let isOn = options["on"].bool ?? false
        var matching: BinaryOperation.Matching?
        let card = options["card"].text
        if isOn || !labels.isEmpty || card == "many-to-one" || card == "one-to-many" {
            matching = BinaryOperation.Matching(
                cardinality: card == "many-to-one"
                    ? .manyToOne : card == "one-to-many" ? .oneToMany : .oneToOne,
                isOn: isOn, labels: labels, include: options["include"].texts)
        }
        return BinaryOperation(
            operation, left, right, returnsBool: options["bool"].bool ?? false,
            matching: matching)
    }
}
