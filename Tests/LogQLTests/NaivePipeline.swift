import LogQL
import LogQLSyntax
import Model

/// What becomes of an entry that is kept.
struct PipelineAnswer: Equatable, CustomStringConvertible {
    struct Value: Equatable {
        var value: [UInt8]
        var category: LabelCategory

        init(_ text: String, _ category: LabelCategory) {
            value = Array(text.utf8)
            self.category = category
        }
    }

    /// Petrel and the naive evaluator differ, and it is open who is right: such an answer is not compared.
    static let disputed = PipelineAnswer(line: [], [(.parsed, ["disputed": "yes"])])

    var line: [UInt8]
    var labels: [String: Value] = [:]

    init(line: [UInt8], _ parts: [(LabelCategory, Labels)]) {
        self.line = line
        for (category, part) in parts {
            for label in part { labels[label.name] = Value(label.value, category) }
        }
    }

    /// As an answer has the labels that makes streams of them all.
    var withoutCategories: PipelineAnswer {
        var answer = self
        for name in labels.keys { answer.labels[name]?.category = .stream }
        return answer
    }

    var description: String {
        let texts = labels.sorted { $0.key < $1.key }.map {
            "\($0.key)=\(shown($0.value.value)) (\($0.value.category))"
        }
        return "\(shown(line)) with \(texts.joined(separator: ", "))"
    }
}

/// What the evaluator can be told to do wrong.
enum NaiveMistake: CaseIterable {
    case negatedListWantsAll, orIsAnd, greaterIsGreaterOrEqual, noNumberDrops, errorIsReplaced
    case streamIsNoReason, metadataIsNoReason, metadataReplacesStream, lastValueWins
    case deletedIsParsedAgain, keyStaysAsItIs, badByteStays, emptyValueIsLabel, jsonErrorIsSilent
    case arrayIsLabel, keepTakesErrors, renameCopies, renameKeepsCategory, lineStays
    case dropIgnoresValue
}

/// Walks an entry through stages, one after the other, in dictionaries and arrays. What it knows of LogQL is what Loki's
/// documentation and messages tell: it shares no code with what it judges.
struct NaiveEvaluator {
    let mistake: NaiveMistake?
    /// What the stream has from the start.
    let streamNames: Set<String>
    /// Names that were set by a parser or a format; no parser sets them again.
    var parsedNames: Set<String> = []
    var error = ""
    var details = ""
    var labels: [String: PipelineAnswer.Value]
    var line: [UInt8]

    private var isDisputed = false

    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")
    private static let equals = UInt8(ascii: "=")

    /// Nil where the entry is dropped.
    static func answer(
        to stages: [RandomStage], _ entry: RandomEntry, _ mistake: NaiveMistake? = nil
    ) -> PipelineAnswer? {
        var evaluator = NaiveEvaluator(entry, mistake)
        for stage in stages {
            let isKept = evaluator.keeps(stage)
            if evaluator.isDisputed { return .disputed }
            guard isKept else { return nil }
        }
        return evaluator.answer
    }

    private var answer: PipelineAnswer {
        var answer = PipelineAnswer(line: line, [])
        answer.labels = labels
        let errors = [("__error__", error), ("__error_details__", details)]
        for (name, text) in errors where !text.isEmpty {
            answer.labels[name] = PipelineAnswer.Value(text, .parsed)
        }
        // Disputed: details without their error (`drop __error__`) are an entry's only label beside the stream's;
        // Petrel shows them only together with others.
        let isStream = labels.count == streamNames.count && parsedNames.isEmpty
        return isStream && error.isEmpty && !details.isEmpty ? .disputed : answer
    }

    private init(_ entry: RandomEntry, _ mistake: NaiveMistake?) {
        self.mistake = mistake
        streamNames = Set(entry.stream.map(\.name))
        labels = PipelineAnswer(line: [], [(.stream, entry.stream)]).labels
        line = entry.line
        for label in entry.metadata {
            let clashes = streamNames.contains(label.name) && mistake != .metadataReplacesStream
            labels[label.name + (clashes ? "_extracted" : "")] = PipelineAnswer.Value(
                label.value, .structuredMetadata)
        }
    }

    private mutating func keeps(_ stage: RandomStage) -> Bool {
        switch stage {
        case .lines(let texts, let expressions, let isNegated):
            let found =
                texts.map { contains($0) } + expressions.map { $0.isFound(in: line) }
            if isNegated, mistake == .negatedListWantsAll { return found.contains(false) }
            return found.contains(true) != isNegated
        case .labels(let condition): return holds(condition)
        case .json:
            let fault = parseObject(line, named: "")
            if let fault, mistake != .jsonErrorIsSilent {
                error = "JSONParserErr"
                details = fault
            }
        case .logfmt: parseLogfmt()
        case .drop(let selections):
            for selection in selections {
                switch selection.name {
                case "__error__": error = ""
                case "__error_details__": details = ""
                default: if isSelected(selection, selection.name) { labels[selection.name] = nil }
                }
            }
        case .keep(let selections):
            labels = labels.filter { name, _ in
                selections.contains { $0.name == name && isSelected($0, name) }
            }
            if mistake == .keepTakesErrors { error = "" }
        case .labelFormat(let formats): for format in formats { self.format(format) }
        case .lineFormat(let parts):
            let pieces = parts.map { part -> [UInt8] in
                switch part {
                case .text(let text): Array(text.utf8)
                case .label(let name): labels[name]?.value ?? []
                }
            }
            if mistake != .lineStays { line = Array(pieces.joined()) }
        }
        return true
    }

    private func contains(_ text: [UInt8]) -> Bool {
        guard let first = text.first else { return true }
        for (at, byte) in line.enumerated() where byte == first {
            if line[at...].starts(with: text) { return true }
        }
        return false
    }

    private func isSelected(_ selection: RandomStage.Selection, _ name: String) -> Bool {
        guard let value = selection.value, mistake != .dropIgnoresValue else { return true }
        return labels[name]?.value == Array(value.utf8)
    }

    private mutating func format(_ format: (target: String, value: RandomStage.FormatValue)) {
        switch format.value {
        case .text(let text): set(format.target, Array(text.utf8))
        case .rename(let source):
            guard let label = labels[source] else { return }
            set(format.target, label.value)
            if mistake == .renameKeepsCategory { labels[format.target] = label }
            if mistake != .renameCopies { labels[source] = nil }
        }
    }

    private mutating func set(_ name: String, _ value: [UInt8]) {
        labels[name] = PipelineAnswer.Value("", .parsed)
        labels[name]?.value = value
        parsedNames.insert(name)
    }

    // MARK: - Conditions

    private mutating func holds(_ condition: RandomCondition) -> Bool {
        switch condition {
        case .equal(let name, let value, let isNegated):
            return (self.value(name) == Array(value.utf8)) != isNegated
        case .matches(let name, let regex, let isNegated):
            return regex.isAll(of: value(name)) != isNegated
        case .number(let name, let comparison, let wanted):
            return compare(name, comparison, wanted)
        case .and(let left, let right):
            // The second may set an error although the first fails, when an `or` follows.
            let isLeft = holds(left)
            return holds(right) && isLeft
        case .or(let left, let right):
            if mistake == .orIsAnd { return holds(left) && holds(right) }
            return holds(left) || holds(right)
        }
    }

    private func value(_ name: String) -> [UInt8] {
        name == "__error__" ? Array(error.utf8) : labels[name]?.value ?? []
    }

    private mutating func compare(
        _ name: String, _ comparison: LabelFilter.Comparison, _ wanted: Double
    ) -> Bool {
        guard let bytes = labels[name]?.value else { return false }
        // The texts of numbers with a zero byte are tested by themselves.
        if bytes.contains(0) { isDisputed = true }
        guard let value = number(bytes) else {
            if error.isEmpty || mistake == .errorIsReplaced {
                error = "LabelFilterErr"
                details = "strconv.ParseFloat: parsing \(goQuoted(bytes)): invalid syntax"
            }
            return mistake != .noNumberDrops
        }
        switch comparison {
        case .equal: return value == wanted
        case .notEqual: return value != wanted
        case .greater: return mistake == .greaterIsGreaterOrEqual ? value >= wanted : value > wanted
        case .greaterOrEqual: return value >= wanted
        case .less: return value < wanted
        case .lessOrEqual: return value <= wanted
        }
    }

    /// A decimal number, or one of Go's names.
    private func number(_ bytes: [UInt8]) -> Double? {
        let text = String(decoding: bytes, as: UTF8.self)
        let names: [String: Double] = [
            "nan": .nan, "inf": .infinity, "+inf": .infinity, "-inf": -.infinity,
        ]
        if let value = names[text.lowercased()] { return value }
        let isDecimal = text.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) }
        return isDecimal ? Double(text) : nil
    }

    private func goQuoted(_ bytes: [UInt8]) -> String {
        let names: [Unicode.Scalar: String] = [
            "\"": "\\\"", "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r",
            "\u{8}": "\\b", "\u{c}": "\\f", "\0": "\\x00",
        ]
        return "\""
            + scalars(bytes).compactMap { $0 }.map { names[$0] ?? String(Character($0)) }.joined()
            + "\""
    }

    // MARK: - Parsers

    private mutating func extract(_ name: String, _ bytes: [UInt8]) {
        let clashes =
            streamNames.contains(name) && mistake != .streamIsNoReason
            || labels[name]?.category == .structuredMetadata && mistake != .metadataIsNoReason
        let name = clashes ? name + "_extracted" : name
        if parsedNames.contains(name), mistake != .lastValueWins,
            mistake != .deletedIsParsedAgain || labels[name] != nil
        {
            return
        }
        let isPlain = bytes.allSatisfy { $0 < 0x80 }
        if isPlain { return set(name, bytes) }
        let bad: Unicode.Scalar = mistake == .badByteStays ? "\u{fffd}" : " "
        let text = scalars(bytes).map { $0 == nil || $0 == "\u{fffd}" ? bad : $0 ?? bad }
        set(name, text.flatMap { Array(String(Character($0)).utf8) })
    }

    /// The label for a field of an object that has the name `prefix`.
    private func labelName(_ key: [UInt8], _ prefix: String) -> String {
        let blanks: [Unicode.Scalar] = [" ", "\t", "\n", "\r", "\u{b}", "\u{c}"]
        var rest = scalars(key)[...]
        while let first = rest.first ?? nil, blanks.contains(first) { rest.removeFirst() }
        while let last = rest.last ?? nil, blanks.contains(last) { rest.removeLast() }
        guard let first = rest.first else { return prefix }
        var name = prefix.isEmpty ? "" : prefix + "_"
        if prefix.isEmpty, let first, ("0"..."9").contains(first) { name = "_" }
        for scalar in rest {
            let scalar = scalar ?? "-"
            let isGood = scalar.isASCII && (scalar.properties.isAlphabetic || scalar == "_")
            let isKept = isGood || ("0"..."9").contains(scalar) || mistake == .keyStaysAsItIs
            name.unicodeScalars.append(isKept ? scalar : "_")
        }
        return name
    }

    /// Takes the members of the object that `text` is; what is wrong with it, in Loki's words.
    private mutating func parseObject(_ text: [UInt8], named prefix: String) -> String? {
        let objectFault = "Value looks like object, but can't find closing '}' symbol"
        let arrayFault = "Value is array, but can't find closing ']' symbol"
        let malformed = "Malformed JSON error"
        var at = 0
        /// The next character that is no blank, which is stepped over.
        func next() -> Unicode.Scalar? {
            while at < text.count, " \t\n\r".utf8.contains(text[at]) { at += 1 }
            guard at < text.count else { return nil }
            at += 1
            return Unicode.Scalar(text[at - 1])
        }
        guard next() == "{" else { return objectFault }
        guard var scalar = next() else { return malformed }
        while scalar != "}" {
            guard scalar == "\"" else { return objectFault }
            guard let key = quoted(text, &at), next() == ":", let first = next() else {
                return malformed
            }
            let start = at - 1
            var value: [UInt8]?
            switch first {
            case "\"":
                guard let text = quoted(text, &at) else {
                    return "Value is string, but can't find closing '\"' symbol"
                }
                value = unescaped(text, #""\/"#) ?? []
            case "[", "{":
                guard let end = endOfBlock(text, start) else {
                    return first == "{" ? objectFault : arrayFault
                }
                at = end
                if first == "{" || mistake == .arrayIsLabel { value = Array(text[start..<end]) }
            default:
                let word = Array(text[start...].prefix { !" \t\n\r,}]".utf8.contains($0) })
                at = start + word.count
                let isWord = ["true", "false", "null"].contains { word == Array($0.utf8) }
                guard isWord || word.first.map("-0123456789".utf8.contains) == true else {
                    return "Unknown value type"
                }
                if word != Array("null".utf8) { value = word }
            }
            if let value {
                guard let key = unescaped(key, #""\/"#) else {
                    return "Encountered an invalid escape sequence in a string"
                }
                let name = labelName(key, prefix)
                if first != "{" {
                    if !name.isEmpty || !prefix.isEmpty { extract(name, value) }
                } else if let fault = parseObject(value, named: name) {
                    return fault
                }
            }
            guard let after = next() else { return arrayFault }
            if after == "}" { return nil }
            guard after == "," else { return objectFault }
            // A comma in front of the brace passes.
            guard let one = next() else { return arrayFault }
            scalar = one
        }
        return nil
    }

    /// The string from `at` to the next quote, behind which `at` steps.
    private func quoted(_ text: [UInt8], _ at: inout Int) -> [UInt8]? {
        let start = at
        while at < text.count, text[at] != Self.quote { at += text[at] == Self.backslash ? 2 : 1 }
        guard at < text.count else { return nil }
        at += 1
        return Array(text[start..<(at - 1)])
    }

    /// The index behind the bracket that closes the one at `start`.
    private func endOfBlock(_ text: [UInt8], _ start: Int) -> Int? {
        var (level, at) = (0, start)
        while at < text.count {
            at += 1
            switch text[at - 1] {
            case Self.quote: if quoted(text, &at) == nil { return nil }
            case text[start]: level += 1
            case text[start] + 2: level -= 1
            default: break
            }
            if level == 0 { return at }
        }
        return nil
    }

    /// Nil where an escape is none; those in `same` stand for themselves.
    private func unescaped(_ text: [UInt8], _ same: String) -> [UInt8]? {
        guard text.contains(Self.backslash) else { return text }
        let letters = Dictionary(uniqueKeysWithValues: zip("bfnrt".utf8, [8, 12, 10, 13, 9]))
        var (found, rest) = ([UInt8](), text[...])
        while let byte = rest.popFirst() {
            guard byte == Self.backslash else {
                found.append(byte)
                continue
            }
            guard let escaped = rest.popFirst() else { return nil }
            if same.utf8.contains(escaped) {
                found.append(escaped)
            } else if let letter = letters[escaped] {
                found.append(UInt8(letter))
            } else {
                let digits = String(decoding: rest.prefix(4), as: UTF8.self)
                guard escaped == UInt8(ascii: "u"), digits.utf8.count == 4,
                    let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
                else { return nil }
                found += Array(String(Character(scalar)).utf8)
                rest = rest.dropFirst(4)
            }
        }
        return found
    }

    private mutating func parseLogfmt() {
        let line = self.line
        var at = 0
        while at < line.count {
            let key = Array(
                line[at...].prefix { $0 > 0x20 && $0 != Self.equals && $0 != Self.quote })
            at += key.count
            let isBad = scalars(key).contains { $0 == nil || $0 == "\u{fffd}" }
            if at == line.count || line[at] <= 0x20 {
                if mistake == .emptyValueIsLabel, !key.isEmpty { extract(labelName(key, ""), []) }
                at += 1
            } else if line[at] == Self.quote || key.isEmpty || isBad {
                at += line[at...].prefix { $0 > 0x20 }.count
            } else if at + 1 < line.count, line[at + 1] == Self.quote {
                at += 2
                guard let text = quoted(line, &at) else { return }
                guard let value = unescaped(text, #""\/'"#), !value.isEmpty else { continue }
                extract(labelName(key, ""), value)
            } else {
                let value = Array(line[(at + 1)...].prefix { $0 > 0x20 })
                at += 1 + value.count
                guard !value.isEmpty, !value.contains(Self.equals), !value.contains(Self.quote)
                else { continue }
                extract(labelName(key, ""), value)
            }
        }
    }
}

/// The scalars of a text; nil for each byte that is no UTF-8.
func scalars(_ bytes: [UInt8]) -> [Unicode.Scalar?] {
    if let text = String(validating: bytes, as: UTF8.self) { return Array(text.unicodeScalars) }
    var found: [Unicode.Scalar?] = []
    var at = 0
    while at < bytes.count {
        let length = (1...4).first { length in
            at + length <= bytes.count
                && (length == 1
                    ? bytes[at] < 0x80
                    : String(validating: bytes[at..<(at + length)], as: UTF8.self) != nil)
        }
        let end = at + (length ?? 1)
        let text = length == nil ? nil : String(decoding: bytes[at..<end], as: UTF8.self)
        found.append(text?.unicodeScalars.first)
        at = end
    }
    return found
}
