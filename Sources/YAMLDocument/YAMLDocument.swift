internal import CYAML

/// Reads one YAML document into nodes that know their line and column.
///
/// YAML 1.1 as libyaml reads it, with what the configuration files of Prometheus and Alertmanager use: anchors,
/// aliases and merge keys. A second document in the text is refused.
package enum YAMLDocument {
    /// Deepest nesting of sequences and mappings.
    package static let depthMax = 128
    /// Longest text, in bytes.
    package static let bytesMax = 16 << 20
    /// Most nodes after the expansion of aliases: what stops a "billion laughs" file.
    package static let nodesMax = 1_000_000

    /// The document of `text`; `.null` where it is empty. Errors name `file`, line and column.
    package static func parse(_ text: String, file: String) throws(YAMLError) -> YAMLNode {
        let bytes = Array(text.utf8)
        guard bytes.count <= bytesMax else {
            throw YAMLError(
                file: file, mark: YAMLMark(line: 1, column: 1),
                message: "the file has \(bytes.count) bytes; at most \(bytesMax) are read")
        }
        return try bytes.withUnsafeBufferPointer { (buffer) throws(YAMLError) -> YAMLNode in
            let composer = YAMLComposer(input: buffer, file: file)
            return try composer.document()
        }
    }
}

/// Turns libyaml's events into nodes. Lives no longer than the buffer it was made with.
private final class YAMLComposer {
    private struct Anchored {
        var node: YAMLNode
        var nodeCount: Int
    }

    private let file: String
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let event: UnsafeMutablePointer<yaml_event_t>
    private var hasEvent = false
    private var anchors: [String: Anchored] = [:]
    private var nodeCount = 0

    init(input: UnsafeBufferPointer<UInt8>, file: String) {
        self.file = file
        parser = .allocate(capacity: 1)
        event = .allocate(capacity: 1)
        let initialized = yaml_parser_initialize(parser)
        precondition(initialized == 1, "libyaml had no memory for a parser")
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }

    deinit {
        if hasEvent { yaml_event_delete(event) }
        yaml_parser_delete(parser)
        event.deallocate()
        parser.deallocate()
    }

    func document() throws(YAMLError) -> YAMLNode {
        try next()
        try next()
        guard event.pointee.type == YAML_DOCUMENT_START_EVENT else {
            return YAMLNode(.null, at: YAMLMark(line: 1, column: 1))
        }
        try next()
        let root = try node(depth: 0)
        try next()
        try next()
        guard event.pointee.type == YAML_STREAM_END_EVENT else {
            throw error(mark, "a second document begins here; the file may hold only one")
        }
        return root
    }

    private var mark: YAMLMark { place(event.pointee.start_mark) }

    private func place(_ mark: yaml_mark_t) -> YAMLMark {
        YAMLMark(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    private func error(_ mark: YAMLMark, _ message: String) -> YAMLError {
        YAMLError(file: file, mark: mark, message: message)
    }

    /// Moves to the next event, or throws what the parser found wrong.
    private func next() throws(YAMLError) {
        if hasEvent { yaml_event_delete(event) }
        hasEvent = yaml_parser_parse(parser, event) == 1
        guard !hasEvent else { return }
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "it does not parse"
        let context = parser.pointee.context.map { String(cString: $0) + ", " } ?? ""
        throw error(place(parser.pointee.problem_mark), "not valid YAML: \(context)\(problem)")
    }

    /// The node that begins at the current event; ends on the node's last event.
    private func node(depth: Int) throws(YAMLError) -> YAMLNode {
        let start = mark
        guard depth <= YAMLDocument.depthMax else {
            throw error(start, "nested deeper than \(YAMLDocument.depthMax) levels")
        }
        let countBefore = nodeCount
        try count(1, at: start)
        let type = event.pointee.type
        let anchor: String?
        let content: YAMLNode.Content
        if type == YAML_ALIAS_EVENT {
            return try alias(at: start)
        } else if type == YAML_SCALAR_EVENT {
            anchor = text(event.pointee.data.scalar.anchor)
            content = scalar()
        } else if type == YAML_SEQUENCE_START_EVENT {
            anchor = text(event.pointee.data.sequence_start.anchor)
            content = try sequence(depth: depth)
        } else {
            anchor = text(event.pointee.data.mapping_start.anchor)
            content = try mapping(depth: depth)
        }
        let node = YAMLNode(content, at: start)
        if let anchor {
            anchors[anchor] = Anchored(node: node, nodeCount: nodeCount - countBefore)
        }
        return node
    }

    private func count(_ added: Int, at mark: YAMLMark) throws(YAMLError) {
        nodeCount += added
        guard nodeCount <= YAMLDocument.nodesMax else {
            throw error(
                mark,
                "more than \(YAMLDocument.nodesMax) nodes after the expansion of aliases")
        }
    }

    private func alias(at mark: YAMLMark) throws(YAMLError) -> YAMLNode {
        let name = text(event.pointee.data.alias.anchor) ?? ""
        guard let anchored = anchors[name] else {
            throw error(mark, "alias `*\(name)` has no anchor `&\(name)` before it")
        }
        try count(anchored.nodeCount, at: mark)
        return anchored.node
    }

    private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func scalar() -> YAMLNode.Content {
        let data = event.pointee.data.scalar
        let bytes = UnsafeBufferPointer(start: data.value, count: Int(data.length))
        let text = String(decoding: bytes, as: UTF8.self)
        let tag = self.text(data.tag)
        let style: YAMLScalar.Style
        if data.style == YAML_SINGLE_QUOTED_SCALAR_STYLE {
            style = .singleQuoted
        } else if data.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE {
            style = .doubleQuoted
        } else if data.style == YAML_LITERAL_SCALAR_STYLE {
            style = .literal
        } else if data.style == YAML_FOLDED_SCALAR_STYLE {
            style = .folded
        } else {
            style = .plain
        }
        let isPlainNull =
            style == .plain && tag == nil
            && ["", "~", "null", "Null", "NULL"].contains(text)
        if isPlainNull || tag == "tag:yaml.org,2002:null" { return .null }
        return .scalar(YAMLScalar(text: text, style: style, tag: tag))
    }

    private func sequence(depth: Int) throws(YAMLError) -> YAMLNode.Content {
        var items: [YAMLNode] = []
        try next()
        while event.pointee.type != YAML_SEQUENCE_END_EVENT {
            items.append(try node(depth: depth + 1))
            try next()
        }
        return .sequence(items)
    }

    private func mapping(depth: Int) throws(YAMLError) -> YAMLNode.Content {
        var pairs: [YAMLPair] = []
        var firstLines: [String: Int] = [:]
        var merged: [YAMLNode] = []
        try next()
        while event.pointee.type != YAML_MAPPING_END_EVENT {
            let keyNode = try node(depth: depth + 1)
            try next()
            let value = try node(depth: depth + 1)
            try next()
            let key = try keyText(keyNode)
            if isMergeKey(keyNode) {
                merged += try mergeSources(value)
                continue
            }
            if let line = firstLines.updateValue(keyNode.mark.line, forKey: key) {
                throw error(
                    keyNode.mark, "duplicate key `\(key)`: it is already set on line \(line)")
            }
            pairs.append(YAMLPair(key: key, keyMark: keyNode.mark, value: value))
        }
        for source in merged {
            guard case .mapping(let inherited) = source.content else { continue }
            for pair in inherited where firstLines[pair.key] == nil {
                firstLines[pair.key] = pair.keyMark.line
                pairs.append(pair)
            }
        }
        return .mapping(pairs)
    }

    private func keyText(_ node: YAMLNode) throws(YAMLError) -> String {
        switch node.content {
        case .scalar(let scalar): return scalar.text
        case .null: return "null"
        case .sequence, .mapping:
            throw error(node.mark, "a key must be a single value, found \(node.kind)")
        }
    }

    private func isMergeKey(_ node: YAMLNode) -> Bool {
        guard case .scalar(let scalar) = node.content, scalar.text == "<<" else { return false }
        return scalar.style == .plain || scalar.tag == "tag:yaml.org,2002:merge"
    }

    /// The mappings that a merge key adds, strongest first. Source: yaml.org/type/merge.
    private func mergeSources(_ value: YAMLNode) throws(YAMLError) -> [YAMLNode] {
        switch value.content {
        case .mapping: return [value]
        case .sequence(let items):
            for item in items {
                guard case .mapping = item.content else {
                    throw error(
                        item.mark, "the merge key `<<` takes mappings, found \(item.kind)")
                }
            }
            return items
        case .null, .scalar:
            throw error(
                value.mark,
                "the merge key `<<` takes a mapping or a list of mappings, found \(value.kind)")
        }
    }
}
