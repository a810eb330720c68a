/// `json label="path", …`: the values at some paths become labels; where there is none, an empty value does.
///
/// The first value at a path counts. A text is taken without its escapes, an object or array as it is written. A line
/// that is not well-formed gives what stands before its fault.
/// Source: LogQL's documentation, "JSON"; Loki 3.6 `JSONExpressionParser`.
struct JSONPathStage: Sendable {
    /// Paths are looked for by a bit each.
    private static let pathsMax = 64

    private struct Target: Sendable {
        var name: Int32
        var steps: [JSONPath.Step]
    }

    private let targets: [Target]

    init(_ targets: [(name: Int32, path: JSONPath)]) {
        self.targets = targets.map { Target(name: $0.name, steps: $0.path.steps) }
    }

    func process(_ line: [UInt8], _ labels: EntryLabels, _ scratch: inout ParserScratch) {
        guard let first = line.first, !labels.needsNoLabels else { return }
        switch first {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "\""): break
        default:
            labels.fail(EntryFailure.json, nil)
            return
        }
        line.withUnsafeBufferPointer { text in
            for start in stride(from: 0, to: targets.count, by: Self.pathsMax) {
                let end = min(start + Self.pathsMax, targets.count)
                var walk = Walk(text: text, labels: labels, targets: targets[start..<end])
                walk.run(&scratch)
            }
        }
    }

    /// One passage through a line for up to 64 targets.
    private struct Walk {
        let text: JSONSpan
        let labels: EntryLabels
        let targets: ArraySlice<Target>
        /// Targets that are still looked for, from the lowest bit.
        private var missing: UInt64
        /// What stands at the path of one of them is no value.
        private var hasFault = false

        init(text: JSONSpan, labels: EntryLabels, targets: ArraySlice<Target>) {
            self.text = text
            self.labels = labels
            self.targets = targets
            missing = targets.count == 64 ? .max : (1 << UInt64(targets.count)) - 1
        }

        mutating func run(_ scratch: inout ParserScratch) {
            // A fault ends the search; the entry has no error unless it is the value that was asked for.
            if let value = try? JSONBytes.value(text, 0, isLenient: true) {
                try? step(into: value, level: 0, missing, &scratch)
            } else if let start = JSONBytes.nextToken(text, 0) {
                let kind: JSONBytes.Kind = text[start] == UInt8(ascii: "[") ? .array : .object
                let rest = JSONBytes.Value(kind: kind, range: start..<text.count, end: text.count)
                try? step(into: rest, level: 0, missing, &scratch)
            }
            guard missing != 0 || hasFault else { return }
            for target in targets where labels.find(target.name) == nil {
                labels.set(.parsed, target.name) { _ in }
            }
        }

        private func target(_ bit: Int) -> Target { targets[targets.startIndex + bit] }

        private mutating func step(
            into value: JSONBytes.Value, level: Int, _ wanted: UInt64,
            _ scratch: inout ParserScratch
        ) throws(JSONFault) {
            switch value.kind {
            case .object: try object(value, level, wanted, &scratch)
            case .array: try array(value, level, wanted, &scratch)
            case .string, .number, .boolean, .null, .unknown: break
            }
        }

        private mutating func object(
            _ value: JSONBytes.Value, _ level: Int, _ wanted: UInt64,
            _ scratch: inout ParserScratch
        ) throws(JSONFault) {
            var members = try JSONBytes.Members(
                text, at: value.range.lowerBound, isLenient: true)
            while missing & wanted != 0 {
                let member: JSONBytes.Member?
                do throws(JSONFault) { member = try members.next() } catch {
                    let isAsked = matching(members.lastName, level, wanted).values != 0
                    if isAsked { labels.fail(EntryFailure.json, error.text) }
                    throw error
                }
                guard let member else { return }
                let found: (values: UInt64, deeper: UInt64)
                if member.isNameEscaped {
                    var name: [UInt8] = []
                    guard JSONBytes.appendUnescaped(text, member.name, to: &name) else {
                        throw .escape
                    }
                    found = name.withUnsafeBufferPointer { matching($0, level, wanted) }
                } else {
                    found = matching(member.name, level, wanted)
                }
                try take(member.value, found, level, &scratch)
            }
        }

        private mutating func array(
            _ value: JSONBytes.Value, _ level: Int, _ wanted: UInt64,
            _ scratch: inout ParserScratch
        ) throws(JSONFault) {
            guard (0..<targets.count).contains(where: { isIndex($0, level, wanted) }) else {
                return
            }
            var at = value.range.lowerBound + 1
            var index = 0
            while missing & wanted != 0 {
                guard let start = JSONBytes.nextToken(text, at),
                    text[start] != UInt8(ascii: "]")
                else { return }
                let element = try JSONBytes.value(text, start)
                var found: (values: UInt64, deeper: UInt64) = (0, 0)
                for bit in 0..<targets.count where (missing & wanted) >> UInt64(bit) & 1 == 1 {
                    guard target(bit).steps[level] == .index(index) else { continue }
                    if target(bit).steps.count == level + 1 {
                        found.values |= 1 << UInt64(bit)
                    } else {
                        found.deeper |= 1 << UInt64(bit)
                    }
                }
                try take(element, found, level, &scratch)
                guard let comma = JSONBytes.nextToken(text, element.end),
                    text[comma] == UInt8(ascii: ",")
                else { return }
                at = comma + 1
                index += 1
            }
        }

        private func isIndex(_ bit: Int, _ level: Int, _ wanted: UInt64) -> Bool {
            guard (missing & wanted) >> UInt64(bit) & 1 == 1 else { return false }
            if case .index = target(bit).steps[level] { return true }
            return false
        }

        private func matching(
            _ name: Range<Int>, _ level: Int, _ wanted: UInt64
        ) -> (values: UInt64, deeper: UInt64) {
            matching(JSONSpan(rebasing: text[name]), level, wanted)
        }

        /// The targets that end with the field `name`, and those that go on beneath it.
        private func matching(
            _ name: JSONSpan, _ level: Int, _ wanted: UInt64
        ) -> (values: UInt64, deeper: UInt64) {
            var found: (values: UInt64, deeper: UInt64) = (0, 0)
            for bit in 0..<targets.count where (missing & wanted) >> UInt64(bit) & 1 == 1 {
                guard case .field(let bytes) = target(bit).steps[level],
                    bytes.count == name.count, bytes.elementsEqual(name)
                else { continue }
                if target(bit).steps.count == level + 1 {
                    found.values |= 1 << UInt64(bit)
                } else {
                    found.deeper |= 1 << UInt64(bit)
                }
            }
            return found
        }

        private mutating func take(
            _ value: JSONBytes.Value, _ found: (values: UInt64, deeper: UInt64), _ level: Int,
            _ scratch: inout ParserScratch
        ) throws(JSONFault) {
            if found.values != 0 {
                for bit in 0..<targets.count where found.values >> UInt64(bit) & 1 == 1 {
                    missing &= ~(1 << UInt64(bit))
                    store(value, target(bit).name, &scratch)
                }
            }
            if found.deeper != 0 { try step(into: value, level: level + 1, found.deeper, &scratch) }
        }

        private mutating func store(
            _ value: JSONBytes.Value, _ number: Int32, _ scratch: inout ParserScratch
        ) {
            guard value.kind != .unknown else {
                labels.fail(EntryFailure.json, JSONFault.value.text)
                hasFault = true
                return
            }
            let name = labels.nameBesideOthers(number)
            let bytes = JSONSpan(rebasing: text[value.range])
            switch value.kind {
            case .null: labels.set(.parsed, name) { _ in }
            case .object: labels.set(.parsed, name) { appendRepaired(bytes, to: &$0) }
            case .string, .number, .boolean, .array, .unknown:
                scratch.text.removeAll(keepingCapacity: true)
                if !JSONBytes.appendUnescaped(text, value.range, to: &scratch.text) {
                    scratch.text.removeAll(keepingCapacity: true)
                }
                scratch.text.withUnsafeBufferPointer { text in
                    labels.set(.parsed, name) { appendBlanked(text, to: &$0) }
                }
            }
        }
    }
}
