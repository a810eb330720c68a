/// Buffers that parsers use again for every line.
struct ParserScratch {
    /// The name of a label that is being put together.
    var name: [UInt8] = []
    /// A text without its escapes.
    var text: [UInt8] = []
}

/// What `__error__` says.
enum EntryFailure {
    static let json = "JSONParserErr"
    static let logfmt = "LogfmtParserErr"
    static let labelFilter = "LabelFilterErr"
}

/// `json`: every text, number and boolean of a line becomes a label, called by its path. Arrays and null are left out.
/// Source: LogQL's documentation, "JSON"; Loki 3.6 `JSONParser`.
struct JSONStage {
    fileprivate let text: JSONSpan
    fileprivate let labels: EntryLabels

    static func process(_ line: [UInt8], _ labels: EntryLabels, _ scratch: inout ParserScratch) {
        guard !labels.needsNoLabels else { return }
        scratch.name.removeAll(keepingCapacity: true)
        line.withUnsafeBufferPointer { text in
            do throws(JSONFault) {
                try JSONStage(text: text, labels: labels).object(0, 0, &scratch)
            } catch {
                if error != .stop { labels.fail(EntryFailure.json, error.text) }
            }
        }
    }

    /// The object at `start`, whose own name is in `scratch`.
    private func object(
        _ start: Int, _ depth: Int, _ scratch: inout ParserScratch
    ) throws(JSONFault) {
        guard depth < JSONBytes.depthMax else { throw .tooDeep }
        var members = try JSONBytes.Members(text, at: start)
        let prefixCount = scratch.name.count
        while let member = try members.next() {
            switch member.value.kind {
            case .string, .number, .boolean:
                try appendName(member, to: &scratch)
                // A member of the line itself without a name is left out; one of a member is that member's value.
                if depth > 0 || !scratch.name.isEmpty { store(member.value, &scratch) }
            case .object:
                try appendName(member, to: &scratch)
                if labels.hints.wants(prefix: scratch.name) {
                    // What is within does not reach behind its brace, whatever is open there.
                    let inner = JSONStage(
                        text: JSONSpan(rebasing: text[..<member.value.range.upperBound]),
                        labels: labels)
                    try inner.object(member.value.range.lowerBound, depth + 1, &scratch)
                }
                scratch.name.removeLast(scratch.name.count - prefixCount)
                continue
            case .null, .array, .unknown: break
            }
            scratch.name.removeLast(scratch.name.count - prefixCount)
            if labels.hasAllRequired { throw .stop }
        }
    }

    private func appendName(
        _ member: JSONBytes.Member, to scratch: inout ParserScratch
    ) throws(JSONFault) {
        guard member.isNameEscaped else {
            appendSanitized(JSONSpan(rebasing: text[member.name]), to: &scratch.name)
            return
        }
        scratch.text.removeAll(keepingCapacity: true)
        guard JSONBytes.appendUnescaped(text, member.name, to: &scratch.text) else {
            throw .escape
        }
        let name = scratch.text
        name.withUnsafeBufferPointer { appendSanitized($0, to: &scratch.name) }
    }

    private func store(_ value: JSONBytes.Value, _ scratch: inout ParserScratch) {
        guard let name = labels.nameToExtract(bytes: scratch.name) else { return }
        let bytes = JSONSpan(rebasing: text[value.range])
        guard value.isEscaped else {
            labels.set(.parsed, name) { appendBlanked(bytes, to: &$0) }
            return
        }
        scratch.text.removeAll(keepingCapacity: true)
        if !JSONBytes.appendUnescaped(text, value.range, to: &scratch.text) {
            scratch.text.removeAll(keepingCapacity: true)
        }
        scratch.text.withUnsafeBufferPointer { text in
            labels.set(.parsed, name) { appendBlanked(text, to: &$0) }
        }
    }
}

/// `unpack`: the texts of a flat object become labels, and its `_entry` the line; without `_entry` nothing changes.
/// Source: LogQL's documentation, "unpack"; Loki 3.6 `UnpackParser`.
enum UnpackStage {
    static func process(
        _ line: inout [UInt8], _ labels: EntryLabels, _ scratch: inout ParserScratch
    ) {
        guard let first = line.first else { return }
        guard first == UInt8(ascii: "{") else {
            fail(labels, "expecting json object(6), but it is not")
            return
        }
        let unpacked = line.withUnsafeBufferPointer { text -> [UInt8]? in
            do throws(JSONFault) {
                guard let found = try entry(text) else { return nil }
                try extract(text, labels, &scratch)
                return found
            } catch {
                fail(labels, error.text)
                return nil
            }
        }
        if let unpacked { line = unpacked }
    }

    /// Where no label is needed nobody looks for errors either.
    private static func fail(_ labels: EntryLabels, _ details: String) {
        if !labels.needsNoLabels { labels.fail(EntryFailure.json, details) }
    }

    private static func entry(_ text: JSONSpan) throws(JSONFault) -> [UInt8]? {
        var members = try JSONBytes.Members(text, at: 0)
        var found: [UInt8]?
        while let member = try members.next() {
            var unescapedName: [UInt8] = []
            if member.isNameEscaped,
                !JSONBytes.appendUnescaped(text, member.name, to: &unescapedName)
            {
                throw .escape
            }
            guard member.value.kind == .string, isEntryName(text, member) else { continue }
            var entry: [UInt8] = []
            guard JSONBytes.appendUnescaped(text, member.value.range, to: &entry) else {
                throw .escape
            }
            found = entry
        }
        return found
    }

    private static func isEntryName(_ text: JSONSpan, _ member: JSONBytes.Member) -> Bool {
        text[member.name].elementsEqual("_entry".utf8)
    }

    private static func extract(
        _ text: JSONSpan, _ labels: EntryLabels, _ scratch: inout ParserScratch
    ) throws(JSONFault) {
        guard !labels.needsNoLabels else { return }
        var members = try JSONBytes.Members(text, at: 0)
        // All are set at the end: the last of several of the same name counts.
        var found: [(name: Int32, value: JSONBytes.Member)] = []
        while let member = try members.next() {
            guard member.value.kind == .string, !isEntryName(text, member) else { continue }
            scratch.text.removeAll(keepingCapacity: true)
            guard JSONBytes.appendUnescaped(text, member.name, to: &scratch.text) else {
                throw .escape
            }
            scratch.name.removeAll(keepingCapacity: true)
            scratch.text.withUnsafeBufferPointer { appendSanitized($0, to: &scratch.name) }
            guard let name = labels.nameToExtract(bytes: scratch.name) else { continue }
            found.append((name, member))
        }
        for (name, member) in found {
            scratch.text.removeAll(keepingCapacity: true)
            if !JSONBytes.appendUnescaped(text, member.value.range, to: &scratch.text) {
                scratch.text.removeAll(keepingCapacity: true)
            }
            scratch.text.withUnsafeBufferPointer { text in
                labels.set(.parsed, name) { appendBlanked(text, to: &$0) }
            }
        }
    }
}

extension EntryLabels {
    /// The name under which a parser stores what it finds as `bytes`; nil where it is not to.
    func nameToExtract(bytes: [UInt8]) -> Int32? {
        bytes.withUnsafeBufferPointer { bytes in
            // What is needed has a number already.
            guard hints.requiredCount > 0 else { return nameToExtract(intern(bytes)) }
            let number = names.find(bytes)
            return number < 0 ? nil : nameToExtract(number)
        }
    }
}
